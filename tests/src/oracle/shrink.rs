//! The smallest part of a scenario that still differs: steps are left out, many at once as long as that works.

use anyhow::Result;

use super::scenario::{Scenario, Step};

/// Leaves out what is not needed for `differs`, trying at most `tries` times.
pub fn shrink(
    scenario: &Scenario,
    tries: usize,
    mut differs: impl FnMut(&Scenario) -> Result<bool>,
) -> Result<Scenario> {
    let mut smallest = scenario.clone();
    let mut left = tries;
    let mut size = smallest.steps.len().div_ceil(2);
    while size > 0 && left > 0 {
        let mut start = smallest.steps.len();
        let mut shrunk = false;
        while start > 0 && left > 0 {
            start = start.saturating_sub(size);
            let candidate = without(&smallest, start, size);
            left -= 1;
            if differs(&candidate)? {
                smallest = candidate;
                shrunk = true;
            }
        }
        if size > 1 {
            size = size.div_ceil(2);
        } else if !shrunk {
            size = 0;
        }
    }
    Ok(smallest)
}

fn without(scenario: &Scenario, start: usize, size: usize) -> Scenario {
    let end = (start + size).min(scenario.steps.len());
    let (before, after) = (&scenario.steps[..start], &scenario.steps[end..]);
    let steps: Vec<Step> = before.iter().chain(after).cloned().collect();
    Scenario {
        steps,
        ..scenario.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_steps_that_matter_are_left() {
        let steps: Vec<_> = (0..40).map(Step::Wait).collect();
        let scenario = Scenario {
            name: "waits".to_owned(),
            behaviours: [].into(),
            steps,
        };
        let needed = [Step::Wait(3), Step::Wait(17), Step::Wait(39)];
        let differs = |s: &Scenario| Ok(needed.iter().all(|step| s.steps.contains(step)));
        assert_eq!(shrink(&scenario, 500, differs).unwrap().steps, needed);
        assert_eq!(shrink(&scenario, 0, differs).unwrap(), scenario);
    }
}
