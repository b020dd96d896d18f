//! The original's order of services and real servers, with its two oddities: addresses are compared by their signed
//! difference, so 192.0.2.1 comes before 10.0.0.1, and as that is no order for three addresses around the circle, the sort
//! must be the same merge sort to give the same result.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::api::wire::{Dest, Service, ServiceId};

pub(super) fn services(list: &mut Vec<Service>) {
    merge_sort(list, &|a, b| compare_services(a.service, b.service));
}

pub(super) fn dests(list: &mut Vec<Dest>) {
    merge_sort(list, &|a, b| compare_addresses(a.address, b.address));
}

/// Positive if `a` comes after `b`.
type Compare<'a, T> = &'a dyn Fn(&T, &T) -> i64;

/// Firewall marks last, by mark; before them protocol, address and port.
fn compare_services(a: ServiceId, b: ServiceId) -> i64 {
    let parts = |id| match id {
        ServiceId::Tcp(a) => (0, 6, a),
        ServiceId::Udp(a) => (0, 17, a),
        ServiceId::Fwmark(m) => (
            i64::from(m.get()),
            0,
            SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        ),
    };
    let ((mark_a, proto_a, a), (mark_b, proto_b, b)) = (parts(a), parts(b));
    first_difference([mark_a - mark_b, proto_a - proto_b, compare_addresses(a, b)])
}

fn compare_addresses(a: SocketAddrV4, b: SocketAddrV4) -> i64 {
    let signed = a
        .ip()
        .to_bits()
        .wrapping_sub(b.ip().to_bits())
        .cast_signed();
    first_difference([signed.into(), i64::from(a.port()) - i64::from(b.port()), 0])
}

fn first_difference(d: [i64; 3]) -> i64 {
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
