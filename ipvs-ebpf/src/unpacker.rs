//! The program of a real server whose kernel has no tunnel device: takes tunnels' headers off packets to its virtual
//! addresses. What is looked at and what is cut stands in the library (`unpack.rs`); this is the shell, with the maps.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
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
mod program {
    use aya_ebpf::{
        bindings::xdp_action,
        macros::{map, xdp},
        maps::{Array, HashMap, PerCpuArray},
        programs::XdpContext,
    };
    use bytemuck::Pod;
    use ipvs_common::{
        Addr,
        hdr::Eth,
        unpack::{Count, MAX_ADDRESSES, Tunnel},
    };
    use ipvs_datapath::unpack::{Peek, look};

    use crate::bytes;

    #[map]
    static UNPACK_TUNNEL: Array<Tunnel> = Array::with_max_entries(1, 0);
    #[map]
    static UNPACK_ADDRS: HashMap<Addr, u8> = HashMap::with_max_entries(MAX_ADDRESSES, 0);
    #[map]
    static UNPACK_COUNTS: PerCpuArray<u64> =
        PerCpuArray::with_max_entries(Count::ALL.len() as u32, 0);

    struct Frame<'a>(&'a XdpContext);

    impl Peek for Frame<'_> {
        #[inline(always)]
        fn peek<T: Pod>(&self, at: usize) -> T {
            const { assert!(align_of::<T>() == 1) };
            // SAFETY: within the frame; any bytes are a `T` of alignment 1.
            bytes::at::<T>(self.0, at).map_or(T::zeroed(), |value| unsafe { value.read() })
        }

        #[inline(always)]
        fn length(&self) -> usize {
            self.0.data_end() - self.0.data()
        }
    }

    #[inline(always)]
    fn role(address: &Addr) -> u8 {
        // SAFETY: the value is copied at once; entries come and go only at set-up.
        unsafe { UNPACK_ADDRS.get(address) }.copied().unwrap_or(0)
    }

    #[inline(always)]
    fn count(slot: u32) {
        if let Some(counter) = UNPACK_COUNTS.get_ptr_mut(slot) {
            // SAFETY: the slot is this CPU's own.
            unsafe { *counter += 1 };
        }
    }

    #[xdp]
    pub(crate) fn ipvs_unpack(ctx: XdpContext) -> u32 {
        let Some(tunnel) = UNPACK_TUNNEL.get(0) else {
            return xdp_action::XDP_PASS;
        };
        let seen = look(&Frame(&ctx), *tunnel, role);
        if let Some(slot) = seen.counted() {
            count(slot);
        }
        if seen.drops() || (seen.bytes() != 0 && !cut(&ctx, seen.bytes(), seen.ethertype())) {
            return xdp_action::XDP_DROP;
        }
        xdp_action::XDP_PASS
    }

    /// Takes bytes out behind the Ethernet header, which then names what was inside.
    #[inline(always)]
    fn cut(ctx: &XdpContext, bytes: u32, ethertype: [u8; 2]) -> bool {
        let mut eth = Frame(ctx).peek::<Eth>(0);
        eth.0.ether_type = u16::from_ne_bytes(ethertype);
        if !bytes::move_head(ctx.ctx, bytes as i32) {
            return false;
        }
        let Some(start) = bytes::at::<Eth>(ctx, 0) else {
            return false;
        };
        // SAFETY: within the frame, with alignment 1.
        unsafe { start.write(eth) };
        true
    }
}
