//! When two outputs of one command say the same: word for word, but for the size of the table of connections, other runs'
//! connections, and times to go, which two directors are not asked for at the same moment.

use super::place::Place;

/// Seconds that two times to go may lie apart.
const SLACK: u32 = 2;

pub(super) fn same(arguments: &str, place: Place, kernel: &str, ours: &str) -> bool {
    if !is_connections(arguments) {
        return without_size(kernel) == without_size(ours);
    }
    let (kernel, ours) = (rows(kernel, place), rows(ours, place));
    kernel.len() == ours.len() && kernel.iter().zip(&ours).all(|(k, o)| k.is_near(o))
}

/// For people: what each of two outputs says; of connections those lines alone that the other does not say.
pub(super) fn contrast(
    arguments: &str,
    place: Place,
    kernel: &str,
    ours: &str,
) -> (String, String) {
    if !is_connections(arguments) {
        return (kernel.to_owned(), ours.to_owned());
    }
    let (kernel, ours) = (rows(kernel, place), rows(ours, place));
    (alone(&kernel, &ours), alone(&ours, &kernel))
}

fn alone(rows: &[Row], others: &[Row]) -> String {
    let mut others: Vec<_> = others.iter().collect();
    let alone = rows.iter().filter(|row| {
        let equal = others.iter().position(|other| row.is_near(other));
        equal.map(|at| others.remove(at)).is_none()
    });
    let lines = alone.map(|row| format!("{} with {} s to go\n", row.rest, row.left));
    lines.collect()
}

pub(super) fn is_connections(arguments: &str) -> bool {
    let mut words = arguments.split(' ');
    words.any(|w| w == "-Lnc" || w == "--connection" || w == "-c")
}

/// Whether it lists services, with how many connections each real server has.
pub(super) fn has_counts(arguments: &str) -> bool {
    !is_connections(arguments) && arguments.split(' ').next() == Some("-Ln")
}

fn without_size(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" (size=") {
        Some((before, _)) => before,
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Row {
    rest: String,
    left: u32,
}

impl Row {
    fn is_near(&self, other: &Self) -> bool {
        self.rest == other.rest && self.left.abs_diff(other.left) <= SLACK
    }
}

/// In an order of their own: the kernel lists by hash.
fn rows(text: &str, place: Place) -> Vec<Row> {
    let lines = text.lines().filter(|line| place.concerns(line));
    let mut rows: Vec<_> = lines.map(row).collect();
    rows.sort();
    rows
}

fn row(line: &str) -> Row {
    let mut words: Vec<_> = line.split_whitespace().collect();
    let left = words
        .get(1)
        .and_then(|time| seconds(time))
        .unwrap_or_default();
    if words.len() > 1 {
        words.remove(1);
    }
    Row {
        rest: words.join(" "),
        left,
    }
}

/// `01:02`.
fn seconds(time: &str) -> Option<u32> {
    let (minutes, seconds) = time.split_once(':')?;
    Some(minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "TCP 00:58  SYN_RECV    100.0.1.3:4000 203.0.1.10:80 10.0.1.10:80";
    const B: &str = "TCP 00:57  SYN_RECV    100.0.1.2:4000 203.0.1.10:80 10.0.1.10:80";

    #[test]
    fn connections_are_compared_in_any_order_and_with_some_slack() {
        let place = Place::new(1);
        let (one, other) = (format!("{A}\n{B}\n"), format!("{B}\n{A}\n"));
        assert!(same("-Lnc", place, &one, &other));
        assert!(same("-Lnc", place, &one, &other.replace("00:57", "00:59")));
        assert!(!same("-Lnc", place, &one, &other.replace("00:57", "00:54")));
        assert!(!same(
            "-Lnc",
            place,
            &one,
            &other.replace("SYN_RECV", "FIN_WAIT")
        ));
        assert!(!same("-Lnc", place, A, &one));
    }

    #[test]
    fn counts_are_in_lists_of_services_alone() {
        let counts = ["-Ln", "-Ln --thresholds", "-Lnc", "-Sn", "-Z"].map(has_counts);
        assert_eq!(counts, [true, true, false, false, false]);
    }

    #[test]
    fn lines_that_both_say_are_not_told() {
        let text = format!("{A}\n{B}\n");
        let (kernel, ours) = contrast("-Lnc", Place::new(1), &text, A);
        assert!(kernel.contains("100.0.1.2:4000") && !kernel.contains("100.0.1.3:4000"));
        assert_eq!(ours, "");
    }

    #[test]
    fn other_listings_are_compared_word_for_word() {
        let place = Place::new(1);
        assert!(same(
            "-Ln",
            place,
            "IP (size=4096)\nx",
            "IP (size=1048576)\nx"
        ));
        assert!(!same("-Ln", place, "x 1", "x 2"));
    }
}
