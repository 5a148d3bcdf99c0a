//! A plan with its reasons, for a person (lines) or a machine (`Serialize`).

use std::collections::BTreeMap;
use std::fmt;

use invalidator_core::bucket_tags::ExceptionRule;
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey, Reading};
use invalidator_core::path::{InvalidationPath, Reach, WildcardCause};
use invalidator_core::plan::{Counts, Decision, Fate, KeyChange, Plan, PlannedPath, Verdict};
use invalidator_core::target::{DistributionId, Target};
use invalidator_core::text::Lines;
use serde::Serialize;

use super::cost::{Costs, ExplainedCost};
use crate::grouped::{Names, Skipped, common_reason, groups};

const VERSION: u32 = 1;

/// What would become of the changes of some events.
#[derive(Debug, Default, Serialize)]
pub struct Explanation {
    /// The version of this form.
    v: u32,
    /// What could not be read.
    pub problems: Vec<String>,
    /// Events that change no content, by name.
    skipped_events: BTreeMap<String, usize>,
    /// What is not known, and so is missing here.
    unknown: Vec<String>,
    changes: Vec<ExplainedChange>,
    sets: Vec<ExplainedSet>,
    cost: ExplainedCost,
    counts: AllCounts,
    excepted: usize,
}

#[derive(Debug, Default, Serialize)]
struct AllCounts {
    #[serde(flatten)]
    of_keys: Counts,
    /// Paths in all sets.
    paths: usize,
}

#[derive(Debug, Serialize)]
struct ExplainedChange {
    bucket: BucketName,
    key: ObjectKey<'static>,
    kind: ChangeKind,
    decisions: Vec<ExplainedDecision>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
enum ExplainedDecision {
    Excepted {
        rule: ExceptionRule,
        reason: String,
    },
    Invalidate {
        distribution: DistributionId,
        paths: Vec<ExplainedPath>,
    },
    Skip {
        distribution: DistributionId,
        /// The reason without what differs from distribution to distribution.
        kind: &'static str,
        reason: String,
    },
    Unmatched {
        reason: String,
    },
}

/// A path to invalidate, with its reason.
#[derive(Debug, PartialEq, Serialize)]
pub struct ExplainedPath {
    path: InvalidationPath<'static>,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    wildcard: Option<ExplainedWildcard>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct ExplainedWildcard {
    cause: WildcardCause,
    whole_distribution: bool,
    /// How many folders deep it is.
    depth: usize,
}

#[derive(Debug, Serialize)]
struct ExplainedSet {
    target: Target,
    paths: Vec<InvalidationPath<'static>>,
    /// Whether the setting forbids wildcards this wide.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rejected: bool,
}

impl Explanation {
    pub fn of_reading(reading: &Reading) -> Self {
        let mut problems: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
        match reading.unreadable - reading.problems.len() {
            0 => {}
            more => problems.push(format!("{more} more records cannot be read")),
        }
        Self {
            v: VERSION,
            problems,
            skipped_events: reading.skipped.clone(),
            ..Self::default()
        }
    }

    /// Adds what is not known.
    pub fn add_unknown(&mut self, unknown: Vec<String>) {
        self.unknown = unknown;
    }

    pub fn add_excepted(&mut self, change: &Change<'_>, rule: &ExceptionRule) {
        self.excepted += 1;
        self.changes.push(ExplainedChange {
            bucket: change.bucket.clone(),
            key: change.key.clone().into_owned(),
            kind: change.kind,
            decisions: vec![ExplainedDecision::Excepted {
                rule: rule.clone(),
                reason: rule.to_string(),
            }],
        });
    }

    pub fn add_verdict(&mut self, key: &KeyChange<'_>, verdict: &Verdict<'_>) {
        let decision = match verdict {
            Verdict::Decided(distribution, decision) => {
                let distribution = distribution.id.clone();
                match decision {
                    Decision::Invalidate(paths) => ExplainedDecision::Invalidate {
                        distribution,
                        paths: paths.iter().map(ExplainedPath::from).collect(),
                    },
                    Decision::Skip(skip) => ExplainedDecision::Skip {
                        distribution,
                        kind: skip.kind(),
                        reason: skip.to_string(),
                    },
                }
            }
            // The misses themselves were told before.
            Verdict::Unmatched(Some(_)) => return,
            Verdict::Unmatched(None) => ExplainedDecision::Unmatched {
                reason: "the bucket is no origin of any distribution".to_owned(),
            },
        };
        match self.changes.last_mut() {
            Some(last)
                if last.bucket == *key.bucket && last.key == key.key() && !last.is_excepted() =>
            {
                last.decisions.push(decision);
            }
            _ => self.changes.push(ExplainedChange {
                bucket: key.bucket.clone(),
                key: key.key().into_owned(),
                kind: key.kind,
                decisions: vec![decision],
            }),
        }
    }

    pub fn add_sets<'p>(&mut self, plan: &'p Plan<'p>, costs: &Costs<'_>) {
        self.counts.of_keys = plan.counts;
        let (order, cost) = costs.order(plan);
        self.cost = cost;
        for of_target in &order.targets {
            // As the first wildcards that names need for a while: the function would let later ones wait.
            let sets = of_target
                .plan
                .adjusted_sets(&of_target.adjustment, |_| true);
            self.sets.extend(sets.map(|set| ExplainedSet {
                target: of_target.plan.target.clone(),
                paths: owned(&set.paths),
                rejected: set.fate == Fate::Reject,
            }));
        }
        let submitted = self.sets.iter().filter(|set| !set.rejected);
        self.counts.paths = submitted.map(|set| set.paths.len()).sum();
    }
}

impl From<&PlannedPath<'_>> for ExplainedPath {
    fn from(planned: &PlannedPath<'_>) -> Self {
        Self {
            path: planned.path.clone().into_owned(),
            reason: planned.to_string(),
            wildcard: planned
                .reason
                .wildcard
                .zip(planned.path.reach())
                .map(|(cause, reach)| ExplainedWildcard {
                    cause,
                    whole_distribution: reach == Reach::WholeDistribution,
                    depth: reach.depth(),
                }),
        }
    }
}

/// `/x (the default behavior: MaxTTL 31536000 by cache policy Managed-CachingOptimized)`
impl fmt::Display for ExplainedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path, self.reason)
    }
}

impl ExplainedPath {
    /// Whether this path makes the other one needless.
    pub fn covers(&self, other: &Self) -> bool {
        self.path != other.path && self.path.clears(&other.path)
    }
}

impl ExplainedChange {
    fn is_excepted(&self) -> bool {
        matches!(
            self.decisions.first(),
            Some(ExplainedDecision::Excepted { .. })
        )
    }
}

impl Explanation {
    /// For a person.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::new();
        for problem in &self.problems {
            lines.line(format_args!("unreadable: {problem}"));
        }
        for (name, count) in &self.skipped_events {
            lines.line(format_args!(
                "ignored: {name} ({count}), which changes no content"
            ));
        }
        self.changes
            .iter()
            .for_each(|change| change.add_to(&mut lines));
        self.sets.iter().for_each(|set| set.add_to(&mut lines));
        let AllCounts { of_keys, paths } = &self.counts;
        let Counts {
            keys,
            unmatched,
            not_cached,
        } = of_keys;
        let excepted = self.excepted;
        lines.line("");
        lines.line(format_args!(
            "{excepted} changes under exception paths, {keys} keys to decide on:"
        ));
        lines.line(format_args!(
            "  {} invalidated, {unmatched} not ({not_cached} of them not cached)",
            keys - unmatched
        ));
        let sets = self.sets.iter().filter(|set| !set.rejected).count();
        lines.line(format_args!("  {paths} paths in {sets} sets"));
        for unknown in &self.unknown {
            lines.line(format_args!("not known: {unknown}"));
        }
        lines.line("what it costs:");
        self.cost.add_to(&mut lines);
        lines
    }
}

impl ExplainedChange {
    fn add_to(&self, lines: &mut Lines) {
        let Self {
            bucket, key, kind, ..
        } = self;
        lines.line(format_args!("{kind} s3://{bucket}/{key}"));
        for (common, decisions) in groups(&self.decisions, |it| it.common()) {
            let ids: Vec<&DistributionId> = decisions.iter().filter_map(|it| it.id()).collect();
            match common {
                Common::Line(line) => lines.line(format_args!("    {line}")),
                Common::Paths(paths) => {
                    for path in paths {
                        let ids = Names(&ids);
                        lines.line(format_args!("    {ids} invalidate {path}"));
                    }
                }
                Common::Skip(kind) => {
                    let reasons: Vec<&str> = decisions.iter().map(|it| it.reason()).collect();
                    let skipped = Skipped {
                        names: &ids,
                        kind,
                        reasons: &reasons,
                    };
                    lines.line(format_args!("    {skipped}"));
                }
            }
        }
    }
}

/// What the decisions for several distributions have in common.
#[derive(PartialEq)]
enum Common<'a> {
    Paths(&'a [ExplainedPath]),
    /// What the reasons not to invalidate have in common.
    Skip(&'a str),
    /// Decisions that are for no distribution.
    Line(String),
}

impl ExplainedDecision {
    fn common(&self) -> Common<'_> {
        match self {
            Self::Excepted { reason, .. } => Common::Line(format!("excepted: {reason}")),
            Self::Unmatched { reason } => Common::Line(format!("unmatched: {reason}")),
            Self::Invalidate { paths, .. } => Common::Paths(paths),
            Self::Skip { kind, reason, .. } => Common::Skip(common_reason(kind, reason)),
        }
    }

    fn id(&self) -> Option<&DistributionId> {
        match self {
            Self::Invalidate { distribution, .. } | Self::Skip { distribution, .. } => {
                Some(distribution)
            }
            Self::Excepted { .. } | Self::Unmatched { .. } => None,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Excepted { reason, .. }
            | Self::Skip { reason, .. }
            | Self::Unmatched { reason } => reason,
            Self::Invalidate { .. } => "",
        }
    }
}

impl ExplainedSet {
    fn add_to(&self, lines: &mut Lines) {
        let Self {
            target,
            paths,
            rejected,
        } = self;
        let what = match rejected {
            true => "rejected for",
            false => "invalidation of",
        };
        lines.line("");
        lines.line(format_args!("{what} {target} with {} paths", paths.len()));
        for path in paths {
            lines.line(format_args!("    {path}"));
        }
    }
}

fn owned(paths: &[InvalidationPath<'_>]) -> Vec<InvalidationPath<'static>> {
    let paths = paths.iter().cloned();
    paths.map(InvalidationPath::into_owned).collect()
}
