//! Logs the decision for each key, with its reason.

use invalidator_core::path::{Reach, WildcardCause};
use invalidator_core::plan::{Decision, Fate, KeyChange, PathSet, Plan, Verdict};
use invalidator_core::target::{DistributionId, Target, TenantId};
use invalidator_core::text::Shown;
use tracing::{info, warn};

use crate::app::App;
use crate::catalog::Catalog;

/// Logs verdicts of a plan, as many as are allowed. While some distributions are not read, nobody knows which
/// keys are unmatched.
pub fn log_sample(app: &App, plan: &Plan<'_>, is_complete: bool) {
    let now = app.clock.now();
    let verdicts = plan.keys.indices().flat_map(|key| {
        let verdicts = plan.explain(key).into_iter();
        verdicts.map(move |verdict| (key, verdict))
    });
    let verdicts = verdicts.filter(|(_, it)| is_complete || !matches!(it, Verdict::Unmatched(_)));
    // The others are not even made, because that takes time.
    for (key, verdict) in verdicts.take_while(|_| app.decisions.may_log(now)) {
        log(&app.catalog, &plan.keys.get(key), &verdict);
    }
}

fn log(catalog: &Catalog, key_change: &KeyChange<'_>, verdict: &Verdict<'_>) {
    match verdict {
        Verdict::Decided(distribution, decision) => {
            let alias = catalog.alias(&distribution.id);
            log_decision(key_change, (&distribution.id, &alias), decision);
        }
        Verdict::Unmatched(nearest) => {
            let KeyChange { bucket, kind, .. } = key_change;
            let key = key_change.key();
            let reason = match nearest {
                Some((distribution, skip)) => {
                    let alias = catalog.alias(&distribution.id);
                    format!("nearest: {} ({alias}): {skip}", distribution.id)
                }
                None => "the bucket is no origin of any distribution".to_owned(),
            };
            info!(stage = "flush", decision = "unmatched", %bucket, %key, %kind, reason, "decision");
        }
    }
}

/// Logs the widest wildcard of a set if it covers the whole distribution, waits or is rejected. Returns
/// whether it does. One that no key needs, but that is cheaper or for trust, has told its reason before.
pub fn log_widest(catalog: &Catalog, plan: &Plan<'_>, target: &Target, set: &PathSet<'_>) -> bool {
    let Some((widest, reach)) = set.widest() else {
        return false;
    };
    let consequence = match set.fate {
        Fate::Submit if is_chosen(widest.cause) => return false,
        Fate::Submit if reach == Reach::WholeDistribution => "it is submitted",
        Fate::Submit => return false,
        Fate::Wait(_) => "it waits, because names in this bucket needed wildcards a moment ago",
        Fate::Reject => "it is rejected, because MinWildcardDepth forbids it",
    };
    let key = plan.keys.get(widest.key);
    let (bucket, key) = (Shown(key.bucket), Shown(key.name()));
    let (distribution, cause) = (&target.distribution, widest.cause);
    let (alias, wildcards) = (catalog.alias(distribution), set.paths.len());
    let tenant = target.tenant.as_ref().map(TenantId::as_str);
    warn!(stage = "flush", %bucket, %key, %distribution, %alias, tenant, wildcards, covers = %reach, %cause, consequence, "a key needs a wildcard");
    true
}

fn log_decision(
    key_change: &KeyChange<'_>,
    (distribution, alias): (&DistributionId, &str),
    decision: &Decision<'_>,
) {
    let KeyChange { bucket, kind, .. } = key_change;
    let key = key_change.key();
    match decision {
        Decision::Invalidate(paths) => {
            let paths = paths.iter().map(|planned| planned.path.as_str());
            let paths = paths.collect::<Vec<_>>().join(" ");
            info!(stage = "flush", decision = "invalidate", %bucket, %key, %kind, %distribution, alias, paths, reason = %decision, "decision");
        }
        Decision::Skip(skip) => {
            info!(stage = "flush", decision = "skip", %bucket, %key, %kind, %distribution, alias, reason = %skip, "decision");
        }
    }
}

fn is_chosen(cause: WildcardCause) -> bool {
    matches!(cause, WildcardCause::Collapsed | WildcardCause::Trust)
}
