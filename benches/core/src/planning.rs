//! Planning alone, and with all sets of paths made.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use invalidator_core::distributions::listing::{DistributionListing, managed_policies};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::plan::{Changes, KeyChanges, MessageIndex, Plan, Rules, SetLimits, plan};
use serde_json::{Value, json};

use crate::{memory, timed};

/// What to plan for.
pub struct Case<'a> {
    /// What `aws cloudfront list-distributions` prints.
    pub distributions: &'a Path,
    /// Keys, one a line.
    pub keys: &'a Path,
    pub bucket: BucketName,
    /// Whether all sets are to be made too.
    pub with_sets: bool,
}

impl Case<'_> {
    /// Plans so often.
    pub fn measure(&self, repeats: usize) -> Result<Value> {
        let distributions = read_distributions(self.distributions)?;
        let keys = fs::read_to_string(self.keys).context("failed to read the keys")?;
        let run = |use_plan: fn(&Plan<'_>) -> usize| {
            with_rules(&distributions, |rules| {
                let keys = KeyChanges::from(gather(&keys, &self.bucket)?);
                Ok(use_plan(&plan(&keys, rules)))
            })
        };
        let before = memory::now()?;
        run(|plan| plan.keys.len())?;
        let planned = memory::peak()?.saturating_sub(before);
        let own_bytes: usize = keys.lines().map(str::len).sum();
        let (alone, different) = timed(repeats, || run(|plan| plan.keys.len()))?;
        let (with_sets, pairs) = if self.with_sets {
            timed(repeats, || run(paths))?
        } else {
            Default::default()
        };
        Ok(json!({
            "changes": different,
            "distributions": distributions.len(),
            "pairs": pairs,
            "plan_nanoseconds": alone,
            "with_sets_nanoseconds": with_sets,
            "bytes_beyond_keys": planned.saturating_sub(own_bytes as u64),
        }))
    }
}

/// Runs `work` with rules for these distributions.
pub fn with_rules<T>(
    distributions: &[Distribution],
    work: impl FnOnce(&Rules<'_>) -> Result<T>,
) -> Result<T> {
    work(&Rules {
        distributions,
        origin_buckets: &OriginBuckets::default(),
        index_documents: &HashMap::new(),
        debounce: Duration::from_secs(10),
        limits: SetLimits::with_paths(3_000),
        min_wildcard_depth: 0,
    })
}

fn gather(keys: &str, bucket: &BucketName) -> Result<Changes> {
    let mut changes = Changes::default();
    for (number, key) in keys.lines().enumerate() {
        let change = Change {
            bucket: bucket.clone(),
            key: ObjectKey::new(key)?,
            kind: ChangeKind::Created,
            event_time: None,
            version_id: None,
        };
        changes.add(&change, MessageIndex::new(number / 100))?;
    }
    Ok(changes)
}

/// Makes all sets; returns how many paths they have.
fn paths(plan: &Plan<'_>) -> usize {
    let sets = plan.targets().flat_map(|target| target.sets(|_| true));
    sets.map(|set| set.paths.len()).sum()
}

fn read_distributions(file: &Path) -> Result<Vec<Distribution>> {
    let text = fs::read_to_string(file).context("failed to read the distributions")?;
    let listing: DistributionListing = serde_json::from_str(&text)?;
    let policies = managed_policies();
    let summaries = listing.distribution_list.items.iter();
    Ok(summaries
        .flat_map(|summary| Distribution::all(summary, Details::default(), &policies))
        .collect())
}
