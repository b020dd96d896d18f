//! Every way a packet leaves other than forwarded, and every event worth a number: one table gives number, name and help.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident, $first:literal, $kind:literal: $($(#[$help:meta])* $variant:ident = $text:literal, $long:literal;)*) => {
        $(#[$doc])*
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// First slot of this kind in the counter map.
            pub const FIRST: u32 = $first;
            /// What the counters of this kind have in common.
            pub const KIND: &'static str = $kind;

            /// Slot in the counter map.
            #[must_use]
            #[inline(always)]
            pub const fn slot(self) -> u32 {
                $first + self as u32
            }

            /// Short name, fit for a metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// One sentence for a person.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $long),* }
            }
        }
    };
}

reasons! {
    /// Why a packet went up to the kernel's own stack.
    PassReason, 0, "pass":
    NotIp = "not_ip", "neither an IPv4 nor an IPv6 packet: ARP and the like";
    NotForUs = "not_for_us", "frame to another station, or to a group";
    Malformed = "malformed", "header lengths contradict each other; the stack decides";
    OtherProtocol = "other_protocol", "neither TCP, UDP nor SCTP";
    Fragment = "fragment", "fragment of a packet that is of no connection";
    NoService = "no_service", "neither a connection nor a virtual service matches";
    CannotOpen = "cannot_open", "the service matches, but this segment opens no connection (no SYN or INIT, or RST or ABORT)";
    SourcePort20 = "source_port_20", "new flow from source port 20, which ip_vs never schedules";
    NotLocal = "not_local", "a firewall mark service matches, but the address is not the director's";
    KernelRoutes = "kernel_routes", "translated, and given to the kernel to route: its egress takes no XDP frames, or the packet is an aggregate";
    Unresolved = "unresolved", "translated, and given to the kernel because the neighbour is not resolved yet";
    Localnode = "localnode", "the real server is the director itself";
    StandsBy = "stands_by", "a client's packet, while another director balances (`backup_only`)";
    Extensions = "extensions", "more or longer extension headers of IPv6 than are followed";
    FragmentEarly = "fragment_early", "fragment that came before the first one of its packet, while the daemon took no more of them, or not of that length";
    ReplyForKernel = "reply_for_kernel", "reply that may not go on (time to live, length): the stack tells the real server";
    IcmpStranger = "icmp_stranger", "ICMP error about no connection of the director's";
    IcmpOfRequest = "icmp_of_request", "ICMP error to a client whose connection is not masqueraded: counted, and left to the kernel to route";
    VlanUnknown = "vlan_unknown", "frame of a VLAN that no device on the interface is for, or with more than two tags";
}

reasons! {
    /// Why a packet was dropped.
    DropReason, 32, "drop":
    Truncated = "truncated", "frame ends inside a header that was already read";
    NoHeadroom = "no_headroom", "no room in front of the frame for another header";
    DestGone = "dest_gone", "the connection's real server was deleted (ip_vs drops in silence, too)";
    NoDest = "no_dest", "no real server is available; answered with port unreachable";
    TtlExceeded = "ttl_exceeded", "time to live used up; answered with time exceeded";
    TooBig = "too_big", "longer than the path takes and not to be fragmented; answered with fragmentation needed";
    IcmpLimited = "icmp_limited", "an ICMP error was due, but this second's share is used up";
    IcmpNoRoute = "icmp_no_route", "an ICMP error was due, but there is no resolved way to the client";
    NoRoute = "no_route", "the route to the real server refuses";
    EgressNoXdp = "egress_no_xdp", "the interface towards the real server takes no XDP frames, and this forwarding method cannot go through the kernel's routing";
    Aggregate = "aggregate", "generic mode: the packet is an aggregate of segments, which only masquerading through the kernel can forward";
    HandOver = "hand_over", "had to be fragmented, or to wait for its neighbour, but the daemon took no more frames, or not of that length";
    ConnTableFull = "conn_table_full", "no room for a new connection";
    DropPacket = "drop_packet", "new connection, while the defence `drop_packet` is in force";
    DestGoneReset = "dest_gone_reset", "the connection's real server was deleted, and the service resets (`on_dead`): answered with a reset";
    Internal = "internal", "the program met a state that should not exist";
    IcmpPeerLimited = "icmp_peer_limited", "an ICMP error was due, but that client was told often enough";
    IcmpChecksum = "icmp_checksum", "ICMP error about a connection, with a wrong checksum";
    IcmpTtlExceeded = "icmp_ttl_exceeded", "ICMP error about a connection whose time to live is used up; of that nobody is told";
    IcmpNoDest = "icmp_no_dest", "ICMP error that opens a connection (`schedule_icmp`), but no real server is available";
    TunnelError = "tunnel_error", "ICMP error about a packet in a tunnel: its client is told in terms of what it sent, unless that may be fragmented";
    NoConnection = "no_connection", "packet of a masqueraded real server that belongs to no connection (`nat_icmp_send`); answered with port unreachable";
    FragmentShort = "fragment_short", "first fragment of a virtual service's packet that ends within its transport header";
    FragmentLost = "fragment_lost", "fragment whose packet's first one did not come in time";
    FragmentCrc = "fragment_crc", "first fragment of an SCTP packet whose port would change: its checksum covers what is not there";
    IcmpTooBig = "icmp_too_big", "ICMP error about a connection over IPv6 that is longer than its way takes; of that nobody is told";
}

reasons! {
    /// Events that are no verdict.
    Event, 64, "event":
    ChecksumPartial = "checksum_partial", "packet came with a partial checksum (the sender leaves it to its card)";
    ChecksumCompleted = "checksum_completed", "partial checksum was completed";
    HandedFragment = "handed_fragment", "frame given to the daemon to be fragmented";
    HandedNeighbour = "handed_neighbour", "frame given to the daemon until its neighbour is resolved";
    HandedEarly = "handed_early", "fragment given to the daemon until the first one of its packet is here";
    ReleasedEarly = "released_early", "fragment that the daemon held, on its way";
    Promoted = "promoted", "half-open connection became established";
    HalfOpenEvicted = "half_open_evicted", "half-open connection made room for a newer one";
    PromotionFailed = "promotion_failed", "no room for a connection in the table of the established (or its reply entry is gone): it stays among the half-open";
    TemplateTableFull = "template_table_full", "no room for a persistence template: scheduled without";
    Expired = "expired", "connection ended by its timer";
    TemplateExpired = "template_expired", "template ended by its timer";
    Reused = "reused", "SYN on a closing connection scheduled anew";
    FibLookup = "fib_lookup", "the kernel's routing table was asked";
    IcmpSent = "icmp_sent", "ICMP error sent";
    ResetSent = "reset_sent", "TCP reset sent to a client";
    DestGoneEnded = "dest_gone_ended", "connection ended because its real server was deleted (`expire_nodest_conn`, `on_dead`)";
    Rescheduled = "rescheduled", "connection given to another real server in mid-flow (`on_dead`)";
    Bypassed = "bypassed", "connection opened past the real servers, of which none is available (`cache_bypass`)";
    OnePacket = "one_packet", "datagram scheduled by itself (one-packet scheduling)";
    TemplateRenamed = "template_renamed", "persistence template set aside because its real server is gone or quiesced";
    DroppedEntry = "dropped_entry", "connection ended by the defence `drop_entry`";
    SyncMissed = "sync_missed", "changed connection or template that the daemon was not told of, because it was behind: the backup hears of it with the next walk over the tables";
    SyncEntered = "sync_entered", "connection or template entered because another director told of it";
    IcmpRelayed = "icmp_relayed", "ICMP error about a connection, for its real server or, masqueraded, its client";
    PathMtu = "path_mtu", "a way to a tunnel's real server is narrower than was known";
}

/// Slots of the counter map.
pub const SLOTS: u32 = 96;

const _: () =
    assert!(PassReason::ALL.len() <= 32 && DropReason::ALL.len() <= 32 && Event::ALL.len() <= 32);
