//! Submits the merged sets of one target, in calls of a size and at a pace that CloudFront accepts.
//!
//! An error applies to the whole call and names no path. A call that is too large is halved. If a call
//! contains a bad path, that path is found by halving: an accepted half is done; of a half with a bad
//! path, the search goes on inside while the other half waits. So one bad path among 3,000 costs twelve
//! calls, and one more for the paths that waited.

use std::time::Duration;

use invalidator_core::caller_reference::{CallerReference, Cause, SetId};
use invalidator_core::merge::{Merge, PathIndex};
use invalidator_core::retry::{Pace, TIME_TO_STOP};
use invalidator_core::service_error::{ServiceError, TOO_MANY_BAD_PATHS};
use invalidator_core::set::Lane;
use invalidator_core::target::Target;
use tokio::time::sleep;

use super::answer::Answer;

/// How many calls of a unit may search for bad paths. If that is not enough, all its remaining paths are
/// rejected, because searching on would block the target for hours.
const MAX_SEARCH_CALLS: usize = 100;

/// How many wildcards one call may have: CloudFront's older quota for wildcards in progress per
/// distribution.
const MAX_WILDCARDS: usize = 15;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub paths: Vec<PathIndex>,
    /// The caller reference, the same for every attempt.
    pub reference: CallerReference,
}

/// An invalidation that CloudFront accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id, for `aws cloudfront get-invalidation`.
    pub invalidation_id: String,
    /// How many paths it has.
    pub paths: usize,
}

/// The pace of each lane of a target, shared by its units.
#[derive(Clone, Debug)]
pub struct Paces([Pace; 2]);

impl Paces {
    /// Begins another unit, which has no lost call yet.
    pub fn begin(&mut self) {
        self.0.iter_mut().for_each(Pace::found);
    }

    /// Starts with calls of at most `max_paths` paths.
    pub fn new(max_paths: usize) -> Self {
        Self([
            Pace::new(Lane::Paths, max_paths),
            Pace::new(Lane::Wildcards, max_paths.min(MAX_WILDCARDS)),
        ])
    }

    fn of(&mut self, lane: Lane) -> &mut Pace {
        let [paths, wildcards] = &mut self.0;
        match lane {
            Lane::Paths => paths,
            Lane::Wildcards => wildcards,
        }
    }
}

/// Sets of one target that are submitted together.
#[derive(Debug)]
pub struct Unit<'a> {
    pub target: &'a Target,
    /// The sets, and the answers to their paths.
    pub merge: Merge<'static>,
    /// The ids of the sets.
    pub sets: Vec<SetId>,
    /// Why they were sent.
    cause: Cause,
    /// The invalidations that CloudFront accepted.
    pub accepted: Vec<Accepted>,
    /// The reason if CloudFront answered later to the last call.
    pub later: Option<ServiceError>,
    /// The call whose answer was lost, if time ran out before CloudFront answered it.
    pub lost: Option<Call>,
    searches: usize,
}

/// How an attempt at a call ended.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Accepted,
    /// CloudFront answered later. The paths wait, and the next call may be smaller.
    Again,
    TooLarge(ServiceError),
    BadPath(ServiceError),
    Rejected(ServiceError),
    TimeOver,
}

/// The effects that a unit needs: calls to CloudFront, and the remaining time.
pub struct Means<C, T> {
    pub call: C,
    /// The time until Lambda ends the function.
    pub remaining: T,
}

impl<'a> Unit<'a> {
    /// A unit of sets of which nothing was submitted yet.
    pub fn new(target: &'a Target, merge: Merge<'static>, sets: Vec<SetId>, cause: Cause) -> Self {
        Self {
            target,
            merge,
            sets,
            cause,
            accepted: Vec::new(),
            later: None,
            lost: None,
            searches: 0,
        }
    }

    /// Submits until every path is accepted or rejected, or time has run out. `lost` is given if the
    /// paths were sent in one call before and the answer was lost: the call's reference, and how many
    /// invocations have tried it, including this one.
    pub async fn submit<C, T>(
        &mut self,
        lost: Option<(CallerReference, u32)>,
        paces: &mut Paces,
        means: &Means<C, T>,
    ) where
        C: AsyncFn(&Merge<'static>, &Call) -> Answer,
        T: Fn() -> Duration,
    {
        let mut next = lost.and_then(|(reference, invocations)| {
            let paths = self.merge.waiting();
            let lane = Lane::of(self.merge.path(*paths.first()?));
            paces.of(lane).unsure(invocations);
            Some((lane, Call { paths, reference }))
        });
        loop {
            let Some((lane, call)) = next.take().or_else(|| self.next_call(paces)) else {
                return;
            };
            let paths = call.paths.clone();
            let step = self.attempt(lane, call, paces, means).await;
            if !self.follow(step, lane, paths, paces, means).await {
                return;
            }
        }
    }

    fn next_call(&mut self, paces: &mut Paces) -> Option<(Lane, Call)> {
        let lanes = [Lane::Paths, Lane::Wildcards].into_iter();
        let mut calls = lanes.map(|lane| {
            let paths = self.merge.next(lane, paces.of(lane).size());
            (lane, paths)
        });
        let (lane, paths) = calls.find(|(_, paths)| !paths.is_empty())?;
        drop(calls);
        Some((lane, self.call(paths)))
    }

    fn call(&self, paths: Vec<PathIndex>) -> Call {
        let texts: Vec<_> = paths.iter().map(|index| self.merge.path(*index)).collect();
        let sets: Vec<&SetId> = self.sets.iter().collect();
        let reference = CallerReference::new(self.target, &texts, &sets, self.cause);
        Call { paths, reference }
    }

    /// Acts on the result of an attempt. Returns whether to go on.
    async fn follow<C, T>(
        &mut self,
        step: Step,
        lane: Lane,
        paths: Vec<PathIndex>,
        paces: &mut Paces,
        means: &Means<C, T>,
    ) -> bool
    where
        C: AsyncFn(&Merge<'static>, &Call) -> Answer,
        T: Fn() -> Duration,
    {
        match step {
            Step::Accepted => {
                let pause = paces.of(lane).accepted(paths.len());
                self.merge.accept(&paths);
                self.merge.waiting().is_empty() || rest(pause, means).await
            }
            Step::Again => true,
            Step::TooLarge(reason) if paths.len() == 1 => {
                self.merge.reject(&paths, reason);
                true
            }
            Step::TooLarge(_) => {
                paces.of(lane).at_most(paths.len() / 2);
                true
            }
            Step::BadPath(reason) => {
                self.reject_bad_path(lane, paths, reason, paces, means)
                    .await
            }
            Step::Rejected(reason) => {
                let waiting = self.merge.waiting();
                self.merge.reject(&waiting, reason);
                false
            }
            Step::TimeOver => false,
        }
    }

    /// Makes a call, and repeats it as long as its answer is lost.
    async fn attempt<C, T>(
        &mut self,
        lane: Lane,
        mut call: Call,
        paces: &mut Paces,
        means: &Means<C, T>,
    ) -> Step
    where
        C: AsyncFn(&Merge<'static>, &Call) -> Answer,
        T: Fn() -> Duration,
    {
        let mut is_renamed = false;
        loop {
            let is_lost = paces.of(lane).is_same_call();
            if (means.remaining)() < TIME_TO_STOP {
                self.lost = is_lost.then_some(call);
                return Step::TimeOver;
            }
            let answer = (means.call)(&self.merge, &call).await;
            let paths = call.paths.len();
            let pace = paces.of(lane);
            let chance = fastrand::f64();
            let (pause, reason) = match answer {
                Answer::Accepted(invalidation_id) => {
                    self.later = None;
                    let accepted = Accepted {
                        invalidation_id,
                        paths,
                    };
                    self.accepted.push(accepted);
                    return Step::Accepted;
                }
                Answer::Throttled(reason) => (pace.later(paths, chance), reason),
                Answer::TooManyInProgress(reason) => {
                    pace.found();
                    (pace.later(paths, chance), reason)
                }
                Answer::Lost(reason) => (pace.lost(paths, chance), reason),
                Answer::ReferenceTaken(_) if !is_renamed => {
                    is_renamed = true;
                    call.reference = call.reference.another();
                    continue;
                }
                Answer::TooLarge(reason) => return self.found(lane, paces, Step::TooLarge(reason)),
                Answer::BadPath(reason) => return self.found(lane, paces, Step::BadPath(reason)),
                Answer::ReferenceTaken(reason) | Answer::Rejected(reason) => {
                    return self.found(lane, paces, Step::Rejected(reason));
                }
            };
            self.later = Some(reason);
            let is_same_call = pace.is_same_call();
            if !rest(pause, means).await {
                self.lost = is_same_call.then_some(call);
                return Step::TimeOver;
            }
            if !is_same_call {
                return Step::Again;
            }
        }
    }

    /// Notes that CloudFront answered, so the call is not lost any more.
    fn found(&mut self, lane: Lane, paces: &mut Paces, step: Step) -> Step {
        self.later = None;
        paces.of(lane).found();
        step
    }

    /// Finds one bad path of a call and rejects it: there is always one among the suspects. Paths that
    /// are not accepted during the search wait, as there may be another bad one among them. Returns
    /// whether to go on.
    async fn reject_bad_path<C, T>(
        &mut self,
        lane: Lane,
        mut suspects: Vec<PathIndex>,
        mut reason: ServiceError,
        paces: &mut Paces,
        means: &Means<C, T>,
    ) -> bool
    where
        C: AsyncFn(&Merge<'static>, &Call) -> Answer,
        T: Fn() -> Duration,
    {
        while suspects.len() > 1 {
            if self.searches >= MAX_SEARCH_CALLS {
                let ServiceError { code, message, .. } = reason;
                let message = format!("gave up after {MAX_SEARCH_CALLS} calls: {code}: {message}");
                let waiting = self.merge.waiting();
                self.merge
                    .reject(&waiting, ServiceError::own(TOO_MANY_BAD_PATHS, message));
                return false;
            }
            self.searches += 1;
            let half = suspects.split_off(suspects.len() / 2);
            let call = self.call(suspects.clone());
            match self.attempt(lane, call, paces, means).await {
                Step::Accepted => {
                    let pause = paces.of(lane).accepted(suspects.len());
                    self.merge.accept(&suspects);
                    suspects = half;
                    if !rest(pause, means).await {
                        return false;
                    }
                }
                Step::BadPath(newest) => reason = newest,
                // The search starts again with the next call, which is smaller.
                Step::Again => return true,
                Step::TooLarge(_) => {
                    paces.of(lane).at_most(suspects.len() / 2);
                    return true;
                }
                Step::Rejected(reason) => {
                    let waiting = self.merge.waiting();
                    self.merge.reject(&waiting, reason);
                    return false;
                }
                Step::TimeOver => return false,
            }
        }
        self.merge.reject(&suspects, reason);
        true
    }
}

/// Pauses, if there is time for it.
async fn rest<C, T>(pause: Duration, means: &Means<C, T>) -> bool
where
    T: Fn() -> Duration,
{
    if (means.remaining)() < TIME_TO_STOP + pause {
        return false;
    }
    if !pause.is_zero() {
        sleep(pause).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use invalidator_core::merge::Left;
    use invalidator_core::merge::SetIndex;
    use invalidator_core::path::InvalidationPath;
    use invalidator_core::target::DistributionId;
    use tokio::time::Instant;

    use super::*;

    fn path(n: usize) -> InvalidationPath<'static> {
        InvalidationPath::try_from(format!("/{n:05}")).unwrap()
    }

    fn wildcard(n: usize) -> InvalidationPath<'static> {
        InvalidationPath::try_from(format!("/{n:05}*")).unwrap()
    }

    fn reason(code: &str) -> ServiceError {
        ServiceError::own(code, "no")
    }

    /// What came of a unit.
    struct Run {
        accepted: BTreeSet<String>,
        references: Vec<CallerReference>,
        calls: usize,
        took: Duration,
        rejected: Vec<Vec<InvalidationPath<'static>>>,
        left: Left<'static>,
        later: Option<ServiceError>,
        lost: Option<Call>,
    }

    /// Submits one set in 150 s against `answer`, which sees the texts of a call and its number.
    fn run(
        paths: Vec<InvalidationPath<'static>>,
        answer: impl Fn(&[String], usize) -> Answer,
    ) -> Run {
        let target = Target {
            distribution: DistributionId::new("E1"),
            tenant: None,
        };
        let seen = Rc::new(RefCell::new((BTreeSet::new(), Vec::new())));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let means = Means {
                call: async |merge: &Merge<'static>, call: &Call| {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let texts = call
                        .paths
                        .iter()
                        .map(|index| merge.path(*index).to_string());
                    let texts: Vec<String> = texts.collect();
                    let (accepted, references) = &mut *seen.borrow_mut();
                    let answer = answer(&texts, references.len());
                    references.push(call.reference.clone());
                    if matches!(answer, Answer::Accepted(_)) {
                        for text in texts {
                            assert!(accepted.insert(text), "a path was accepted twice");
                        }
                    }
                    answer
                },
                remaining: || Duration::from_secs(150).saturating_sub(start.elapsed()),
            };
            let sets = vec![SetId::known("set")];
            let mut unit = Unit::new(&target, Merge::new(vec![paths]), sets, Cause::Flush);
            let mut paces = Paces::new(3_000);
            unit.submit(None, &mut paces, &means).await;
            let took = start.elapsed();
            let (accepted, references) = seen.take();
            let rejected = unit.merge.rejected().into_iter();
            Run {
                accepted,
                calls: references.len(),
                references,
                took,
                rejected: rejected.map(|(_, paths)| paths).collect(),
                left: unit.merge.left_of(SetIndex(0)),
                later: unit.later,
                lost: unit.lost,
            }
        })
    }

    fn accepted() -> Answer {
        Answer::Accepted("I1".to_owned())
    }

    fn bad_paths(bad: Vec<usize>) -> impl Fn(&[String], usize) -> Answer {
        let bad: Vec<_> = bad.into_iter().map(|n| path(n).to_string()).collect();
        move |paths, _| match paths.iter().any(|path| bad.contains(path)) {
            true => Answer::BadPath(reason("InvalidArgument")),
            false => accepted(),
        }
    }

    #[test]
    fn one_bad_path_among_three_thousand_costs_a_dozen_calls_and_one_for_the_rest() {
        for bad in [0, 1, 1_499, 1_500, 2_998, 2_999] {
            let run = run((0..3_000).map(path).collect(), bad_paths(vec![bad]));
            assert_eq!(run.rejected, [vec![path(bad)]]);
            assert_eq!(run.accepted.len(), 2_999);
            assert!(
                run.calls <= 1 + 12 + 1,
                "{} calls for path {bad}",
                run.calls
            );
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
            let run = run((0..count).map(path).collect(), bad_paths(bad.clone()));
            let mut rejected = run.rejected.concat();
            rejected.sort();
            assert_eq!(rejected, bad.iter().map(|n| path(*n)).collect::<Vec<_>>());
            assert_eq!(run.accepted.len(), count - bad.len());
            assert_eq!(run.left, Left::Nothing);
        }
    }

    #[test]
    fn a_set_of_bad_paths_ends_in_good_time_and_no_path_is_forgotten() {
        let all: Vec<usize> = (0..3_000).collect();
        let run = run(all.iter().copied().map(path).collect(), bad_paths(all));
        assert_eq!(
            (run.rejected.concat().len(), run.accepted.len()),
            (3_000, 0)
        );
        assert!(run.calls <= 2 * MAX_SEARCH_CALLS, "{}", run.calls);
    }

    #[test]
    fn a_call_that_is_too_large_is_halved() {
        let run = run((0..3_000).map(path).collect(), |paths, _| {
            match paths.len() {
                1_001.. => Answer::TooLarge(reason("BatchTooLarge")),
                _ => accepted(),
            }
        });
        assert_eq!((run.accepted.len(), run.calls), (3_000, 2 + 4));
        let run = self::run(vec![path(1)], |_, _| {
            Answer::TooLarge(reason("BatchTooLarge"))
        });
        assert_eq!(run.rejected, [vec![path(1)]]);
    }

    #[test]
    fn what_is_throttled_half_way_waits_and_nothing_else() {
        for throttled_from in 0..20 {
            let run = run((0..1_000).map(path).collect(), |paths, calls| {
                match calls >= throttled_from {
                    true => Answer::Throttled(reason("Throttling")),
                    false => bad_paths(vec![17, 800])(paths, calls),
                }
            });
            let left: Vec<_> = match run.left {
                Left::Nothing => Vec::new(),
                Left::Part(left) => left,
                Left::All => (0..1_000).map(path).collect(),
            };
            let mut all: Vec<String> = left.iter().map(ToString::to_string).collect();
            all.extend(run.rejected.concat().iter().map(ToString::to_string));
            all.extend(run.accepted);
            all.sort();
            let expected: Vec<_> = (0..1_000).map(|n| path(n).to_string()).collect();
            assert_eq!(all, expected, "throttled from call {throttled_from}");
            assert!(run.took < Duration::from_secs(131), "{:?}", run.took);
        }
    }

    /// The documented quota, read strictly: one wildcard per second, with a burst of one. With only the
    /// queue's back-off, 30 wildcards once ended in the error file.
    #[test]
    fn wildcards_are_submitted_at_one_per_second() {
        let next = RefCell::new(None::<Instant>);
        let run = run((0..30).map(wildcard).collect(), |paths, _| {
            let now = Instant::now();
            let may = next.borrow().is_none_or(|next| now >= next);
            if paths.len() > 1 || !may {
                return Answer::Throttled(reason("Throttling"));
            }
            next.replace(Some(now + Duration::from_secs(1)));
            accepted()
        });
        assert_eq!(run.accepted.len(), 30);
        assert!(run.took < Duration::from_secs(60), "{:?}", run.took);
    }

    /// 150 paths per second, with a burst of 150.
    #[test]
    fn paths_are_submitted_at_150_per_second() {
        let bucket = RefCell::new((150.0, None::<Instant>));
        let run = run((0..3_000).map(path).collect(), |paths, _| {
            let now = Instant::now();
            let (tokens, since) = &mut *bucket.borrow_mut();
            let passed = since.map_or(0.0, |since| (now - since).as_secs_f64());
            *tokens = (*tokens + 150.0 * passed).min(150.0);
            *since = Some(now);
            if paths.len() as f64 > *tokens {
                return Answer::Throttled(reason("Throttling"));
            }
            *tokens -= paths.len() as f64;
            accepted()
        });
        assert_eq!(run.accepted.len(), 3_000);
        assert!(run.took < Duration::from_secs(60), "{:?}", run.took);
    }

    #[test]
    fn a_target_with_too_many_in_progress_gets_smaller_calls() {
        for limit in [3_000, 2_999, 1_500, 700, 100] {
            let run = run((0..3_000).map(path).collect(), |paths, _| {
                match paths.len() > limit {
                    true => Answer::TooManyInProgress(reason("TooManyInvalidationsInProgress")),
                    false => accepted(),
                }
            });
            assert_eq!(run.accepted.len(), 3_000, "a limit of {limit}");
        }
    }

    #[test]
    fn a_call_whose_answer_is_lost_is_made_again_as_it_was() {
        let run = run((0..3_000).map(path).collect(), |_, calls| match calls {
            0..4 => Answer::Lost(reason("Timeout")),
            _ => accepted(),
        });
        assert_eq!(run.calls, 5);
        assert!(run.references.iter().all(|it| *it == run.references[0]));
        assert_eq!((run.later, run.lost), (None, None));
    }

    #[test]
    fn a_call_whose_answer_stays_lost_is_handed_over_as_it_was() {
        let run = run((0..3_000).map(path).collect(), |_, _| {
            Answer::Lost(reason("Timeout"))
        });
        let lost = run.lost.unwrap();
        assert_eq!(lost.paths.len(), 3_000);
        assert!(run.references.iter().all(|it| *it == lost.reference));
        assert_eq!(run.left, Left::All);
        // At most one attempt every sixteen seconds, in the end.
        assert!(run.calls <= 5 + 8, "{}", run.calls);
    }

    #[test]
    fn a_reference_that_was_used_with_other_paths_is_replaced() {
        let run = run(vec![path(1)], |_, calls| match calls {
            0 => Answer::ReferenceTaken(reason("InvalidationBatchAlreadyExists")),
            _ => accepted(),
        });
        assert_eq!(run.calls, 2);
        assert_ne!(run.references[0], run.references[1]);
    }

    #[test]
    fn what_may_never_be_submitted_is_rejected_by_one_call() {
        let run = run((0..9_000).map(path).collect(), |_, _| {
            Answer::Rejected(reason("AccessDenied"))
        });
        assert_eq!((run.calls, run.rejected.concat().len()), (1, 9_000));
    }
}
