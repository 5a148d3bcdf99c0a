//! The summary of many runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::Kind;
use crate::verdict::Outcome;

/// Seeds that failed are shown up to this many.
const SHOWN: usize = 10;

#[derive(Debug, Default, Serialize, Deserialize)]
struct OfKind {
    seeds: u64,
    changes: u64,
    not_accepted: u64,
    lost: u64,
    filed: u64,
    paths: u64,
    needless: u64,
    #[serde(default)]
    paid_twice: u64,
    asked: u64,
    invalidations: u64,
    faults: u64,
    longest: Duration,
    /// The seed with the longest time.
    slowest: u64,
    longest_after_ingest: Duration,
}

impl OfKind {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.changes += other.changes;
        self.not_accepted += other.not_accepted;
        self.lost += other.lost;
        self.filed += other.filed;
        self.paths += other.paths;
        self.needless += other.needless;
        self.paid_twice += other.paid_twice;
        self.asked += other.asked;
        self.invalidations += other.invalidations;
        self.faults += other.faults;
        if other.longest > self.longest {
            (self.longest, self.slowest) = (other.longest, other.slowest);
        }
        self.longest_after_ingest = self.longest_after_ingest.max(other.longest_after_ingest);
    }
}

/// The sum of many runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub took: Duration,
    seeds: u64,
    calls: u64,
    invocations: u64,
    virtual_time: Duration,
    kinds: BTreeMap<Kind, OfKind>,
    faults: BTreeMap<String, u64>,
    failed: Vec<(u64, Vec<String>)>,
}

impl Report {
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// How many seeds failed.
    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.calls += outcome.calls;
        self.invocations += outcome.invocations;
        self.virtual_time += outcome.virtual_time;
        if let Some(kind) = outcome.kind {
            self.kinds.entry(kind).or_default().add(OfKind {
                seeds: 1,
                changes: outcome.changes,
                not_accepted: outcome.not_accepted,
                lost: outcome.lost,
                filed: outcome.filed,
                paths: outcome.paths,
                needless: outcome.needless,
                paid_twice: outcome.paid_twice,
                asked: outcome.asked,
                invalidations: outcome.invalidations,
                faults: outcome.faults.values().sum::<u64>(),
                longest: outcome.longest,
                slowest: outcome.seed,
                longest_after_ingest: outcome.longest_after_ingest,
            });
        }
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            self.failed.push((outcome.seed, outcome.violations));
        }
    }
}

impl Report {
    /// Adds the results of later runs.
    pub fn merge(&mut self, other: Self) {
        self.took += other.took;
        self.seeds += other.seeds;
        self.calls += other.calls;
        self.invocations += other.invocations;
        self.virtual_time += other.virtual_time;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (kind, other) in other.kinds {
            self.kinds.entry(kind).or_default().add(other);
        }
        self.failed.extend(other.failed);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds in {:.1} s ({:.1} a second): {} calls, {} invocations, {:.0} hours of virtual time\n",
            self.seeds,
            self.took.as_secs_f64(),
            self.seeds as f64 / self.took.as_secs_f64(),
            self.calls,
            self.invocations,
            self.virtual_time.as_secs_f64() / 3_600.0
        )?;
        writeln!(f, "faults by kind")?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {fault:<40} {count:>9}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<12} {:>7} {:>9} {:>8} {:>8} {:>8} {:>8} {:>10} {:>9} {:>9} {:>10} {:>10} {:>12} {:>9}",
            "runs",
            "seeds",
            "changes",
            "dropped",
            "filed",
            "paths",
            "invals",
            "per path",
            "twice",
            "faults",
            "per fault",
            "longest s",
            "after ingest",
            "slowest"
        )?;
        for (kind, it) in &self.kinds {
            let per_fault = match it.faults {
                0 => "-".to_owned(),
                faults => format!("{:.3}", it.paid_twice as f64 / faults as f64),
            };
            writeln!(
                f,
                "{:<12} {:>7} {:>9} {:>8} {:>8} {:>8} {:>8} {:>10.3} {:>9} {:>9} {per_fault:>10} {:>10.1} {:>12.1} {:>9}",
                format!("{kind:?}"),
                it.seeds,
                it.changes,
                it.not_accepted,
                it.filed,
                it.paths,
                it.invalidations,
                it.paths as f64 / it.asked.max(1) as f64,
                it.paid_twice,
                it.faults,
                it.longest.as_secs_f64(),
                it.longest_after_ingest.as_secs_f64(),
                it.slowest,
            )?;
        }
        writeln!(
            f,
            "\n\"dropped\" are changes whose event Lambda gave to the on-failure queue."
        )?;
        let lost: u64 = self.kinds.values().map(|it| it.lost).sum();
        let mut failed: Vec<_> = self.failed.iter().collect();
        failed.sort_unstable();
        for (seed, violations) in failed.iter().take(SHOWN) {
            writeln!(f, "\nSEED {seed} FAILED")?;
            for violation in violations.iter().take(SHOWN) {
                writeln!(f, "  {violation}")?;
            }
        }
        writeln!(f, "\nfailed seeds: {}, lost: {lost}", failed.len())
    }
}
