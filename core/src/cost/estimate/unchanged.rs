//! Which keys of a flush would have been skipped, if the bucket had the tag `invalidate=changed`.

use std::collections::{BTreeMap, BTreeSet};

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

/// For each target which keys of a flush are skipped, in the order of the keys. Empty: none.
pub(super) type Skipped = Vec<Vec<bool>>;

impl Skips {
    /// Which keys of a flush are skipped. `findings` is what the list tells of each.
    ///
    /// # Panics
    /// If there is not one finding for each key.
    pub fn of_flush(
        &mut self,
        past: &Past<'_>,
        plan: &Plan<'_>,
        findings: &[PastFinding],
    ) -> Skipped {
        assert_eq!(plan.keys.len(), findings.len(), "a finding for each key");
        let mut skipped = vec![Vec::new(); past.targets.len()];
        let now = u64::from(past.at);
        if !self.worth.is_worth_looking(now) {
            return skipped;
        }
        let places = 0..past.targets.len();
        let trusted: Vec<bool> = places.map(|target| may_be_trusted(past, target)).collect();
        let (mut looks, mut saved) = (0, 0);
        for (place, (key, finding)) in plan.keys.indices().zip(findings).enumerate() {
            looks += usize::from(plan.keys.get(key).kind == ChangeKind::Created);
            for (target, paths) in saved_paths(past, plan, &trusted, (key, *finding)) {
                let of_target: &mut Vec<bool> = &mut skipped[target];
                of_target.resize(findings.len(), false);
                of_target[place] = true;
                saved += paths;
            }
        }
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

/// The targets at which a key is skipped, and how many paths that saves at each.
fn saved_paths(
    past: &Past<'_>,
    plan: &Plan<'_>,
    trusted: &[bool],
    (key, finding): (KeyIndex, PastFinding),
) -> BTreeMap<usize, usize> {
    let found = Ok(match finding {
        PastFinding::Changed => return BTreeMap::new(),
        PastFinding::Unchanged => Finding::Unchanged {
            since: String::new(),
            versions: 2,
        },
        PastFinding::FirstUpload => Finding::FirstUpload,
    });
    // A distribution may have several origins that are the bucket. The key is skipped at all or at none.
    let mut saved: BTreeMap<usize, Option<usize>> = BTreeMap::new();
    for verdict in plan.explain(key) {
        let Verdict::Decided(distribution, Planned::Invalidate(paths)) = verdict else {
            continue;
        };
        let Some(target) = target_of(past, distribution).filter(|target| trusted[*target]) else {
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
        let is_skipped = paths.iter().all(is_skip);
        let of_target = saved.entry(target).or_insert(Some(0));
        *of_target = of_target
            .filter(|_| is_skipped)
            .map(|saved| saved + paths.len());
    }
    let saved = saved.into_iter();
    saved
        .filter_map(|(target, paths)| Some((target, paths?)))
        .collect()
}

/// The only target of a distribution that may be trusted.
fn target_of(past: &Past<'_>, distribution: &Distribution) -> Option<usize> {
    let mut targets = past.targets.iter();
    targets.position(|(_, other)| std::ptr::eq(*other, distribution))
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
