//! All flushes of a history, in each way to pay.

use std::collections::BTreeSet;

use super::cells::TopFolders;
use super::flush::{FlushPaths, Ordered, Past, targets};
use super::flushes::{PastFlush, flushes};
use super::history::{History, PastChange, PastFinding, Second};
use super::rules::PastRules;
use super::spender::{Spender, Spent};
use super::unchanged::{Skipped, Skips, may_be_trusted};
use super::way::Way;
use crate::cost::limits::Limits;
use crate::cost::skip::facts::Versioning;
use crate::distributions::Distribution;
use crate::event::Change;
use crate::plan::{Changes, KeyChanges, MessageIndex, Plan, plan};
use crate::target::Target;

/// At most so many changes are in a flush: the function's default.
const CHANGES_PER_FLUSH: usize = 200_000;

/// What a bucket's past would have cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// How many uploads and deletions there were.
    pub changes: u64,
    /// How many of them are ignored, by a tag of the bucket.
    pub excepted: u64,
    /// How many need no invalidation: no distribution serves them from a cache.
    pub unserved: u64,
    /// How many uploads have the content of the version before.
    pub unchanged: u64,
    /// How many uploads were the first of their key.
    pub first_uploads: u64,
    /// How many flushes there were.
    pub flushes: u64,
    /// How many bursts of changes.
    pub bursts: u64,
    /// The changes of each day.
    pub days: Vec<u64>,
    /// The targets that [`Spent::targets`] counts for.
    pub targets: Vec<Target>,
    /// The top folders that [`Spent::folders`] counts for.
    pub folders: Vec<String>,
    /// What each way would have cost, in the order of [`Way::ALL`]. Those that need versions are left out
    /// where there are none.
    pub ways: Vec<Spent>,
}

/// Makes all flushes again. `done` is told how many changes each one has taken.
///
/// # Panics
/// If the keys of a flush are longer than 4 GiB together; a history holds no more.
pub fn estimate(history: &History, rules: &PastRules<'_>, mut done: impl FnMut(usize)) -> Estimate {
    let mut replay = Replay::new(history, rules);
    for flush in flushes(history.changes(), history.debounce(), CHANGES_PER_FLUSH) {
        replay.flush(&flush);
        done(flush.changes.len());
    }
    replay.finish()
}

const DAY: Second = 86_400;

struct Replay<'a> {
    history: &'a History,
    rules: &'a PastRules<'a>,
    targets: Vec<(&'a Target, &'a Distribution)>,
    spenders: Vec<Spender>,
    folders: TopFolders,
    skips: Skips,
    /// The targets that were asked for a `/*`, after which they are trusted.
    asked: Vec<bool>,
    burst: Burst,
    counts: Estimate,
}

/// A burst of changes that is not over.
#[derive(Default)]
struct Burst {
    last: Option<Second>,
    /// How many paths each target needs.
    paths: Vec<u64>,
}

impl<'a> Replay<'a> {
    fn new(history: &'a History, rules: &'a PastRules<'a>) -> Self {
        let targets = targets(rules);
        let is_versioned = rules.facts.versioning == Some(Versioning::Enabled);
        let ways = Way::ALL.into_iter();
        let ways = ways.filter(|way| is_versioned || !way.is_only_changed());
        let span = (history.since(), history.until());
        let spenders = ways.map(|way| Spender::new(way, &rules.cost, span, targets.len()));
        let mut counts = Estimate {
            changes: history.len() as u64,
            excepted: 0,
            unserved: 0,
            unchanged: 0,
            first_uploads: 0,
            flushes: 0,
            bursts: 0,
            days: vec![0; (span.1 / DAY - span.0 / DAY + 1) as usize],
            targets: targets
                .iter()
                .map(|(target, _)| (*target).clone())
                .collect(),
            folders: Vec::new(),
            ways: Vec::new(),
        };
        for change in history.changes() {
            counts.days[(change.time / DAY - span.0 / DAY) as usize] += 1;
            counts.unchanged += u64::from(change.finding == PastFinding::Unchanged);
            counts.first_uploads += u64::from(change.finding == PastFinding::FirstUpload);
        }
        Self {
            history,
            rules,
            spenders: spenders.collect(),
            folders: TopFolders::default(),
            skips: Skips::default(),
            asked: vec![false; targets.len()],
            burst: Burst {
                last: None,
                paths: vec![0; targets.len()],
            },
            targets,
            counts,
        }
    }

    fn flush(&mut self, flush: &PastFlush<'_>) {
        self.counts.flushes += 1;
        let (keys, findings) = self.key_changes(flush.changes);
        let targets = std::mem::take(&mut self.targets);
        let past = Past {
            history: self.history,
            rules: self.rules,
            targets: &targets,
            at: flush.at.min(self.history.until()),
        };
        let planned = plan(&keys, &self.rules.plan);
        self.counts.unserved += planned.counts.unmatched as u64;
        let paths = FlushPaths::new(&planned);
        self.note_burst(flush, &paths);
        let skipped = self.skipped(&past, &planned, &paths, &findings);
        if skipped.iter().all(Vec::is_empty) {
            self.order(&past, &paths, |_| true);
        } else {
            self.order(&past, &paths, |way| !way.is_only_changed());
            self.order_the_rest(&past, &planned, &skipped);
        }
        self.targets = targets;
    }

    /// The ways that skip keys order the others. Targets that skip the same share a plan.
    fn order_the_rest(&mut self, past: &Past<'_>, planned: &Plan<'_>, skipped: &Skipped) {
        let keys = planned.keys;
        let different: BTreeSet<&Vec<bool>> = skipped.iter().filter(|it| !it.is_empty()).collect();
        let left: Vec<KeyChanges> = different.iter().map(|it| without(keys, it)).collect();
        let plans: Vec<Plan<'_>> = left.iter().map(|it| plan(it, &self.rules.plan)).collect();
        let mut paths = FlushPaths::new(planned);
        for (of_targets, planned) in different.into_iter().zip(&plans) {
            let mut of_plan = FlushPaths::new(planned);
            let targets = skipped.iter().enumerate();
            for (target, _) in targets.filter(|(_, it)| *it == of_targets) {
                paths.replace(target, &mut of_plan);
            }
        }
        self.order(past, &paths, Way::is_only_changed);
    }

    /// Which keys are skipped by the ways that skip any.
    fn skipped(
        &mut self,
        past: &Past<'_>,
        planned: &Plan<'_>,
        paths: &FlushPaths<'_>,
        findings: &[PastFinding],
    ) -> Skipped {
        if !self.spenders.iter().any(|it| it.way().is_only_changed()) {
            return Vec::new();
        }
        self.ask_for_trust(past, paths);
        self.skips.of_flush(past, planned, findings)
    }

    /// The keys of a flush, and what is found of each: what is true of all its uploads.
    fn key_changes(&mut self, changes: &[PastChange]) -> (KeyChanges, Vec<PastFinding>) {
        let mut by_key = changes.to_vec();
        by_key.sort_unstable_by_key(|change| change.key);
        let mut collected = Changes::default();
        let mut findings = Vec::new();
        let mut last = None;
        for PastChange {
            key, kind, finding, ..
        } in by_key
        {
            let change = Change {
                bucket: self.rules.bucket.clone(),
                key: self.history.key(key),
                kind,
                event_time: None,
                version_id: None,
            };
            if self.rules.exceptions.exempting(&change).is_some() {
                self.counts.excepted += 1;
                continue;
            }
            add(&mut collected, &change);
            match findings.last_mut().filter(|_| last == Some(key)) {
                Some(known) if *known != finding => *known = PastFinding::Changed,
                Some(_) => {}
                None => findings.push(finding),
            }
            last = Some(key);
        }
        (KeyChanges::from(collected), findings)
    }

    /// Each way orders the paths of a flush as it does.
    fn order(&mut self, past: &Past<'_>, paths: &FlushPaths<'_>, is_meant: impl Fn(Way) -> bool) {
        let exact = paths.exact(&mut self.folders);
        let wanted = exact.cells.paths();
        if wanted == 0 {
            return;
        }
        let mut covered: Vec<(Limits, Ordered)> = Vec::new();
        for spender in self.spenders.iter_mut().filter(|it| is_meant(it.way())) {
            if spender.way() == Way::WildcardPerBurst {
                continue;
            }
            let Some(limits) = spender.cover_limits(past.at, wanted) else {
                spender.order(past.at, &exact);
                continue;
            };
            let known = covered.iter().position(|(of, _)| *of == limits);
            let known = known.unwrap_or_else(|| {
                let cover = paths.covered(past, &limits, &mut self.folders);
                covered.push((limits, cover));
                covered.len() - 1
            });
            spender.order(past.at, &covered[known].1);
        }
    }

    /// A target is sent a `/*` once, after which what has not changed may be skipped.
    fn ask_for_trust(&mut self, past: &Past<'_>, paths: &FlushPaths<'_>) {
        let mut ordered = Ordered::default();
        let objects = self.history.objects_at(past.at);
        for (target, _) in paths.targets() {
            if !self.asked[target] && may_be_trusted(past, target) {
                self.asked[target] = true;
                ordered.add_everything(target, objects, &mut self.folders);
            }
        }
        let spenders = self.spenders.iter_mut();
        for spender in spenders.filter(|it| it.way().is_only_changed()) {
            spender.order(past.at, &ordered);
        }
    }

    fn note_burst(&mut self, flush: &PastFlush<'_>, paths: &FlushPaths<'_>) {
        let [first, last] = [flush.changes.first(), flush.changes.last()]
            .map(|change| change.map_or(flush.at, |it| it.time));
        let gap = Second::try_from(self.rules.burst.as_secs()).unwrap_or(Second::MAX);
        if self.burst.last.is_some_and(|last| first - last > gap) {
            self.end_burst();
        }
        self.burst.last = Some(last);
        for (target, count) in paths.targets() {
            self.burst.paths[target] += count;
        }
    }

    fn end_burst(&mut self) {
        let Some(last) = self.burst.last.take() else {
            return;
        };
        self.counts.bursts += 1;
        let mut ordered = Ordered::default();
        // Those that changed would be fetched again in any case.
        let objects = self.history.objects_at(last);
        for (target, paths) in self.burst.paths.iter_mut().enumerate() {
            let changed = std::mem::take(paths);
            if changed > 0 {
                let others = objects.saturating_sub(changed);
                ordered.add_everything(target, others, &mut self.folders);
            }
        }
        let mut spenders = self.spenders.iter_mut();
        if let Some(spender) = spenders.find(|it| it.way() == Way::WildcardPerBurst) {
            spender.order(last, &ordered);
        }
    }

    fn finish(mut self) -> Estimate {
        self.end_burst();
        let until = self.history.until();
        let ways = self.spenders.into_iter().map(|it| it.finish(until));
        self.counts.ways = ways.collect();
        self.counts.folders = self.folders.names().to_vec();
        for way in &mut self.counts.ways {
            way.folders.resize(self.counts.folders.len(), 0);
        }
        self.counts
    }
}

/// The keys that are left.
fn without(keys: &KeyChanges, skipped: &[bool]) -> KeyChanges {
    let mut left = Changes::default();
    for (index, _) in keys
        .indices()
        .zip(skipped)
        .filter(|(_, skipped)| !**skipped)
    {
        let key = keys.get(index);
        let change = Change {
            bucket: key.bucket.clone(),
            key: key.key(),
            kind: key.kind,
            event_time: None,
            version_id: None,
        };
        add(&mut left, &change);
    }
    KeyChanges::from(left)
}

fn add(changes: &mut Changes, change: &Change<'_>) {
    let added = changes.add(change, MessageIndex::new(0));
    assert!(added.is_ok(), "all keys of a history fit into 4 GiB");
}
