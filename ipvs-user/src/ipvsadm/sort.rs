//! The original's order of services and real servers, with its two oddities: addresses are compared by their signed
//! difference, so 192.0.2.1 comes before 10.0.0.1, and as that is no order for three addresses around the circle, the sort
//! must be the same merge sort to give the same result.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::api::wire::{Dest, Service, ServiceId};

pub(super) fn services(list: &mut Vec<Service>) {
    merge_sort(list, &|a, b| compare_services(a.service, b.service));
}

pub(super) fn dests(list: &mut Vec<Dest>) {
    merge_sort(list, &|a, b| compare_addresses(a.address, b.address));
}

/// Positive if `a` comes after `b`.
type Compare<'a, T> = &'a dyn Fn(&T, &T) -> i64;

/// Firewall marks last, by mark; before them IPv4, IPv6, protocol, address and port.
fn compare_services(a: ServiceId, b: ServiceId) -> i64 {
    let unspecified = |ip: IpAddr| SocketAddr::new(ip, 0);
    let parts = |id| match id {
        ServiceId::Tcp(a) => (0, 6, a),
        ServiceId::Udp(a) => (0, 17, a),
        ServiceId::Sctp(a) => (0, 132, a),
        ServiceId::Fwmark(m) => (m.get(), 0, unspecified(Ipv4Addr::UNSPECIFIED.into())),
        ServiceId::Fwmark6(m) => (m.get(), 0, unspecified(Ipv6Addr::UNSPECIFIED.into())),
    };
    let ((mark_a, proto_a, a), (mark_b, proto_b, b)) = (parts(a), parts(b));
    first_difference([
        difference(mark_a, mark_b),
        i64::from(a.is_ipv6()) - i64::from(b.is_ipv6()),
        proto_a - proto_b,
        compare_addresses(a, b),
    ])
}

/// IPv4 first.
fn compare_addresses(a: SocketAddr, b: SocketAddr) -> i64 {
    let [a0, a1, a2, a3] = words(a.ip());
    let [b0, b1, b2, b3] = words(b.ip());
    first_difference([
        i64::from(a.is_ipv6()) - i64::from(b.is_ipv6()),
        difference(a0, b0),
        difference(a1, b1),
        difference(a2, b2),
        difference(a3, b3),
        i64::from(a.port()) - i64::from(b.port()),
    ])
}

fn words(ip: IpAddr) -> [u32; 4] {
    match ip {
        IpAddr::V4(ip) => [ip.to_bits(), 0, 0, 0],
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}

fn difference(a: u32, b: u32) -> i64 {
    a.wrapping_sub(b).cast_signed().into()
}

fn first_difference<const N: usize>(d: [i64; N]) -> i64 {
    d.into_iter().find(|&d| d != 0).unwrap_or(0)
}

/// The C library's: halves, the smaller first, and of equals the left one.
fn merge_sort<T>(list: &mut Vec<T>, compare: Compare<'_, T>) {
    if list.len() <= 1 {
        return;
    }
    let mut right = list.split_off(list.len() / 2);
    merge_sort(list, compare);
    merge_sort(&mut right, compare);
    let mut left = std::mem::take(list).into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(a, b) <= 0 {
            &mut left
        } else {
            &mut right
        };
        list.extend(next.next());
    }
    list.extend(left);
    list.extend(right);
}
