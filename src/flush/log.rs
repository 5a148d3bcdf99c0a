//! Logs what becomes of each key, and why.

use invalidator_core::distributions::Distribution;
use invalidator_core::path::InvalidationPath;
use invalidator_core::plan::{Decision, KeyChange, Verdict};
use tracing::info;

pub fn log(key_change: &KeyChange<'_>, verdict: &Verdict<'_>) {
    match verdict {
        Verdict::Decided(distribution, decision) => {
            log_decision(key_change, distribution, decision)
        }
        Verdict::Unmatched(nearest) => {
            let KeyChange { bucket, kind, .. } = key_change;
            let key = key_change.key();
            let reason = match nearest {
                Some((distribution, skip)) => format!("nearest: {}: {skip}", distribution.id),
                None => "the bucket is no origin of any distribution".to_owned(),
            };
            info!(stage = "flush", decision = "unmatched", %bucket, %key, %kind, reason, "decision");
        }
    }
}

fn log_decision(key_change: &KeyChange<'_>, distribution: &Distribution, decision: &Decision<'_>) {
    let KeyChange { bucket, kind, .. } = key_change;
    let key = key_change.key();
    let distribution = &distribution.id;
    match decision {
        Decision::Invalidate { paths, .. } => {
            let paths: Vec<&str> = paths.iter().map(InvalidationPath::as_str).collect();
            let paths = paths.join(" ");
            info!(stage = "flush", decision = "invalidate", %bucket, %key, %kind, %distribution, paths, reason = %decision, "decision");
        }
        Decision::Skip(skip) => {
            info!(stage = "flush", decision = "skip", %bucket, %key, %kind, %distribution, reason = %skip, "decision");
        }
    }
}
