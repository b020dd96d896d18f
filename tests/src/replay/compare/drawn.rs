//! What the kernel draws by lot, or hashes under a key that it drew when it booted: flow labels, identifications, the source port
//! of GUE.

use ipvs_datapath::rewrite::csum;

use crate::packet::{ETHERNET, checksum};

const UDP: u8 = 17;
const GRE: u8 = 47;
const FRAGMENT: u8 = 44;

/// Whether two packets are the same but for that.
pub(crate) fn same_but_for(expected: &[u8], sent: &[u8]) -> bool {
    without(expected).is_some_and(|e| Some(e) == without(sent))
}

/// The frame without it. `None`: nothing of it was drawn.
pub(crate) fn without(frame: &[u8]) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    let (_, packet) = frame.split_at_mut_checked(ETHERNET)?;
    let (proto, l4) = match packet.first()? >> 4 {
        4 => (packet[9], v4(packet)?),
        6 => (*packet.get(6)?, v6(packet)?),
        _ => return None,
    };
    if proto == FRAGMENT {
        packet.get_mut(l4 + 4..l4 + 8)?.fill(0);
    }
    if is_gue(proto, packet.get(l4..)?) {
        let port = [packet[l4], packet[l4 + 1]];
        // An outer checksum covers it.
        let check = [packet[l4 + 6], packet[l4 + 7]];
        if check != [0; 2] {
            let patched = csum::patch(check, csum::word(port), 0);
            packet[l4 + 6..l4 + 8].copy_from_slice(&patched);
        }
        packet[l4..l4 + 2].fill(0);
        assert!(
            (32_768..60_999).contains(&u16::from_be_bytes(port)),
            "a source port of gue is a local one"
        );
    }
    Some(frame)
}

/// Identification, of packets of tunnels alone, if the header's checksum is right.
fn v4(packet: &mut [u8]) -> Option<usize> {
    let header = usize::from(packet[0] & 0xf) * 4;
    let right = checksum(packet.get(..header)?) == 0;
    let of_tunnel = matches!(packet[9], 4 | 41 | GRE) || is_gue(packet[9], packet.get(header..)?);
    if right && of_tunnel {
        for field in [4..6, 10..12] {
            packet[field].fill(0);
        }
    }
    Some(header)
}

/// Flow label.
fn v6(packet: &mut [u8]) -> Option<usize> {
    *packet.get_mut(1)? &= 0xf0;
    packet.get_mut(2..4)?.fill(0);
    Some(40)
}

/// Whether a header of UDP, and a plain one of GUE, are in front of a packet.
fn is_gue(proto: u8, behind: &[u8]) -> bool {
    let inner = |version: u8| behind.get(12).is_some_and(|first| first >> 4 == version);
    proto == UDP
        && match behind.get(8..12) {
            Some([0, 4, 0, 0]) => inner(4),
            Some([0, 41, 0, 0]) => inner(6),
            Some(_) | None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the trace `tun_gue_csum`; its second connection has another port.
    const GUE: &str = "02000001010a020000000101080045000048000040003f11259b0a0001010a00010aaf6d17c0003488a40004000045000028003b40003f06d555\
                       c6336401cb00710a00010050000003e8000000005002ffff456a0000";

    fn frame() -> Vec<u8> {
        let digits: Vec<_> = GUE.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    #[test]
    fn source_port_of_gue_may_differ_but_not_its_checksum() {
        let mut other = frame();
        let port = ETHERNET + 20;
        other[port + 1] += 1;
        assert!(!same_but_for(&frame(), &other));
        let check = &mut other[port + 7];
        *check = check.wrapping_sub(1);
        assert!(same_but_for(&frame(), &other));
        other[port + 3] += 1;
        assert!(!same_but_for(&frame(), &other));
    }
}
