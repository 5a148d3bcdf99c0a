//! Checks what must hold at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::lambda::{Delivery, Stage};
use crate::scenario::{Kind, askable, expected, tolerated};
use crate::world::World;

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub hash: u64,
    pub kind: Option<Kind>,
    /// The violations, in words.
    pub violations: Vec<String>,
    /// How many waits there were, how long those took that ended, and for how many paths they were.
    pub waits: usize,
    pub waits_done: Vec<Duration>,
    pub waited_for: usize,
    /// Paths that were neither accepted nor rejected when a wait for them ended.
    pub too_early: Vec<String>,
    /// Objects of changes that were held back, lines of them that were put back, and objects that were thrown away
    /// because a flush has left them.
    pub held: u64,
    pub put_back: u64,
    pub thrown_away: u64,
    /// Changes that reached neither CloudFront nor the error bucket.
    pub lost: u64,
    pub faults: BTreeMap<String, u64>,
    pub changes: u64,
    pub not_accepted: u64,
    pub filed: u64,
    /// How many paths CloudFront accepted, and how many of those no change needed any more.
    pub paths: u64,
    pub needless: u64,
    /// Wildcards that took the place of paths.
    pub collapsed: u64,
    /// How long the changes of a bucket took at most, and how many paths were ordered in the first hour.
    pub longest_of_other: Duration,
    pub of_first_hour: u64,
    /// Paths that CloudFront accepted more often than they changed.
    pub paid_twice: u64,
    /// Different paths of the changes, and invalidations.
    pub asked: u64,
    pub invalidations: u64,
    /// Wildcards that CloudFront accepted.
    pub wildcards: u64,
    /// The longest time from a change to CloudFront's acceptance.
    pub longest: Duration,
    /// The same from the end of the ingest.
    pub longest_after_ingest: Duration,
    pub calls: u64,
    pub invocations: u64,
    /// The longest time that a throttled batch waited, by stage.
    pub kept_waiting: BTreeMap<Stage, Duration>,
    pub virtual_time: Duration,
}

/// When each path was accepted, by distribution and path; and the wildcards of each distribution.
struct Accepted {
    exact: BTreeMap<(String, String), Vec<Duration>>,
    wildcards: BTreeMap<String, Vec<(String, Duration)>>,
}

impl Accepted {
    fn first_since(&self, distribution: &str, path: &str, since: Duration) -> Option<Duration> {
        let key = (distribution.to_owned(), path.to_owned());
        let exact = self.exact.get(&key).into_iter().flatten().copied();
        let wildcards = self.wildcards.get(distribution).into_iter().flatten();
        let wildcards = wildcards
            .filter(|(prefix, _)| path.starts_with(prefix.as_str()))
            .map(|(_, at)| *at);
        exact.chain(wildcards).filter(|at| *at >= since).min()
    }
}

pub fn judge(world: &mut World, deliveries: &[Delivery], rested: bool, now: Duration) -> Outcome {
    let mut outcome = Outcome {
        seed: world.scenario.seed,
        hash: world.hash(),
        kind: Some(world.scenario.kind),
        faults: world.faults.clone(),
        calls: world.calls,
        invocations: world.invocations,
        kept_waiting: world.kept_waiting.clone(),
        virtual_time: now,
        held: world.held,
        put_back: world.put_back,
        thrown_away: world.thrown_away,
        ..Outcome::default()
    };
    let accepted = accepted(world, now);
    fresh(world, deliveries, &accepted, &mut outcome);
    waits(world, deliveries, &accepted, &mut outcome);
    waste(world, &accepted, &mut outcome);
    repetition(world, &mut outcome);
    burst(world, now, &mut outcome);
    left_over(world, rested, &mut outcome);
    outcome
}

fn accepted(world: &World, now: Duration) -> Accepted {
    let mut accepted = Accepted {
        exact: BTreeMap::new(),
        wildcards: BTreeMap::new(),
    };
    for distribution in ["E1", "E2", "E3", "E4", "E5"] {
        for invalidation in world.cloudfront.invalidations(distribution, now) {
            for path in invalidation.paths {
                if let Some(prefix) = path.strip_suffix('*') {
                    let wildcards = accepted.wildcards.entry(distribution.to_owned());
                    let known = (prefix.to_owned(), invalidation.created);
                    wildcards.or_default().push(known);
                }
                let times = accepted.exact.entry((distribution.to_owned(), path));
                times.or_default().push(invalidation.created);
            }
        }
    }
    accepted
}

/// Each accepted change reached each distribution that serves it, or the error bucket, after it
/// happened.
fn fresh(world: &World, deliveries: &[Delivery], accepted: &Accepted, outcome: &mut Outcome) {
    let scenario = &world.scenario;
    for (n, (event, delivery)) in scenario.events.iter().zip(deliveries).enumerate() {
        outcome.changes += event.changes.len() as u64;
        let Some(ingested) = delivery.accepted else {
            outcome.not_accepted += event.changes.len() as u64;
            if scenario.rules.is_empty() && scenario.crash == 0.0 {
                outcome
                    .violations
                    .push(format!("event {n} was not accepted"));
            }
            continue;
        };
        for change in &event.changes {
            for (distribution, path) in expected(change) {
                let at = accepted.first_since(distribution, &path, event.at);
                let filed = world.files.iter().any(|file| {
                    let mut paths = file.paths.iter();
                    file.at >= event.at
                        && file.distribution == distribution
                        && paths.any(|filed| match filed.strip_suffix('*') {
                            Some(prefix) => path.starts_with(prefix),
                            None => *filed == path,
                        })
                });
                match at {
                    Some(at) => {
                        outcome.longest = outcome.longest.max(at - event.at);
                        if !change.key.starts_with("flood/") {
                            outcome.longest_of_other = outcome.longest_of_other.max(at - event.at);
                        }
                        let after = at.saturating_sub(ingested);
                        outcome.longest_after_ingest = outcome.longest_after_ingest.max(after);
                        let promised = scenario.promises(distribution, &path);
                        let promised =
                            promised.map(|within| within + scenario.wait_for_wildcards());
                        if promised.is_some_and(|within| after > within) {
                            outcome.violations.push(format!(
                                "event {n}: {path} of {distribution} reached CloudFront at {:.3}, {:.3} s after its ingest",
                                at.as_secs_f64(),
                                after.as_secs_f64()
                            ));
                        }
                    }
                    None if filed => outcome.filed += 1,
                    None => {
                        outcome.lost += 1;
                        outcome.violations.push(format!(
                            "event {n}: {path} of {distribution} is LOST: it changed at {:.3}, ingested at {:.3}",
                            event.at.as_secs_f64(),
                            ingested.as_secs_f64()
                        ));
                    }
                }
            }
        }
    }
}

/// When a wait ends, each change that was buffered before it began has reached each distribution that serves it,
/// or the error bucket.
fn waits(world: &World, deliveries: &[Delivery], accepted: &Accepted, outcome: &mut Outcome) {
    outcome.waits = world.waited.len();
    for waited in &world.waited {
        let Some(done) = waited.done else {
            continue;
        };
        outcome.waits_done.push(done - waited.from);
        for (n, (event, delivery)) in world.scenario.events.iter().zip(deliveries).enumerate() {
            if delivery.accepted.is_none_or(|at| at > waited.from) {
                continue;
            }
            for (distribution, path) in event.changes.iter().flat_map(expected) {
                outcome.waited_for += 1;
                let at = accepted.first_since(distribution, &path, event.at);
                let filed = world.files.iter().any(|file| {
                    let covers = |filed: &String| match filed.strip_suffix('*') {
                        Some(prefix) => path.starts_with(prefix),
                        None => *filed == path,
                    };
                    let is_in_time = file.at >= event.at && file.at <= done;
                    is_in_time && file.distribution == distribution && file.paths.iter().any(covers)
                });
                if !filed && at.is_none_or(|at| at > done) {
                    outcome.too_early.push(format!(
                        "the wait from {:?} ended at {done:?}, and {path} of {distribution} (event {n}, at {:?}) was \
                         accepted at {at:?}",
                        waited.from, event.at
                    ));
                }
            }
        }
    }
}

/// The accepted paths that no change needed, and those accepted more than once.
fn waste(world: &World, accepted: &Accepted, outcome: &mut Outcome) {
    let scenario = &world.scenario;
    let mut changes: BTreeMap<(&str, String), Vec<Duration>> = BTreeMap::new();
    let mut possible: BTreeSet<(&str, String)> = BTreeSet::new();
    for event in &scenario.events {
        for change in &event.changes {
            for (distribution, path) in tolerated(change) {
                for path in askable(&path) {
                    possible.insert((distribution, path.clone()));
                    let times = changes.entry((distribution, path)).or_default();
                    times.push(event.at);
                }
            }
        }
    }
    outcome.asked = possible.len() as u64;
    for ((distribution, path), times) in &accepted.exact {
        outcome.paths += times.len() as u64;
        let in_first_hour = times.iter().filter(|at| at.as_secs() < 3_600);
        outcome.of_first_hour += in_first_hour.count() as u64;
        let known = (distribution.as_str(), path.trim_end_matches('*').to_owned());
        let covers = |(of, covered): &(&str, String)| {
            *of == known.0 && path.ends_with("/*") && covered.starts_with(&known.1)
        };
        let is_collapsed = !possible.contains(&known) && possible.iter().any(covers);
        if scenario.collapses() && is_collapsed {
            outcome.collapsed += times.len() as u64;
            continue;
        }
        let Some(changes) = changes.get(&known).filter(|_| possible.contains(&known)) else {
            outcome.violations.push(format!(
                "{path} of {distribution} was invalidated for nothing"
            ));
            continue;
        };
        let taken = times.len();
        let mut times = times.clone();
        times.sort_unstable();
        let mut since = Duration::ZERO;
        for at in times {
            if !changes.iter().any(|change| (since..=at).contains(change)) {
                outcome.needless += 1;
            }
            since = at;
        }
        // Only a death, a deletion that fails, two flushes at once, and a change that was buffered twice
        // because the answer was late, are reasons to pay twice.
        let paid_twice = taken.saturating_sub(changes.len());
        outcome.paid_twice += paid_twice as u64;
        let may_pay_twice = matches!(scenario.kind, Kind::Storm | Kind::SlowBuffer);
        if !may_pay_twice && paid_twice > 0 {
            outcome.violations.push(format!(
                "{path} of {distribution} changed {} times and was invalidated {taken} times",
                changes.len()
            ));
        }
    }
}

/// Equal attempts with equal outcomes are as rare as the table of `retry` makes them.
fn repetition(world: &World, outcome: &mut Outcome) {
    // After 1, 2, 4, 8 and then every 16 s, a quarter less at most; twice that, as an environment that
    // dies leaves its group to another.
    const MINUTE: Duration = Duration::from_secs(60);
    const MOST: usize = 20;
    let mut last: BTreeMap<(u64, u16), Vec<Duration>> = BTreeMap::new();
    for attempt in world.attempts.iter().filter(|it| it.status >= 400) {
        let times = last.entry((attempt.call, attempt.status)).or_default();
        times.retain(|at| attempt.at.saturating_sub(*at) < MINUTE);
        times.push(attempt.at);
        if times.len() == MOST + 1 {
            outcome.violations.push(format!(
                "the same call was refused {} times within a minute before {:.3}",
                times.len(),
                attempt.at.as_secs_f64()
            ));
        }
    }
    if world.most_under_way > MOST_CALLS_AT_ONCE {
        outcome.violations.push(format!(
            "{} calls of an environment were under way at once",
            world.most_under_way
        ));
    }
}

/// Lambda allows 1,024 file descriptors; each call needs a connection.
const MOST_CALLS_AT_ONCE: usize = 100;

/// A burst is one invalidation for each target and lane.
fn burst(world: &World, now: Duration, outcome: &mut Outcome) {
    for distribution in ["E1", "E2", "E3", "E4"] {
        let invalidations = world.cloudfront.invalidations(distribution, now);
        outcome.invalidations += invalidations.len() as u64;
        let is_wildcard = |paths: &[String]| paths.iter().any(|path| path.ends_with('*'));
        for wildcards in [false, true] {
            let of_lane = invalidations.iter();
            let of_lane = of_lane.filter(|it| is_wildcard(&it.paths) == wildcards);
            let (count, paths) = of_lane.fold((0, 0), |(count, paths), it| {
                (count + 1, paths + it.paths.len())
            });
            let fit_in_one = if wildcards { 15 } else { 3_000 };
            outcome.wildcards += if wildcards { paths as u64 } else { 0 };
            let most = usize::div_ceil(paths, fit_in_one);
            if world.scenario.kind == Kind::Burst && count > most {
                outcome.violations.push(format!(
                    "a burst made {count} invalidations of {distribution}, wildcards: {wildcards}"
                ));
            }
        }
    }
}

fn left_over(world: &World, rested: bool, outcome: &mut Outcome) {
    let scenario = &world.scenario;
    let violations = &mut outcome.violations;
    if !rested {
        violations.push(format!(
            "no rest: buffer {:?}, ticks {:?}, sets {:?}, {} on the way",
            ids(world.buffer.messages()),
            ids(world.tick.messages()),
            ids(world.submit.messages()),
            world.pending
        ));
    }
    for queue in [&world.buffer, &world.submit] {
        if let Some(message) = queue.expired.first() {
            violations.push(format!("{} was in its queue for too long", message.id));
        }
    }
    for queue in [&world.buffer, &world.tick, &world.submit] {
        for dead in &queue.dead {
            violations.push(format!("{} is in the dead-letter queue", dead.id));
        }
    }
    if world.most_flushes > 1 && scenario.overlap == 0.0 {
        violations.push(format!("{} flushes ran at a time", world.most_flushes));
    }
    if !world.files.is_empty() && !scenario.may_refuse() {
        violations.push("paths were filed though CloudFront refused nothing".to_owned());
    }
    for key in &world.filed_in_trust {
        violations.push(format!(
            "{key} was written, and its target is still trusted"
        ));
    }
    let mail_fails = scenario
        .rules
        .iter()
        .any(|rule| rule.strikes(crate::faults::Call::Mail));
    let is_as_planted = |(_, body): &&(String, String)| body == PLANTED;
    let filed = world.unreadable.iter().filter(is_as_planted).count();
    if filed < scenario.planted || filed < world.unreadable.len() {
        violations.push(format!(
            "of {} messages that nobody can read, {filed} of {} files hold one",
            scenario.planted,
            world.unreadable.len()
        ));
    }
    let files = world.files.iter().map(|file| &file.key);
    let files: Vec<&String> = files
        .chain(world.unreadable.iter().map(|(key, _)| key))
        .collect();
    if world.mails.is_empty() && !files.is_empty() && !mail_fails && scenario.crash == 0.0 {
        violations.push("paths were filed, and nobody was told".to_owned());
    }
    // Each file is named in a mail, or waits in the state for the next digest.
    let (_, _, state) = world.objects.get(invalidator_core::incident::STATE_KEY);
    let is_certain = files.len() <= 100 && scenario.crash == 0.0 && !mail_fails;
    for key in files.into_iter().filter(|_| is_certain) {
        let name = key.rsplit('/').next().unwrap();
        let is_told = world.mails.iter().any(|mail| mail.contains(name));
        if !is_told && !state.contains(name) {
            violations.push(format!("no mail names {key}, and none will"));
        }
    }
}

/// A body that nobody can read.
pub const PLANTED: &str = "planted: not a buffered message";

fn ids<'a>(messages: impl Iterator<Item = &'a crate::queue::Message>) -> Vec<&'a str> {
    messages.map(|message| message.id.as_str()).collect()
}
