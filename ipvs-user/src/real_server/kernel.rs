//! The machine's links, addresses and routes over netlink: asked, and changed. Knows nothing of why.

use std::{io, net::IpAddr, os::fd::AsRawFd as _};

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo},
        link::{
            InfoData, InfoGre, InfoGre6, InfoIpTunnel, InfoKind, LinkAttribute, LinkMessage,
            LinkXdp,
        },
        route::RouteMessage,
    },
};

use super::wanted::{Device, Family};
use crate::{
    dataplane::unpack::Loaded,
    net::{NetError, Result},
};

/// `XDP_FLAGS_UPDATE_IF_NOEXIST`, `…_SKB_MODE`, `…_DRV_MODE`
const IF_NONE: u32 = 1;
const GENERIC: u32 = 2;
const NATIVE: u32 = 4;

/// No route, or one that refuses: of type unreachable, prohibit or blackhole.
const NO_ROUTE: [i32; 4] = [
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    libc::EACCES,
    libc::EINVAL,
];

pub(super) struct Kernel(Handle);

impl Kernel {
    /// Wants a tokio runtime, which carries the connection from then on.
    pub(super) fn connect() -> Result<Self> {
        let (connection, handle, _) = new_connection().map_err(NetError::on("routing netlink"))?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    pub(super) async fn links(&self) -> Result<Vec<LinkMessage>> {
        let links = self.0.link().get().execute().try_collect().await;
        links.map_err(failed("list of interfaces"))
    }

    pub(super) async fn addresses(&self) -> Result<Vec<AddressMessage>> {
        let all = self.0.address().get().execute().try_collect().await;
        all.map_err(failed("list of addresses"))
    }

    pub(super) async fn routes(&self, family: Family) -> Result<Vec<RouteMessage>> {
        let mut all = RouteMessage::default();
        all.header.address_family = address_family(family);
        let routes = self.0.route().get(all).execute().try_collect().await;
        routes.map_err(failed("list of routes"))
    }

    /// The route that packets to an address would take.
    pub(super) async fn route_to(&self, to: IpAddr) -> Result<Option<RouteMessage>> {
        let query = RouteMessageBuilder::<IpAddr>::new();
        let query = query.destination_prefix(to, Family::of(to).bits());
        let query = query.map_err(|e| failed("route")(io::Error::other(e.to_string())))?;
        let mut routes = std::pin::pin!(self.0.route().get(query.build()).execute());
        match routes.try_next().await {
            Err(e) if code(&e).is_some_and(|c| NO_ROUTE.contains(&c)) => Ok(None),
            route => route.map_err(failed(format!("route to {to}"))),
        }
    }

    /// Number of an interface; `None`: there is none of this name.
    pub(super) async fn index(&self, name: &str) -> Result<Option<u32>> {
        let query = self.0.link().get().match_name(name.to_owned());
        let mut links = std::pin::pin!(query.execute());
        match links.try_next().await {
            Err(e) if code(&e) == Some(libc::ENODEV) => Ok(None),
            link => {
                let link = link.map_err(failed(format!("interface {name}")))?;
                Ok(link.map(|l| l.header.index))
            }
        }
    }

    /// False: it was there.
    pub(super) async fn add_address(&self, index: u32, address: IpAddr) -> Result<bool> {
        let mut add = self.0.address().add(index, address, 0);
        *add.message_mut() = address_message(index, address);
        match add.execute().await {
            Err(e) if code(&e) == Some(libc::EEXIST) => Ok(false),
            done => done
                .map(|()| true)
                .map_err(failed(format!("address {address}"))),
        }
    }

    /// No error if it is not there.
    pub(super) async fn remove_address(&self, index: u32, address: IpAddr) -> Result<()> {
        let message = address_message(index, address);
        match self.0.address().del(message).execute().await {
            Err(e) if !matches!(code(&e), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                Err(failed(format!("address {address}"))(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes a device that takes packets of every sender. False: its module came with one that does.
    pub(super) async fn make(&self, device: Device, name: &str) -> Result<bool> {
        let mut message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind(device))
            .name(name.to_owned());
        if let Some(data) = external(device) {
            message = message.set_info_data(data);
        }
        match self.0.link().add(message.build()).execute().await {
            Err(e) if code(&e) == Some(libc::EEXIST) && !device.is_external() => Ok(false),
            done => done
                .map(|()| true)
                .map_err(failed(format!("device {name} of type {device}"))),
        }
    }

    /// No error if it is not there, or not to be removed because it came with its module.
    pub(super) async fn remove(&self, index: u32) -> Result<()> {
        match self.0.link().del(index).execute().await {
            Err(e) if !matches!(code(&e), Some(libc::ENODEV | libc::EOPNOTSUPP)) => {
                Err(failed("device")(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn set_up(&self, index: u32, up: bool) -> Result<()> {
        let link = LinkUnspec::new_with_index(index);
        let link = if up { link.up() } else { link.down() };
        let set = self.0.link().set(link.build()).execute().await;
        set.map_err(failed("device"))
    }

    /// In the driver, or else in the stack, which is told.
    pub(super) async fn attach(&self, index: u32, program: &Loaded) -> Result<bool> {
        let fd = program.with_fd(|fd| fd.as_raw_fd());
        let fd = fd.map_err(NetError::on("XDP program"))?;
        match self.xdp(index, fd, NATIVE | IF_NONE).await {
            Ok(()) => Ok(false),
            // Another program, or no right to have one: the stack would say the same.
            Err(e) if matches!(code(&e), Some(libc::EBUSY | libc::EPERM | libc::EEXIST)) => {
                Err(failed("XDP program")(e))
            }
            Err(_) => {
                let attached = self.xdp(index, fd, GENERIC | IF_NONE).await;
                attached.map(|()| true).map_err(failed("XDP program"))
            }
        }
    }

    pub(super) async fn detach(&self, index: u32, generic: bool) -> Result<()> {
        let mode = if generic { GENERIC } else { NATIVE };
        let detached = self.xdp(index, -1, mode).await;
        detached.map_err(failed("XDP program"))
    }

    async fn xdp(&self, index: u32, fd: i32, flags: u32) -> std::result::Result<(), Error> {
        let xdp = LinkAttribute::Xdp(vec![LinkXdp::Fd(fd), LinkXdp::Flags(flags)]);
        let message = LinkUnspec::new_with_index(index).append_extra_attribute(xdp);
        self.0.link().set(message.build()).execute().await
    }
}

fn address_message(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = Family::of(address).bits();
    message.header.family = address_family(Family::of(address));
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    if address.is_ipv6() {
        // Nobody else is asked whether it is free, for the director has it; and nothing that begins here has it as its source.
        message.header.flags = AddressHeaderFlags::Nodad;
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        let mut times = CacheInfo::default();
        (times.ifa_preferred, times.ifa_valid) = (0, u32::MAX);
        let times = AddressAttribute::CacheInfo(times);
        message.attributes.extend([flags, times]);
    }
    message
}

const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

const fn kind(device: Device) -> InfoKind {
    match device {
        Device::Ipip => InfoKind::IpIp,
        Device::Ip6tnl => InfoKind::Ip6Tnl,
        Device::Sit => InfoKind::SitTun,
        Device::Gre => InfoKind::GreTun,
        Device::Ip6gre => InfoKind::GreTun6,
    }
}

/// Packets of every sender, whichever version is inside.
fn external(device: Device) -> Option<InfoData> {
    match device {
        Device::Ipip | Device::Ip6tnl => {
            Some(InfoData::IpTunnel(vec![InfoIpTunnel::CollectMetadata]))
        }
        Device::Gre => Some(InfoData::GreTun(vec![InfoGre::CollectMetadata])),
        Device::Ip6gre => Some(InfoData::GreTun6(vec![InfoGre6::CollectMetadata])),
        Device::Sit => None,
    }
}

/// The number of the kernel's error.
fn code(error: &Error) -> Option<i32> {
    let Error::NetlinkError(message) = error else {
        return None;
    };
    io::Error::raw_os_error(&message.to_io())
}

fn failed<E>(what: impl Into<String>) -> impl FnOnce(E) -> NetError
where
    E: IntoIo,
{
    let what = what.into();
    move |e| NetError::on(what)(e.into_io())
}

/// The kernel's errors in words.
trait IntoIo {
    fn into_io(self) -> io::Error;
}

impl IntoIo for io::Error {
    fn into_io(self) -> io::Error {
        self
    }
}

impl IntoIo for Error {
    fn into_io(self) -> io::Error {
        if let Self::NetlinkError(message) = &self {
            return message.to_io();
        }
        io::Error::other(self.to_string())
    }
}
