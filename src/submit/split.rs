//! Gets a set through that CloudFront does not take whole.
//!
//! An error refuses the whole batch and names no path. A set that is too large is halved. In a set
//! with a bad path, the bad one is searched by halving: a half that is taken is through, and of one
//! that is refused the other half waits. So one bad path among 3,000 costs twelve calls and one for
//! what waited. A set that is held back again and again is halved too: it may be larger than what
//! CloudFront takes at its present rate.

use super::outcome::{Answer, Refusal};
use super::{Accepted, CallerReference, Refused, Settlement, Submission};
use crate::distributions::Target;
use crate::path::InvalidationPath;

/// Calls for one set. A set with so many bad paths that this is not enough is refused with the
/// paths that are left, rather than blocking its distribution for minutes.
const MAX_CALLS: usize = 100;

/// A set that is held back again and again is not halved below so many paths.
const MIN_HALF: usize = 100;

/// Submits a set by `call`, in parts where it must be. A set that has been held back before may be
/// halved up to `halvings` times if it is held back again.
pub async fn settle<'a>(
    submission: Submission<'a>,
    halvings: u32,
    call: impl AsyncFn(&Submission<'_>) -> Answer,
) -> Settlement<'a> {
    let Submission {
        target,
        paths,
        caller_reference,
    } = submission;
    let mut splitter = Splitter {
        size: paths.len(),
        target,
        caller_reference,
        halvings,
        call,
        calls: 0,
        settlement: Settlement::default(),
    };
    splitter.run(paths).await;
    splitter.settlement
}

struct Splitter<'a, C> {
    target: Target,
    /// The reference of the whole set, and its number of paths.
    caller_reference: CallerReference,
    size: usize,
    halvings: u32,
    call: C,
    calls: usize,
    settlement: Settlement<'a>,
}

/// Paths of a set that are not through yet.
struct Part<'a> {
    paths: Vec<InvalidationPath<'a>>,
    /// How often it was halved for being held back.
    halved: u32,
}

impl Part<'_> {
    fn halves(mut self, halved: u32) -> [Self; 2] {
        let paths = self.paths.split_off(self.paths.len() / 2);
        let first = Self { halved, ..self };
        [Self { paths, halved }, first]
    }
}

impl<'a, C: AsyncFn(&Submission<'_>) -> Answer> Splitter<'a, C> {
    async fn run(&mut self, paths: Vec<InvalidationPath<'a>>) {
        let mut parts = self.first_parts(paths);
        while let Some(Part { paths, halved }) = parts.pop() {
            let (answer, paths) = self.send(paths).await;
            let part = Part { paths, halved };
            match answer {
                Answer::Accepted(_) => {}
                Answer::TooLarge(_) if part.paths.len() > 1 => parts.extend(part.halves(halved)),
                Answer::Later(_) if self.may_halve(&part) => parts.extend(part.halves(halved + 1)),
                Answer::BadPath(refusal) if part.paths.len() > 1 => {
                    match self.without_bad_path(part.paths, refusal).await {
                        Search::Found { rest: paths } => {
                            parts.extend((!paths.is_empty()).then_some(Part { paths, halved }));
                        }
                        Search::Stopped { answer, paths } => {
                            return self.give_up(answer, with_rest(paths, parts));
                        }
                    }
                }
                answer @ Answer::Later(_) => {
                    return self.give_up(answer, with_rest(part.paths, parts));
                }
                answer => self.give_up(answer, part.paths),
            }
        }
    }

    /// A set that was halved before is not tried whole again: of what CloudFront took of it then,
    /// it would make a second invalidation.
    fn first_parts(&self, paths: Vec<InvalidationPath<'a>>) -> Vec<Part<'a>> {
        let whole = Part { paths, halved: 0 };
        if self.may_halve(&whole) {
            whole.halves(1).into()
        } else {
            vec![whole]
        }
    }

    fn may_halve(&self, part: &Part<'_>) -> bool {
        part.halved < self.halvings && part.paths.len() >= 2 * MIN_HALF
    }

    /// Some paths of the set; less than all of them have a reference derived from the set's.
    fn part(&self, paths: Vec<InvalidationPath<'a>>) -> Submission<'a> {
        let caller_reference = if paths.len() == self.size {
            self.caller_reference.clone()
        } else {
            self.caller_reference.of_part(&paths)
        };
        Submission {
            target: self.target.clone(),
            paths,
            caller_reference,
        }
    }

    /// One call, and another under a new reference should the first be taken. Gives the paths back.
    async fn send(
        &mut self,
        paths: Vec<InvalidationPath<'a>>,
    ) -> (Answer, Vec<InvalidationPath<'a>>) {
        if self.calls >= MAX_CALLS {
            let message = format!("gave up after {MAX_CALLS} calls for one set");
            let refusal = Refusal::new("TooManyBadPaths", message);
            return (Answer::Refused(refusal), paths);
        }
        self.calls += 1;
        let mut part = self.part(paths);
        let mut answer = (self.call)(&part).await;
        if let Answer::ReferenceTaken(_) = answer {
            part.caller_reference = part.caller_reference.of_part(&part.paths);
            answer = (self.call)(&part).await;
        }
        if let Answer::Accepted(invalidation_id) = &answer {
            let invalidation_id = invalidation_id.clone();
            self.settlement.accepted.push(Accepted {
                invalidation_id,
                paths: part.paths.len(),
            });
        }
        (answer, part.paths)
    }

    /// Finds one bad path of a refused set: there is always one among the suspects. The rest of the
    /// set, of which nothing is known, may hold another.
    async fn without_bad_path(
        &mut self,
        mut suspects: Vec<InvalidationPath<'a>>,
        mut refusal: Refusal,
    ) -> Search<'a> {
        let mut unknown: Vec<InvalidationPath<'a>> = Vec::new();
        while suspects.len() > 1 {
            let half = suspects.split_off(suspects.len() / 2);
            let (answer, tried) = self.send(suspects).await;
            match answer {
                Answer::Accepted(_) => suspects = half,
                Answer::BadPath(newest) => {
                    refusal = newest;
                    suspects = tried;
                    unknown.extend(half);
                }
                answer => {
                    let paths = [tried, half, unknown].concat();
                    return Search::Stopped { answer, paths };
                }
            }
        }
        self.refuse(suspects, refusal);
        Search::Found { rest: unknown }
    }

    /// What is left after an answer that ends the work on these paths.
    fn give_up(&mut self, answer: Answer, paths: Vec<InvalidationPath<'a>>) {
        match answer {
            Answer::Accepted(_) => {}
            Answer::Later(refusal) => {
                self.settlement.held_back = Some((self.part(paths), refusal));
            }
            Answer::TooLarge(refusal)
            | Answer::BadPath(refusal)
            | Answer::ReferenceTaken(refusal)
            | Answer::Refused(refusal) => self.refuse(paths, refusal),
        }
    }

    fn refuse(&mut self, paths: Vec<InvalidationPath<'a>>, refusal: Refusal) {
        let target = self.target.clone();
        self.settlement.refused.push(Refused {
            target,
            paths,
            refusal,
        });
    }
}

fn with_rest<'a>(
    paths: Vec<InvalidationPath<'a>>,
    parts: Vec<Part<'a>>,
) -> Vec<InvalidationPath<'a>> {
    let rest = parts.into_iter().rev().flat_map(|part| part.paths);
    paths.into_iter().chain(rest).collect()
}

enum Search<'a> {
    /// A bad path was found and refused; `rest` is not through yet.
    Found { rest: Vec<InvalidationPath<'a>> },
    /// An answer of another kind came; `paths` are not through yet.
    Stopped {
        answer: Answer,
        paths: Vec<InvalidationPath<'a>>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributions::DistributionId;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    fn path(n: usize) -> InvalidationPath<'static> {
        InvalidationPath::try_from(format!("/{n:05}")).unwrap()
    }

    fn submission(count: usize) -> Submission<'static> {
        let target = Target {
            distribution: DistributionId::new("E1"),
            tenant: None,
        };
        let paths: Vec<_> = (0..count).map(path).collect();
        let caller_reference = CallerReference::of_set(&target, &paths, &["m"]);
        Submission {
            target,
            paths,
            caller_reference,
        }
    }

    /// Settles against `answer`; returns what was settled, the paths that got through, the calls.
    fn settle_with(
        count: usize,
        answer: impl Fn(&Submission<'_>, usize) -> Answer,
    ) -> (
        Settlement<'static>,
        BTreeSet<InvalidationPath<'static>>,
        usize,
    ) {
        settle_halving(count, 0, answer)
    }

    fn settle_halving(
        count: usize,
        halvings: u32,
        answer: impl Fn(&Submission<'_>, usize) -> Answer,
    ) -> (
        Settlement<'static>,
        BTreeSet<InvalidationPath<'static>>,
        usize,
    ) {
        let state = RefCell::new((BTreeSet::new(), 0));
        let submission = submission(count);
        let call = async |part: &Submission<'_>| {
            let mut state = state.borrow_mut();
            let answer = answer(part, state.1);
            state.1 += 1;
            if matches!(answer, Answer::Accepted(_)) {
                let paths = part.paths.iter().cloned();
                state.0.extend(paths.map(InvalidationPath::into_owned));
            }
            answer
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let settlement = runtime.block_on(settle(submission, halvings, call));
        let (accepted, calls) = state.into_inner();
        let told: usize = settlement
            .accepted
            .iter()
            .map(|accepted| accepted.paths)
            .sum();
        assert_eq!(told, accepted.len(), "a path went through twice");
        (settlement, accepted, calls)
    }

    fn refusal(code: &str) -> Refusal {
        Refusal::new(code, "no")
    }

    fn bad_paths(bad: Vec<usize>) -> impl Fn(&Submission<'_>, usize) -> Answer {
        let bad: Vec<_> = bad.into_iter().map(path).collect();
        move |part, _| match part.paths.iter().any(|path| bad.contains(path)) {
            true => Answer::BadPath(refusal("InvalidArgument")),
            false => Answer::Accepted("I1".to_owned()),
        }
    }

    #[test]
    fn one_bad_path_among_three_thousand_costs_a_dozen_calls_and_one_for_the_rest() {
        for bad in [0, 1, 1_499, 1_500, 2_998, 2_999] {
            let (settlement, accepted, calls) = settle_with(3_000, bad_paths(vec![bad]));
            assert_eq!(settlement.refused.len(), 1);
            assert_eq!(settlement.refused[0].paths, [path(bad)]);
            assert_eq!(accepted.len(), 2_999);
            assert!(calls <= 1 + 12 + 1, "{calls} calls for path {bad}");
        }
    }

    #[test]
    fn several_bad_paths_stand_alone_and_all_others_go_through() {
        for (count, bad) in [
            (1, vec![0]),
            (2, vec![0, 1]),
            (10, vec![0, 9]),
            (100, vec![3, 4, 50]),
            (3_000, vec![1, 2, 999, 2_999]),
        ] {
            let (settlement, accepted, _) = settle_with(count, bad_paths(bad.clone()));
            let mut refused: Vec<_> = settlement
                .refused
                .iter()
                .flat_map(|refused| refused.paths.clone())
                .collect();
            refused.sort();
            assert_eq!(refused, bad.iter().map(|n| path(*n)).collect::<Vec<_>>());
            assert_eq!(accepted.len(), count - bad.len());
            assert!(settlement.held_back.is_none());
        }
    }

    #[test]
    fn a_set_of_bad_paths_ends_in_good_time_and_no_path_is_forgotten() {
        let (settlement, accepted, calls) = settle_with(3_000, bad_paths((0..3_000).collect()));
        let refused: usize = settlement
            .refused
            .iter()
            .map(|refused| refused.paths.len())
            .sum();
        assert_eq!((refused, accepted.len()), (3_000, 0));
        assert!(calls <= MAX_CALLS, "{calls}");
    }

    #[test]
    fn a_set_that_is_too_large_is_halved() {
        let (settlement, accepted, calls) = settle_with(3_000, |part, _| match part.paths.len() {
            1_001.. => Answer::TooLarge(refusal("BatchTooLarge")),
            _ => Answer::Accepted("I1".to_owned()),
        });
        assert_eq!(
            (accepted.len(), settlement.refused.len(), calls),
            (3_000, 0, 3 + 4)
        );
        let (settlement, ..) = settle_with(1, |_, _| Answer::TooLarge(refusal("BatchTooLarge")));
        assert_eq!(settlement.refused.len(), 1);
    }

    #[test]
    fn what_is_throttled_half_way_is_held_back_and_nothing_else() {
        for throttled_from in 0..20 {
            let (settlement, accepted, _) =
                settle_with(1_000, |part, calls| match calls >= throttled_from {
                    true => Answer::Later(refusal("Throttling")),
                    false => bad_paths(vec![17, 800])(part, calls),
                });
            let held: Vec<_> = settlement
                .held_back
                .map(|(held, _)| held.paths)
                .unwrap_or_default();
            let refused = settlement.refused.iter().flat_map(|refused| &refused.paths);
            let mut all: Vec<_> = held
                .iter()
                .chain(refused)
                .chain(&accepted)
                .cloned()
                .collect();
            all.sort();
            assert_eq!(
                all,
                (0..1_000).map(path).collect::<Vec<_>>(),
                "throttled from call {throttled_from}"
            );
        }
    }

    #[test]
    fn a_set_held_back_whole_keeps_its_reference() {
        let (settlement, ..) = settle_with(5, |_, _| Answer::Later(refusal("Throttling")));
        assert_eq!(settlement.held_back.unwrap().0, submission(5));
    }

    #[test]
    fn a_set_that_is_held_back_often_is_halved_until_it_passes() {
        let at_most = |limit: usize| {
            move |part: &Submission<'_>, _| match part.paths.len() > limit {
                true => Answer::Later(refusal("TooManyInvalidationsInProgress")),
                false => Answer::Accepted("I1".to_owned()),
            }
        };
        for (halvings, limit, through) in [
            (0, 3_000, 3_000),
            (0, 2_999, 0),
            (1, 1_500, 3_000),
            (1, 1_499, 0),
            (2, 750, 3_000),
            (4, 188, 3_000),
            (4, 187, 187),
            (9, 188, 3_000),
            // 187 paths are not halved: the halves would be below a hundred.
            (9, 186, 0),
        ] {
            let (settlement, accepted, _) = settle_halving(3_000, halvings, at_most(limit));
            assert_eq!(
                accepted.len(),
                through,
                "{halvings} halvings, {limit} paths"
            );
            let held = settlement.held_back.map_or(0, |(held, _)| held.paths.len());
            assert_eq!(held, 3_000 - through);
        }
    }

    #[test]
    fn a_set_that_was_halved_before_is_not_tried_whole_again() {
        let tried = RefCell::new(Vec::new());
        settle_halving(3_000, 1, |part, _| {
            let part = (part.paths.len(), part.caller_reference.clone());
            tried.borrow_mut().push(part);
            Answer::Accepted("I1".to_owned())
        });
        let tried = tried.into_inner();
        assert_eq!((tried[0].0, tried[1].0), (1_500, 1_500));
        assert_ne!(tried[0].1, tried[1].1);
    }

    #[test]
    fn a_reference_that_is_taken_is_replaced_once() {
        let first = submission(5).caller_reference;
        let (settlement, accepted, calls) =
            settle_with(5, move |part, _| match part.caller_reference == first {
                true => Answer::ReferenceTaken(refusal("InvalidationBatchAlreadyExists")),
                false => Answer::Accepted("I1".to_owned()),
            });
        assert_eq!((accepted.len(), settlement.refused.len(), calls), (5, 0, 2));
        let (settlement, ..) = settle_with(5, |_, _| {
            Answer::ReferenceTaken(refusal("InvalidationBatchAlreadyExists"))
        });
        assert_eq!(settlement.refused[0].paths.len(), 5);
    }

    #[test]
    fn what_is_refused_is_refused_whole_with_its_reason() {
        let (settlement, accepted, calls) =
            settle_with(5, |_, _| Answer::Refused(refusal("AccessDenied")));
        assert_eq!((accepted.len(), calls), (0, 1));
        assert_eq!(settlement.refused[0].refusal.code, "AccessDenied");
    }
}
