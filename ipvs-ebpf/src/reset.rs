//! TCP resets that the director sends to clients in the name of a real server that is gone, made in the place of the segment
//! they answer (RFC 9293, 3.5.2, and 3.10.7.1 for their numbers).

use ipvs_common::{
    DropReason, Hop,
    hdr::{Eth, TCP_CHECK},
};

use crate::{
    Ip,
    frame::Frame,
    ip,
    parse::{L3, Packet, flag},
    rewrite::csum,
};

/// A TCP header without options, as bytes.
type Header = [u8; LEN];
const LEN: usize = 20;
const TCP: u8 = 6;
/// Where the header's length stands, in words, in the upper half.
const DATA_OFFSET: usize = 12;

/// Turns the segment into the reset that answers it.
#[inline(always)]
pub fn build<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>, hop: &Hop) -> Result<(), DropReason> {
    let segment = *f.at::<Header>(p.l4)?;
    let mut reset = answer(p, &segment);
    let l4 = L3 + A::HEADER;
    f.truncate(l4 + LEN)?;
    let eth = f.at::<Eth>(0)?;
    eth.0.dst_addr = hop.dst_mac;
    eth.0.src_addr = hop.src_mac;
    A::put_header(
        f,
        &ip::Header {
            src: p.key.dst,
            dst: p.key.src,
            proto: TCP,
            len: (A::HEADER + LEN) as u16,
            tos: 0,
            ttl: 64,
            df: true,
            id: [0; 2],
        },
    )?;
    *f.at::<Header>(l4)? = reset;
    let sum = f.sum(l4, LEN)? + csum::pseudo(p.key.dst, p.key.src, TCP, LEN as u16);
    let [high, low] = (!csum::fold(sum)).to_be_bytes();
    reset[TCP_CHECK] = high;
    reset[TCP_CHECK + 1] = low;
    *f.at::<Header>(l4)? = reset;
    Ok(())
}

/// With an acknowledgement, the reset is where that points; without, it acknowledges all that came.
#[inline(always)]
fn answer<A: Ip>(p: &Packet<A>, segment: &Header) -> Header {
    let [sa, sb, da, db, s0, s1, s2, s3, a0, a1, a2, a3, offset, ..] = *segment;
    let mut reset = [0; LEN];
    [reset[0], reset[1], reset[2], reset[3]] = [da, db, sa, sb];
    reset[DATA_OFFSET] = 0x50;
    if p.has(flag::ACK) {
        [reset[4], reset[5], reset[6], reset[7]] = [a0, a1, a2, a3];
        reset[DATA_OFFSET + 1] = flag::RST;
        return reset;
    }
    let data = u32::from(p.l4_len).saturating_sub(u32::from(offset >> 4) * 4);
    let counted = u32::from(p.has(flag::SYN)) + u32::from(p.has(flag::FIN));
    let end = u32::from_be_bytes([s0, s1, s2, s3])
        .wrapping_add(data)
        .wrapping_add(counted);
    [reset[8], reset[9], reset[10], reset[11]] = end.to_be_bytes();
    reset[DATA_OFFSET + 1] = flag::RST | flag::ACK;
    reset
}
