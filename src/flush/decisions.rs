//! Logs what became of each key and of each set, and why.

use tracing::{error, info, warn};

use crate::distributions::{Distribution, Target};
use crate::path::InvalidationPath;
use crate::plan::{Decision, KeyChange, Verdict};
use crate::submit::Settlement;

/// Logs one verdict.
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

/// Logs what CloudFront made of a set.
pub fn log_settlement(target: &Target, settlement: &Settlement<'_>) {
    for accepted in &settlement.accepted {
        info!(
            target_id = %target,
            invalidation = accepted.invalidation_id,
            paths = accepted.paths,
            "CloudFront took an invalidation"
        );
    }
    if let Some((held_back, reason)) = &settlement.held_back {
        let paths = held_back.paths.len();
        warn!(target_id = %target, paths, %reason, "CloudFront holds a set back");
    }
    for refused in &settlement.refused {
        let paths = refused.paths.len();
        error!(target_id = %target, paths, reason = %refused.refusal, "CloudFront refused paths");
    }
}
