//! The command line of `ipvsd real-server`, and what is wrong with it in itself.

use std::{collections::BTreeSet, io, net::IpAddr, path::PathBuf};

use clap::Args;

use super::{
    refusal::{Refusal, network},
    wanted::{Family, Method, Tunnel, TunnelType, Unpacker, Wanted},
};

/// Where it is written down what to put back.
pub const DEFAULT_STATE: &str = "/run/ipvs/real-server.json";
const DEFAULT_DEVICE: &str = "lo";

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Virtual address; may be given several times. Added to those of earlier calls; without any it is those of earlier calls
    #[arg(long = "vip", value_name = "ADDRESS")]
    pub vips: Vec<String>,
    /// How packets come from the director
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// What packets are in [default: ipip]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub tunnel_type: Option<TunnelType>,
    /// UDP port of GUE
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    #[arg(long, value_name = "IF", help = format!("Where the virtual addresses go: an interface that answers no ARP [default: {DEFAULT_DEVICE}]"))]
    pub device: Option<String>,
    /// The director's own address; with masq the gateway that answers must go by
    #[arg(long, value_name = "ADDRESS")]
    pub director: Option<IpAddr>,
    /// Who takes packets out of their tunnel [default: auto]
    #[arg(long, value_enum)]
    pub unpack: Option<Unpacker>,
    /// Where packets of tunnels come in, for --unpack xdp; without it, where the machine has addresses
    #[arg(long = "interface", value_name = "IF")]
    pub interfaces: Vec<String>,
    /// Only tell what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Put back what was changed
    #[arg(long, conflicts_with_all = ["check", "vips", "method", "tunnel_type", "port", "device", "director", "unpack", "interfaces"])]
    pub undo: bool,
    /// Tell what is right and what is wrong
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
    #[arg(long, value_name = "FILE", help = format!("Where it is written down what to put back [default: {DEFAULT_STATE}]"))]
    pub state: Option<PathBuf>,
}

impl Options {
    /// What is wanted; `None`: nothing is said, so it is what was said before.
    pub fn wanted(&self) -> Result<Option<Wanted>, Refusal> {
        let Some(method) = self.method else {
            return match self.said_without_method() {
                None => Ok(None),
                Some(option) => Err(Refusal::Needs(option, "--method dr, tunnel or masq")),
            };
        };
        if self.vips.is_empty() {
            return Err(Refusal::Needs("--method", "--vip ADDRESS"));
        }
        let vips: Result<BTreeSet<_>, _> = self.vips.iter().map(|text| vip(text)).collect();
        let wanted = Wanted {
            vips: vips?,
            method,
            tunnel: self.tunnel(method)?,
            device: self
                .device
                .clone()
                .unwrap_or_else(|| DEFAULT_DEVICE.to_owned()),
            director: self.director,
            unpacker: self.unpack.unwrap_or_default(),
            interfaces: self.interfaces.clone(),
        };
        self.fit(&wanted)?;
        Ok(Some(wanted))
    }

    /// Whole, so that it says the same wherever it is read.
    pub fn state(&self) -> io::Result<PathBuf> {
        match &self.state {
            Some(said) => std::path::absolute(said),
            None => Ok(DEFAULT_STATE.into()),
        }
    }

    /// An option that says what is wanted, and means nothing alone.
    fn said_without_method(&self) -> Option<&'static str> {
        let said = [
            (!self.vips.is_empty(), "--vip"),
            (self.tunnel_type.is_some(), "--tunnel-type"),
            (self.port.is_some(), "--port"),
            (self.device.is_some(), "--device"),
            (self.director.is_some(), "--director"),
            (self.unpack.is_some(), "--unpack"),
            (!self.interfaces.is_empty(), "--interface"),
        ];
        said.into_iter()
            .find_map(|(is_said, name)| is_said.then_some(name))
    }

    fn tunnel(&self, method: Method) -> Result<Option<Tunnel>, Refusal> {
        if method != Method::Tunnel {
            return match (self.tunnel_type, self.port) {
                (None, None) => Ok(None),
                (Some(_), _) => Err(Refusal::Needs("--tunnel-type", "--method tunnel")),
                (None, Some(_)) => Err(Refusal::Needs(
                    "--port",
                    "--method tunnel --tunnel-type gue",
                )),
            };
        }
        let kind = self.tunnel_type.unwrap_or_default();
        match (kind, self.port) {
            (TunnelType::Gue, Some(port)) => Ok(Some(Tunnel { kind, port })),
            (TunnelType::Gue, None) => Err(Refusal::Needs(
                "--tunnel-type gue",
                "--port, as the director has it (ipvsadm --tun-port)",
            )),
            (_, Some(_)) => Err(Refusal::Needs("--port", "--tunnel-type gue")),
            (_, None) => Ok(Some(Tunnel { kind, port: 0 })),
        }
    }

    fn fit(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let of_tunnels = wanted.tunnel.is_some();
        if !self.interfaces.is_empty() && (!of_tunnels || wanted.unpacker == Unpacker::Kernel) {
            return Err(Refusal::Needs(
                "--interface",
                "--method tunnel, and --unpack xdp or auto",
            ));
        }
        if self.unpack.is_some() && !of_tunnels {
            return Err(Refusal::Needs("--unpack", "--method tunnel"));
        }
        if wanted.method == Method::Masq && wanted.director.is_none() {
            return Err(Refusal::Needs(
                "--method masq",
                "--director, the address by which this machine reaches the director",
            ));
        }
        if wanted.method == Method::Masq && self.device.is_some() {
            return Err(Refusal::Needs("--device", "--method dr or tunnel"));
        }
        Ok(())
    }
}

/// An address, alone or with the only prefix that does no harm.
fn vip(text: &str) -> Result<IpAddr, Refusal> {
    let (address, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((address, prefix)) => (address, Some(prefix)),
    };
    let no_address = || Refusal::NoAddress(text.to_owned());
    let vip: IpAddr = address.parse().map_err(|_| no_address())?;
    if let Some(prefix) = prefix {
        let prefix: u8 = prefix.parse().map_err(|_| no_address())?;
        let bits = Family::of(vip).bits();
        if prefix > bits {
            return Err(no_address());
        }
        if prefix != bits {
            let network = network(vip, prefix);
            return Err(Refusal::Wide {
                vip,
                prefix,
                network,
            });
        }
    }
    let broadcast = matches!(vip, IpAddr::V4(a) if a.is_broadcast());
    if vip.is_unspecified() || vip.is_multicast() || vip.is_loopback() || broadcast {
        return Err(Refusal::NotUnicast(vip));
    }
    Ok(vip)
}
