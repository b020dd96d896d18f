//! Traffic of which nothing was kept but connections and totals: every connection of a real server has sent and got the
//! same, in segments of one length after the first.

use std::collections::BTreeMap;

use super::{
    super::{listing::Row, statistics::Sheet},
    Flow,
    fill::flow,
};
use crate::{
    packet::flag,
    trace::{Frame, Network, Trace, What},
};
use ipvs_common::Proto;

/// IP and TCP header of the segments.
const HEADERS: u64 = 40;
const UDP_HEADERS: u64 = 28;

/// The frames, each with a note.
pub(super) fn frames(
    trace: &Trace,
    network: &Network,
    rows: &[Row],
) -> Result<Vec<(String, Frame)>, String> {
    let mut frames = Vec::new();
    let mut by_real: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_real.entry(row.real).or_default().push(row);
    }
    for (real, rows) in by_real {
        let unclear = || format!("nothing tells what went to {real}");
        let totals = totals(trace, &real.to_string()).ok_or_else(unclear)?;
        let each = |total: u64| {
            let count = rows.len() as u64;
            total.is_multiple_of(count).then(|| total / count)
        };
        let [conns, ins, outs, in_bytes, out_bytes] = totals;
        let shares = [ins, outs, in_bytes, out_bytes].map(each);
        let [Some(ins), Some(outs), Some(in_bytes), Some(out_bytes)] = shares else {
            return Err(unclear());
        };
        if conns != rows.len() as u64 || ins == 0 {
            return Err(unclear());
        }
        for row in rows {
            let flow = flow(row).ok_or_else(unclear)?;
            let share = Share {
                ins,
                outs,
                in_bytes,
                out_bytes,
            };
            let made = share.frames(&flow, row, network).ok_or_else(unclear)?;
            let note = format!("of {}, not recorded", flow.client);
            frames.extend(made.into_iter().map(|f| (note.clone(), f)));
        }
    }
    Ok(frames)
}

/// The first totals of a real server that are not zero.
fn totals(trace: &Trace, real: &str) -> Option<[u64; 5]> {
    let shown = trace.steps.iter().filter_map(|s| match &s.what {
        What::Show { cmd, out } => cmd.contains("--stats").then_some(out),
        What::In(_)
        | What::Out(_)
        | What::Ctl { .. }
        | What::Sysctl { .. }
        | What::Sleep { .. } => None,
    });
    shown.chain(&trace.after.stats).find_map(|listing| {
        let numbers = Sheet::read(listing).of_real_server(real)?;
        numbers.iter().any(|n| *n != 0).then_some(numbers)
    })
}

/// What one connection sent and got.
struct Share {
    ins: u64,
    outs: u64,
    in_bytes: u64,
    out_bytes: u64,
}

impl Share {
    fn frames(&self, flow: &Flow, row: &Row, network: &Network) -> Option<Vec<Frame>> {
        let headers = match flow.proto {
            Proto::Tcp => HEADERS,
            Proto::Udp => UDP_HEADERS,
            // Frames of SCTP were all kept.
            Proto::Sctp => return None,
        };
        // The first packet of TCP is a SYN without data.
        let first = if flow.proto == Proto::Tcp {
            headers
        } else {
            self.in_bytes / self.ins
        };
        let data = length(self.in_bytes.checked_sub(first)?, self.ins - 1, headers)?;
        let reply = length(self.out_bytes, self.outs, headers)?;
        let mut frames = vec![match flow.proto {
            Proto::Tcp | Proto::Sctp => flow.opening(network),
            Proto::Udp => flow.segment(network, 0, usize::try_from(first - headers).ok()?),
        }];
        for n in 0..self.outs.max(self.ins - 1) {
            if n < self.ins - 1 {
                frames.push(flow.segment(network, flag::ACK, data));
            }
            if n < self.outs {
                frames.push(flow.reply(network, row.real, flag::ACK, reply)?);
            }
        }
        Some(frames)
    }
}

/// Bytes of data in each of so many packets.
fn length(bytes: u64, packets: u64, headers: u64) -> Option<usize> {
    if packets == 0 {
        return (bytes == 0).then_some(0);
    }
    let data = (bytes / packets).checked_sub(headers)?;
    let whole = bytes.is_multiple_of(packets);
    whole.then(|| usize::try_from(data).ok())?
}
