//! Which choices were made for frames that are among the steps, and which for frames that were not kept.
//!
//! A recording keeps the choices of a group in order, and of its frames all (perhaps with others between), or the first
//! few, or none. How many connections the listings have that no recorded frame opened decides between readings.

use std::net::{IpAddr, SocketAddrV4};

use crate::trace::{Choice, Group};

use super::flow::Flow;

/// A recorded frame from a client.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// Number of the step.
    pub(super) step: usize,
    /// Frames with nothing else between have the same.
    pub(super) run: usize,
    pub(super) flow: Option<Flow>,
    /// Where it went.
    pub(super) real: Option<IpAddr>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// All of its frames are recorded, up to this one.
    Recorded { last: usize },
    /// The choices from `skip` on start with those of so many recorded frames from `from` on; the rest was not kept. A
    /// skipped one repeats what was chosen before.
    Made {
        skip: usize,
        from: usize,
        kept: usize,
    },
}

/// Reads the groups; `opened` is how many connections frames that were not kept have opened, if that is known.
pub(super) fn assign(groups: &[Group], recorded: &[Recorded], opened: Option<usize>) -> Vec<Place> {
    let search = |opened| {
        let mut places = Vec::new();
        let found = Search { groups, recorded }.go(0, opened, &mut places);
        found.then_some(places)
    };
    let found = search(opened).or_else(|| search(None));
    found.unwrap_or_default()
}

struct Search<'a> {
    groups: &'a [Group],
    recorded: &'a [Recorded],
}

impl Search<'_> {
    fn go(&self, at: usize, opened: Option<usize>, places: &mut Vec<Place>) -> bool {
        let Some(group) = self.groups.get(places.len()) else {
            return opened.is_none_or(|n| n == 0);
        };
        for place in self.options(group, places.len(), at) {
            let (next, made) = match place {
                Place::Recorded { last } => (last + 1, 0),
                Place::Made { skip, from, kept } => {
                    let rest = &group.choices[skip + kept..];
                    (from + kept, rest.iter().filter(|c| opens(group, c)).count())
                }
            };
            let left = match opened {
                Some(n) if n < made => continue,
                Some(n) => Some(n - made),
                None => None,
            };
            places.push(place);
            if self.go(next, left, places) {
                return true;
            }
            places.pop();
        }
        false
    }

    /// The readings of a group, best first.
    fn options(&self, group: &Group, number: usize, at: usize) -> Vec<Place> {
        let repeats = number
            .checked_sub(1)
            .and_then(|n| self.groups[n].choices.last())
            .is_some_and(|last| group.choices.first().is_some_and(|c| c.real == last.real));
        let skips = 0..=usize::from(repeats && group.choices.len() > 1);
        let mut options = Vec::new();
        for skip in skips.clone() {
            if let Some(last) = self.all_recorded(&group.choices[skip..], at) {
                options.push(Place::Recorded { last });
            }
        }
        for skip in skips {
            let mut starts: Vec<_> = self.starts(at).collect();
            starts.push(at);
            for from in starts {
                let kept = self.kept(&group.choices[skip..], from);
                let made = Place::Made { skip, from, kept };
                if (kept > 0 || from == at) && !options.contains(&made) {
                    options.push(made);
                }
            }
            options.push(Place::Made {
                skip,
                from: at,
                kept: 0,
            });
        }
        options
    }

    /// The frame here and those that begin later runs.
    fn starts(&self, at: usize) -> impl Iterator<Item = usize> {
        let begins = move |n: &usize| *n == at || self.recorded[*n].run != self.recorded[n - 1].run;
        (at..self.recorded.len()).filter(begins)
    }

    /// The last of the frames that the choices were made for, if all are recorded.
    fn all_recorded(&self, choices: &[Choice], at: usize) -> Option<usize> {
        let mut frames = (at..self.recorded.len()).peekable();
        let mut last = None;
        for choice in choices {
            last = Some(frames.find(|n| fits(choice, &self.recorded[*n]))?);
        }
        last
    }

    /// How many of the first choices were made for frames in a row from here.
    fn kept(&self, choices: &[Choice], from: usize) -> usize {
        let frames = self.recorded.get(from..).unwrap_or_default();
        let run = frames.first().map(|f| f.run);
        choices
            .iter()
            .zip(frames)
            .take_while(|(choice, frame)| Some(frame.run) == run && fits(choice, frame))
            .count()
    }
}

/// Whether a packet of the group with this choice has opened a connection.
fn opens(group: &Group, choice: &Choice) -> bool {
    choice.real.is_some() && super::acknowledging(&group.name).is_none()
}

fn fits(choice: &Choice, frame: &Recorded) -> bool {
    let label = choice
        .label
        .as_deref()
        .and_then(|l| l.parse::<IpAddr>().ok());
    let is = |address: &SocketAddrV4| Some(IpAddr::V4(*address.ip())) == label;
    let of_flow = frame
        .flow
        .is_some_and(|flow| is(&flow.client) || is(&flow.virt));
    choice.real == frame.real && (label.is_none() || of_flow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(n: u8) -> Option<IpAddr> {
        (n > 0).then(|| IpAddr::from([10, 0, n, 10]))
    }

    fn group(name: &str, reals: &[u8]) -> Group {
        let choice = |n: &u8| Choice {
            real: real(*n),
            ..Choice::default()
        };
        Group {
            name: name.to_owned(),
            choices: reals.iter().map(choice).collect(),
        }
    }

    fn recorded(runs: &[&[u8]]) -> Vec<Recorded> {
        let frames = runs.iter().enumerate().flat_map(|(run, reals)| {
            reals.iter().map(move |n| Recorded {
                step: 0,
                run,
                flow: None,
                real: real(*n),
            })
        });
        frames.collect()
    }

    #[test]
    fn first_frames_of_a_group_are_told_from_all_of_them() {
        let made = |skip, from, kept| Place::Made { skip, from, kept };
        let groups = [group("a", &[3, 2, 1, 3]), group("after_b", &[1, 0, 1])];
        assert_eq!(
            assign(&groups, &recorded(&[&[3, 2]]), Some(4)),
            [made(0, 0, 2), made(0, 2, 0)]
        );
        // Everything is there, with another frame between.
        assert_eq!(
            assign(&groups, &recorded(&[&[3, 2, 2, 1], &[3, 1, 0, 1]]), Some(0)),
            [Place::Recorded { last: 4 }, Place::Recorded { last: 7 }]
        );
        // The second group is there, and begins with what was chosen before.
        let groups = [group("a", &[3, 3, 3]), group("after_b", &[3, 2])];
        assert_eq!(
            assign(&groups, &recorded(&[&[3], &[2]]), Some(2)),
            [made(0, 0, 1), Place::Recorded { last: 1 }]
        );
    }

    #[test]
    fn listing_decides_between_readings() {
        // The frames after the wait look as if they were the rest of the group.
        let groups = [group("a", &[3, 3, 3])];
        let frames = recorded(&[&[3], &[3, 3]]);
        assert_eq!(
            assign(&groups, &frames, Some(0)),
            [Place::Recorded { last: 2 }]
        );
        assert_eq!(
            assign(&groups, &frames, Some(2)),
            [Place::Made {
                skip: 0,
                from: 0,
                kept: 1
            }]
        );
    }
}
