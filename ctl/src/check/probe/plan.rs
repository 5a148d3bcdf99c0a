//! Which invalidations an upload must bring, by the function's own plan.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Result, bail};
use invalidator::catalog::Catalog;
use invalidator::clock::Clock;
use invalidator::config::Config;
use invalidator::tags::BucketTags;
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::plan::{
    Changes, Decision, Fate, KeyChanges, MessageIndex, Rules, SetLimits, Verdict,
    index_document_of, plan,
};
use tokio::time::Instant;

use super::awaited::Awaited;
use super::object::own_key;
use crate::account::Account;

/// Reading CloudFront's configuration may take so long.
const TIME: Duration = Duration::from_secs(120);

/// The key to upload, and the invalidations that it must bring. Without a key it is one of ours, at the root of
/// the bucket, or else in a folder that an origin serves.
///
/// # Errors
/// If it brings none, with the reason; or if something cannot be read.
pub async fn awaited(
    account: &Account,
    config: &Config,
    bucket: &str,
    key: Option<&str>,
) -> Result<(String, Vec<Awaited>)> {
    let ever = Duration::from_secs(3_600);
    let until = Instant::now() + TIME;
    let bucket = BucketName::new(bucket);
    let tags = BucketTags::new(ever, Clock::system());
    let settings = tags.settings(account.clients.s3(), &bucket, until).await;
    let Some(settings) = settings else {
        bail!("the tags of {bucket} cannot be read, see above");
    };
    if settings.only_changed {
        bail!(
            "{bucket} is tagged invalidate=changed: the first upload of a key may be skipped, so a probe proves nothing. \
             Upload a changed page instead, and look at the log."
        );
    }
    let cloudfront = account.clients.cloudfront();
    let ids = config.distribution_ids.clone();
    let catalog = Catalog::new(ids, ever, Clock::system()).of_tenants(config.tenant_ids.clone());
    catalog.load(cloudfront, until).await?;
    let aliases = &config.origin_buckets;
    let serving = catalog
        .serving(
            cloudfront,
            std::slice::from_ref(&bucket),
            aliases,
            &Default::default(),
            until,
        )
        .await;
    if let Some(id) = serving.unread.first() {
        bail!("the distribution {id} could not be read, see above");
    }
    let index_document = index_document_of(Some(&settings));
    let index_documents: HashMap<_, _> = index_document
        .map(|name| (bucket.clone(), name))
        .into_iter()
        .collect();
    let rules = Rules {
        distributions: &serving.distributions,
        origin_buckets: aliases,
        index_documents: &index_documents,
        debounce: config.debounce,
        limits: SetLimits::with_paths(config.max_paths_per_invalidation),
        min_wildcard_depth: config.min_wildcard_depth,
    };
    let keys: Vec<String> = match key {
        Some(key) => vec![key.to_owned()],
        None => {
            let own = own_key();
            let serving = rules.distributions.iter();
            let origins = serving.flat_map(|it| it.origins_of(bucket.as_str(), aliases));
            let folders: BTreeSet<&str> = origins.map(|(it, _)| it.path.as_str()).collect();
            let folders = folders.into_iter().map(|it| it.trim_matches('/'));
            let below = folders.filter(|it| !it.is_empty());
            let below = below.map(|folder| format!("{folder}/{own}"));
            std::iter::once(own.clone()).chain(below).collect()
        }
    };
    let mut reasons = Vec::new();
    for key in keys {
        let change = Change {
            bucket: bucket.clone(),
            key: ObjectKey::new(key.as_str())?,
            kind: ChangeKind::Created,
            event_time: None,
            version_id: None,
        };
        if let Some(rule) = settings.exceptions.exempting(&change) {
            reasons.push(format!("{key}: {rule}"));
            continue;
        }
        let (awaited, why) = of_change(&change, &rules)?;
        if !awaited.is_empty() {
            return Ok((key, awaited));
        }
        reasons.extend(why.into_iter().map(|why| format!("{key}: {why}")));
    }
    bail!(
        "an upload invalidates nothing: {}. Name another key with --probe-key.",
        reasons.join("; ")
    );
}

/// What must be invalidated after a change; if that is nothing, why.
fn of_change(change: &Change<'_>, rules: &Rules<'_>) -> Result<(Vec<Awaited>, Vec<String>)> {
    let mut changes = Changes::default();
    changes.add(change, MessageIndex::new(0))?;
    let keys = KeyChanges::from(changes);
    let plan = plan(&keys, rules);
    let mut awaited = Vec::new();
    for of_target in plan.targets() {
        let sets = of_target.sets(|_| true);
        let sets = sets.filter(|set| set.fate == Fate::Submit);
        let paths: Vec<_> = sets
            .flat_map(|set| set.paths)
            .map(|path| path.into_owned())
            .collect();
        if !paths.is_empty() {
            let target = of_target.target.clone();
            awaited.push(Awaited { target, paths });
        }
    }
    let mut reasons = Vec::new();
    for index in keys.indices() {
        reasons.extend(plan.explain(index).iter().map(reason));
    }
    Ok((awaited, reasons))
}

fn reason(verdict: &Verdict<'_>) -> String {
    match verdict {
        Verdict::Decided(distribution, Decision::Skip(skip)) => {
            format!("{}: {skip}", distribution.id)
        }
        Verdict::Decided(distribution, Decision::Invalidate(_)) => {
            format!("{}: its wildcard is too wide", distribution.id)
        }
        Verdict::Unmatched(_) => "no distribution caches it".to_owned(),
    }
}
