//! The choices of real servers that a trace kept instead of frames: lists under names of their own, in the order of the
//! file, and maps by address.

use std::{fmt, marker::PhantomData, net::IpAddr};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// Choices that were made in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub name: String,
    pub choices: Vec<Choice>,
}

/// What was chosen for one packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    /// The address that made the difference, the client's or the virtual one; or a name that tells nothing.
    pub label: Option<String>,
    /// `None`: the packet went to no real server.
    pub real: Option<IpAddr>,
    /// Destination port of the packet that the real server got, if that was kept.
    pub port: Option<u16>,
}

/// A JSON object in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Ordered<T>(Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        from.deserialize_map(Entries(PhantomData))
    }
}

/// The lists of choices, and the names of what is none.
pub(super) fn groups(lists: Ordered<Value>, maps: Ordered<Value>) -> (Vec<Group>, Vec<String>) {
    let mut groups = Vec::new();
    let mut unknown = Vec::new();
    for (name, value) in lists.0.into_iter().chain(maps.0) {
        match value
            .as_array()
            .and_then(|list| list.iter().map(choice).collect())
        {
            Some(choices) => groups.push(Group { name, choices }),
            None => unknown.push(name),
        }
    }
    (groups, unknown)
}

/// `null`, a real server, or a list: the label; perhaps the time; the real server or `null`; perhaps its port.
fn choice(value: &Value) -> Option<Choice> {
    let Some(list) = value.as_array() else {
        return Some(Choice {
            real: real(value).ok()?,
            ..Choice::default()
        });
    };
    let (label, rest) = list.split_first()?;
    let rest = match rest {
        [time, rest @ ..] if time.is_number() => rest,
        rest => rest,
    };
    let port = match rest {
        [_] => None,
        [_, port] if port.is_null() => None,
        [_, port] => Some(port.as_u64()?.try_into().ok()?),
        _ => return None,
    };
    Some(Choice {
        label: Some(label.as_str()?.to_owned()),
        real: real(rest.first()?).ok()?,
        port,
    })
}

/// Fails for what is neither `null` nor an address.
fn real(value: &Value) -> Result<Option<IpAddr>, ()> {
    if value.is_null() {
        return Ok(None);
    }
    let address = value.as_str().and_then(|text| text.parse().ok());
    address.map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Choice> {
        choice(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn every_form_of_a_choice_is_read() {
        let real = Some("10.0.2.10".parse().unwrap());
        let labelled = |label: &str, port| Choice {
            label: Some(label.to_owned()),
            real,
            port,
        };
        assert_eq!(parsed("null"), Some(Choice::default()));
        assert_eq!(parsed("\"10.0.2.10\"").unwrap().real, real);
        assert_eq!(
            parsed("[\"A\", 152.1, \"10.0.2.10\"]"),
            Some(labelled("A", None))
        );
        assert_eq!(
            parsed("[\"1.2.3.4\", \"10.0.2.10\", 8081]"),
            Some(labelled("1.2.3.4", Some(8081)))
        );
        assert_eq!(parsed("{\"what\": 1}"), None);
        assert_eq!(parsed("\"recorded by hand\""), None);
    }

    #[test]
    fn order_of_the_file_is_kept() {
        let read = |text| serde_json::from_str::<Ordered<Value>>(text).unwrap();
        let lists = read("{\"z\": [null], \"author\": \"x\", \"a\": []}");
        let (groups, unknown) = groups(lists, read("{\"plain\": [[\"1.2.3.4\", null]]}"));
        let names: Vec<_> = groups.iter().map(|g| g.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "plain"]);
        assert_eq!(unknown, ["author"]);
    }
}
