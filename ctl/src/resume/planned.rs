//! Which paths the held changes are at each distribution, as the function plans them, and which wildcards clear them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use invalidator_core::cost::limits::Limits;
use invalidator_core::distributions::Distribution;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::event::BucketName;
use invalidator_core::path::InvalidationPath;
use invalidator_core::plan::{Adjustment, Fate, KeyChanges, Rules, plan as plan_changes};
use invalidator_core::target::Target;

use super::changes::Scoped;
use crate::account::Account;
use crate::collapse::collapse_at;
use crate::function::Function;
use crate::held::HeldObject;
use crate::site::Settings;
use crate::site::live::Live;
use crate::stack::Stack;
use crate::submission::{Common, Submission};

/// What is to be planned.
pub struct Wanted<'a> {
    pub bucket: &'a BucketName,
    /// Whether wildcards are to take the place of paths.
    pub collapse: bool,
    pub reason: &'a str,
}

/// What is submitted, or what the function will plan.
pub struct Planned {
    /// For each target.
    pub targets: Vec<Submission>,
    /// How many exact paths there are.
    pub exact: usize,
    /// How many paths need wildcards that MinWildcardDepth forbids. They are in no submission.
    pub too_wide: usize,
    /// `CostMode=balanced`
    pub cost_mode: String,
}

impl Planned {
    pub fn submissions(&self) -> Vec<&Submission> {
        self.targets.iter().collect()
    }

    pub fn paths(&self) -> usize {
        self.targets.iter().map(|it| it.paths().count()).sum()
    }
}

/// Plans changes as the function does, and collapses them if that is asked for. The ids of the sets follow from the
/// objects, so that an interrupted command pays nothing twice.
///
/// # Errors
/// If the function's settings or the distributions cannot be read.
pub async fn plan(
    account: &Account,
    stack: &Stack,
    changes: Vec<Scoped>,
    objects: &[HeldObject],
    wanted: &Wanted<'_>,
) -> Result<Planned> {
    let function = Function::read_settings(account, stack).await?;
    let aliases = &function.origin_buckets;
    let (only, tenants) = (function.only.clone(), function.only_tenants.clone());
    let live = Live::open(&account.clients, only, tenants).await?;
    let buckets: Vec<BucketName> = vec![wanted.bucket.clone()];
    let site = live
        .read(&buckets, aliases, Settings::default(), |_| true)
        .await?;
    let distributions = site.serving(&buckets, aliases);
    let index_documents = site.index_documents(&buckets);
    let rules = Rules {
        distributions: &distributions,
        origin_buckets: aliases,
        index_documents: &index_documents,
        debounce: function.debounce,
        limits: function.limits,
        min_wildcard_depth: function.min_wildcard_depth,
    };
    let mut targets: BTreeMap<Target, Vec<InvalidationPath<'static>>> = BTreeMap::new();
    let nothing = Adjustment::NOTHING;
    let mut rejected = 0;
    for (scope, changes) in changes {
        let keys = KeyChanges::from(changes);
        let plan = plan_changes(&keys, &rules);
        for of_target in plan.targets() {
            let target = of_target.target;
            let is_meant = scope
                .as_ref()
                .is_none_or(|scope| scope.iter().any(|it| it.contains(target)));
            if !is_meant || !function.may_touch(&target.distribution) {
                continue;
            }
            let sets = of_target.adjusted_sets(&nothing, |_| true);
            let too_wide = sets.filter(|set| set.fate == Fate::Reject);
            rejected += too_wide.map(|set| set.paths.len()).sum::<usize>();
            let needed = of_target.paths(&nothing).into_iter();
            let needed: Vec<_> = needed.map(|it| it.path.into_owned()).collect();
            if !needed.is_empty() {
                targets.entry(target.clone()).or_default().extend(needed);
            }
        }
    }
    let summaries = live.summaries().await;
    let alias_of = |target: &Target| {
        let mut summaries = summaries.iter();
        let summary = summaries.find(|it| it.id.as_str() == target.distribution.as_str());
        summary.map_or_else(String::new, |it| it.alias().to_owned())
    };
    let common = Common {
        reason: format!("{}, by {}", wanted.reason, account.caller),
        id_parts: objects.iter().map(|it| it.key.as_str()).collect(),
    };
    let limits = Limits {
        least_depth: function.min_wildcard_depth,
        ..Limits::frugal()
    };
    let mut planned = Planned {
        targets: Vec::new(),
        exact: 0,
        too_wide: rejected,
        cost_mode: format!("CostMode={}", function.cost.mode),
    };
    for (target, paths) in targets {
        let alias = alias_of(&target);
        let mut distributions = distributions.iter();
        let distribution = distributions.find(|it| it.targets.contains(&target));
        let distribution = distribution.with_context(|| format!("{target} has no distribution"))?;
        let exact = Submission::new(target, alias, vec![paths], &common);
        planned.exact += exact.paths().count();
        planned.targets.push(match wanted.collapse {
            false => exact,
            true => collapsed(exact, distribution, aliases, &limits, &common),
        });
    }
    Ok(planned)
}

fn collapsed(
    exact: Submission,
    distribution: &Distribution,
    aliases: &OriginBuckets,
    limits: &Limits,
    common: &Common<'_>,
) -> Submission {
    let paths: Vec<_> = exact.paths().cloned().collect();
    let (paths, notes) = collapse_at(distribution, aliases, paths, limits);
    let mut submission = Submission::new(exact.target, exact.alias, vec![paths], common);
    submission.notes = notes;
    submission
}
