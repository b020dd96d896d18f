//! Programs for the far ends of links in tests. They know nothing of services.
//!
//! A veth takes redirected frames if its far end has GRO switched on or any native XDP program; `peer_pass` is such a
//! program. `peer_decap` stands in for the `ipip` and `ip6tnl` devices of a real server, on kernels that have none. `peer_source` and
//! `peer_drop` are both ends of a benchmark.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ports, and the verdict of a helper"
    ),
    expect(
        clippy::cast_possible_wrap,
        reason = "the helper takes a signed difference"
    ),
    expect(
        clippy::needless_pass_by_value,
        reason = "the signature of a program is given"
    )
)]

#[cfg(target_arch = "bpf")]
mod bytes;
#[cfg(target_arch = "bpf")]
mod object;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::xdp_action,
        helpers::generated::bpf_redirect,
        macros::{map, xdp},
        maps::Array,
        programs::XdpContext,
    };
    use ipvs_common::{
        bench::{FRAME, Source},
        hdr::{Eth, Ipv4, Ipv6},
    };
    use ipvs_datapath::rewrite::csum::fold;

    use crate::bytes::{at, move_head};

    const ETHERTYPE_IPV4: u16 = 0x0800u16.to_be();
    const ETHERTYPE_IPV6: u16 = 0x86ddu16.to_be();
    const IPIP: u8 = 4;
    const IPV6_IN_IP: u8 = 41;
    /// Version 4, five words: no options.
    const PLAIN: u8 = 0x45;

    #[xdp]
    pub(crate) fn peer_pass(_ctx: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    #[xdp]
    pub(crate) fn peer_drop(_ctx: XdpContext) -> u32 {
        xdp_action::XDP_DROP
    }

    #[map]
    static SOURCE: Array<Source> = Array::with_max_entries(1, 0);

    /// Where the ports and the checksum of a TCP segment are, behind Ethernet and a plain IPv4 header.
    const PORTS: usize = size_of::<Eth>() + size_of::<Ipv4>();
    const CHECKSUM: usize = PORTS + 16;

    /// Run with live frames: each is sent to the interface as a driver would.
    #[xdp]
    pub(crate) fn peer_source(ctx: XdpContext) -> u32 {
        next(&ctx).unwrap_or(xdp_action::XDP_ABORTED)
    }

    fn next(ctx: &XdpContext) -> Option<u32> {
        let source = SOURCE.get_ptr_mut(0)?;
        let frame = at::<[u64; FRAME / 8]>(ctx, 0)?;
        // SAFETY: the map's value is there as long as the program, and one CPU runs it.
        let source = unsafe { &mut *source };
        let port = source.first_port + (source.sent & source.mask) as u16;
        source.sent += 1;
        let sum = !fold(source.sum + u32::from(port));
        let ports = source.ports | u32::from(port) << (source.shift & 16);
        // SAFETY: 64 bytes of the frame were checked, which begins at a multiple of eight; both places are within.
        unsafe {
            frame.write(source.frame);
            let bytes = frame.cast::<u8>();
            bytes
                .add(PORTS)
                .cast::<[u8; 4]>()
                .write(ports.to_be_bytes());
            bytes
                .add(CHECKSUM)
                .cast::<[u8; 2]>()
                .write(sum.to_be_bytes());
            Some(bpf_redirect(source.ifindex, 0) as u32)
        }
    }

    /// Takes an outer IPv4 or IPv6 header off (RFC 2003, RFC 2473). Everything else stays as it is.
    #[xdp]
    pub(crate) fn peer_decap(ctx: XdpContext) -> u32 {
        match decap(&ctx) {
            Unpacked::Yes | Unpacked::NotOurs => xdp_action::XDP_PASS,
            Unpacked::Broken => xdp_action::XDP_DROP,
        }
    }

    fn next_header(ctx: &XdpContext) -> Option<u8> {
        let ip = at::<Ipv6>(ctx, size_of::<Eth>())?;
        // SAFETY: within the frame, with alignment 1.
        Some(unsafe { ip.read() }.0.next_hdr)
    }

    enum Unpacked {
        Yes,
        NotOurs,
        Broken,
    }

    fn decap(ctx: &XdpContext) -> Unpacked {
        let (Some(eth), Some(ip)) = (at::<Eth>(ctx, 0), at::<Ipv4>(ctx, size_of::<Eth>())) else {
            return Unpacked::NotOurs;
        };
        // SAFETY: both are within the frame, any bytes are a value of theirs, and their alignment is 1.
        let (eth, ip) = unsafe { (eth.read(), ip.read()) };
        let ether_type = { eth.0.ether_type };
        let outer = if ether_type == ETHERTYPE_IPV4 && ip.0.vihl == PLAIN && ip.0.proto == IPIP {
            size_of::<Ipv4>()
        } else if ether_type == ETHERTYPE_IPV6 && next_header(ctx) == Some(IPV6_IN_IP) {
            size_of::<Ipv6>()
        } else {
            return Unpacked::NotOurs;
        };
        if !move_head(ctx.ctx, outer as i32) {
            return Unpacked::Broken;
        }
        let Some(start) = at::<Eth>(ctx, 0) else {
            return Unpacked::Broken;
        };
        // SAFETY: within the frame, with alignment 1.
        unsafe { start.write(eth) };
        Unpacked::Yes
    }
}
