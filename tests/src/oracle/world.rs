//! The network around one director, in namespaces of its own: frames go in raw at the far ends of its links, and all that
//! leaves is caught there, in order. Knows nothing of what forwards.
//!
//! ```text
//!   c0 192.0.2.1 ── clients          r1 10.0.1.1 ── real servers 10.0.1.10 to .19
//!   c1 192.0.3.1 ── marked clients   r2 10.0.2.1 ── real servers 10.0.2.10 to .19
//! ```

use std::{
    fmt::Write as _,
    io,
    net::Ipv4Addr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_common::Mac;
use nix::{
    libc,
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto,
        setsockopt, socket, sockopt::RcvBufForce,
    },
};

use super::{
    frames,
    place::{REAL_LINKS, REALS_PER_LINK, VIPS, real, real_link, real_mac},
};
use crate::{
    packet::Packet,
    topology::{FarEnd, Netns, OnFarEnd, attach, link_address},
};

/// The director's interfaces: clients', marked clients', real servers'.
pub(super) const LINKS: [&str; 4] = ["c0", "c1", "r1", "r2"];
const FAR_ENDS: [&str; 4] = ["c0p", "c1p", "r1p", "r2p"];
pub(super) const MARK: u32 = 7;
const CLIENTS: usize = 0;
pub(super) const MARKED: usize = 1;
const REALS: usize = 2;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const GATEWAY_MAC: Mac = [2, 0, 0, 0, 0x0c, 2];
/// Where markers go: a neighbour on the first real servers' link that is no real server.
pub(super) const SINK: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 250);
const SINK_MAC: Mac = [2, 0, 0, 1, 1, 250];
const MARKER_LIMIT: Duration = Duration::from_secs(3);
const RECEIVE_BUFFER: usize = 16 << 20;
/// The director sends packets on as they are, and no answers of its own get lost.
const SYSCTLS: [(&str, &str); 7] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// What becomes of frames that the director sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ends {
    Caught,
    /// As soon as they arrive, by a program, which also lets a native program send to there.
    Dropped,
    /// The stack has no use for them. What it is sent itself it takes frame by frame, as a driver does.
    Unheard,
}

/// A frame that the director sent, and the link it left by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub(super) link: usize,
    pub(super) frame: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) director: Netns,
    pub(super) around: Netns,
    /// All links' far ends at once.
    socket: OwnedFd,
    indices: [u32; LINKS.len()],
    macs: [Mac; LINKS.len()],
    markers: u16,
    _programs: Vec<OnFarEnd>,
}

impl World {
    /// `mark_in_stack` has the kernel give what comes in by `c1` its mark.
    pub(super) fn new(mark_in_stack: bool, ends: Ends) -> Result<Self> {
        let director = Netns::new("director")?;
        let around = Netns::new("around")?;
        for (key, value) in SYSCTLS {
            director.set(key, value)?;
        }
        around.set("ipv6/conf/default/disable_ipv6", "1")?;
        director.ip(&links(&around))?;
        let up = FAR_ENDS.map(|end| format!("link set {end} up arp off\n"));
        around.ip(&up.concat())?;
        for (netns, ends) in [(&director, LINKS), (&around, FAR_ENDS)] {
            ends.iter().try_for_each(|end| bare(netns, end))?;
        }
        if mark_in_stack {
            mark(&director)?;
        }
        let program = match ends {
            Ends::Caught => Some(FarEnd::Pass),
            Ends::Dropped => Some(FarEnd::Drop),
            Ends::Unheard => None,
        };
        let programs = FAR_ENDS.iter().filter_map(|end| {
            let program = program?;
            Some(attach(&around, end, program))
        });
        let programs = programs.collect::<Result<_>>()?;
        if ends == Ends::Unheard {
            for link in LINKS {
                // Without a program, this is what lets it take frames.
                director.output("ethtool", &["-K", link, "gro", "on"])?;
            }
        }
        let (socket, indices) = around.enter(|| open(ends))?;
        Ok(Self {
            director,
            around,
            socket,
            indices,
            macs: [0, 1, 2, 3].map(mac),
            markers: 0,
            _programs: programs,
        })
    }

    /// Injects what a client sends.
    pub(super) fn client_sends(&self, packet: Packet, marked: bool) -> Result<()> {
        let (link, frame) = self.frame_of_client(packet, marked);
        self.send(link, &frame)
    }

    /// Injects what the real server that it comes from sends.
    pub(super) fn real_sends(&self, packet: Packet) -> Result<()> {
        let (link, frame) = self.frame_of_real(packet);
        self.send(link, &frame)
    }

    /// With the link that it goes in by.
    pub(super) fn frame_of_client(&self, packet: Packet, marked: bool) -> (usize, Vec<u8>) {
        let link = if marked { MARKED } else { CLIENTS };
        (link, packet.between(GATEWAY_MAC, self.macs[link]).frame())
    }

    pub(super) fn frame_of_real(&self, packet: Packet) -> (usize, Vec<u8>) {
        let link = REALS + usize::from(real_link(packet.src));
        let from = real_mac(*packet.src.ip());
        (link, packet.between(from, self.macs[link]).frame())
    }

    /// Whose far end gets what a director is to receive by a link.
    pub(super) const fn sends_by(&self, link: usize) -> u32 {
        self.indices[link]
    }

    fn send(&self, link: usize, frame: &[u8]) -> Result<()> {
        let to = link_address(self.indices[link]);
        let sent = sendto(self.socket.as_raw_fd(), frame, &to, MsgFlags::empty());
        sent.with_context(|| format!("sending to {}", LINKS[link]))?;
        Ok(())
    }

    /// All that left since the last call, up to markers that go in now.
    pub(super) fn settle(&mut self) -> Result<Vec<Sent>> {
        let mut all = Vec::new();
        for link in [MARKED, CLIENTS] {
            all.extend(self.settle_by(link)?);
        }
        Ok(all)
    }

    /// What came in by one link is behind what came in by another, however long ago, as long as nobody looked for it.
    fn settle_by(&mut self, link: usize) -> Result<Vec<Sent>> {
        self.markers = self.markers.wrapping_add(1);
        let number = self.markers;
        let marker = frames::marker(GATEWAY_MAC, self.macs[link], GATEWAY, SINK, number);
        self.send(link, &marker)?;
        let (mut all, mut passed) = (Vec::new(), false);
        let start = Instant::now();
        while !passed {
            ensure!(
                start.elapsed() < MARKER_LIMIT,
                "the director routes nothing"
            );
            self.wait(Duration::from_millis(100))?;
            passed |= self.receive(&mut all, number)?;
        }
        self.receive(&mut all, number)?;
        Ok(all)
    }

    /// What leaves within a time, without a marker.
    pub(super) fn late(&self, time: Duration) -> Result<Vec<Sent>> {
        std::thread::sleep(time);
        let mut all = Vec::new();
        self.receive(&mut all, 0)?;
        Ok(all)
    }

    fn wait(&self, time: Duration) -> Result<()> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(time)?)?;
        Ok(())
    }

    /// Takes what is there; whether the marker of this number was among it.
    fn receive(&self, all: &mut Vec<Sent>, marker: u16) -> Result<bool> {
        let (mut buffer, mut passed) = ([0; 4096], false);
        loop {
            let got = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer);
            let (len, from) = match got {
                Ok((len, Some(from))) => (len, from),
                Ok((_, None)) => continue,
                Err(nix::Error::EAGAIN) => return Ok(passed),
                Err(e) => return Err(e).context("receiving frames"),
            };
            let frame = &buffer[..len];
            let link = self
                .indices
                .iter()
                .position(|i| *i as usize == from.ifindex());
            match frames::marker_number(frame) {
                // What was sent to the director is seen here as well.
                _ if from.pkttype() == libc::PACKET_OUTGOING => {}
                Some(number) => passed |= number == marker,
                None => all.extend(link.filter(|_| frames::is_ipv4(frame)).map(|link| Sent {
                    link,
                    frame: frame.to_vec(),
                })),
            }
        }
    }
}

fn links(around: &Netns) -> String {
    let mut text = String::new();
    for (link, (name, end)) in LINKS.iter().zip(FAR_ENDS).enumerate() {
        let (mac, path) = (colons(mac(link)), around.path());
        let address = match link {
            CLIENTS => "192.0.2.1/24".to_owned(),
            MARKED => "192.0.3.1/24".to_owned(),
            _ => format!("10.0.{}.1/24", link - 1),
        };
        let _ = writeln!(
            text,
            "link add {name} address {mac} type veth peer name {end} netns {path}\n\
             link set {name} up\n\
             addr add {address} dev {name}"
        );
    }
    let mut neighbours = vec![(GATEWAY, GATEWAY_MAC, "c0"), (SINK, SINK_MAC, "r1")];
    neighbours.extend((0..REAL_LINKS * REALS_PER_LINK).map(|index| {
        let link = LINKS[REALS + usize::from(index % REAL_LINKS)];
        (real(index), real_mac(real(index)), link)
    }));
    for (address, mac, link) in neighbours {
        let mac = colons(mac);
        let _ = writeln!(
            text,
            "neigh add {address} lladdr {mac} dev {link} nud permanent"
        );
    }
    let _ = writeln!(
        text,
        "route add default via {GATEWAY}\nroute add local {VIPS} dev lo"
    );
    text
}

/// Frames are what was sent: nothing completes, cuts or joins them.
fn bare(netns: &Netns, interface: &str) -> Result<()> {
    let off = ["tx", "rx", "tso", "gso", "gro", "sg"].map(|feature| [feature, "off"]);
    let args: Vec<_> = ["-K", interface]
        .into_iter()
        .chain(off.into_iter().flatten())
        .collect();
    netns.output("ethtool", &args).map(drop)
}

fn mark(director: &Netns) -> Result<()> {
    let (link, mark) = (LINKS[MARKED], MARK.to_string());
    director.output("tc", &["qdisc", "add", "dev", link, "ingress"])?;
    let filter = [
        "filter", "add", "dev", link, "parent", "ffff:", "protocol", "all", "matchall", "action",
        "skbedit", "mark", &mark,
    ];
    director.output("tc", &filter).map(drop)
}

/// Of the director's interface.
const fn mac(link: usize) -> Mac {
    [2, 0, 0, 0, link as u8, 1]
}

fn colons(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn open(ends: Ends) -> Result<(OwnedFd, [u32; LINKS.len()])> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK,
        (ends == Ends::Caught).then_some(SockProtocol::EthAll),
    )
    .context("a packet socket")?;
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).context("a large buffer")?;
    let mut indices = [0; LINKS.len()];
    for (index, end) in indices.iter_mut().zip(FAR_ENDS) {
        *index = if_nametoindex(end).map_err(io::Error::from)?;
    }
    Ok((socket, indices))
}
