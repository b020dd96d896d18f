//! In what the frames differ that two directors sent.

use super::{
    frames,
    world::{LINKS, Sent},
};
use crate::packet::{contrast, describe};

/// What left on a link by one director and not by the other. The order of packets that went in together is no behaviour: some
/// take the way through the stack. With how many frames each sent that the other did not.
pub(super) fn contrast_all(kernel: &[Sent], ours: &[Sent]) -> Option<(String, (usize, usize))> {
    let mut alone = (0, 0);
    let by_link = (0..LINKS.len()).filter_map(|link| {
        let by = |all: &[Sent]| -> Vec<Vec<u8>> {
            let these = all.iter().filter(|sent| sent.link == link);
            these.map(|sent| frames::comparable(&sent.frame)).collect()
        };
        let (kernel, ours) = (by(kernel), by(ours));
        let (more, less) = (without(&kernel, &ours), without(&ours, &kernel));
        if more.is_empty() && less.is_empty() {
            return None;
        }
        alone = (alone.0 + more.len(), alone.1 + less.len());
        if let ([one], [other]) = (&more[..], &less[..]) {
            return Some(format!("by {}\n{}", LINKS[link], contrast(one, other)));
        }
        let list = |frames: &[Vec<u8>]| -> String {
            let lines = frames
                .iter()
                .map(|frame| format!("\n    {}", describe(frame)));
            lines.collect()
        };
        let (more, less) = (list(&more), list(&less));
        Some(format!(
            "by {}, only the kernel sends{more}\n  only ours sends{less}",
            LINKS[link]
        ))
    });
    let all: Vec<_> = by_link.collect();
    (!all.is_empty()).then(|| (all.join("\n  and "), alone))
}

/// The frames of `all` that have no equal in `others`, each of which counts once.
fn without(all: &[Vec<u8>], others: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut others: Vec<_> = others.iter().collect();
    let alone = all.iter().filter(|frame| {
        let equal = others.iter().position(|other| other == frame);
        equal.map(|at| others.swap_remove(at)).is_none()
    });
    alone.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(link: usize, byte: u8) -> Sent {
        Sent {
            link,
            frame: vec![byte; 60],
        }
    }

    #[test]
    fn frames_are_compared_by_link_in_any_order() {
        let kernel = [sent(0, 1), sent(2, 2), sent(2, 2)];
        assert_eq!(
            contrast_all(&kernel, &[sent(2, 2), sent(2, 2), sent(0, 1)]),
            None
        );
        assert!(contrast_all(&kernel, &[sent(0, 1), sent(2, 2), sent(2, 3)]).is_some());
        let alone = |kernel, ours| contrast_all(kernel, ours).unwrap().1;
        assert_eq!(alone(&kernel, &kernel[..2]), (1, 0));
        assert_eq!(alone(&kernel[..1], &kernel), (0, 2));
        assert!(contrast_all(&kernel, &[sent(1, 1), sent(2, 2), sent(2, 2)]).is_some());
    }
}
