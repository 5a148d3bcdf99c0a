//! Which keys of a flush would have been skipped, if the bucket had the tag `invalidate=changed`.

use std::collections::BTreeSet;

use super::flush::Past;
use super::history::PastFinding;
use crate::cost::skip::facts::Serving;
use crate::cost::skip::look_ups::Worth;
use crate::cost::skip::{Decision, Finding, Gate, Paths, decide};
use crate::distributions::Distribution;
use crate::event::ChangeKind;
use crate::plan::{Decision as Planned, KeyIndex, PathRole, Plan, PlannedPath, Verdict};

/// Looks at the keys of flushes, one flush after another.
#[derive(Debug, Default)]
pub(super) struct Skips {
    worth: Worth,
}

impl Skips {
    /// Which keys of a flush are skipped, in the order of its keys: those that are skipped wherever they are
    /// served. `findings` is what the list tells of each.
    ///
    /// # Panics
    /// If there is not one finding for each key.
    pub fn of_flush(
        &mut self,
        past: &Past<'_>,
        plan: &Plan<'_>,
        findings: &[PastFinding],
    ) -> Vec<bool> {
        assert_eq!(plan.keys.len(), findings.len(), "a finding for each key");
        let now = u64::from(past.at);
        if !self.worth.is_worth_looking(now) {
            return vec![false; findings.len()];
        }
        let (mut looks, mut saved) = (0, 0);
        let keys = plan.keys.indices().zip(findings);
        let skipped = keys.map(|(key, finding)| {
            looks += usize::from(plan.keys.get(key).kind == ChangeKind::Created);
            let paths = saved_paths(past, plan, key, *finding);
            saved += paths.unwrap_or(0);
            paths.is_some()
        });
        let skipped = skipped.collect();
        self.worth.note(now, looks, saved);
        skipped
    }
}

/// Whether all that is behind a target may be trusted to have reached it, after a `/*`.
pub(super) fn may_be_trusted(past: &Past<'_>, target: usize) -> bool {
    let (of, distribution) = past.targets[target];
    let is_plain = of.tenant.is_none() && distribution.targets.len() == 1;
    is_plain && past.rules.plan.min_wildcard_depth == 0 && !past.is_barred(target, "/")
}

/// How many paths it saves that a key is skipped; `None` if it is not.
fn saved_paths(
    past: &Past<'_>,
    plan: &Plan<'_>,
    key: KeyIndex,
    finding: PastFinding,
) -> Option<usize> {
    let found = Ok(match finding {
        PastFinding::Changed => return None,
        PastFinding::Unchanged => Finding::Unchanged {
            since: String::new(),
            versions: 2,
        },
        PastFinding::FirstUpload => Finding::FirstUpload,
    });
    let mut saved = 0;
    for verdict in plan.explain(key) {
        let Verdict::Decided(distribution, Planned::Invalidate(paths)) = verdict else {
            continue;
        };
        let of_key = Paths {
            count: paths.len(),
            has_others: paths.iter().any(|path| path.reason.role != PathRole::Own),
        };
        let is_skip = |path: &PlannedPath<'_>| {
            let gate = gate(past, distribution, path);
            matches!(decide(&found, &gate, of_key), Decision::Skip { .. })
        };
        if !is_trusted(past, distribution) || !paths.iter().all(is_skip) {
            return None;
        }
        saved += paths.len();
    }
    (saved > 0).then_some(saved)
}

fn is_trusted(past: &Past<'_>, distribution: &Distribution) -> bool {
    let mut targets = past.targets.iter().enumerate();
    let of_distribution = targets.find(|(_, (_, other))| std::ptr::eq(*other, distribution));
    of_distribution.is_some_and(|(target, _)| may_be_trusted(past, target))
}

fn gate(past: &Past<'_>, distribution: &Distribution, path: &PlannedPath<'_>) -> Gate {
    let rules = past.rules;
    let behavior = path.reason.behavior;
    let aliases = rules.plan.origin_buckets;
    let mut origins = distribution.origins_of(rules.bucket.as_str(), aliases);
    let is_website = origins.any(|(origin, is_website)| is_website && behavior.sends_to(origin));
    let serving = Serving::new(distribution, behavior, is_website, &BTreeSet::new());
    Gate::new(&rules.facts, &serving, Ok(()), rules.plan.debounce)
}
