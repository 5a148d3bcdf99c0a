//! Logs the decision for each key, with its reason.

use invalidator_core::plan::{Decision, KeyChange, Plan, Verdict};
use invalidator_core::target::DistributionId;
use tracing::info;

use crate::catalog::Catalog;
use crate::metrics::MAX_LOGGED_DECISIONS;

/// Logs the first verdicts of a plan. While some distributions are not read, nobody knows which keys
/// are unmatched.
pub fn log_first(catalog: &Catalog, plan: &Plan<'_>, is_complete: bool) {
    let verdicts = plan.keys.indices().flat_map(|key| {
        let verdicts = plan.explain(key).into_iter();
        verdicts.map(move |verdict| (key, verdict))
    });
    let verdicts = verdicts.filter(|(_, it)| is_complete || !matches!(it, Verdict::Unmatched(_)));
    for (key, verdict) in verdicts.take(MAX_LOGGED_DECISIONS) {
        log(catalog, &plan.keys.get(key), &verdict);
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
