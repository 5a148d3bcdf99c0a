//! All timing of retries. Each attempt that is repeated is later or smaller than the one before.
//!
//! | what failed | the next attempt |
//! |---|---|
//! | an invalidation that CloudFront wants later | half as large, at once, down to [`SMALLEST`]; then after 1, 2, 4, 8, 16 s, until [`TIME_TO_STOP`] |
//! | an invalidation whose answer was lost | the same one under the same caller reference, after 1, 2, 4, 8, 16 s |
//! | a group whose time is over | after 1 s if a part of it was accepted, else after 30 s, doubling to 15 min |
//! | a read of CloudFront's configuration, or a send | after 1, 2, 4, 8, 16 s, until its time is over |
//! | changes of distributions that could not be read | after 60 s, doubling to 15 min |
//! | a flush | its tick comes back after 1 s if work is left, else after 30 s, then every minute |
//!
//! Randomness is an argument, `chance`, from 0 to 1: many environments that fail at the same moment
//! shall not all come back at the same moment.

use std::time::Duration;

use crate::set::Lane;

/// How long the function may run. The template sets it too.
pub const FUNCTION_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a received message stays hidden. The template sets it too. It is longer than
/// [`FUNCTION_TIMEOUT`], so an invocation that is killed is over before its messages come back.
pub const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(160);

/// A stage begins nothing new this long before Lambda ends it.
pub const TIME_TO_STOP: Duration = Duration::from_secs(20);

/// How often the rest of a set is sent as a new message.
pub const MAX_HOPS: u32 = 8;

/// A call whose answer was lost is kept whole for so many refusals in a row. After that it is halved,
/// although a path of it may then be paid twice: better than a set that never fits.
const REFUSALS_BEFORE_HALVING_A_LOST_CALL: u32 = 5;

/// The wait before another attempt at the same thing: 1, 2, 4, 8, 16 s, a quarter more or less.
/// `attempts` counts those that have failed, from 1.
pub fn wait(attempts: u32, chance: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(4);
    Duration::from_secs(1 << doublings).mul_f64(0.75 + chance / 2.0)
}

/// How large the calls for one lane of one target are, and how far apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    lane: Lane,
    size: usize,
    failures: u32,
    is_slow: bool,
    /// Refusals since an answer was lost.
    since_lost: Option<u32>,
}

/// The smallest call: it is not halved, but waits.
pub const SMALLEST: [(Lane, usize); 2] = [(Lane::Paths, 100), (Lane::Wildcards, 1)];

impl Pace {
    /// Starts with calls of `size` paths.
    pub fn new(lane: Lane, size: usize) -> Self {
        Self {
            lane,
            size: size.max(1),
            failures: 0,
            is_slow: false,
            since_lost: None,
        }
    }

    /// How many paths the next call may hold.
    pub fn size(&self) -> usize {
        self.size
    }

    /// CloudFront accepted a call. Returns the pause before the next one: none, unless CloudFront has
    /// said before that calls come too fast. Then the documented quota is kept: 150 paths or one
    /// wildcard per second (CloudFront Developer Guide, "Quotas").
    pub fn accepted(&mut self, paths: usize) -> Duration {
        self.failures = 0;
        self.since_lost = None;
        if !self.is_slow {
            return Duration::ZERO;
        }
        let per_second = match self.lane {
            Lane::Paths => 150.0,
            Lane::Wildcards => 1.0,
        };
        Duration::from_secs_f64(1.05 * paths as f64 / per_second)
    }

    /// CloudFront wants a call of so many paths later. Returns the pause before the next attempt.
    /// Whether it is to be the same call tells [`Pace::is_same_call`].
    pub fn later(&mut self, paths: usize, chance: f64) -> Duration {
        self.is_slow = true;
        if let Some(refusals) = &mut self.since_lost {
            *refusals += 1;
            if *refusals < REFUSALS_BEFORE_HALVING_A_LOST_CALL {
                return self.pause(chance);
            }
            self.since_lost = None;
        }
        let smallest = self.smallest();
        if paths > smallest {
            self.size = (paths / 2).max(smallest);
            return Duration::ZERO;
        }
        self.pause(chance)
    }

    /// The answer to a call was lost: it may have been accepted. Returns the pause before the same
    /// call is made again.
    pub fn lost(&mut self, chance: f64) -> Duration {
        self.since_lost = Some(0);
        self.pause(chance)
    }

    /// An earlier invocation has made the next call, and does not know the answer.
    pub fn unsure(&mut self) {
        self.since_lost = Some(0);
    }

    /// Calls of more than so many paths are too large.
    pub fn at_most(&mut self, size: usize) {
        self.size = self.size.min(size).max(1);
    }

    /// CloudFront has answered that it did not accept the call whose answer was lost.
    pub fn found(&mut self) {
        self.since_lost = None;
    }

    /// Whether the next attempt must be the same call, with the same paths and reference.
    pub fn is_same_call(&self) -> bool {
        self.since_lost.is_some()
    }

    fn smallest(&self) -> usize {
        let of_lane = SMALLEST.iter().find(|(lane, _)| *lane == self.lane);
        of_lane.map_or(1, |(_, size)| *size)
    }

    fn pause(&mut self, chance: f64) -> Duration {
        self.failures += 1;
        wait(self.failures, chance)
    }
}

/// When a group comes back whose time is over. `receives` counts how often its first message was
/// received, this time included.
pub fn group_comes_back(progressed: bool, receives: u32, chance: f64) -> Duration {
    if progressed {
        return Duration::from_secs(1);
    }
    let doublings = receives.saturating_sub(1).min(5);
    let base = Duration::from_secs(30 << doublings).min(Duration::from_secs(900));
    base.mul_f64(0.8 + chance / 5.0)
}

/// How long changes wait whose distributions could not be read. `attempts` counts the flushes that
/// failed to, from 1.
pub fn unread_distributions_wait(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(4);
    Duration::from_secs(60 << doublings).min(Duration::from_secs(900))
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushEnd {
    /// The queue is confirmed empty.
    Drained,
    /// Time or the limit of changes is used up, and more waits.
    WorkLeft,
    /// Something failed: the distributions could not be listed, a receive failed, messages were given
    /// back, or changes wait for distributions that could not be read.
    Failed,
}

/// When the tick of a flush comes back; `None` if it is done.
///
/// A tick that comes back stays until nothing can be hidden any more by the flush it belonged to, dead
/// or not: that flush may have received messages up to its very end, and they are hidden for
/// [`VISIBILITY_TIMEOUT`] from then on.
pub fn tick_comes_back(
    end: FlushEnd,
    receives: u32,
    since_first_receive: Duration,
) -> Option<Duration> {
    const MINUTE: Duration = Duration::from_secs(60);
    const HIDDEN: Duration = FUNCTION_TIMEOUT.saturating_add(VISIBILITY_TIMEOUT);
    match end {
        FlushEnd::WorkLeft => Some(Duration::from_secs(1)),
        FlushEnd::Failed if receives <= 1 => Some(MINUTE / 2),
        FlushEnd::Failed => Some(MINUTE),
        FlushEnd::Drained if receives <= 1 => None,
        FlushEnd::Drained => (since_first_receive <= HIDDEN)
            .then(|| (HIDDEN - since_first_receive + Duration::from_secs(1)).min(MINUTE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(durations: impl IntoIterator<Item = Duration>) -> Vec<f64> {
        durations.into_iter().map(|it| it.as_secs_f64()).collect()
    }

    /// The table of the module, a row each.
    #[test]
    fn every_wait_is_in_this_table() {
        assert_eq!(
            seconds((1..8).map(|attempts| wait(attempts, 0.5))),
            [1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0]
        );
        assert_eq!(seconds([wait(3, 0.0), wait(3, 1.0)]), [3.0, 5.0]);
        assert_eq!(
            seconds((1..9).map(|receives| group_comes_back(false, receives, 1.0))),
            [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
        );
        assert_eq!(seconds([group_comes_back(false, 1, 0.0)]), [24.0]);
        assert_eq!(seconds([group_comes_back(true, 9, 0.5)]), [1.0]);
        assert_eq!(
            seconds((1..8).map(unread_distributions_wait)),
            [60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
        );
        let first = Duration::ZERO;
        for (end, receives, since, expected) in [
            (FlushEnd::Drained, 1, first, None),
            (FlushEnd::WorkLeft, 1, first, Some(1)),
            (FlushEnd::WorkLeft, 9, first, Some(1)),
            (FlushEnd::Failed, 1, first, Some(30)),
            (FlushEnd::Failed, 2, first, Some(60)),
            (FlushEnd::Failed, 90, first, Some(60)),
            // What the flush that died had received may come back until 310 s after it began.
            (FlushEnd::Drained, 2, Duration::from_secs(160), Some(60)),
            (FlushEnd::Drained, 3, Duration::from_secs(300), Some(11)),
            (FlushEnd::Drained, 4, Duration::from_secs(311), None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(
                tick_comes_back(end, receives, since),
                expected,
                "{end:?} {receives}"
            );
        }
    }

    #[test]
    fn a_call_that_is_refused_is_halved_at_once_and_then_waits() {
        for (lane, size, sizes) in [
            (Lane::Paths, 3_000, vec![1_500, 750, 375, 187, 100]),
            (Lane::Wildcards, 15, vec![7, 3, 1]),
            (Lane::Paths, 40, vec![]),
        ] {
            let mut pace = Pace::new(lane, size);
            for smaller in sizes {
                assert_eq!(pace.later(pace.size(), 0.5), Duration::ZERO);
                assert_eq!(pace.size(), smaller);
            }
            let waits: Vec<_> = (0..6).map(|_| pace.later(pace.size(), 0.5)).collect();
            assert_eq!(seconds(waits), [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]);
            assert!(pace.accepted(1) > Duration::ZERO, "and keeps its pace");
            assert_eq!(seconds([pace.later(pace.size(), 0.5)]), [1.0]);
        }
    }

    #[test]
    fn the_pace_after_a_refusal_is_that_of_the_documented_quota() {
        let mut pace = Pace::new(Lane::Paths, 3_000);
        assert_eq!(pace.accepted(3_000), Duration::ZERO);
        pace.later(3_000, 0.5);
        assert_eq!(seconds([pace.accepted(150)]), [1.05]);
        let mut pace = Pace::new(Lane::Wildcards, 1);
        pace.later(1, 0.5);
        assert_eq!(seconds([pace.accepted(1)]), [1.05]);
    }

    #[test]
    fn a_call_whose_answer_was_lost_stays_the_same_for_a_while() {
        let mut pace = Pace::new(Lane::Paths, 3_000);
        assert_eq!(seconds([pace.lost(0.5), pace.lost(0.5)]), [1.0, 2.0]);
        assert!(pace.is_same_call());
        let waits: Vec<_> = (0..4).map(|_| pace.later(3_000, 0.5)).collect();
        assert_eq!(seconds(waits), [4.0, 8.0, 16.0, 16.0]);
        assert!(pace.is_same_call());
        pace.later(3_000, 0.5);
        assert_eq!((pace.is_same_call(), pace.size()), (false, 1_500));
        pace.lost(0.5);
        pace.found();
        assert!(
            !pace.is_same_call(),
            "CloudFront does not know the reference"
        );
    }
}
