//! The command line of `ipvsd real-server`, and what is wrong with it in itself.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use clap::Args;

use super::{
    refusal::{Refusal, network},
    wanted::{Family, Method, Tunnel, TunnelType, Unpacker, Wanted},
};

/// Where it is written down what to put back.
pub const DEFAULT_STATE: &str = "/run/ipvs/real-server.json";

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Virtual address; may be given several times. Added to those of earlier calls; without any it is those of earlier calls
    #[arg(long = "vip", value_name = "ADDRESS")]
    pub vips: Vec<String>,
    /// How packets come from the director
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    #[arg(long, value_enum, value_name = "TYPE")]
    pub tunnel_type: Option<TunnelType>,
    /// UDP port of GUE
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Where the virtual addresses go: an interface that answers no ARP
    #[arg(long, value_name = "IF", default_value = "lo")]
    pub device: String,
    /// The director's own address; with masq the gateway that answers must go by
    #[arg(long, value_name = "ADDRESS")]
    pub director: Option<IpAddr>,
    /// Who takes packets out of their tunnel
    #[arg(long, value_enum, default_value_t)]
    pub unpack: Unpacker,
    /// Where packets of tunnels come in, for --unpack xdp; without it, where the machine has addresses
    #[arg(long = "interface", value_name = "IF")]
    pub interfaces: Vec<String>,
    /// Only tell what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Put back what was changed
    #[arg(long, conflicts_with_all = ["check", "vips", "method", "tunnel_type", "port", "director", "interfaces"])]
    pub undo: bool,
    /// Tell what is right and what is wrong
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
    /// Where it is written down what to put back
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

impl Options {
    /// What is wanted; `None`: nothing is said, so it is what was said before.
    pub fn wanted(&self) -> Result<Option<Wanted>, Refusal> {
        let Some(method) = self.method else {
            return match self.vips.first() {
                None => Ok(None),
                Some(_) => Err(Refusal::Needs("--vip", "--method dr, tunnel or masq")),
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
            device: self.device.clone(),
            director: self.director,
            unpacker: self.unpack,
            interfaces: self.interfaces.clone(),
        };
        self.fit(&wanted)?;
        Ok(Some(wanted))
    }

    #[must_use]
    pub fn state(&self) -> PathBuf {
        let said = self.state.clone();
        said.unwrap_or_else(|| DEFAULT_STATE.into())
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
        if !self.interfaces.is_empty() && (!of_tunnels || self.unpack == Unpacker::Kernel) {
            return Err(Refusal::Needs(
                "--interface",
                "--method tunnel, and --unpack xdp or auto",
            ));
        }
        if self.unpack != Unpacker::Auto && !of_tunnels {
            return Err(Refusal::Needs("--unpack", "--method tunnel"));
        }
        if wanted.method == Method::Masq && wanted.director.is_none() {
            return Err(Refusal::Needs(
                "--method masq",
                "--director, the address by which this machine reaches the director",
            ));
        }
        if let Some(vip) = wanted.director.filter(|d| wanted.vips.contains(d)) {
            return Err(Refusal::IsDirector { vip });
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
