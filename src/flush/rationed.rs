//! Wildcards that names need, and that have waited in the buffer for their ration.
//!
//! Nothing is decided about them again: the distribution may be one that this environment does not know yet.

use std::collections::BTreeMap;

use anyhow::Result;
use invalidator_core::buffered::WaitingSet;
use invalidator_core::caller_reference::SetId;
use invalidator_core::event::BucketName;
use invalidator_core::path::{InvalidationPath, Reach};
use invalidator_core::plan::SetLimits;
use invalidator_core::ration::together;
use invalidator_core::set::{Lane, Set};
use invalidator_core::target::{Target, TenantId};
use tracing::info;

use super::report::FlushCounts;
use crate::app::App;
use crate::queue::Entry;

/// The sets that waited for the same ration.
#[derive(Default)]
struct Waited {
    paths: Vec<InvalidationPath<'static>>,
    ids: Vec<String>,
}

/// The messages of SubmitQueue for sets that have waited in the buffer: rationed ones of one bucket and
/// target together, all others as they are. They have waited long enough, so they go in any case. Fails if
/// one cannot be made; then all of them stay in the buffer.
pub fn entries(app: &App, sets: Vec<WaitingSet>, counts: &mut FlushCounts) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut rationed: BTreeMap<(BucketName, Target), Waited> = BTreeMap::new();
    for set in sets {
        match set.bucket.clone().zip(Set::from_json(&set.body).ok()) {
            Some((bucket, read)) => {
                let waited = rationed.entry((bucket, read.target)).or_default();
                waited.paths.extend(read.paths);
                waited.ids.push(set.id);
            }
            None => entries.push(set.into()),
        }
    }
    for ((bucket, target), waited) in rationed {
        app.rations.used(&bucket, &target, app.clock.now());
        entries.extend(submitted(app, &bucket, &target, waited, counts)?);
    }
    Ok(entries)
}

fn submitted(
    app: &App,
    bucket: &BucketName,
    target: &Target,
    Waited { paths, ids }: Waited,
    counts: &mut FlushCounts,
) -> Result<Vec<Entry>> {
    let paths = together(paths, app.config.min_wildcard_depth);
    let is_whole = |path: &InvalidationPath<'_>| path.reach() == Some(Reach::WholeDistribution);
    counts.whole_by_name += paths.iter().filter(|path| is_whole(path)).count();
    counts.paths += paths.len();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (sets, wildcards) = (ids.len(), paths.len());
    info!(stage = "flush", %bucket, distribution = %target.distribution, alias = %app.catalog.alias(&target.distribution), tenant = target.tenant.as_ref().map(TenantId::as_str), sets, wildcards, "wildcards that names need have waited, and are submitted");
    let most = SetLimits::with_paths(app.config.max_paths_per_invalidation).wildcards_of_a_set();
    let entries = paths.chunks(most).map(|paths| {
        let id = SetId::new(target, paths, &ids);
        // When their changes happened is left out: it would count as late what waits on purpose.
        let set = Set::of_flush(target.clone(), paths.to_vec(), None);
        Entry::of_set(&set, Lane::Wildcards.group(target), &id)
    });
    entries.collect()
}
