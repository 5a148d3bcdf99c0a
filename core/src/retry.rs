//! The timing of all retries. Each repeated attempt is later or smaller than the one before.
//!
//! | what failed | the next attempt |
//! |---|---|
//! | an invalidation that CloudFront answers with later | half as large, at once, down to [`SMALLEST`]; then after 1, 2, 4, 8, 16 s, until [`TIME_TO_STOP`] |
//! | an invalidation whose answer was lost | the same one with the same caller reference, after 1, 2, 4, 8, 16 s; half as large if no answer came in six invocations |
//! | a group that ran out of time | after 1 s if a part of it was accepted, else after 30 s, doubling to 15 min |
//! | a read of CloudFront's configuration, or a send | after 1, 2, 4, 8, 16 s, until its time has run out; a read that was throttled as soon as the [pace](crate::read_pace) of all reads allows |
//! | changes of distributions that could not be read | after 60 s, doubling to 15 min |
//! | a flush | its tick comes back after 1 s if work is left, after 30 s and then every minute if nothing could be done, every 30 s while the stack is stopped, else every 5 s for as long as messages may be hidden |
//! | a set, while the stack is not live | every 15 min |
//!
//! Randomness is an argument, `chance`, from 0 to 1, so that many environments that fail at the same
//! moment do not all retry at the same moment.

use std::fmt;
use std::time::Duration;

use crate::set::Lane;

/// How long the function may run. The template sets it too.
pub const FUNCTION_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a received message stays hidden. The template sets it too. It is longer than
/// [`FUNCTION_TIMEOUT`], so an invocation that is killed is over before its messages come back.
pub const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(160);

/// How long sets are hidden while the stack is stopped or in a dry run.
pub const NOT_LIVE_WAIT: Duration = Duration::from_secs(900);

/// A stage starts no new work in this time before Lambda ends it.
pub const TIME_TO_STOP: Duration = Duration::from_secs(20);

/// How often the rest of a set is sent as a new message, at most.
pub const MAX_HOPS: u32 = 8;

/// A call whose answer was lost is halved when CloudFront has answered later this many times in a row.
/// Its paths may then be paid for twice, which is better than a set that is never accepted.
const REFUSALS_BEFORE_HALVING_A_LOST_CALL: u32 = 5;

/// A call whose answer was lost in this many invocations is halved too, because its size may be the
/// reason. This takes more than a quarter of an hour.
const INVOCATIONS_BEFORE_HALVING_A_LOST_CALL: u32 = 6;

/// The wait before the next attempt: 1, 2, 4, 8, 16 s, a quarter more or less. `attempts` counts the
/// failed ones, from 1.
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
    /// The sum of the pauses since the last accepted call.
    waited: Duration,
    /// Nine tenths of the pauses that the last accepted call needed.
    needed: Duration,
    /// How often CloudFront has answered later since an answer was lost.
    since_lost: Option<u32>,
    /// Whether the next lost answer halves the call.
    is_sick: bool,
}

/// The size of the smallest call: it is not halved any more, but waits.
pub const SMALLEST: [(Lane, usize); 2] = [(Lane::Paths, 100), (Lane::Wildcards, 1)];

impl Pace {
    /// Starts with calls of `size` paths.
    pub fn new(lane: Lane, size: usize) -> Self {
        Self {
            lane,
            size: size.max(1),
            failures: 0,
            is_slow: false,
            waited: Duration::ZERO,
            needed: Duration::ZERO,
            since_lost: None,
            is_sick: false,
        }
    }

    /// How many paths the next call may hold.
    pub fn size(&self) -> usize {
        self.size
    }

    /// CloudFront accepted a call. Returns the pause before the next one: none, unless CloudFront has
    /// answered later before. Then calls keep the documented quota of 150 paths or one wildcard per
    /// second (CloudFront Developer Guide, "Quotas"). If this call had to wait longer than that, the
    /// next one waits nearly as long.
    pub fn accepted(&mut self, paths: usize) -> Duration {
        self.failures = 0;
        self.found();
        if !self.is_slow {
            return Duration::ZERO;
        }
        self.needed = std::mem::take(&mut self.waited).mul_f64(0.9);
        let per_second = match self.lane {
            Lane::Paths => 150.0,
            Lane::Wildcards => 1.0,
        };
        let of_quota = Duration::from_secs_f64(1.05 * paths as f64 / per_second);
        self.waited = of_quota.max(self.needed);
        self.waited
    }

    /// CloudFront answered later to a call of this many paths. Returns the pause before the next
    /// attempt. [`Pace::is_same_call`] says whether that must be the same call.
    pub fn later(&mut self, paths: usize, chance: f64) -> Duration {
        self.is_slow = true;
        if let Some(refusals) = &mut self.since_lost {
            *refusals += 1;
            if *refusals < REFUSALS_BEFORE_HALVING_A_LOST_CALL {
                return self.pause(chance);
            }
            self.found();
        }
        let smallest = self.smallest();
        if paths > smallest {
            self.size = (paths / 2).max(smallest);
            return Duration::ZERO;
        }
        self.pause(chance)
    }

    /// The answer to a call of this many paths was lost, so it may have been accepted. Returns the pause
    /// before the same call is made again.
    pub fn lost(&mut self, paths: usize, chance: f64) -> Duration {
        self.since_lost = Some(0);
        if self.is_sick {
            self.since_lost = None;
            self.size = (paths / 2).max(1);
        }
        self.pause(chance)
    }

    /// Earlier invocations have made the next call and lost the answer. `invocations` counts them and
    /// this one.
    pub fn unsure(&mut self, invocations: u32) {
        self.since_lost = Some(0);
        self.is_sick = invocations >= INVOCATIONS_BEFORE_HALVING_A_LOST_CALL;
    }

    /// Limits the size of calls, because CloudFront said that larger ones are too large.
    pub fn at_most(&mut self, size: usize) {
        self.size = self.size.min(size).max(1);
    }

    /// It is known now whether CloudFront accepted the call whose answer was lost.
    pub fn found(&mut self) {
        self.since_lost = None;
        self.is_sick = false;
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
        let pause = wait(self.failures, chance);
        self.waited += pause;
        pause
    }
}

/// When a group that ran out of time comes back. `receives` counts how often its first message was
/// received, including this time.
pub fn group_comes_back(progressed: bool, receives: u32, chance: f64) -> Duration {
    if progressed {
        return Duration::from_secs(1);
    }
    let doublings = receives.saturating_sub(1).min(5);
    let base = Duration::from_secs(30 << doublings).min(Duration::from_secs(900));
    base.mul_f64(0.8 + chance / 5.0)
}

/// How long the changes of distributions that could not be read wait. `attempts` counts the failed
/// flushes, from 1.
pub fn unread_distributions_wait(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(4);
    Duration::from_secs(60 << doublings).min(Duration::from_secs(900))
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushEnd {
    /// The queue is confirmed empty.
    Drained,
    /// Time or the limit of changes is used up, and more changes wait.
    WorkLeft,
    /// A receive failed. Its messages may be hidden now.
    MayHaveHidden,
    /// The operator has stopped the stack, so nothing was received.
    Stopped,
    /// Nothing could be done: the mode or the list of distributions could not be read, or nothing could be
    /// sent.
    Failed,
}

impl fmt::Display for FlushEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::WorkLeft => "work left",
            Self::MayHaveHidden => "messages may be hidden",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

impl FlushEnd {
    /// Whether the flush did what it should, for the heartbeat. One that had no time left for all of its
    /// work did, and one that was told not to work.
    pub fn is_finished(self) -> bool {
        match self {
            Self::Drained | Self::WorkLeft | Self::Stopped => true,
            Self::MayHaveHidden | Self::Failed => false,
        }
    }
}

/// Changes that a spending limit holds back are looked at again after this time: the longest delay of SQS.
/// Each time, some more may go on.
pub const HELD_WAIT: Duration = Duration::from_secs(900);

/// Changes that were planned without default root objects are hidden for this time, or for the debounce if that is
/// shorter. The tick for them comes after the debounce.
pub const ROOT_OBJECTS_WAIT: Duration = Duration::from_secs(10);

/// The history of a tick: what is known about earlier flushes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickHistory {
    /// How often the tick was received, including this time.
    pub receives: u32,
    /// The time since it was first received.
    pub since_first_receive: Duration,
    /// Whether the last flush of this environment had the same tick, and ended with work left.
    pub ended_with_work_left: bool,
    /// The time since a receive in this environment failed.
    pub since_failed_receive: Option<Duration>,
}

/// When the tick of a flush comes back; `None` if it is done.
///
/// An earlier flush with this tick may have died. It may have received messages up to its end, and
/// those are hidden for [`VISIBILITY_TIMEOUT`] from then on. So the tick keeps coming back until none
/// of them can be hidden any more: every few seconds, because while it is hidden no other flush starts.
pub fn tick_comes_back(end: FlushEnd, history: TickHistory) -> Option<Duration> {
    const STEP: Duration = Duration::from_secs(5);
    match end {
        FlushEnd::WorkLeft => Some(Duration::from_secs(1)),
        FlushEnd::Stopped => Some(Duration::from_secs(30)),
        FlushEnd::Failed if history.receives <= 1 => Some(Duration::from_secs(30)),
        FlushEnd::Failed => Some(Duration::from_secs(60)),
        FlushEnd::MayHaveHidden => Some(STEP),
        FlushEnd::Drained => may_hide(history).then_some(STEP),
    }
}

/// Whether messages that an earlier flush received may still be hidden.
fn may_hide(history: TickHistory) -> bool {
    let by_failed_receive = history
        .since_failed_receive
        .is_some_and(|since| since <= VISIBILITY_TIMEOUT);
    let by_death = history.receives > 1
        && !history.ended_with_work_left
        && history.since_first_receive <= FUNCTION_TIMEOUT + VISIBILITY_TIMEOUT;
    by_failed_receive || by_death
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(durations: impl IntoIterator<Item = Duration>) -> Vec<f64> {
        durations.into_iter().map(|it| it.as_secs_f64()).collect()
    }

    /// The table in the module's documentation, row by row.
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
        let history = |receives, since_first_receive| TickHistory {
            receives,
            since_first_receive: Duration::from_secs(since_first_receive),
            ..TickHistory::default()
        };
        let after_work = TickHistory {
            ended_with_work_left: true,
            ..history(2, 150)
        };
        let after_failed_receive = |seconds| TickHistory {
            since_failed_receive: Some(Duration::from_secs(seconds)),
            ..history(9, 400)
        };
        for (end, history, expected) in [
            (FlushEnd::Drained, history(1, 0), None),
            (FlushEnd::WorkLeft, history(1, 0), Some(1)),
            (FlushEnd::WorkLeft, history(9, 0), Some(1)),
            (FlushEnd::Failed, history(1, 0), Some(30)),
            (FlushEnd::Failed, history(2, 0), Some(60)),
            (FlushEnd::Failed, history(90, 0), Some(60)),
            (FlushEnd::Stopped, history(1, 0), Some(30)),
            (FlushEnd::Stopped, history(90, 0), Some(30)),
            (FlushEnd::MayHaveHidden, history(1, 0), Some(5)),
            // The messages of a flush that died may come back until 310 s after it began.
            (FlushEnd::Drained, history(2, 160), Some(5)),
            (FlushEnd::Drained, history(3, 310), Some(5)),
            (FlushEnd::Drained, history(4, 311), None),
            (FlushEnd::Drained, after_work, None),
            (FlushEnd::Drained, after_failed_receive(160), Some(5)),
            (FlushEnd::Drained, after_failed_receive(161), None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(
                tick_comes_back(end, history),
                expected,
                "{end:?} {history:?}"
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
        assert_eq!(seconds([pace.accepted(1)]), [1.05]);
    }

    #[test]
    fn a_pace_that_is_slower_than_the_quota_is_learned() {
        let mut pace = Pace::new(Lane::Wildcards, 1);
        let waits: Vec<_> = (0..5).map(|_| pace.later(1, 0.5)).collect();
        assert_eq!(seconds(waits), [1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(seconds([pace.accepted(1)]), [27.9]);
        assert_eq!(
            seconds([pace.accepted(1)]),
            [25.11],
            "and tried to be faster"
        );
    }

    #[test]
    fn a_call_whose_answer_was_lost_stays_the_same_for_a_while() {
        let mut pace = Pace::new(Lane::Paths, 3_000);
        assert_eq!(
            seconds([pace.lost(3_000, 0.5), pace.lost(3_000, 0.5)]),
            [1.0, 2.0]
        );
        assert!(pace.is_same_call());
        let waits: Vec<_> = (0..4).map(|_| pace.later(3_000, 0.5)).collect();
        assert_eq!(seconds(waits), [4.0, 8.0, 16.0, 16.0]);
        assert!(pace.is_same_call());
        pace.later(3_000, 0.5);
        assert_eq!((pace.is_same_call(), pace.size()), (false, 1_500));
        pace.lost(1_500, 0.5);
        pace.found();
        assert!(
            !pace.is_same_call(),
            "CloudFront does not know the reference"
        );
        for (invocations, is_same_call, size) in [(5, true, 3_000), (6, false, 1_500)] {
            let mut pace = Pace::new(Lane::Paths, 3_000);
            pace.unsure(invocations);
            assert!(pace.is_same_call());
            pace.lost(3_000, 0.5);
            assert_eq!((pace.is_same_call(), pace.size()), (is_same_call, size));
        }
    }
}
