//! Submits from this machine, without the function.

use std::time::Duration;

use invalidator::aws::Clients;
use invalidator::submit::answer::Answer;
use invalidator::submit::call::create_invalidation;
use invalidator::submit::unit::{Call, Means, Paces, Unit};
use invalidator_core::caller_reference::SetId;
use invalidator_core::merge::Merge;
use invalidator_core::set::Set;

use super::summary::count;
use super::wait::Outcome;
use super::{MAX_PATHS, Submission};
use crate::output::{error, tell};
use crate::progress::Progress;

/// Submits the sets of a target.
pub async fn submit(clients: &Clients, submission: &Submission, progress: &Progress) -> Outcome {
    let mut paces = Paces::new(MAX_PATHS);
    let mut outcome = Outcome::default();
    for (id, set) in &submission.sets {
        submit_set(clients, id, set, &mut paces, &mut outcome).await;
        progress.step();
    }
    outcome
}

async fn submit_set(
    clients: &Clients,
    id: &SetId,
    set: &Set<'static>,
    paces: &mut Paces,
    outcome: &mut Outcome,
) {
    const A_DAY: Duration = Duration::from_secs(24 * 3_600);
    let target = &set.target;
    let means = Means {
        call: async |merge: &Merge<'static>, call: &Call| -> Answer {
            let paths: Vec<_> = call.paths.iter().map(|index| merge.path(*index)).collect();
            create_invalidation(clients.cloudfront(), target, &paths, &call.reference).await
        },
        remaining: || A_DAY,
    };
    paces.begin();
    let merge = Merge::new(vec![set.paths.clone()]);
    let mut unit = Unit::new(target, merge, vec![id.clone()], set.cause());
    unit.submit(None, paces, &means).await;
    for accepted in &unit.accepted {
        let id = &accepted.invalidation_id;
        tell(format_args!(
            "{target}: invalidation {id} of {}",
            count(accepted.paths, "path")
        ));
        outcome.accepted += accepted.paths;
        outcome.invalidations.push(id.clone());
    }
    for (reason, paths) in unit.merge.rejected() {
        error(format_args!(
            "{target}: {} rejected: {reason}",
            count(paths.len(), "path")
        ));
        outcome.rejected += paths.len();
    }
    let waiting = unit.merge.waiting().len();
    if waiting > 0 {
        error(format_args!(
            "{target}: {} got no answer",
            count(waiting, "path")
        ));
    }
    outcome.waiting += waiting;
}
