//! Decides when `invalidatorctl wait` is done: from what its fences have met, and from how many messages the
//! buffer has.

use std::collections::BTreeSet;
use std::time::Duration;

use super::FlushSays;
use crate::retry::VISIBILITY_TIMEOUT;

/// A fence that is not done after this time may be lost, so another one is sent. The first one still counts.
const RESEND_AFTER: Duration = Duration::from_secs(180);

/// How many messages BufferQueue has. SQS knows these numbers only approximately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// They can be received.
    pub visible: usize,
    /// Received, and not deleted yet.
    pub in_flight: usize,
    /// Sent with a delay.
    pub delayed: usize,
}

/// One fence, and what it has met. Times are in milliseconds since 1970, by the clock of whoever waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The id of the fence.
    pub id: String,
    /// When it was sent.
    pub sent: u64,
    /// What the flush said last.
    pub says: Option<FlushSays>,
    /// The message groups that it has passed.
    pub passed: BTreeSet<String>,
    /// When the flush was seen to have let it pass, and what the buffer had then.
    flushed: Option<(u64, Depth)>,
    /// The same for when it was seen to have passed all groups.
    arrived: Option<(u64, Depth)>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wait, for this reason.
    Wait(String),
    /// Send another fence, for this reason.
    Again(String),
    /// All is accepted or rejected.
    Done,
}

impl Round {
    /// A fence that was just sent.
    pub fn new(id: String, sent: u64) -> Self {
        Self {
            id,
            sent,
            says: None,
            passed: BTreeSet::new(),
            flushed: None,
            arrived: None,
        }
    }

    /// The groups that it has not passed yet; `None` before the flush has let it pass.
    pub fn left(&self) -> Option<Vec<&String>> {
        let Some(FlushSays::Passed { groups, .. }) = &self.says else {
            return None;
        };
        let left = groups.iter().filter(|group| !self.passed.contains(*group));
        Some(left.collect())
    }

    /// Until when the flush knew of changes that are hidden on purpose.
    fn delayed_until(&self) -> Option<u64> {
        let (seen, _) = self.flushed?;
        match &self.says {
            // The clock of the function may be another.
            Some(FlushSays::Passed {
                at,
                delayed_until: Some(until),
                ..
            }) if until > at => Some(seen + (until - at)),
            _ => None,
        }
    }

    fn has_passed(&self) -> bool {
        self.left().is_some_and(|left| left.is_empty())
    }
}

/// Notes what the buffer has now, for the rounds whose flush was just seen to have let them pass, and for those
/// that were just seen to have passed all groups.
pub fn observe(rounds: &mut [Round], depth: Depth, now: u64) {
    for round in rounds.iter_mut().filter(|round| round.left().is_some()) {
        round.flushed.get_or_insert((now, depth));
        if round.has_passed() {
            round.arrived.get_or_insert((now, depth));
        }
    }
}

/// Decides.
///
/// A round that has passed all its groups proves that all is done, except for messages that its flush could not
/// see in the buffer: those that another flush, which runs or was killed, had received (they are hidden for
/// [`VISIBILITY_TIMEOUT`] at most), those that are delayed on purpose, and rests of sets that came there later
/// (submit sends a rest through the buffer when it was sent too often). So if there are any, another round
/// follows.
pub fn verdict(rounds: &[Round], depth: Depth, now: u64) -> Verdict {
    let visibility = milliseconds(VISIBILITY_TIMEOUT);
    let nothing_in_flight = |round: &Round| {
        let mut earlier = rounds.iter().filter_map(|it| it.flushed);
        round.flushed.is_some_and(|(_, it)| it.in_flight == 0)
            || earlier.any(|(seen, _)| seen + visibility <= round.sent)
    };
    let nothing_delayed = |round: &Round| {
        round.flushed.is_some_and(|(_, it)| it.delayed == 0) && round.delayed_until().is_none()
    };
    let is_clear = |round: &&Round| nothing_in_flight(round) && nothing_delayed(round);
    let arrived = rounds.iter().filter(is_clear);
    let arrived: Vec<_> = arrived
        .filter_map(|it| Some((it.sent, it.arrived?)))
        .collect();
    let is_last = |(sent, (_, left)): &(u64, (u64, Depth))| {
        left.visible == 0 || arrived.iter().any(|(_, (seen, _))| seen <= sent)
    };
    if arrived.iter().any(is_last) {
        return Verdict::Done;
    }
    let Some(last) = rounds.last() else {
        return Verdict::Again("no fence was sent yet".to_owned());
    };
    let Some((seen, _)) = last.flushed else {
        let why = match &last.says {
            Some(FlushSays::Waits { why, .. }) => format!("a flush has more to do: {why}"),
            _ => "for a flush".to_owned(),
        };
        return unless_lost(last, now, why);
    };
    if !is_clear(&last) {
        // Another fence is needed in any case, whatever this one meets.
        return after_hidden(
            nothing_delayed(last),
            (seen, last.delayed_until()),
            depth,
            now,
        );
    }
    if last.arrived.is_some() {
        return Verdict::Again("BufferQueue had messages, which may be rests of sets".to_owned());
    }
    let left = last.left().unwrap_or_default();
    let shown: Vec<&str> = left.iter().take(3).map(|it| it.as_str()).collect();
    let more = match left.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    unless_lost(
        last,
        now,
        format!("for CloudFront: {}{more}", shown.join(", ")),
    )
}

/// What to do when messages of the buffer were hidden when the flush let the fence pass.
fn after_hidden(
    nothing_delayed: bool,
    (flushed, delayed_until): (u64, Option<u64>),
    depth: Depth,
    now: u64,
) -> Verdict {
    let is_early = delayed_until.is_some_and(|until| now <= until);
    if !nothing_delayed && (depth.delayed > 0 || is_early) {
        let count = depth.delayed.max(1);
        return Verdict::Wait(format!(
            "{count} messages of BufferQueue are delayed: a distribution could not be read, a spending limit is \
             reached, or wildcards wait for their ration"
        ));
    }
    let is_over = now >= flushed + milliseconds(VISIBILITY_TIMEOUT);
    if depth.in_flight > 0 && !is_over {
        let count = depth.in_flight;
        return Verdict::Wait(format!(
            "{count} messages of BufferQueue are in flight: a flush runs, or was killed"
        ));
    }
    Verdict::Again("messages of BufferQueue were hidden, and can be received now".to_owned())
}

fn unless_lost(last: &Round, now: u64, why: String) -> Verdict {
    match now >= last.sent + milliseconds(RESEND_AFTER) {
        true => Verdict::Again(why),
        false => Verdict::Wait(why),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Depth = Depth {
        visible: 0,
        in_flight: 0,
        delayed: 0,
    };
    const IN_FLIGHT: Depth = Depth {
        in_flight: 2,
        ..NONE
    };
    const DELAYED: Depth = Depth { delayed: 1, ..NONE };
    const VISIBLE: Depth = Depth { visible: 1, ..NONE };

    /// A fence that was sent at `sent`, flushed ten seconds later, and has passed these of its two groups.
    fn round(sent: u64, depth: Depth, passed: &[&str]) -> Round {
        let mut round = Round::new("f".to_owned(), sent);
        // The clock of the function is wrong by a day.
        round.says = Some(FlushSays::Passed {
            at: sent + 86_400_000,
            groups: vec!["E1/paths".to_owned(), "E1/wildcards".to_owned()],
            delayed_until: None,
            unreadable: 0,
        });
        round.passed = passed.iter().map(|group| (*group).to_owned()).collect();
        observe(std::slice::from_mut(&mut round), depth, sent + 10_000);
        round
    }

    const BOTH: [&str; 2] = ["E1/paths", "E1/wildcards"];

    fn kind(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Wait(_) => "wait",
            Verdict::Again(_) => "again",
            Verdict::Done => "done",
        }
    }

    #[test]
    fn it_is_done_when_one_fence_has_passed_and_nothing_was_hidden() {
        let until = |until: u64| {
            let mut round = round(0, NONE, &BOTH);
            if let Some(FlushSays::Passed { delayed_until, .. }) = &mut round.says {
                *delayed_until = Some(86_400_000 + until);
            }
            vec![round]
        };
        let said = |why: &str| {
            let mut round = Round::new("f".to_owned(), 0);
            let why = why.to_owned();
            round.says = Some(FlushSays::Waits { at: 1, why });
            vec![round]
        };
        let sent = || vec![Round::new("f".to_owned(), 0)];
        for (what, rounds, depth, now, expected) in [
            ("nothing sent", vec![], NONE, 0, "again"),
            ("no flush yet", sent(), NONE, 20_000, "wait"),
            ("perhaps lost", sent(), NONE, 180_000, "again"),
            ("it must wait", said("work"), NONE, 20_000, "wait"),
            ("passed", vec![round(0, NONE, &BOTH)], NONE, 11_000, "done"),
            (
                "others came later",
                vec![round(0, NONE, &BOTH)],
                IN_FLIGHT,
                11_000,
                "done",
            ),
            (
                "one group",
                vec![round(0, NONE, &BOTH[..1])],
                NONE,
                11_000,
                "wait",
            ),
            (
                "it is lost there",
                vec![round(0, NONE, &BOTH[..1])],
                NONE,
                181_000,
                "again",
            ),
            (
                "in flight",
                vec![round(0, IN_FLIGHT, &BOTH)],
                IN_FLIGHT,
                11_000,
                "wait",
            ),
            (
                "not any more",
                vec![round(0, IN_FLIGHT, &BOTH)],
                NONE,
                12_000,
                "again",
            ),
            (
                "always busy",
                vec![round(0, IN_FLIGHT, &BOTH)],
                IN_FLIGHT,
                170_000,
                "again",
            ),
            (
                "busy, and the first is long ago",
                vec![round(0, IN_FLIGHT, &[]), round(170_000, IN_FLIGHT, &BOTH)],
                IN_FLIGHT,
                181_000,
                "done",
            ),
            (
                "busy, and the first is not long ago",
                vec![round(0, IN_FLIGHT, &[]), round(169_999, IN_FLIGHT, &BOTH)],
                IN_FLIGHT,
                181_000,
                "wait",
            ),
            (
                "delayed",
                vec![round(0, DELAYED, &BOTH)],
                DELAYED,
                800_000,
                "wait",
            ),
            (
                "not any more",
                vec![round(0, DELAYED, &BOTH)],
                NONE,
                800_000,
                "again",
            ),
            (
                "delayed in both",
                vec![round(0, DELAYED, &BOTH), round(800_000, DELAYED, &BOTH)],
                DELAYED,
                811_000,
                "wait",
            ),
            ("delayed on purpose", until(60_000), NONE, 20_000, "wait"),
            ("not any more", until(60_000), NONE, 70_001, "again"),
            ("long ago", until(0), NONE, 11_000, "done"),
            (
                "perhaps rests",
                vec![round(0, VISIBLE, &BOTH)],
                NONE,
                11_000,
                "again",
            ),
            (
                "another follows",
                vec![round(0, VISIBLE, &BOTH), Round::new("g".to_owned(), 11_000)],
                NONE,
                12_000,
                "wait",
            ),
            (
                "the next one has arrived too",
                vec![round(0, VISIBLE, &BOTH), round(11_000, VISIBLE, &BOTH)],
                VISIBLE,
                22_000,
                "done",
            ),
            (
                "the next one was sent before",
                vec![round(0, VISIBLE, &BOTH), round(9_000, VISIBLE, &BOTH)],
                VISIBLE,
                22_000,
                "again",
            ),
        ] {
            let verdict = verdict(&rounds, depth, now);
            assert_eq!(kind(&verdict), expected, "{what}: {verdict:?}");
        }
    }

    #[test]
    fn what_is_hidden_counts_from_when_the_flush_was_seen() {
        let mut rounds = vec![Round::new("f".to_owned(), 0)];
        observe(&mut rounds, IN_FLIGHT, 1);
        rounds[0].says = round(0, NONE, &[]).says;
        observe(&mut rounds, NONE, 2);
        observe(&mut rounds, IN_FLIGHT, 3);
        assert_eq!(rounds[0].flushed, Some((2, NONE)));
        assert_eq!(rounds[0].arrived, None);
    }
}
