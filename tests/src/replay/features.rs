//! What a trace needs of a director, as far as expectations ask for it; found in its commands and frames.

use etherparse::Ipv4HeaderSlice;

use crate::{
    packet::ETHERNET,
    trace::{Trace, What},
};

pub(super) const NAMES: [&str; 6] = [
    "fragments",
    "gre",
    "gue",
    "ipv6_choices",
    "mixed_families",
    "sync",
];

/// The names, in order.
pub(super) fn of(trace: &Trace) -> Vec<&'static str> {
    let by_command = commands(trace).filter_map(of_command);
    let frames = trace.steps.iter().filter_map(|s| match &s.what {
        What::In(frame) => of_frame(&frame.bytes),
        What::Out(_)
        | What::Ctl { .. }
        | What::Show { .. }
        | What::Sysctl { .. }
        | What::Sleep { .. } => None,
    });
    // Clients whose frames were not kept, and have other addresses than those of IPv4.
    let six = commands(trace).any(|c| c.split_whitespace().any(is_six));
    let choices = (six && !trace.choices.is_empty()).then_some("ipv6_choices");
    let mut names: Vec<_> = by_command.chain(frames).chain(choices).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// All but those that are known to fail.
fn commands(trace: &Trace) -> impl Iterator<Item = &str> {
    let steps = trace.steps.iter().filter_map(|s| match &s.what {
        What::Ctl { cmd } => Some(cmd),
        What::Show { .. }
        | What::In(_)
        | What::Out(_)
        | What::Sysctl { .. }
        | What::Sleep { .. } => None,
    });
    trace.config.iter().chain(steps).map(String::as_str)
}

fn of_command(command: &str) -> Option<&'static str> {
    let words: Vec<_> = command.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let after = |option: &str| {
        let at = words.iter().position(|w| *w == option)?;
        words.get(at + 1).copied()
    };
    let service = ["-t", "-u"].iter().find_map(|option| after(option));
    let service_is_six = service.map_or_else(|| has("-6"), is_six);
    if after("-r").is_some_and(|real| is_six(real) != service_is_six) {
        return Some("mixed_families");
    }
    if has("--start-daemon") || has("--stop-daemon") {
        return Some("sync");
    }
    match after("--tun-type") {
        Some("gue") => Some("gue"),
        Some("gre") => Some("gre"),
        Some(_) | None => None,
    }
}

/// Whether a word is of IPv6.
fn is_six(word: &str) -> bool {
    word.starts_with('[') || word == "-6"
}

fn of_frame(frame: &[u8]) -> Option<&'static str> {
    let ip = Ipv4HeaderSlice::from_slice(frame.get(ETHERNET..)?).ok()?;
    ip.is_fragmenting_payload().then_some("fragments")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_found_in_commands() {
        let of = |c: &str| of_command(&format!("ipvsadm {c}"));
        assert_eq!(of("-A -t [2001:db8::1]:80 -s rr"), None);
        let mixed = Some("mixed_families");
        assert_eq!(of("-a -t [2001:db8::1]:80 -r 5.6.7.8 -i"), mixed);
        assert_eq!(of("-a -t 1.2.3.4:80 -r [2001:db8::1]:80 -i"), mixed);
        assert_eq!(of("-a -f 101 -6 -r 5.6.7.8 -i"), mixed);
        assert_eq!(of("-a -f 101 -6 -r [2001:db8::1]:80 -i"), None);
        assert_eq!(
            of("-a -t 1.2.3.4:80 -r 5.6.7.8 -i --tun-type gre"),
            Some("gre")
        );
        assert_eq!(of("-a -t 1.2.3.4:80 -r 5.6.7.8 -i --tun-type ipip"), None);
        assert_eq!(of("--start-daemon master"), Some("sync"));
        assert_eq!(of("-A -t 1.2.3.4:80 -s rr"), None);
    }

    #[test]
    fn every_trace_of_the_kernel_has_features_with_names() {
        assert_eq!(
            of(&Trace::of("tun_v6").unwrap()),
            ["gre", "gue", "mixed_families"]
        );
        assert_eq!(of(&Trace::of("icmp_echo").unwrap()), [""; 0]);
        for name in of(&Trace::of("ipvsadm_output").unwrap()) {
            assert!(NAMES.contains(&name));
        }
    }
}
