//! Packets that come in fragments. The kernel's ip_vs puts them together and sends their fragments in order once the last one is
//! there; this director sends each when it knows where to. So what it sent of a packet is compared when all of that has come in.

use std::{collections::BTreeMap, net::Ipv4Addr};

use etherparse::Ipv4HeaderSlice;

use crate::{packet::ETHERNET, trace::Frame};

/// Of which packet a fragment is.
type Which = (Ipv4Addr, Ipv4Addr, u16, u8);

/// A fragment that came in.
pub(super) struct Piece {
    which: Which,
    offset: usize,
    len: usize,
    more: bool,
}

#[derive(Default)]
struct Whole {
    /// Bytes that came in.
    came: usize,
    /// Bytes that there are, once the last fragment told.
    end: Option<usize>,
    sent: Vec<Frame>,
}

#[derive(Default)]
pub(super) struct Fragments {
    /// By link; as the daemon holds them.
    pub(super) held: Vec<(usize, Vec<u8>)>,
    packets: BTreeMap<Which, Whole>,
}

impl Piece {
    /// `None`: the frame has none.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let header = Ipv4HeaderSlice::from_slice(frame.get(ETHERNET..)?).ok()?;
        header.is_fragmenting_payload().then(|| Self {
            which: (
                header.source_addr(),
                header.destination_addr(),
                header.identification(),
                header.protocol().0,
            ),
            offset: usize::from(header.fragments_offset().value()) * 8,
            len: usize::from(header.total_len()) - header.slice().len(),
            more: header.more_fragments(),
        })
    }
}

impl Fragments {
    /// What left because of a fragment. Returns all that left of its packet if that has come in as a whole.
    pub(super) fn add(&mut self, piece: &Piece, sent: Vec<Frame>) -> Vec<Frame> {
        let whole = self.packets.entry(piece.which).or_default();
        whole.came += piece.len;
        if !piece.more {
            whole.end = Some(piece.offset + piece.len);
        }
        whole.sent.extend(sent);
        if whole.end != Some(whole.came) {
            return Vec::new();
        }
        let mut sent = self.packets.remove(&piece.which).unwrap_or_default().sent;
        sent.sort_by_key(|frame| Piece::of(&frame.bytes).map_or(0, |piece| piece.offset));
        sent
    }
}
