//! What is written is read; what the kernel wrote is read and written to the byte; nothing makes the reader panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::{collection::vec, option, prelude::*};

use super::*;

/// A recording of the kernel's master, with the connections of [`recorded_datagrams_say_what_the_kernel_listed`].
const RECORDED: &str = include_str!("../../../../tests/golden/sync_master.json");
/// To the group of the sync daemon.
const GROUP_MAC: &str = "01005e000051";
const HEADERS: usize = 14 + 20 + 8;

fn unhex(text: &str) -> Vec<u8> {
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(byte).collect()
}

fn recorded() -> Vec<Vec<u8>> {
    let trace: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
    let steps = trace["steps"].as_array().unwrap();
    let packets = steps.iter().filter_map(|s| s["pkt"].as_str());
    let datagrams = packets.filter(|p| p.starts_with(GROUP_MAC));
    datagrams.map(|p| unhex(p)[HEADERS..].to_vec()).collect()
}

fn written(datagram: &Datagram, maxlen: usize) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(datagram.version, datagram.syncid, maxlen);
    let mut done: Vec<_> = datagram
        .entries
        .iter()
        .filter_map(|e| writer.put(e))
        .collect();
    done.extend(writer.take());
    done
}

#[test]
fn recorded_datagrams_are_read_and_written_to_the_byte() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 2);
    for bytes in recorded {
        let datagram = read(&bytes).unwrap();
        assert_eq!((datagram.syncid, datagram.skipped), (7, 0));
        assert_eq!(written(&datagram, 1472), [bytes]);
    }
}

#[test]
fn recorded_datagrams_say_what_the_kernel_listed() {
    let all: Vec<_> = recorded()
        .iter()
        .flat_map(|d| read(d).unwrap().entries)
        .map(|e| {
            let flags = (e.is_template(), e.is_active());
            let (client, real) = (e.client.to_string(), e.real.to_string());
            (e.proto, flags, e.state, client, real, e.timeout)
        })
        .collect();
    let line = |proto, flags, state, client: &str, real: &str, timeout| {
        let (client, real) = (client.to_owned(), real.to_owned());
        (proto, flags, state, client, real, Some(timeout))
    };
    let template = |state| {
        let flags = (true, false);
        line(6, flags, state, "198.51.100.1:0", "10.0.1.10:81", 60)
    };
    let (active, inactive) = ((false, true), (false, false));
    let (first, second) = ("198.51.100.1:1000", "198.51.100.1:1001");
    assert_eq!(
        all,
        [
            line(6, active, 1, first, "10.0.1.10:80", 900),
            line(6, inactive, 4, first, "10.0.1.10:80", 120),
            template(0),
            template(1),
            line(6, active, 1, second, "10.0.1.10:81", 900),
            template(1),
            template(1),
            line(17, inactive, 0, "198.51.100.1:1002", "10.0.1.10:53", 300),
            line(
                6,
                active,
                1,
                "[2001:db8:cc::1]:1003",
                "[2001:db8:1::10]:80",
                900
            ),
        ]
    );
}

fn entry() -> Entry {
    let at = |last, port| SocketAddr::new(Ipv4Addr::new(10, 0, 0, last).into(), port);
    Entry {
        proto: 6,
        flags: 3,
        state: 1,
        client: at(1, 1000),
        virt: at(2, 80),
        real: at(3, 80),
        mark: 0,
        timeout: Some(900),
        seq: None,
        engine: None,
    }
}

fn datagram(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Version::One, 1, 65_507);
    assert!(entries.iter().all(|e| writer.put(e).is_none()));
    writer.take().unwrap()
}

/// Puts an option behind the only entry.
fn with_option(option: &[u8]) -> Vec<u8> {
    let mut bytes = datagram(&[entry()]);
    bytes.extend(option);
    let (size, entry) = (bytes.len() as u16, bytes.len() as u16 - 8);
    bytes[2..4].copy_from_slice(&size.to_be_bytes());
    bytes[10..12].copy_from_slice(&entry.to_be_bytes());
    bytes
}

#[test]
fn an_unknown_option_is_skipped_if_it_may_be_and_drops_its_entry_if_not() {
    let may_skip = read(&with_option(&[0x45, 3, 1, 2, 3])).unwrap();
    assert_eq!((may_skip.entries, may_skip.skipped), (vec![entry()], 0));
    let must_know = read(&with_option(&[0x05, 3, 1, 2, 3])).unwrap();
    assert_eq!((must_know.entries, must_know.skipped), (vec![], 1));
    let cut_off = read(&with_option(&[0x45, 4, 1, 2, 3])).unwrap();
    assert_eq!((cut_off.entries, cut_off.skipped), (vec![], 1));
}

#[test]
fn the_entries_behind_a_bad_one_count() {
    let mut bytes = datagram(&[entry(), entry(), entry()]);
    // The second is of a version that nobody knows: where the third begins is not known.
    bytes[8 + 36 + 2] = 0x10;
    let read_back = read(&bytes).unwrap();
    assert_eq!((read_back.entries.len(), read_back.skipped), (1, 2));
}

#[test]
fn a_wrong_length_is_no_datagram() {
    let bytes = datagram(&[entry()]);
    let (short, has) = (&bytes[..bytes.len() - 1], bytes.len() - 1);
    let said = bytes.len();
    assert_eq!(read(short), Err(Malformed::Length { said, has }));
    assert_eq!(read(&[0, 1, 0]), Err(Malformed::Short));
}

#[test]
fn directors_of_old_see_an_empty_datagram() {
    let bytes = datagram(&[entry()]);
    assert_eq!(bytes[0], 0);
}

#[test]
fn no_datagram_is_longer_than_wished_or_says_more_than_255_entries() {
    let mut writer = Writer::new(Version::One, 1, 100);
    assert_eq!(writer.put(&entry()), None);
    assert_eq!(writer.put(&entry()), None);
    let first = writer.put(&entry()).unwrap();
    assert_eq!(first.len(), 8 + 2 * 36);
    let mut writer = Writer::new(Version::One, 1, 65_507);
    let full = (0..256).find_map(|_| writer.put(&entry())).unwrap();
    assert_eq!(read(&full).unwrap().entries.len(), 255);
    assert_eq!(read(&writer.take().unwrap()).unwrap().entries.len(), 1);
    let mut narrow = Writer::new(Version::One, 1, 1);
    assert_eq!(narrow.put(&entry()), None);
    assert_eq!(narrow.put(&entry()).map(|d| d.len()), Some(44));
}

fn any_ip(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<[u8; 16]>()
            .prop_map(|a| Ipv6Addr::from(a).into())
            .boxed()
    } else {
        any::<[u8; 4]>()
            .prop_map(|a| Ipv4Addr::from(a).into())
            .boxed()
    }
}

fn any_socket(v6: bool) -> impl Strategy<Value = SocketAddr> {
    (any_ip(v6), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn any_engine() -> impl Strategy<Value = Engine> {
    let (name, data) = (vec(any::<u8>(), 1..16), vec(any::<u8>(), 1..256));
    (name, data).prop_map(|(name, data)| Engine { name, data })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    any::<bool>().prop_flat_map(|v6| {
        let sockets = (any_socket(v6), any_socket(v6), any_socket(v6));
        let numbers = (any::<u8>(), any::<u32>(), any::<u16>(), any::<u32>());
        let options = (option::of(any::<[u8; 24]>()), option::of(any_engine()));
        (sockets, numbers, any::<u32>(), options).prop_map(
            |((client, virt, real), (proto, flags, state, mark), timeout, (seq, engine))| Entry {
                proto,
                flags: flags & flag::TAKEN,
                state,
                client,
                virt,
                real,
                mark,
                timeout: Some(timeout),
                seq,
                engine,
            },
        )
    })
}

/// What version 0 makes of an entry.
fn of_old(entry: &Entry) -> Option<Entry> {
    let moved = entry.flags & (flag::IN_SEQ | flag::OUT_SEQ) != 0;
    entry.client.is_ipv4().then(|| Entry {
        mark: 0,
        timeout: None,
        seq: moved.then_some(entry.seq.unwrap_or([7; 24])),
        engine: None,
        ..entry.clone()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        entries in vec(any_entry(), 0..80),
        syncid: u8,
        maxlen in 1..3000_usize,
        old: bool,
    ) {
        let (version, entries) = if old {
            (Version::Zero, entries.iter().filter_map(of_old).collect())
        } else {
            (Version::One, entries)
        };
        let all = Datagram { syncid, version, entries, skipped: 0 };
        let mut back = Vec::new();
        for bytes in written(&all, maxlen) {
            let one = read(&bytes).unwrap();
            prop_assert_eq!((one.syncid, one.version, one.skipped), (syncid, version, 0));
            prop_assert!(bytes.len() <= maxlen || one.entries.len() == 1);
            back.extend(one.entries);
        }
        prop_assert_eq!(back, all.entries);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200), fit: bool) {
        let mut bytes = bytes;
        if fit && bytes.len() >= 8 {
            // So that it gets to the entries.
            let size = (bytes.len() as u16).to_be_bytes();
            bytes[2..4].copy_from_slice(&size);
            bytes[0] = 0;
            bytes[5..8].copy_from_slice(&[1, 0, 0]);
        }
        let _ = read(&bytes);
    }

    #[test]
    fn no_damage_makes_the_reader_panic_or_find_more(
        entries in vec(any_entry(), 1..20),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let mut bytes = datagram(&entries);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(datagram) = read(&bytes) {
            prop_assert!(datagram.entries.len() <= 255);
        }
    }
}
