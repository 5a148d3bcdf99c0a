//! Which invalidations an upload must bring, by the function's own plan.

use std::collections::HashMap;
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
use crate::account::Account;

/// Reading CloudFront's configuration may take so long.
const TIME: Duration = Duration::from_secs(120);

/// The invalidations that an upload of this key must bring.
///
/// # Errors
/// If it brings none, with the reason; or if something cannot be read.
pub async fn awaited(
    account: &Account,
    config: &Config,
    bucket: &str,
    key: &str,
) -> Result<Vec<Awaited>> {
    let ever = Duration::from_secs(3_600);
    let until = Instant::now() + TIME;
    let bucket = BucketName::new(bucket);
    let tags = BucketTags::new(ever, Clock::system());
    let settings = tags.settings(account.clients.s3(), &bucket, until).await;
    let Some(settings) = settings else {
        bail!("the tags of {bucket} cannot be read, see above");
    };
    let change = Change {
        bucket: bucket.clone(),
        key: ObjectKey::new(key)?,
        kind: ChangeKind::Created,
        event_time: None,
        version_id: None,
    };
    if let Some(rule) = settings.exceptions.exempting(&change) {
        bail!("uploads of {key} are ignored: {rule}. Name another key with --probe-key.");
    }
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
    let mut changes = Changes::default();
    changes.add(&change, MessageIndex::new(0))?;
    let keys = KeyChanges::from(changes);
    let plan = plan(&keys, &rules);
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
    if awaited.is_empty() {
        let mut reasons: Vec<String> = Vec::new();
        for index in keys.indices() {
            reasons.extend(plan.explain(index).iter().map(reason));
        }
        bail!(
            "an upload of {key} invalidates nothing: {}. Name another key with --probe-key.",
            reasons.join("; ")
        );
    }
    Ok(awaited)
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
