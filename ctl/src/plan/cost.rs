//! What a plan costs: whether its paths are exact or covered, and what the function would decide on it.

use std::collections::BTreeMap;

use invalidator_core::cost::account::Account;
use invalidator_core::cost::amount::{NanoUsd, Of};
use invalidator_core::cost::bars::barring;
use invalidator_core::cost::collapse::CostRules;
use invalidator_core::cost::cover::cheapest_cover;
use invalidator_core::cost::folders::Folders;
use invalidator_core::cost::order::{Order, TargetOrder, new_wildcards};
use invalidator_core::cost::price::PATH;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::event::BucketName;
use invalidator_core::plan::{KeySet, Plan};
use invalidator_core::target::Target;
use invalidator_core::text::Lines;
use serde::Serialize;

/// The rules and what they depend on.
pub struct Costs<'a> {
    pub rules: CostRules,
    pub account: Account,
    pub origin_buckets: &'a OriginBuckets,
    pub min_wildcard_depth: usize,
}

/// What is decided on the cost of a plan.
#[derive(Debug, Default, Serialize)]
pub struct ExplainedCost {
    buckets: Vec<ExplainedBucket>,
    wildcards: Vec<ExplainedCover>,
    /// Paths that are ordered.
    paths: u64,
    /// What they cost, beyond the free ones.
    usd: f64,
    #[serde(skip)]
    price: NanoUsd,
    #[serde(skip)]
    ordered_before: u64,
}

#[derive(Debug, Serialize)]
struct ExplainedBucket {
    bucket: BucketName,
    decision: String,
}

#[derive(Debug, Serialize)]
struct ExplainedCover {
    target: Target,
    reason: String,
}

impl Costs<'_> {
    /// Decides what is ordered for a plan. No bucket is listed, so what else a wildcard would clear is estimated;
    /// and nothing is skipped, as no version is looked at.
    pub fn order<'p>(&self, plan: &'p Plan<'p>) -> (Order<'p>, ExplainedCost) {
        let targets = plan.targets();
        let targets = targets.map(|of_target| TargetOrder::new(of_target, KeySet::new()));
        // No bucket has ordered anything in this hour.
        let mut order = Order::new(targets.collect(), BTreeMap::new());
        order.decide(&self.rules, Some(&self.account), None);
        let mut explained = ExplainedCost::default();
        for (bucket, decision) in order.decisions() {
            explained.buckets.push(ExplainedBucket {
                bucket: bucket.clone(),
                decision: decision.to_string(),
            });
        }
        for (place, mut limits) in order.to_cover(&self.rules) {
            limits.least_depth = self.min_wildcard_depth;
            let of_target = &order.targets[place].plan;
            let paths = order.paths_to_cover(place);
            let mut folders = Folders::new(paths.iter().map(|it| &it.path));
            let distribution = of_target.distribution;
            folders.bar(|folder| barring(distribution, self.origin_buckets, folder).is_some());
            let cover = cheapest_cover(&folders, &limits);
            let wildcards = cover.wildcards.iter().map(|wildcard| ExplainedCover {
                target: of_target.target.clone(),
                reason: wildcard.to_string(),
            });
            explained.wildcards.extend(wildcards);
            let wildcards = new_wildcards(&cover, &paths);
            order.targets[place].add_wildcards(wildcards);
        }
        explained.paths = order.paths();
        let after = Account {
            this_month: self.account.this_month + explained.paths,
            ..self.account
        };
        explained.price = PATH.amount * (paid(&after) - paid(&self.account));
        explained.usd = explained.price.to_usd();
        explained.ordered_before = self.account.this_month;
        (order, explained)
    }
}

/// How many paths are beyond the free ones.
fn paid(account: &Account) -> u64 {
    account.spent_this_month().get() / PATH.amount.get()
}

impl ExplainedCost {
    /// For a person.
    pub fn add_to(&self, lines: &mut Lines) {
        for ExplainedBucket { bucket, decision } in &self.buckets {
            lines.line(format_args!("  {bucket}: {decision}"));
        }
        for ExplainedCover { target, reason } in &self.wildcards {
            lines.line(format_args!("  {target}: {reason}"));
        }
        let (paths, before) = (Of(self.paths, "path"), Of(self.ordered_before, "path"));
        lines.line(format_args!(
            "  {paths}: {}, after {before} of the account this month",
            self.price
        ));
    }
}
