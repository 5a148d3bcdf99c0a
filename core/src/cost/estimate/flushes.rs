//! Which changes a flush would have taken.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use super::history::{PastChange, Second};
use crate::tick::Window;

/// A flush that would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PastFlush<'h> {
    pub at: Second,
    /// Those that waited, in the order of their times.
    pub changes: &'h [PastChange],
}

/// The flushes of these changes, which are in the order of their times, of at most so many changes each.
///
/// The first change of a [`Window`] sends a tick, which arrives a debounce later and takes all that waits.
pub(super) fn flushes(
    changes: &[PastChange],
    debounce: Duration,
    most: usize,
) -> impl Iterator<Item = PastFlush<'_>> {
    Flushes {
        left: changes,
        most: most.max(1),
        ticks: Ticks {
            changes,
            debounce,
            window: None,
            sent: VecDeque::new(),
        },
        open: None,
    }
}

struct Flushes<'h> {
    left: &'h [PastChange],
    most: usize,
    ticks: Ticks<'h>,
    /// A flush that has not taken all that waits for it.
    open: Option<Second>,
}

/// The ticks of changes, each sent when its change comes.
struct Ticks<'h> {
    changes: &'h [PastChange],
    debounce: Duration,
    window: Option<Window>,
    sent: VecDeque<Second>,
}

impl<'h> Iterator for Flushes<'h> {
    type Item = PastFlush<'h>;

    fn next(&mut self) -> Option<PastFlush<'h>> {
        let first = self.left.first()?;
        let at = self.open.filter(|open| first.time <= *open);
        let at = at.unwrap_or_else(|| self.ticks.next_after(first.time));
        let waiting = self.left.partition_point(|change| change.time <= at);
        let (changes, left) = self.left.split_at(waiting.min(self.most));
        (self.left, self.open) = (left, Some(at));
        Some(PastFlush { at, changes })
    }
}

impl Ticks<'_> {
    /// The first tick that takes a change of this time.
    fn next_after(&mut self, time: Second) -> Second {
        while let Some((change, rest)) = self.changes.split_first()
            && change.time <= time
        {
            self.send(change.time);
            self.changes = rest;
        }
        loop {
            match self.sent.pop_front() {
                Some(tick) if tick >= time => return tick,
                Some(_) => {}
                None => unreachable!("a change has sent no tick, nor has its window"),
            }
        }
    }

    fn send(&mut self, time: Second) {
        let now = UNIX_EPOCH + Duration::from_secs(time.into());
        let window = Window::at(now, self.debounce);
        if self.window != Some(window) {
            self.window = Some(window);
            let debounce = Second::try_from(self.debounce.as_secs()).unwrap_or(Second::MAX);
            self.sent.push_back(time.saturating_add(debounce));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::estimate::history::PastFinding;
    use crate::event::ChangeKind;
    use proptest::prelude::*;

    fn changes(times: &[Second]) -> Vec<PastChange> {
        let change = |(key, time): (usize, &Second)| PastChange {
            time: *time,
            key: key as u32,
            kind: ChangeKind::Created,
            finding: PastFinding::Changed,
        };
        times.iter().enumerate().map(change).collect()
    }

    #[test]
    fn a_flush_takes_all_that_waits() {
        // Windows of eight seconds, and ticks after ten.
        for (times, most, expected) in [
            (&[][..], 9, &[][..]),
            (&[0], 9, &[(10, 1)]),
            (&[0, 1, 10], 9, &[(10, 3)]),
            (&[0, 11], 9, &[(10, 1), (21, 1)]),
            // A tick for each window.
            (&[0, 8, 12, 16], 9, &[(10, 2), (18, 2)]),
            (&[0, 8, 19], 9, &[(10, 2), (29, 1)]),
            (
                &[0, 0, 0, 0, 0, 40],
                2,
                &[(10, 2), (10, 2), (10, 1), (50, 1)],
            ),
        ] {
            let changes = changes(times);
            let flushes = flushes(&changes, Duration::from_secs(10), most);
            let found: Vec<_> = flushes.map(|it| (it.at, it.changes.len())).collect();
            assert_eq!(found, expected, "{times:?}");
        }
    }

    proptest! {
        #[test]
        fn each_change_is_in_one_flush_and_waits_no_longer_than_the_debounce(
            mut times in prop::collection::vec(0..600_u32, 0..60), debounce in 3..60_u32, most in 1..20_usize,
        ) {
            times.sort_unstable();
            let changes = changes(&times);
            let mut taken = Vec::new();
            for flush in flushes(&changes, Duration::from_secs(debounce.into()), most) {
                prop_assert!(!flush.changes.is_empty() && flush.changes.len() <= most);
                for change in flush.changes {
                    prop_assert!(change.time <= flush.at && flush.at <= change.time + debounce);
                }
                taken.extend_from_slice(flush.changes);
            }
            prop_assert_eq!(taken, changes);
        }
    }
}
