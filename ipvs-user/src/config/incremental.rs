//! Reads a file again and again, and each time only what is new in it: a `[[service]]` whose text was there before is the
//! service that it was then.
//!
//! A file is cut into services where that is certain to be right, and is read as a whole where it is not or where anything is
//! wrong with it. So the outcome is that of [`parse`], mistakes and their places included; a test compares.

use std::{collections::HashMap, path::Path, sync::Arc};

use toml::de::DeTable;

use super::{
    Config, Diagnostic, ServiceConfig, check_together, limits, parse, problems::Problems,
    read_head, section::Section, service, text_of,
};
use crate::{carries::Carries, model::Limits};

/// The beginning of a service, in the one way of writing it that is looked for.
const SERVICE: &str = "[[service]]";
/// Sections that belong to the service above them.
const OF_SERVICE: [&str; 2] = ["[[service.", "[service."];
/// A string of several lines may have anything in them, so nothing is cut.
const LONG_STRINGS: [&str; 2] = ["\"\"\"", "'''"];

/// Remembers the services of the last file without mistakes.
#[derive(Default)]
pub struct Reader {
    known: HashMap<Box<str>, Arc<ServiceConfig>>,
    /// What they were checked against.
    maglev: u32,
}

/// A text, cut up.
struct Pieces<'a> {
    /// All that is no service.
    head: String,
    services: Vec<&'a str>,
}

impl Reader {
    /// Reads a file.
    pub fn load(&mut self, path: &Path) -> Result<Config, Vec<Diagnostic>> {
        let text = text_of(path).map_err(|e| vec![e])?;
        self.read(&path.display().to_string(), &text)
    }

    /// Reads a text that is said to be from `file`.
    pub fn read(&mut self, file: &str, text: &str) -> Result<Config, Vec<Diagnostic>> {
        match self.by_pieces(text) {
            Some(config) => Ok(config),
            None => parse(file, text),
        }
    }

    /// `None`: it must be read as a whole.
    fn by_pieces(&mut self, text: &str) -> Option<Config> {
        if LONG_STRINGS.iter().any(|quotes| text.contains(quotes)) {
            return None;
        }
        let pieces = cut(text);
        let mut config = head(&pieces.head)?;
        let limits = limits(config.capacities);
        if self.maglev != limits.maglev {
            self.known.clear();
            self.maglev = limits.maglev;
        }
        let mut now = HashMap::with_capacity(pieces.services.len());
        for piece in pieces.services {
            let service = match self.known.get(piece) {
                Some(known) => Arc::clone(known),
                None => Arc::new(one_service(piece, limits)?),
            };
            config.services.push(Arc::clone(&service));
            now.insert(Box::from(piece), service);
        }
        if !fits(&config, limits) {
            return None;
        }
        self.known = now;
        Some(config)
    }
}

/// Cut in the wrong place, within an array, a piece is no TOML, and the whole is read as one.
fn cut(text: &str) -> Pieces<'_> {
    let mut pieces = Pieces {
        head: String::new(),
        services: Vec::new(),
    };
    let mut start = 0;
    let mut of_service = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let header = line.trim_start_matches([' ', '\t']);
        let begins = header.starts_with('[') && !OF_SERVICE.iter().any(|h| header.starts_with(h));
        if begins {
            pieces.add(&text[start..at], of_service);
            start = at;
            of_service = header.starts_with(SERVICE);
        }
        at += line.len();
    }
    pieces.add(&text[start..], of_service);
    pieces
}

impl<'a> Pieces<'a> {
    fn add(&mut self, piece: &'a str, of_service: bool) {
        if of_service {
            self.services.push(piece);
        } else {
            self.head.push_str(piece);
        }
    }
}

fn head(text: &str) -> Option<Config> {
    let table = DeTable::parse(text).ok()?;
    let root = Section::new(table.get_ref(), "the file", table.span());
    if root.get("service").is_some() {
        return None;
    }
    let mut problems = Problems::new("", text);
    let config = read_head(&root, &mut problems);
    (!problems.any()).then_some(config)
}

fn one_service(text: &str, limits: Limits) -> Option<ServiceConfig> {
    let table = DeTable::parse(text).ok()?;
    if table.get_ref().len() != 1 {
        return None;
    }
    let root = Section::new(table.get_ref(), "the file", table.span());
    let mut problems = Problems::new("", text);
    let mut services = service::read(&root, &mut problems);
    check_together(&services, limits, Carries::DATAPATH, &mut problems);
    let only = services.pop()?;
    (services.is_empty() && !problems.any()).then_some(only.config)
}

/// What no service shows by itself: that there are not too many, and none twice.
fn fits(config: &Config, limits: Limits) -> bool {
    let reals: usize = config.services.iter().map(|s| s.reals.len()).sum();
    let mut keys: Vec<_> = config.services.iter().map(|s| s.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len() == config.services.len()
        && keys.len() <= limits.services as usize
        && reals <= limits.dests as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = r#"
[director.timeouts]
udp = 60
[[service]] # the first
tcp = "10.0.0.5:25"
  [[service.real]]
  address = "10.0.1.5"
  method = "masq"
[sysctl]
sloppy_tcp = 1
[[service]]
udp = "10.0.0.5:53"
"#;

    fn read(reader: &mut Reader, text: &str) -> Config {
        let config = reader.by_pieces(text).unwrap();
        assert_eq!(Ok(&config), parse("f", text).as_ref());
        config
    }

    #[test]
    fn unchanged_services_are_not_read_again() {
        let mut reader = Reader::default();
        let before = read(&mut reader, FILE);
        let after = read(&mut reader, &FILE.replace("masq", "droute"));
        assert!(!Arc::ptr_eq(&before.services[0], &after.services[0]));
        assert!(Arc::ptr_eq(&before.services[1], &after.services[1]));
    }

    #[test]
    fn a_file_with_a_mistake_is_told_as_a_whole_and_forgets_nothing() {
        let mut reader = Reader::default();
        let before = read(&mut reader, FILE);
        let twice = format!("{FILE}[[service]]\nudp = '10.0.0.5:53'\n");
        for broken in [FILE.replace("udp =", "upd ="), twice, format!("{FILE}x")] {
            assert_eq!(
                reader.read("f", &broken).unwrap_err(),
                parse("f", &broken).unwrap_err()
            );
        }
        let after = read(&mut reader, FILE);
        assert!(Arc::ptr_eq(&before.services[0], &after.services[0]));
    }

    #[test]
    fn another_table_size_of_mh_has_every_service_checked_again() {
        let mut reader = Reader::default();
        let reals = (0..300).map(|n| {
            let (high, low) = (n / 200, n % 200 + 1);
            format!("[[service.real]]\naddress = '10.1.{high}.{low}'\nmethod = 'masq'\n")
        });
        let reals: String = reals.collect();
        let file = |index| {
            format!(
                "[director]\nmh_table_index = {index}\n[[service]]\ntcp = '10.0.0.5:25'\nscheduler = 'mh'\n{reals}"
            )
        };
        read(&mut reader, &file(9));
        assert!(reader.read("f", &file(8)).is_err());
    }

    /// Lines that a file may be made of, sensible ones and others.
    const LINES: [&str; 26] = [
        "[[match]]",
        "mark = 7",
        "to = '0.0.0.0/0'",
        "ports = [80, '90-99']",
        "[[service]]",
        "[[service]]",
        " [[service]] # x",
        "[[ service ]]",
        "[[service.real]]",
        "[service.real]",
        "[sysctl]",
        "[director]",
        "[director.timeouts]",
        "tcp = '10.0.0.5:25'",
        "tcp = '10.0.0.5:26'",
        "udp = '10.0.0.5:53'",
        "address = '10.0.1.5'",
        "method = 'masq'",
        "udp = 60",
        "sched_flags = [",
        "]",
        "'sh-port',",
        "scheduler = 'sh'",
        "scheduler = '''",
        "sh'''",
        "service = []",
    ];

    proptest! {
        #[test]
        fn by_pieces_is_as_from_the_whole(
            picks in prop::collection::vec(prop::collection::vec(0..LINES.len(), 0..7), 1..5),
        ) {
            let mut reader = Reader::default();
            for picked in picks {
                let lines: Vec<_> = picked.iter().map(|n| LINES[*n]).collect();
                let text = lines.join("\n") + "\n";
                for text in [text.clone(), format!("{FILE}{text}"), format!("{text}{FILE}")] {
                    prop_assert_eq!(reader.read("f", &text), parse("f", &text));
                }
            }
        }
    }
}
