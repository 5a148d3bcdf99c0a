//! Plans the received changes, enqueues the sets, and then deletes the messages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use invalidator_core::buffered::{Scope, TargetScope, WaitingSet};
use invalidator_core::caller_reference::SetId;
use invalidator_core::cost::order::TargetOrder;
use invalidator_core::distributions::Distribution;
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::event::BucketName;
use invalidator_core::mode::Mode;
use invalidator_core::path::{InvalidationPath, Reach};
use invalidator_core::pause::Pauses;
use invalidator_core::plan::{
    Changes, Fate, KeyChanges, KeySet, MessageIndex, PathSet, Plan, RootNeed, RootNeeds, Rules,
    SetLimits, index_document_of, plan,
};
use invalidator_core::retry::{
    HELD_WAIT, ROOT_OBJECTS_WAIT, TIME_TO_STOP, unread_distributions_wait,
};
use invalidator_core::set::{Set, TooWide};
use invalidator_core::target::{DistributionId, Target, TenantId};
use tokio::time::Instant;
use tracing::{error, info};

use super::cost::{Means, look_until};
use super::deletions::Deleter;
use super::drain::{Batch, Buffered, Part, Scoped};
use super::enqueue::Enqueuer;
use super::give_back::{Given, give_back};
use super::hold::hold;
use super::log::{log_sample, log_widest};
use super::rationed;
use super::report::{FlushCounts, Report};
use super::unreadable::hand_over;
use crate::app::App;
use crate::clock::Deadline;
use crate::metrics::{MAX_LOGGED_WILDCARDS, milliseconds};
use crate::queue::{BATCH, Entry, batches, send_persistently};

/// How long a round waits for all distributions. After that it enqueues the sets of those it has read.
const TIME_FOR_ALL: Duration = Duration::from_secs(2);

/// How long a flush may read default root objects for changes that were planned without: no other flush begins
/// meanwhile, and new changes do not need them.
const TIME_FOR_ROOTS: Duration = Duration::from_secs(10);

/// How much longer reading tags may take, for each bucket.
const TIME_FOR_A_BUCKET: Duration = Duration::from_millis(10);

/// How long giving changes back may take after the time for enqueuing has run out.
const TIME_TO_GIVE_BACK: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Rounds<'a> {
    pub app: &'a App,
    /// When Lambda ends the function.
    pub deadline: &'a Deadline,
    /// Live, or a dry run.
    pub mode: Mode,
    /// Which changes are held back.
    pub pauses: Pauses,
    /// Deletes what is done.
    pub deleter: &'a Deleter,
    /// When reading CloudFront's configuration must stop.
    pub read_until: Instant,
    /// Distributions that this flush could not read.
    pub unread: BTreeSet<DistributionId>,
    /// When reading default root objects for changes that were planned without must stop, once it has begun.
    pub roots_until: Option<Instant>,
}

/// The result of a round.
#[derive(Debug, Default)]
pub struct RoundEnd {
    pub report: Report,
    /// How long its slowest call took.
    pub slowest_call: Duration,
}

/// The unfinished work of one scope.
#[derive(Default)]
struct Unfinished {
    /// Targets whose distributions could not be read.
    unread: BTreeSet<TargetScope>,
    /// Targets that were planned without their default root objects, although these may matter.
    rootless: BTreeSet<TargetScope>,
    /// The same, where these could not be read.
    roots_unread: BTreeSet<TargetScope>,
    /// Targets for which there was no time.
    unsent: BTreeSet<TargetScope>,
    /// Keys that wait because a spending limit is reached, and the targets for which they do.
    held: Vec<(KeySet, BTreeSet<TargetScope>)>,
    /// How many sets are neither in SubmitQueue nor in the buffer.
    stranded: usize,
}

/// What is known of default root objects.
#[derive(Clone, Copy)]
enum Roots {
    /// They are read as far as the changes need them.
    AsNeeded,
    /// They were just read.
    Read,
}

/// The messages of each part of a batch.
struct Parts {
    /// By the places of the scopes.
    scopes: Vec<Vec<MessageIndex>>,
    sets: Vec<MessageIndex>,
}

impl Parts {
    fn of(messages: &[Buffered], scopes: usize) -> Self {
        let mut parts = Self {
            scopes: vec![Vec::new(); scopes],
            sets: Vec::new(),
        };
        for (place, message) in messages.iter().enumerate() {
            let part = match message.part {
                Part::Scope(scope) => &mut parts.scopes[scope],
                Part::Sets => &mut parts.sets,
            };
            part.push(MessageIndex::new(place));
        }
        parts
    }
}

impl Unfinished {
    /// Lets keys wait for a target. Targets for which the same keys wait share their messages.
    fn hold(&mut self, target: &Target, keys: &KeySet) {
        if keys.is_empty() {
            return;
        }
        let target = TargetScope::of(target);
        match self.held.iter_mut().find(|(held, _)| held == keys) {
            Some((_, targets)) => _ = targets.insert(target),
            None => self.held.push((keys.clone(), BTreeSet::from([target]))),
        }
    }
}

impl Rounds<'_> {
    /// Processes a batch. A message is deleted only when all its sets are in SubmitQueue or in the
    /// buffer, and its changes are back in the buffer for the targets that are left.
    pub async fn process(&mut self, batch: Batch) -> RoundEnd {
        let mut end = RoundEnd::default();
        end.report.counts.changes = batch.len();
        let fresh = batch.scopes.iter().filter(|it| it.targets.is_none());
        end.report.counts.received = fresh.map(|it| it.changes.len()).sum();
        end.report.counts.messages = batch.messages.len();
        end.report.counts.unreadable = batch.unreadable.len();
        let Batch {
            mut messages,
            scopes,
            sets,
            unreadable,
            ..
        } = batch;
        let of_parts = Parts::of(&messages, scopes.len());
        if !sets.is_empty() && self.forward(sets, &mut end).await {
            self.delete(&mut messages, &of_parts.sets);
        }
        // What has waited before must not take what new changes may spend.
        let mut scopes: Vec<_> = scopes.into_iter().enumerate().collect();
        scopes.sort_by_key(|(_, scoped)| scoped.targets.is_some());
        for (index, scoped) in scopes {
            let part = &of_parts.scopes[index];
            let has_time = self.deadline.remaining() > TIME_TO_STOP;
            if has_time && self.hold_or_process(scoped, &messages, &mut end).await {
                self.delete(&mut messages, part);
            } else {
                self.release(&messages, part, &mut end);
            }
        }
        if !unreadable.is_empty() {
            let left = hand_over(self.app, unreadable, self.deleter, self.send_until()).await;
            self.release_all(left.iter().map(|message| message.sent), &mut end);
        }
        if self.deadline.remaining() > TIME_TO_STOP {
            let (rations, catalog) = (&self.app.rations, &self.app.catalog);
            tokio::join!(
                rations.save(self.app.state()),
                catalog.save_roots(self.app.state())
            );
        }
        end
    }

    /// Sends sets to SubmitQueue that could not be sent before, or had to wait. Returns whether their messages
    /// may be deleted.
    async fn forward(&self, sets: Vec<WaitingSet>, end: &mut RoundEnd) -> bool {
        let entries = match rationed::entries(self.app, sets, &mut end.report.counts) {
            Ok(entries) => entries,
            Err(error) => {
                error!(stage = "flush", %error, "a set cannot be serialized");
                return false;
            }
        };
        let mut enqueuer = Enqueuer::new(self.app, self.send_until());
        for entry in entries {
            enqueuer.add(entry).await;
        }
        enqueuer.finish().await;
        end.report.counts.sets += enqueuer.sets;
        enqueuer.failed.is_empty()
    }

    /// Lets the messages of one part of the batch be deleted, while the flush goes on.
    fn delete(&self, messages: &mut [Buffered], part: &[MessageIndex]) {
        let handles = part
            .iter()
            .map(|index| std::mem::take(&mut messages[index.get()].receipt_handle));
        self.deleter.delete(handles);
    }

    /// Counts messages that are not deleted, and so come back.
    fn release(&self, messages: &[Buffered], part: &[MessageIndex], end: &mut RoundEnd) {
        let released = part.iter().map(|index| messages[index.get()].sent);
        self.release_all(released, end);
    }

    fn release_all(&self, sent: impl Iterator<Item = Option<u64>>, end: &mut RoundEnd) {
        let now = milliseconds(self.app.clock.now());
        for sent in sent {
            end.report.counts.released += 1;
            let age = sent.map(|sent| now.saturating_sub(sent));
            end.report.oldest = end.report.oldest.max(age);
        }
    }

    /// Holds back the changes of one scope that a pause covers, and processes the others. Returns whether the
    /// messages are done.
    async fn hold_or_process(
        &mut self,
        mut scoped: Scoped,
        messages: &[Buffered],
        end: &mut RoundEnd,
    ) -> bool {
        let pauses = &self.pauses;
        let covered = scoped
            .changes
            .split_off(|bucket, key| pauses.holding(bucket, key).is_some());
        let returned = match covered {
            Ok(covered) if covered.is_empty() => Ok(Changes::default()),
            Ok(covered) => self.hold(covered, &scoped, end).await,
            Err(error) => Err(error.into()),
        };
        let returned = match returned {
            Ok(returned) => returned,
            Err(error) => {
                error!(
                    stage = "flush",
                    error = format!("{error:#}"),
                    "paused changes could not be written, so their messages stay in the buffer"
                );
                return false;
            }
        };
        // What was paused until a moment ago is planned on its own.
        let after_all = Scoped {
            targets: scoped.targets.clone(),
            changes: returned,
            ..scoped
        };
        let mut is_done = true;
        for scoped in [scoped, after_all] {
            if scoped.changes.is_empty() {
                continue;
            }
            is_done &= match scoped.only_root_objects {
                true => self.process_root_objects(scoped, messages, end).await,
                false => {
                    let scoped = (scoped, Roots::AsNeeded);
                    self.process_scope(scoped, messages, end).await
                }
            };
        }
        is_done
    }

    /// Holds changes back. Returns those whose pause is over.
    async fn hold(&mut self, changes: Changes, of: &Scoped, end: &mut RoundEnd) -> Result<Changes> {
        let scope = of.targets.as_ref().map(|targets| Scope {
            targets: targets.clone(),
            first_seen: of.first_seen(self.app),
            attempts: of.attempts,
            only_root_objects: of.only_root_objects,
        });
        let held = hold(self.app, &mut self.pauses, changes, scope.as_ref()).await?;
        end.report.counts.paused += held.keys;
        Ok(held.returned)
    }

    /// Plans the changes of one scope and enqueues their sets: first for the distributions that are
    /// cached or quickly read, then for those that take longer. Returns whether the messages are done.
    async fn process_scope(
        &mut self,
        (scoped, roots): (Scoped, Roots),
        messages: &[Buffered],
        end: &mut RoundEnd,
    ) -> bool {
        let app = self.app;
        let first_seen = scoped.first_seen(app);
        let Scoped {
            targets,
            attempts,
            changes,
            ..
        } = scoped;
        let keys = KeyChanges::from(changes);
        let buckets: Vec<BucketName> = keys.buckets().cloned().collect();
        let wanted: Option<HashSet<&TargetScope>> =
            targets.as_ref().map(|targets| targets.iter().collect());
        let is_meant = |target: &Target| {
            let wanted = wanted.as_ref();
            wanted.is_none_or(|wanted| TargetScope::all_of(target).any(|it| wanted.contains(&it)))
        };
        let mut unfinished = Unfinished::default();
        let at_once = self.read_until.min(Instant::now() + TIME_FOR_ALL);
        let needs = RootNeeds {
            keys: &keys,
            origin_buckets: &app.config.origin_buckets,
        };
        let need = |summary: &DistributionSummary| match roots {
            Roots::AsNeeded => needs.of(summary),
            Roots::Read => RootNeed::None,
        };
        let (index_documents, first) = tokio::join!(
            self.index_documents(&buckets),
            self.read(&buckets, at_once, &[], targets.as_deref(), need),
        );
        end.report.counts.tags_changed += app.tags.take_changed();
        let mut distributions = first.distributions;
        let mut of_all = plan(&keys, &rules(app, &distributions, &index_documents));
        self.load_rations(&of_all).await;
        self.enqueue(&of_all, is_meant, messages, &mut unfinished, end)
            .await;
        unfinished.unread = first.unread;
        unfinished.rootless = first.rootless;
        unfinished.roots_unread = first.roots_unread;
        if !unfinished.unread.is_empty() {
            // Only one plan is in the memory, and each distribution once.
            drop(of_all);
            let (until, done) = (self.read_until, &distributions);
            let read = self.read(&buckets, until, done, targets.as_deref(), need);
            let read = read.await;
            let mut later = read.distributions;
            unfinished.unread = read.unread;
            unfinished.rootless.extend(read.rootless);
            unfinished.roots_unread.extend(read.roots_unread);
            let later_plan = plan(&keys, &rules(app, &later, &index_documents));
            self.load_rations(&later_plan).await;
            self.enqueue(&later_plan, is_meant, messages, &mut unfinished, end)
                .await;
            drop(later_plan);
            distributions.append(&mut later);
            of_all = plan(&keys, &rules(app, &distributions, &index_documents));
        }
        if !unfinished.rootless.is_empty() {
            let distributions = unfinished.rootless.len();
            info!(
                stage = "flush",
                distributions,
                "changes were planned without default root objects, which are read by a later flush"
            );
        }
        let unread = unfinished.unread.iter().map(TargetScope::distribution);
        self.unread.extend(unread.cloned());
        let is_complete = targets.is_none() && unfinished.unread.is_empty();
        log_sample(app, &of_all, is_complete);
        match &targets {
            None => count_keys(&of_all, is_complete, &mut end.report.counts),
            Some(targets) => self.log_gone(targets).await,
        }
        let scope = Scope {
            targets: Vec::new(),
            first_seen,
            attempts,
            only_root_objects: false,
        };
        self.give_back(scope, unfinished, (&keys, messages), end)
            .await
    }

    /// Reads the default root objects without which changes were planned, and processes those of the keys that are
    /// root objects, if any is. Returns whether the messages are done.
    async fn process_root_objects(
        &mut self,
        scoped: Scoped,
        messages: &[Buffered],
        end: &mut RoundEnd,
    ) -> bool {
        let first_seen = scoped.first_seen(self.app);
        let attempts = scoped.attempts;
        let keys = KeyChanges::from(scoped.changes);
        let buckets: Vec<BucketName> = keys.buckets().cloned().collect();
        let all = |_: &DistributionSummary| RootNeed::First;
        let targets = scoped.targets.as_deref();
        let is_first = self.roots_until.is_none();
        let until = Instant::now() + TIME_FOR_ROOTS;
        let until = self.read_until.min(*self.roots_until.get_or_insert(until));
        // The others may have no time left.
        let has_tried = is_first && Instant::now() < until;
        let read = self.read(&buckets, until, &[], targets, all).await;
        let asked = targets.map_or(usize::MAX, <[TargetScope]>::len);
        let aliases = &self.app.config.origin_buckets;
        let changes = match keys.of_root_objects(&read.distributions, aliases) {
            Ok(changes) => changes,
            Err(error) => {
                error!(stage = "flush", %error, "default root objects cannot be planned");
                return false;
            }
        };
        // At all others, the changes were planned completely.
        let distributions = read.distributions.iter();
        let of_roots = distributions.filter(|it| keys.have_root_object_of(it, aliases));
        let of_roots: BTreeSet<&DistributionId> = of_roots.map(|it| &it.id).collect();
        let mut targets = scoped.targets.unwrap_or_default();
        targets.retain(|it| !read.unread.contains(it) && of_roots.contains(it.distribution()));
        let scope = Scope {
            targets: Vec::new(),
            first_seen,
            attempts,
            only_root_objects: true,
        };
        // What was read is known: the next flush goes on with the others.
        let (unread, rootless) = match read.unread.len() < asked || !has_tried {
            true => (BTreeSet::new(), read.unread),
            false => (read.unread, BTreeSet::new()),
        };
        let unfinished = Unfinished {
            unread,
            rootless,
            ..Unfinished::default()
        };
        let is_done = self.give_back(scope, unfinished, (&keys, messages), end);
        let is_done = is_done.await;
        if changes.is_empty() || targets.is_empty() {
            return is_done;
        }
        let scoped = Scoped {
            targets: Some(targets),
            first_seen: Some(first_seen),
            attempts,
            only_root_objects: false,
            changes,
        };
        let scoped = (scoped, Roots::Read);
        self.process_scope(scoped, messages, end).await && is_done
    }

    /// Looks which rations other environments have used, if the plan may need any.
    async fn load_rations(&self, plan: &Plan<'_>) {
        if plan.may_be_rationed() && self.mode != Mode::DryRun {
            self.app.rations.load(self.app.state()).await;
        }
    }

    /// The index document of each bucket that has one. Nobody asks for that of a bucket that no distribution serves.
    async fn index_documents(&self, buckets: &[BucketName]) -> HashMap<BucketName, String> {
        let s3 = self.app.clients.s3();
        let aliases = &self.app.config.origin_buckets;
        let buckets = &self.app.catalog.served(buckets, aliases).await;
        let time = TIME_FOR_ALL + TIME_FOR_A_BUCKET * u32::try_from(buckets.len()).unwrap_or(1_000);
        let until = self.read_until.min(Instant::now() + time);
        let settings = self.app.tags.settings_of(s3, buckets, until).await;
        let documents = buckets.iter().filter_map(|bucket| {
            let document = index_document_of(settings.get(bucket).map(AsRef::as_ref))?;
            Some((bucket.clone(), document))
        });
        documents.collect()
    }

    /// The distributions that serve some buckets, except those in `done`, and those that cannot be read
    /// until `until`. If there is a scope, only its own. Default root objects are read as far as `need` says.
    async fn read(
        &self,
        buckets: &[BucketName],
        until: Instant,
        done: &[Distribution],
        targets: Option<&[TargetScope]>,
        need: impl Fn(&DistributionSummary) -> RootNeed,
    ) -> ReadDistributions {
        let app = self.app;
        let cloudfront = app.clients.cloudfront();
        let aliases = &app.config.origin_buckets;
        let serving = app
            .catalog
            .serving_as_needed(cloudfront, (buckets, aliases), &self.unread, until, need)
            .await;
        let done: BTreeSet<&DistributionId> = done.iter().map(|it| &it.id).collect();
        let wanted: Option<HashSet<&DistributionId>> =
            targets.map(|targets| targets.iter().map(TargetScope::distribution).collect());
        let is_meant =
            |id: &DistributionId| wanted.as_ref().is_none_or(|wanted| wanted.contains(id));
        let is_new = |id: &DistributionId| is_meant(id) && !done.contains(id);
        let rootless = serving.rootless.into_iter().filter(is_new);
        let roots_unread = serving.roots_unread.into_iter().filter(is_new);
        let mut known = ReadDistributions {
            distributions: serving.distributions,
            unread: BTreeSet::new(),
            rootless: rootless.map(TargetScope::Distribution).collect(),
            roots_unread: roots_unread.map(TargetScope::Distribution).collect(),
        };
        known.distributions.retain(|it| is_new(&it.id));
        let unread = serving.unread.into_iter().filter(is_meant);
        known.unread = match targets {
            None => unread.map(TargetScope::Distribution).collect(),
            Some(targets) => {
                let unread: BTreeSet<DistributionId> = unread.collect();
                let targets = targets.iter();
                let unread = targets.filter(|it| unread.contains(it.distribution()));
                unread.cloned().collect()
            }
        };
        known
    }

    fn send_until(&self) -> Instant {
        Instant::now() + self.deadline.remaining().saturating_sub(TIME_TO_STOP)
    }

    /// Makes and enqueues the sets of each target, one by one. Sets that cannot be sent are put into the
    /// buffer unchanged.
    async fn enqueue(
        &self,
        plan: &Plan<'_>,
        is_meant: impl Fn(&Target) -> bool,
        messages: &[Buffered],
        unfinished: &mut Unfinished,
        end: &mut RoundEnd,
    ) {
        let app = self.app;
        let mut enqueuer = Enqueuer::new(app, self.send_until());
        let min_depth = app.config.min_wildcard_depth;
        let mut logged = 0;
        let mut waiting = Vec::new();
        let time = self.deadline.remaining().saturating_sub(TIME_TO_STOP);
        let means = Means {
            app,
            mode: self.mode,
            pauses: &self.pauses,
            until: look_until(plan.keys.len(), time),
        };
        let order = Box::pin(means.order(plan, is_meant, &mut end.report)).await;
        for of_target in &order.targets {
            let target = of_target.plan.target;
            if self.deadline.remaining() < TIME_TO_STOP {
                unfinished.unsent.insert(TargetScope::of(target));
                continue;
            }
            unfinished.hold(target, &of_target.held);
            let mut waits = BTreeMap::new();
            let may_go = |bucket: &BucketName| self.may_go(bucket, target, &mut waits);
            for set in of_target.plan.adjusted_sets(&of_target.adjustment, may_go) {
                if logged < MAX_LOGGED_WILDCARDS {
                    logged += usize::from(log_widest(&app.catalog, plan, target, &set));
                }
                end.report.counts.count(&set);
                if self.mode == Mode::DryRun {
                    if set.fate == Fate::Submit {
                        end.report.counts.dry_run += set.paths.len();
                    }
                    info!(stage = "flush", distribution = %target.distribution, alias = %app.catalog.alias(&target.distribution), tenant = target.tenant.as_ref().map(TenantId::as_str), paths = set.paths.len(), "dry run: not enqueued");
                    continue;
                }
                let fate = set.fate;
                match (entry(of_target, set, messages, min_depth), fate) {
                    (Ok(entry), Fate::Wait(bucket)) => {
                        let wait = waits.get(bucket).copied().unwrap_or_default();
                        app.last_flush.has_delayed(app.clock.now() + wait);
                        waiting.push(entry.into_ration(bucket.clone(), wait));
                    }
                    (Ok(entry), Fate::Submit | Fate::Reject) => enqueuer.add(entry).await,
                    (Err(error), _) => waiting.push(Err(error)),
                }
                if waiting.len() >= BATCH {
                    end.report.has_put_back = true;
                    // A buffer that is slow must not hold up what is submitted now.
                    enqueuer.finish().await;
                    let (waiting, until) = (std::mem::take(&mut waiting), self.send_until());
                    unfinished.stranded += self.put_into_buffer(waiting, until).await;
                }
            }
        }
        enqueuer.finish().await;
        end.report.has_put_back |= !waiting.is_empty();
        unfinished.stranded += self.put_into_buffer(waiting, self.send_until()).await;
        end.report.counts.sets += enqueuer.sets;
        end.slowest_call = end.slowest_call.max(enqueuer.slowest);
        let failed = std::mem::take(&mut enqueuer.failed).into_iter();
        let failed: Vec<_> = failed.map(Entry::into_buffer).collect();
        end.report.has_put_back |= !failed.is_empty();
        let until = Instant::now() + TIME_TO_GIVE_BACK;
        unfinished.stranded += self.put_into_buffer(failed, until).await;
    }

    /// Whether wildcards that names in a bucket need may be submitted now for a target. If not, notes for how
    /// long they wait.
    fn may_go(
        &self,
        bucket: &BucketName,
        target: &Target,
        waits: &mut BTreeMap<BucketName, Duration>,
    ) -> bool {
        if self.mode == Mode::DryRun {
            return true;
        }
        let wait = self.app.rations.take(bucket, target, self.app.clock.now());
        if !wait.is_zero() {
            waits.insert(bucket.clone(), wait);
        }
        wait.is_zero()
    }

    /// Puts sets into the buffer that could not be sent, or that have to wait. Returns for how many that
    /// failed.
    async fn put_into_buffer(&self, entries: Vec<Result<Entry>>, until: Instant) -> usize {
        let mut stranded = 0;
        let entries = entries.into_iter().filter_map(|entry| {
            let entry = entry.map_err(|error| {
                error!(stage = "flush", %error, "a set cannot be serialized");
            });
            if entry.is_err() {
                stranded += 1;
            }
            entry.ok()
        });
        let batches: Vec<_> = batches(entries.collect::<Vec<_>>()).collect();
        for batch in batches {
            let queue = &self.app.config.buffer_queue;
            let left = send_persistently(self.app.clients.lean_sqs(), queue, batch, until).await;
            stranded += left.len();
        }
        stranded
    }

    /// Logs distributions whose changes waited, and that are not listed any more.
    async fn log_gone(&self, targets: &[TargetScope]) {
        for id in targets.iter().map(TargetScope::distribution) {
            if !self.app.catalog.is_listed(id).await {
                info!(stage = "flush", distribution = %id, alias = %self.app.catalog.alias(id), "changes waited for a distribution that is not listed any more");
            }
        }
    }

    /// How long changes that were planned without default root objects are hidden: until the tick that this flush sends
    /// for them, or until one that an earlier flush has sent.
    fn root_objects_wait(&self, end: &mut RoundEnd) -> Duration {
        let debounce = self.app.config.debounce;
        let wait = ROOT_OBJECTS_WAIT.min(debounce);
        let now = self.app.clock.now();
        match self.app.last_flush.tick_again_in(now, debounce) {
            Some(time) => wait.min(time),
            None => {
                end.report.lacks_root_objects = true;
                wait
            }
        }
    }

    /// Puts changes back for the targets that could not be handled. Returns whether all work is now either
    /// done or in a queue.
    async fn give_back(
        &self,
        scope: Scope,
        unfinished: Unfinished,
        of: (&KeyChanges, &[Buffered]),
        end: &mut RoundEnd,
    ) -> bool {
        let now = milliseconds(self.app.clock.now());
        let until = Instant::now() + TIME_TO_GIVE_BACK;
        let attempts = scope.attempts.saturating_add(1);
        end.report.counts.unread += unfinished.unread.len();
        end.report.unsent += unfinished.unsent.len();
        let mut is_done = unfinished.stranded == 0;
        // What was not sent is not known to lack only root objects.
        let unsent = unfinished.unsent;
        let without_unsent = |targets: BTreeSet<TargetScope>| {
            let targets = targets.into_iter();
            targets.filter(|it| !unsent.contains(it)).collect()
        };
        let rootless: BTreeSet<TargetScope> = without_unsent(unfinished.rootless);
        let wait = match rootless.is_empty() {
            true => Duration::ZERO,
            false => self.root_objects_wait(end),
        };
        let of_root_objects = [
            (rootless, scope.attempts, wait, None),
            (
                without_unsent(unfinished.roots_unread),
                attempts,
                unread_distributions_wait(attempts),
                None,
            ),
        ];
        let of_root_objects = of_root_objects.map(|it| (it, true));
        let of_all_keys = [
            (
                unfinished.unread,
                attempts,
                unread_distributions_wait(attempts),
                None,
            ),
            // No delay: there is nothing to wait for, and the tick comes back at once.
            (unsent, scope.attempts, Duration::ZERO, None),
        ];
        let of_all_keys = of_all_keys.map(|it| (it, scope.only_root_objects));
        let held = unfinished.held.into_iter();
        let held = held.map(|(keys, targets)| (targets, scope.attempts, HELD_WAIT, Some(keys)));
        let held = held.map(|it| (it, false));
        let all = of_all_keys.into_iter().chain(of_root_objects);
        for ((targets, attempts, delay, only), only_root_objects) in all.chain(held) {
            if targets.is_empty() {
                continue;
            }
            end.report.has_put_back = true;
            if !delay.is_zero() {
                self.app
                    .last_flush
                    .has_delayed(self.app.clock.now() + delay);
            }
            let age = now.saturating_sub(scope.first_seen);
            end.report.oldest = end.report.oldest.max(Some(age));
            let scope = Scope {
                targets: targets.into_iter().collect(),
                first_seen: scope.first_seen,
                attempts,
                only_root_objects,
            };
            let of = Given {
                keys: of.0,
                messages: of.1,
                only: only.as_ref(),
            };
            if let Err(error) = give_back(self.app, &scope, &of, (delay, until)).await {
                error!(
                    stage = "flush",
                    error = format!("{error:#}"),
                    "changes could not be put back into the buffer"
                );
                is_done = false;
            }
        }
        is_done
    }
}

fn rules<'r>(
    app: &'r App,
    distributions: &'r [Distribution],
    index_documents: &'r HashMap<BucketName, String>,
) -> Rules<'r> {
    Rules {
        distributions,
        origin_buckets: &app.config.origin_buckets,
        index_documents,
        debounce: app.config.debounce,
        limits: SetLimits::with_paths(app.config.max_paths_per_invalidation),
        min_wildcard_depth: app.config.min_wildcard_depth,
    }
}

/// Counts what became of the keys. While some distributions are not read, nobody knows which keys are
/// unmatched.
fn count_keys(plan: &Plan<'_>, is_complete: bool, counts: &mut FlushCounts) {
    counts.keys += plan.counts.keys;
    if is_complete {
        counts.unmatched += plan.counts.unmatched;
        counts.not_cached += plan.counts.not_cached;
    }
}

/// The distributions to plan with, and the targets of those that could not be read, or not completely.
#[derive(Default)]
struct ReadDistributions {
    distributions: Vec<Distribution>,
    unread: BTreeSet<TargetScope>,
    /// The targets of those that lack their default root objects, although these may matter.
    rootless: BTreeSet<TargetScope>,
    /// The same, where these could not be read.
    roots_unread: BTreeSet<TargetScope>,
}

/// The message of a set.
fn entry(
    of_target: &TargetOrder<'_>,
    set: PathSet<'_>,
    messages: &[Buffered],
    min_depth: usize,
) -> Result<Entry> {
    let target = of_target.plan.target;
    let is_everything =
        |path: &InvalidationPath<'_>| path.reach() == Some(Reach::WholeDistribution);
    let trust = of_target.trust.clone();
    let trust = trust.filter(|_| set.fate == Fate::Submit && set.paths.iter().any(is_everything));
    let messages = set.messages.iter().map(|index| &messages[index.get()]);
    let messages: Vec<&Buffered> = messages.collect();
    let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let id = SetId::new(target, &set.paths, &ids);
    let group = set.lane.group(target);
    let changed = messages.iter().filter_map(|message| message.oldest).min();
    let forbidden = match (set.fate, set.widest) {
        (Fate::Reject, Some(widest)) => Some(TooWide {
            min_depth: u32::try_from(min_depth)?,
            cause: widest.cause,
        }),
        _ => None,
    };
    let set = Set {
        forbidden,
        trust,
        ..Set::of_flush(target.clone(), set.paths, changed)
    };
    Entry::of_set(&set, group, &id)
}
