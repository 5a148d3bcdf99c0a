//! What submit does with fences in a message group.
//!
//! A message group is first in, first out, so a fence is behind all older sets. But if a part of a set was
//! accepted, its rest is sent as a new message, to the end of the group, where the fence is before it. So a
//! fence that has come to the head of its group sends another of the next lap to the end, and stays. All
//! rests of older sets were sent before, because a rest is sent before its set is deleted. When both are
//! received together with no rest between them, there is none.
//!
//! If there is a rest between them, the second one takes the place of the first. So it does if a rest was
//! received with the first one alone: a rest of that rest may be behind the second one. While the first
//! stays it is hidden for a second, and with it the sets behind it.

use super::GroupFence;

/// After so many laps a fence is dropped. `invalidatorctl wait` sends another, from outside: Lambda stops a
/// function that invokes itself through a queue about sixteen times in a row.
const MAX_LAPS: u32 = 6;

/// A fence that was received so often without the next one is dropped.
const MAX_RECEIVES: u32 = 20;

/// A message of one group, in the order of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A fence, and how often it was received.
    Fence(GroupFence, u32),
    /// Anything else.
    Set {
        /// Whether it stays in the queue.
        waits: bool,
        /// Whether it is the rest of another set, or a call whose answer was lost.
        is_rest: bool,
    },
}

/// What is done with a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It stays, behind a set that waits.
    Stay,
    /// It stays, and this one is sent to the end of the group.
    Ask(GroupFence),
    /// This one takes its place, at the end of the group.
    Replace(GroupFence),
    /// Nothing older is left: that is written, and the fence is deleted.
    Pass,
    /// It is deleted: another one takes its place.
    Drop,
}

/// What is done with each message; `None` for those that are no fences.
pub fn steps(group: &[Received]) -> Vec<Option<Step>> {
    let mut steps: Vec<Option<Step>> = vec![None; group.len()];
    for index in 0..group.len() {
        if let Received::Fence(fence, _) = &group[index]
            && steps[index].is_none()
        {
            of_run(group, index, fence, &mut steps);
        }
    }
    steps
}

/// Decides about all fences of one run, of which the first is at `first`.
fn of_run(group: &[Received], first: usize, fence: &GroupFence, steps: &mut [Option<Step>]) {
    let is_same = |it: &Received| matches!(it, Received::Fence(other, _) if other.id == fence.id && other.run == fence.run);
    let all: Vec<usize> = (first..group.len())
        .filter(|index| is_same(&group[*index]))
        .collect();
    let waits = |messages: &[Received]| {
        let is_waiting = |it: &Received| matches!(it, Received::Set { waits: true, .. });
        messages.iter().any(is_waiting)
    };
    let has_rest = |messages: &[Received]| {
        let is_rest = |it: &Received| matches!(it, Received::Set { is_rest: true, .. });
        messages.iter().any(is_rest)
    };
    if waits(&group[..first]) {
        all.iter()
            .for_each(|index| steps[*index] = Some(Step::Stay));
        return;
    }
    // What is not decided below follows one that has passed.
    all.iter()
        .for_each(|index| steps[*index] = Some(Step::Drop));
    let mut head = first;
    loop {
        let Received::Fence(fence, receives) = &group[head] else {
            return;
        };
        // One of the same lap was sent twice, and proves nothing.
        let is_next = |index: &&usize| {
            **index > head
                && matches!(&group[**index], Received::Fence(other, _) if other.lap > fence.lap)
        };
        let Some(next) = all.iter().find(is_next).copied() else {
            let following = GroupFence {
                lap: fence.lap + 1,
                ..fence.clone()
            };
            steps[head] = Some(match has_rest(&group[head + 1..]) {
                _ if fence.lap >= MAX_LAPS || *receives >= MAX_RECEIVES => Step::Drop,
                true => Step::Replace(following),
                false => Step::Ask(following),
            });
            return;
        };
        let between = &group[head + 1..next];
        if !has_rest(between) {
            steps[head] = Some(Step::Pass);
            return;
        }
        if waits(between) {
            let later = all.iter().filter(|index| **index >= next);
            later.for_each(|index| steps[*index] = Some(Step::Stay));
            return;
        }
        head = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(lap: u32) -> GroupFence {
        GroupFence {
            id: "f".to_owned(),
            run: "r".to_owned(),
            group: "E1/paths".to_owned(),
            lap,
        }
    }

    /// `0` to `9`: a fence of this lap. `s`, `S`: a set that is done, or waits; `r`, `R`: a rest.
    fn group(text: &str) -> Vec<Received> {
        let message = |letter: char| match letter.to_digit(10) {
            Some(lap) => Received::Fence(fence(lap), 1),
            None => Received::Set {
                waits: letter.is_uppercase(),
                is_rest: letter.eq_ignore_ascii_case(&'r'),
            },
        };
        text.chars().map(message).collect()
    }

    /// `-`: no fence, `w`: stays, `a`: asks, `f`: another follows in its place, `p`: passes, `d`: is dropped.
    fn shown(group: &[Received]) -> String {
        let letter = |step: Option<Step>| match step {
            None => '-',
            Some(Step::Stay) => 'w',
            Some(Step::Ask(_)) => 'a',
            Some(Step::Replace(_)) => 'f',
            Some(Step::Pass) => 'p',
            Some(Step::Drop) => 'd',
        };
        steps(group).into_iter().map(letter).collect()
    }

    #[test]
    fn a_fence_passes_when_no_older_set_and_no_rest_is_left() {
        for (received, expected) in [
            // It has come to the head: nobody knows yet what is behind it.
            ("0", "a"),
            ("s0", "-a"),
            ("0s", "a-"),
            ("0r", "f-"),
            ("0R", "f-"),
            ("0sr", "f--"),
            // Both are received together.
            ("01", "pd"),
            ("s01", "-pd"),
            // What is between them is younger, unless it is a rest.
            ("0s1", "p-d"),
            ("0S1", "p-d"),
            ("0r1", "d-a"),
            ("0r1r", "d-f-"),
            ("0r12", "d-pd"),
            ("0R1", "d-w"),
            ("0r1R2", "d-d-w"),
            ("0r1s2r", "d-p-d-"),
            // Behind an older set that waits.
            ("S0", "-w"),
            ("S01", "-ww"),
            ("sR01", "--ww"),
            // A fence that was sent twice tells nothing about what came between.
            ("00", "ad"),
            ("0r01", "d-da"),
            ("", ""),
            ("sS", "--"),
        ] {
            assert_eq!(shown(&group(received)), expected, "{received}");
        }
    }

    #[test]
    fn fences_of_two_runs_do_not_mix() {
        let other = GroupFence {
            run: "other".to_owned(),
            ..fence(1)
        };
        let received = [Received::Fence(fence(0), 1), Received::Fence(other, 1)];
        assert_eq!(shown(&received), "aa");
    }

    #[test]
    fn a_fence_gives_up_after_some_laps_or_receives() {
        let next = |lap, receives| steps(&[Received::Fence(fence(lap), receives)]).remove(0);
        assert_eq!(next(0, 1), Some(Step::Ask(fence(1))));
        assert_eq!(next(MAX_LAPS, 1), Some(Step::Drop));
        assert_eq!(next(0, MAX_RECEIVES), Some(Step::Drop));
    }

    /// A slow model of a group: sets are handled in any order of luck, rests go to the end. A fence must never
    /// pass while a rest of an older set is in the group.
    #[test]
    fn a_fence_never_passes_while_a_rest_of_an_older_set_waits() {
        #[derive(Clone)]
        enum Message {
            Set { is_old: bool, is_rest: bool },
            Fence(GroupFence, u32),
        }
        let mut passed = 0;
        for seed in 0..20_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let set = |is_old| Message::Set {
                is_old,
                is_rest: false,
            };
            let mut queue: Vec<Message> = vec![set(true); rng.usize(0..4)];
            queue.push(Message::Fence(fence(0), 0));
            for _ in 0..40 {
                if rng.u8(0..4) == 0 {
                    queue.push(set(false));
                }
                let count = rng.usize(1..=5).min(queue.len());
                let mut end = Vec::new();
                let mut received = Vec::new();
                let mut stays = vec![false; count];
                for (index, message) in queue[..count].iter_mut().enumerate() {
                    match message {
                        Message::Fence(fence, receives) => {
                            *receives += 1;
                            received.push(Received::Fence(fence.clone(), *receives));
                        }
                        Message::Set { is_old, is_rest } => {
                            let luck = rng.u8(0..4);
                            stays[index] = luck == 0;
                            if luck == 1 {
                                end.push(Message::Set {
                                    is_old: *is_old,
                                    is_rest: true,
                                });
                            }
                            received.push(Received::Set {
                                waits: luck == 0,
                                is_rest: *is_rest,
                            });
                        }
                    }
                }
                let mut is_passed = false;
                for (index, step) in steps(&received).iter().enumerate() {
                    match step {
                        Some(Step::Stay) => stays[index] = true,
                        Some(Step::Ask(next) | Step::Replace(next)) => {
                            stays[index] = matches!(step, Some(Step::Ask(_)));
                            let is_new = |it: &Message| !matches!(it, Message::Fence(other, _) if other == next);
                            // SQS drops the second of the same deduplication id.
                            if queue.iter().all(is_new) {
                                end.push(Message::Fence(next.clone(), 0));
                            }
                        }
                        Some(Step::Pass) => is_passed = true,
                        Some(Step::Drop) | None => {}
                    }
                }
                let mut index = 0;
                queue.retain(|_| {
                    index += 1;
                    index > count || stays[index - 1]
                });
                queue.extend(end);
                if is_passed {
                    passed += 1;
                    let mut left = queue.iter();
                    let is_old = |it: &Message| matches!(it, Message::Set { is_old: true, .. });
                    assert!(!left.any(is_old), "seed {seed}");
                    break;
                }
            }
        }
        assert!(passed > 15_000, "{passed}");
    }
}
