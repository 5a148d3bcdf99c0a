//! Planning alone, and with all sets of paths made.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use invalidator::distributions::listing::{DistributionListing, managed_policies};
use invalidator::distributions::origin::OriginBuckets;
use invalidator::distributions::{Details, Distribution};
use invalidator::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator::plan::{Changes, Plan, Rules, SetLimits, plan};
use serde_json::{Value, json};

use crate::{memory, timed};

/// Plans for keys, one a line, and what `aws cloudfront list-distributions` prints.
pub fn plan_files(
    distributions: &Path,
    keys: &Path,
    bucket: &str,
    repeats: usize,
) -> Result<Value> {
    let distributions = read_distributions(distributions)?;
    let keys = fs::read_to_string(keys).context("failed to read the keys")?;
    let bucket = BucketName::new(bucket);
    let before = memory::now()?;
    let first = with_rules(&distributions, |rules| {
        let changes = gather(&keys, &bucket)?;
        Ok(plan(changes, rules).counts)
    })?;
    let planned = memory::peak()? - before;
    let (alone, _) = timed(repeats, || {
        with_rules(&distributions, |rules| {
            Ok(plan(gather(&keys, &bucket)?, rules).counts)
        })
    })?;
    let (with_sets, pairs) = timed(repeats, || {
        with_rules(&distributions, |rules| {
            Ok(paths(&plan(gather(&keys, &bucket)?, rules)))
        })
    })?;
    let own_bytes = keys.lines().map(str::len).sum::<usize>() as u64;
    Ok(json!({
        "changes": keys.lines().count(),
        "distributions": distributions.len(),
        "unmatched": first.unmatched,
        "pairs": pairs,
        "plan_nanoseconds": alone,
        "with_sets_nanoseconds": with_sets,
        "bytes_beyond_keys": planned.saturating_sub(own_bytes),
    }))
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
        limits: SetLimits::with_paths(3_000),
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
        };
        changes.add(&change, u32::try_from(number / 100)?)?;
    }
    Ok(changes)
}

/// Makes all sets; returns how many paths they have.
fn paths(plan: &Plan<'_>) -> usize {
    let sets = plan.targets().flat_map(|target| target.sets());
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
