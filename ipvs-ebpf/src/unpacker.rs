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

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::xdp_action,
        helpers::generated::bpf_xdp_adjust_head,
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
            let start = self.0.data() + at;
            if start + size_of::<T>() > self.0.data_end() {
                return T::zeroed();
            }
            // SAFETY: in bounds by the check above, which the verifier checks again; any bytes are a `T` of alignment 1.
            unsafe { (start as *const T).read() }
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
        // SAFETY: the context is the kernel's; no pointer into the frame is used after this.
        if unsafe { bpf_xdp_adjust_head(ctx.ctx, bytes as i32) } != 0 {
            return false;
        }
        let start = ctx.data();
        if start + size_of::<Eth>() > ctx.data_end() {
            return false;
        }
        // SAFETY: within the frame, with alignment 1.
        unsafe { (start as *mut Eth).write(eth) };
        true
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends some helpers only to programs under the GPL or a double licence with it.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
