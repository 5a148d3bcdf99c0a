//! Which targets are known to have seen every change, and how the others get there: a `/*` that they accept.
//!
//! Only targets that serve a changed key of a bucket that opted in are looked at. What a target is trusted
//! under are its [`Terms`]: the version of its configuration, and the settings of all buckets behind it that
//! opted in.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectOwnership};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::stream::{self, StreamExt};
use invalidator_core::bucket_tags::BucketSettings;
use invalidator_core::cost::bars::barring;
use invalidator_core::cost::ledger::{Ledger, NextStep, Terms};
use invalidator_core::cost::order::Order;
use invalidator_core::cost::skip::facts::{BucketFacts, Versioning};
use invalidator_core::distributions::Distribution;
use invalidator_core::event::BucketName;
use invalidator_core::mode::Mode;
use invalidator_core::plan::Plan;
use invalidator_core::target::Target;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::Means;
use crate::app::App;
use crate::aws::error::service_error;

/// How many calls are made at once.
const AT_ONCE: usize = 8;

/// What is known of the buckets behind the targets, as far as they opted in.
pub type Facts = BTreeMap<BucketName, BucketFacts>;

/// Reads what is to be known of buckets that opted in. It is read anew for each flush: what was read before
/// its events were received may not hold for them.
pub async fn facts(
    app: &App,
    buckets: Vec<BucketName>,
    until: Instant,
    calls: &mut usize,
) -> Facts {
    *calls += 2 * buckets.len();
    stream::iter(buckets)
        .map(|bucket| async move {
            let (versioning, owner_enforced) = tokio::join!(
                timeout_at(until, versioning(app, &bucket)),
                timeout_at(until, owner_enforced(app, &bucket))
            );
            let facts = BucketFacts {
                only_changed: true,
                versioning: versioning.ok().flatten(),
                owner_enforced: owner_enforced.ok().flatten(),
            };
            (bucket, facts)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn versioning(app: &App, bucket: &BucketName) -> Option<Versioning> {
    let call = app.clients.s3().get_bucket_versioning();
    match call.bucket(bucket.as_str()).send().await {
        Ok(answer) => match answer.status {
            None => Some(Versioning::Never),
            Some(BucketVersioningStatus::Enabled) => Some(Versioning::Enabled),
            Some(BucketVersioningStatus::Suspended) => Some(Versioning::Suspended),
            Some(_) => None,
        },
        Err(error) => {
            warn_about(bucket, &service_error(&error));
            None
        }
    }
}

async fn owner_enforced(app: &App, bucket: &BucketName) -> Option<bool> {
    let call = app.clients.s3().get_bucket_ownership_controls();
    match call.bucket(bucket.as_str()).send().await {
        Ok(answer) => {
            let rules = answer.ownership_controls.map(|it| it.rules);
            let rules = rules.unwrap_or_default();
            let enforced = ObjectOwnership::BucketOwnerEnforced;
            Some(!rules.is_empty() && rules.iter().all(|it| it.object_ownership == enforced))
        }
        // A bucket of before 2023 that nobody has changed: it has ACLs.
        Err(error) if error.code() == Some("OwnershipControlsNotFoundError") => Some(false),
        Err(error) => {
            warn_about(bucket, &service_error(&error));
            None
        }
    }
}

fn warn_about(bucket: &BucketName, error: &impl std::fmt::Display) {
    warn!(stage = "flush", %bucket, %error, "a bucket cannot be looked at, so nothing in it is skipped");
}

/// The terms of a target. None if it cannot be trusted: a wildcard over all of it is not allowed, its
/// configuration is still on its way, it has tenants, or something could not be read.
pub fn terms(
    app: &App,
    distribution: &Distribution,
    settings: &HashMap<BucketName, Arc<BucketSettings>>,
    facts: &Facts,
) -> Option<Terms> {
    let aliases = &app.config.origin_buckets;
    let is_plain = matches!(distribution.targets.as_slice(), [only] if only.tenant.is_none());
    let may_be_asked =
        app.config.min_wildcard_depth == 0 && barring(distribution, aliases, "/").is_none();
    if !is_plain || !distribution.is_deployed || !may_be_asked {
        return None;
    }
    let mut buckets = BTreeMap::new();
    for bucket in buckets_behind(app, distribution)? {
        let settings = settings.get(&bucket)?;
        if settings.only_changed {
            let facts = facts.get(&bucket)?;
            buckets.insert(bucket, rules_hash(settings, *facts));
        }
    }
    Some(Terms {
        // An alias of another bucket changes what is behind the distribution, too.
        e_tag: format!("{} {:016x}", distribution.e_tag, hash(aliases)),
        buckets,
    })
    .filter(|_| !distribution.e_tag.is_empty())
}

/// The buckets behind a distribution. None if there is one whose name is not known.
pub fn buckets_behind(app: &App, distribution: &Distribution) -> Option<Vec<BucketName>> {
    let aliases = &app.config.origin_buckets;
    let origins = distribution.origins().filter(|it| it.domain.is_s3(aliases));
    let buckets = origins.map(|it| it.domain.bucket(aliases).map(BucketName::new));
    let mut buckets = buckets.collect::<Option<Vec<_>>>()?;
    buckets.sort();
    buckets.dedup();
    Some(buckets)
}

fn rules_hash(settings: &BucketSettings, facts: BucketFacts) -> String {
    let BucketFacts {
        versioning,
        owner_enforced,
        ..
    } = facts;
    format!("{} {versioning:?} {owner_enforced:?}", settings.tags_hash())
}

/// A hash that is the same in all environments of a version of the function. If another version hashes
/// otherwise, targets are asked again.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Sends a `/*` to targets that may be trusted after it, in place of their paths, and notes new terms.
pub async fn ask(
    means: &Means<'_>,
    plan: &Plan<'_>,
    order: &mut Order<'_>,
    terms: BTreeMap<Target, Terms>,
) {
    if terms.is_empty() || means.mode != Mode::Live {
        return;
    }
    let app = means.app;
    let Some(ledger) = app.ledger.current(app.state()).await else {
        return;
    };
    let next = |ledger: &Ledger, wanted: NextStep| -> Vec<(Target, Terms)> {
        let now = app.clock.now_utc();
        let of_step = terms
            .iter()
            .filter(|(target, terms)| ledger.next_step(now, target, terms) == wanted);
        of_step
            .map(|(target, terms)| (target.clone(), terms.clone()))
            .collect()
    };
    let (new, to_ask) = (
        next(&ledger, NextStep::Observe),
        next(&ledger, NextStep::Ask),
    );
    if !new.is_empty()
        && let Err(error) = app.ledger.observe(app.state(), &new).await
    {
        warn_about_ledger(&error);
    }
    if to_ask.is_empty() {
        return;
    }
    match app.ledger.ask(app.state(), to_ask).await {
        Ok(asked) => asked.into_iter().for_each(|(target, terms)| {
            let of_target = order.targets.iter_mut();
            let mut of_target = of_target.filter(|it| *it.plan.target == target);
            if let Some(of_target) = of_target.next()
                && let Some(key) = plan.keys.indices().next()
            {
                info!(stage = "flush", distribution = %target.distribution, alias = %app.catalog.alias(&target.distribution), "a `/*` is submitted, after which uploads that change nothing need not be");
                of_target.ask_for_trust(terms, key);
            }
        }),
        Err(error) => warn_about_ledger(&error),
    }
}

fn warn_about_ledger(error: &anyhow::Error) {
    let error = format!("{error:#}");
    warn!(
        stage = "flush",
        error, "the ledger cannot be changed, so no target gains trust"
    );
}
