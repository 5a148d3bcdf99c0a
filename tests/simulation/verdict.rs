//! What must hold when a run has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::lambda::Delivery;
use crate::scenario::{Kind, expected, tolerated};
use crate::world::World;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub hash: u64,
    pub kind: Option<Kind>,
    /// What must not be, in words.
    pub violations: Vec<String>,
    /// Changes that CloudFront and the error bucket know nothing of.
    pub lost: u64,
    pub faults: BTreeMap<String, u64>,
    pub changes: u64,
    pub not_accepted: u64,
    pub filed: u64,
    /// Paths CloudFront took, and those of them that no change asked for any more.
    pub paths: u64,
    pub needless: u64,
    /// The longest time from a change to CloudFront's acceptance.
    pub longest: Duration,
    /// The same from the end of the ingest.
    pub longest_after_ingest: Duration,
    pub calls: u64,
    pub invocations: u64,
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
        virtual_time: now,
        ..Outcome::default()
    };
    let accepted = accepted(world, now);
    fresh(world, deliveries, &accepted, &mut outcome);
    waste(world, &accepted, &mut outcome);
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
                        && paths.any(|filed| filed.trim_end_matches('*') == path)
                });
                match at {
                    Some(at) => {
                        outcome.longest = outcome.longest.max(at - event.at);
                        let after = at.saturating_sub(ingested);
                        outcome.longest_after_ingest = outcome.longest_after_ingest.max(after);
                        if scenario.promises().is_some_and(|within| after > within) {
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

/// What CloudFront took that nobody asked for, and what it took again.
fn waste(world: &World, accepted: &Accepted, outcome: &mut Outcome) {
    let scenario = &world.scenario;
    let mut changes: BTreeMap<(&str, String), Vec<Duration>> = BTreeMap::new();
    let mut possible: BTreeSet<(&str, String)> = BTreeSet::new();
    for event in &scenario.events {
        for change in &event.changes {
            for known in tolerated(change) {
                possible.insert(known.clone());
                changes.entry(known).or_default().push(event.at);
            }
        }
    }
    for ((distribution, path), times) in &accepted.exact {
        outcome.paths += times.len() as u64;
        let known = (distribution.as_str(), path.trim_end_matches('*').to_owned());
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
        // A lost answer is no reason to pay twice: the caller reference is the same.
        if scenario.kind == Kind::LostAnswers && taken > changes.len() {
            outcome.violations.push(format!(
                "{path} of {distribution} changed {} times and was invalidated more often, though only answers were lost",
                changes.len()
            ));
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
            ids(world.retry.messages()),
            world.pending
        ));
    }
    for queue in [&world.buffer, &world.tick, &world.retry] {
        for dead in &queue.dead {
            if dead.body != PLANTED {
                violations.push(format!("{} is in the dead-letter queue", dead.id));
            }
        }
    }
    if world.most_flushes > 1 && scenario.overlap == 0.0 {
        violations.push(format!("{} flushes ran at a time", world.most_flushes));
    }
    if !world.files.is_empty() && !scenario.may_refuse() {
        violations.push("paths were filed though CloudFront refused nothing".to_owned());
    }
    let mail_fails = scenario
        .rules
        .iter()
        .any(|rule| rule.strikes(crate::faults::Call::Mail));
    if world.mails == 0 && !world.files.is_empty() && !mail_fails && scenario.crash == 0.0 {
        violations.push("paths were filed, and nobody was told".to_owned());
    }
}

/// A body that nobody can read.
pub const PLANTED: &str = "planted: not a buffered message";

fn ids(messages: &[crate::queue::Message]) -> Vec<&str> {
    messages.iter().map(|message| message.id.as_str()).collect()
}
