//! Frames for people.

use std::{fmt::Write as _, net::Ipv4Addr};

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, SlicedPacket, TransportSlice};

use super::{ETHERNET, check::checksum};

/// A frame in one line.
#[must_use]
pub fn describe(frame: &[u8]) -> String {
    let mut text = String::new();
    if let Some([d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]) = frame.first_chunk::<12>() {
        let _ = write!(
            text,
            "{s0:02x}:{s1:02x}:{s2:02x}:{s3:02x}:{s4:02x}:{s5:02x} > {d0:02x}:{d1:02x}:{d2:02x}:{d3:02x}:{d4:02x}:{d5:02x} "
        );
    }
    let _ = match frame.get(12..14) {
        Some([8, 0]) => write!(text, "{}", describe_ip(&frame[ETHERNET..])),
        Some([0x86, 0xdd]) => write!(text, "{}", describe_six(&frame[ETHERNET..])),
        Some([a, b]) => write!(text, "ethertype {a:02x}{b:02x}"),
        _ => write!(text, "cut short"),
    };
    let _ = write!(text, " [{} bytes]", frame.len());
    text
}

fn describe_ip(packet: &[u8]) -> String {
    let Ok(ip) = Ipv4HeaderSlice::from_slice(packet) else {
        return "no IPv4 header".to_owned();
    };
    let mut text = format!(
        "{} > {} ttl {} id {} len {}",
        Ipv4Addr::from(ip.source()),
        Ipv4Addr::from(ip.destination()),
        ip.ttl(),
        ip.identification(),
        ip.total_len(),
    );
    let (tos, more) = (packet[1], ip.more_fragments());
    let fields = [
        (tos != 0, format!(" tos {tos:#x}")),
        (ip.dont_fragment(), " DF".to_owned()),
        (more, " MF".to_owned()),
        (
            ip.fragments_offset().value() != 0,
            format!(" offset {}", u32::from(ip.fragments_offset().value()) * 8),
        ),
        (
            !ip.options().is_empty(),
            format!(" options {:02x?}", ip.options()),
        ),
        (checksum(ip.slice()) != 0, " BAD IP CHECKSUM".to_owned()),
    ];
    text.extend(fields.into_iter().filter(|f| f.0).map(|f| f.1));
    text + &describe_inside(packet, &ip)
}

fn describe_six(packet: &[u8]) -> String {
    let Ok(ip) = Ipv6HeaderSlice::from_slice(packet) else {
        return "no IPv6 header".to_owned();
    };
    let text = format!(
        "{} > {} hop limit {} class {:#x} length {}",
        ip.source_addr(),
        ip.destination_addr(),
        ip.hop_limit(),
        ip.traffic_class(),
        ip.payload_length(),
    );
    let data = packet.get(ip.slice().len()..).unwrap_or_default();
    match (ip.next_header().0, data) {
        (41, _) => format!("{text} ip6ip6 {{ {} }}", describe_six(data)),
        (58, [kind, code, _, _, a, b, c, d, quoted @ ..]) => format!(
            "{text} icmpv6 {kind}/{code} rest {:02x?} about {{ {} }}",
            [a, b, c, d],
            describe_six(quoted)
        ),
        (number, _) => text + &describe_transport(packet, number, data.len()),
    }
}

fn describe_inside(packet: &[u8], ip: &Ipv4HeaderSlice<'_>) -> String {
    let data = packet.get(ip.slice().len()..).unwrap_or_default();
    if ip.protocol().0 == 4 {
        return format!(" ipip {{ {} }}", describe_ip(data));
    }
    if let [kind, code, _, _, rest @ ..] = data
        && ip.protocol().0 == 1
    {
        let quoted = rest.get(4..).unwrap_or_default();
        return format!(
            " icmp {kind}/{code} rest {:02x?} about {{ {} }}",
            rest.get(..4).unwrap_or_default(),
            describe_ip(quoted)
        );
    }
    describe_transport(packet, ip.protocol().0, data.len())
}

fn describe_sctp(packet: &[u8], len: usize) -> Option<String> {
    let sctp = packet.get(packet.len().checked_sub(len)?..)?;
    let (header, [kind, ..]) = sctp.split_at_checked(12)? else {
        return None;
    };
    let port = |at: usize| u16::from(header[at]) << 8 | u16::from(header[at + 1]);
    let (src, dst) = (port(0), port(2));
    let (tag, check) = (hex(&header[4..8]), hex(&header[8..]));
    Some(format!(
        " sctp {src} > {dst} tag {tag} check {check} chunk {kind}, {len} bytes"
    ))
}

fn describe_transport(packet: &[u8], number: u8, len: usize) -> String {
    if number == 132
        && let Some(text) = describe_sctp(packet, len)
    {
        return text;
    }
    let Ok(sliced) = SlicedPacket::from_ip(packet) else {
        return format!(" proto {number}, contradicting itself");
    };
    match sliced.transport {
        Some(TransportSlice::Tcp(t)) => format!(
            " tcp {} > {} flags {:#04x} seq {} ack {} check {:04x}, {} bytes of data",
            t.source_port(),
            t.destination_port(),
            t.slice()[13],
            t.sequence_number(),
            t.acknowledgment_number(),
            t.checksum(),
            t.payload().len(),
        ),
        Some(TransportSlice::Udp(u)) => format!(
            " udp {} > {} check {:04x}, {} bytes of data",
            u.source_port(),
            u.destination_port(),
            u.checksum(),
            u.payload().len(),
        ),
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_))
        | None => {
            format!(" proto {number}, {len} bytes")
        }
    }
}

/// Two frames that should be the same, decoded and in hex, with the bytes that differ.
#[must_use]
pub fn contrast(expected: &[u8], actual: &[u8]) -> String {
    let bytes = expected.len().max(actual.len());
    let differ = (0..bytes).filter(|i| expected.get(*i) != actual.get(*i));
    let differ: Vec<_> = differ.take(24).collect();
    format!(
        "expected {}\n     got {}\nbytes that differ: {differ:?}\nexpected {}\n     got {}",
        describe(expected),
        describe(actual),
        hex(expected),
        hex(actual)
    )
}

#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
