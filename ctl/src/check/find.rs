//! What is wrong, by what was read. Pure: facts in, findings out; one idea a file.

mod alarms;
mod caching;
mod connection;
mod dead_letters;
mod edge;
mod errors;
mod failover;
mod function;
mod mail;
mod mode;
mod origins;
mod others;
mod pauses;
mod queues;
mod role;
mod roots;
mod routes;
mod samconfig;
mod served;
mod tags;
mod tenants;
#[cfg(test)]
mod testing;

use super::facts::Facts;
use super::finding::{Finding, Findings};

/// All findings, in the order in which they are shown.
pub fn find(facts: &Facts) -> Findings {
    let mut found = Findings::default();
    for (subject, what, error) in &facts.unread {
        found.add(Finding::unread(subject, what, error));
    }
    for rule in [
        mode::find,
        pauses::find,
        samconfig::find,
        function::find,
        roots::find,
        role::find,
        queues::find,
        dead_letters::find,
        mail::find,
        alarms::find,
        connection::find,
        tags::find,
        origins::find,
        served::find,
        caching::find,
        edge::find,
        errors::find,
        failover::find,
        tenants::find,
        others::find,
    ] {
        rule(facts, &mut found);
    }
    found.sort();
    let fixes = found.all.iter_mut().flat_map(|it| &mut it.fix);
    fixes.for_each(|fix| *fix = facts.here.complete(fix));
    found
}
