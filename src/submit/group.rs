//! All messages of one batch for one target. They are submitted together, and then settled one by one.
//!
//! Accepted paths are never sent again. If a part of a set was accepted, the rest becomes a new message,
//! and so does a call whose answer was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use invalidator_core::caller_reference::{Cause, SetId};
use invalidator_core::error_file::TargetFailure;
use invalidator_core::event::EventTime;
use invalidator_core::merge::{Left, Merge, PathIndex, SetIndex};
use invalidator_core::path::InvalidationPath;
use invalidator_core::rejection::Rejected;
use invalidator_core::retry::{self, MAX_HOPS};
use invalidator_core::service_error::{ServiceError, UNKNOWN_DISTRIBUTION, WILDCARD_TOO_WIDE};
use invalidator_core::set::{JSON_BYTES_PER_PATH, Lane, MAX_SET_BYTES, Set};
use invalidator_core::target::{Target, TenantId};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::call::create_invalidation;
use super::message::Message;
use super::trust;
use super::unit::{Accepted, Call, Means, Paces, Unit};
use crate::app::App;
use crate::catalog::Standing;
use crate::clock::Deadline;
use crate::counters::counters;
use crate::ledger::{News, Waiting};
use crate::metrics::milliseconds;
use crate::queue::{self, Entry};
use crate::rejections::{Filed, file};

/// How long looking up the target may take.
const TIME_TO_READ: Duration = Duration::from_secs(30);

/// How long sending the rest of a set may take.
const TIME_TO_SEND: Duration = Duration::from_secs(10);

/// All messages of a batch for one target and lane.
#[derive(Debug)]
pub struct Group<'a> {
    pub app: &'a App,
    /// When Lambda ends the function.
    pub deadline: &'a Deadline,
    pub target: &'a Target,
    pub messages: Vec<Message>,
}

counters! {
    /// Counts of paths, by CloudFront's answer.
    PathCounts {
        accepted: "PathsAccepted",
        /// Paths that CloudFront wants later.
        later: "PathsLater",
        rejected: "PathsRejected",
        /// Invalidations that were accepted.
        invalidations: "Invalidations",
    }
}

#[derive(Debug, Default)]
pub struct GroupEnd {
    /// Receipt handles of messages that are deleted after the mail, because some of their paths are in
    /// an error file.
    pub to_delete: Vec<String>,
    pub returned: Vec<String>,
    /// The id of the target.
    pub target: Option<String>,
    /// The error file, if one was written.
    pub filed: Option<Filed>,
    pub paths: PathCounts,
    /// What the ledger must know.
    pub news: News,
    /// The sets of the function itself that wait.
    pub waiting: Vec<Waiting>,
    /// The age of the oldest change of each accepted set, in milliseconds.
    pub ages: Vec<u64>,
    /// The age of the oldest set that waits, in milliseconds.
    pub oldest: Option<u64>,
}

/// A group to which CloudFront has answered, and whose messages are not settled yet.
#[derive(Debug)]
pub struct Answered<'a> {
    group: Group<'a>,
    units: Vec<(Unit<'a>, Vec<Message>)>,
}

impl<'a> Group<'a> {
    /// Submits the group.
    pub async fn submit(mut self) -> Answered<'a> {
        let until = Instant::now() + TIME_TO_READ;
        let cloudfront = self.app.clients.cloudfront();
        let catalog = &self.app.catalog;
        let standing = catalog
            .standing(cloudfront, self.target, self.named(), until)
            .await;
        let mut answered = Vec::new();
        let mut paces = Paces::new(self.app.config.max_paths_per_invalidation);
        for mut messages in units(std::mem::take(&mut self.messages)) {
            paces.begin();
            let mut unit = self.unit(&mut messages);
            if let Some(why) = messages.first().and_then(|first| first.set.forbidden) {
                let waiting = unit.merge.waiting();
                let why = ServiceError::own(WILDCARD_TOO_WIDE, why.to_string());
                unit.merge.reject(&waiting, why);
            }
            match &standing {
                Ok(Standing::MayTouch) => {
                    let lost = messages.first().and_then(|first| {
                        let reference = first.set.caller_reference.clone()?;
                        Some((reference, first.receives))
                    });
                    unit.submit(lost, &mut paces, &self.means()).await;
                }
                Ok(standing) => {
                    let waiting = unit.merge.waiting();
                    unit.merge.reject(&waiting, unknown(self.target, *standing));
                }
                Err(error) => {
                    warn!(stage = "submit", distribution = %self.target.distribution, alias = %self.alias(), tenant = self.tenant(), error = format!("{error:#}"), "it is not known whether the target exists, so the set waits");
                }
            }
            self.log(&unit);
            self.give_up_old(&mut unit, &messages);
            answered.push((unit, messages));
        }
        Answered {
            group: self,
            units: answered,
        }
    }

    /// When the newest of the messages was sent.
    fn named(&self) -> SystemTime {
        let newest = self.messages.iter().map(|message| message.sent).max();
        let since_epoch = Duration::from_millis(newest.unwrap_or_default());
        let named = SystemTime::UNIX_EPOCH.checked_add(since_epoch);
        named.unwrap_or_else(|| self.app.clock.now())
    }

    /// The alias of the distribution, for the log.
    fn alias(&self) -> Arc<str> {
        self.app.catalog.alias(&self.target.distribution)
    }

    /// The id of the tenant, if the target is one, for the log.
    fn tenant(&self) -> Option<&str> {
        self.target.tenant.as_ref().map(TenantId::as_str)
    }

    /// Moves the paths of the messages into a merge.
    fn unit(&self, messages: &mut [Message]) -> Unit<'a> {
        let ids = messages.iter().map(|message| message.set_id.clone());
        let ids = ids.collect();
        // Of sets that were sent for different reasons, which only people do, the last of `Cause`.
        let cause = messages.iter().map(|message| message.set.cause()).max();
        let cause = cause.unwrap_or(Cause::Tool);
        let sets = messages.iter_mut();
        let sets = sets.map(|message| std::mem::take(&mut message.set.paths));
        Unit::new(self.target, Merge::new(sets.collect()), ids, cause)
    }

    fn means(
        &self,
    ) -> Means<impl AsyncFn(&Merge<'static>, &Call) -> super::answer::Answer, impl Fn() -> Duration>
    {
        let cloudfront = self.app.clients.cloudfront_for(self.target);
        Means {
            call: async |merge: &Merge<'static>, call: &Call| {
                let paths: Vec<_> = call.paths.iter().map(|index| merge.path(*index)).collect();
                create_invalidation(cloudfront, self.target, &paths, &call.reference).await
            },
            remaining: || self.deadline.remaining(),
        }
    }

    /// Deletes messages that are done.
    pub async fn delete(&self, receipt_handles: Vec<String>) {
        delete(self.app, receipt_handles).await;
    }

    /// Sends the rest of each set as a new message, and hides the waiting messages.
    async fn settle(&self, mut unit: Unit<'_>, messages: &[Message], end: &mut GroupEnd) {
        let rejected = unit.merge.rejected();
        end.paths.rejected += rejected.iter().map(|(_, paths)| paths.len()).sum::<usize>();
        let progressed = !unit.accepted.is_empty();
        end.paths.invalidations += unit.accepted.len();
        end.paths.accepted += unit.accepted.iter().map(|it| it.paths).sum::<usize>();
        end.news.add(trust::news(&unit, messages));
        end.waiting.extend(trust::waiting(&unit, messages));
        self.hand_over_lost(&mut unit, messages).await;

        let now = milliseconds(self.app.clock.now());
        let mut waiting = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let is_done = match unit.merge.left_of(SetIndex(index)) {
                Left::Nothing => true,
                Left::Part(rest) => self.send_rest(message, rest).await,
                // In the message group of another target it would hold up what is sent to that one.
                Left::All if !message.is_in_its_group => {
                    let paths = unit.merge.paths_of(SetIndex(index)).to_vec();
                    self.send_rest(message, paths).await
                }
                Left::All => false,
            };
            if !is_done {
                waiting.push(message);
                continue;
            }
            end.to_delete.push(message.receipt_handle.clone());
            if let Some(EventTime(changed)) = message.set.changed.filter(|_| progressed) {
                let changed = u64::try_from(changed).unwrap_or(now);
                end.ages.push(now.saturating_sub(changed));
            }
        }
        end.paths.later += unit.merge.waiting().len();
        for message in &waiting {
            let age = now.saturating_sub(message.first_sent());
            end.oldest = end.oldest.max(Some(age));
            end.returned.push(message.id.clone());
        }
        if let Some(first) = waiting.first() {
            let time = retry::group_comes_back(progressed, first.receives, fastrand::f64());
            let handles = waiting.iter().map(|message| message.receipt_handle.clone());
            let sqs = self.app.clients.lean_sqs();
            queue::hide(sqs, &self.app.config.submit_queue, handles.collect(), time).await;
        }
    }

    fn log(&self, unit: &Unit<'_>) {
        for Accepted {
            invalidation_id,
            paths,
        } in &unit.accepted
        {
            info!(stage = "submit", distribution = %self.target.distribution, alias = %self.alias(), tenant = self.tenant(), invalidation = invalidation_id, paths, "CloudFront accepted an invalidation");
        }
        if let Some(reason) = &unit.later {
            let paths = unit.merge.waiting().len();
            warn!(stage = "submit", distribution = %self.target.distribution, alias = %self.alias(), tenant = self.tenant(), paths, error = %reason, "CloudFront answered later");
        }
        for (reason, paths) in unit.merge.rejected() {
            let paths = paths.len();
            error!(stage = "submit", distribution = %self.target.distribution, alias = %self.alias(), tenant = self.tenant(), paths, error = %reason, "paths were rejected");
        }
    }

    /// Rejects the waiting paths of sets that are too old, if CloudFront has just answered later once
    /// more. Paths that a younger set also needs keep waiting.
    fn give_up_old(&self, unit: &mut Unit<'_>, messages: &[Message]) {
        let Some(reason) = unit.later.clone().filter(|_| unit.accepted.is_empty()) else {
            return;
        };
        let now = milliseconds(self.app.clock.now());
        let limit = self.app.config.give_up_after;
        let is_old = |message: &Message| {
            Duration::from_millis(now.saturating_sub(message.first_sent())) >= limit
        };
        let waiting_of = |unit: &Unit<'_>, old: bool| -> BTreeSet<PathIndex> {
            let sets = messages.iter().enumerate();
            let sets = sets.filter(|(_, message)| is_old(message) == old);
            sets.flat_map(|(index, _)| unit.merge.waiting_of(SetIndex(index)))
                .collect()
        };
        let (old, young) = (waiting_of(unit, true), waiting_of(unit, false));
        if old.is_empty() {
            return;
        }
        // A lost call may have been accepted, so it is made again as it was: its paths are given up
        // together, or not at all.
        let is_kept = |call: &Call| call.paths.iter().any(|path| young.contains(path));
        let kept: BTreeSet<PathIndex> = match &unit.lost {
            Some(call) if is_kept(call) => call.paths.iter().copied().collect(),
            _ => BTreeSet::new(),
        };
        let hours = limit.as_secs_f64() / 3_600.0;
        let message = format!("gave up after {hours:.1} hours: {}", reason.message);
        let given_up = old.difference(&young).copied();
        let given_up: Vec<PathIndex> = given_up.filter(|path| !kept.contains(path)).collect();
        unit.merge
            .reject(&given_up, ServiceError { message, ..reason });
        if kept.is_empty() {
            unit.lost = None;
        }
    }

    /// Sends a call whose answer was lost as a message of its own, so that the next attempt is the same
    /// call, whatever else waits by then.
    async fn hand_over_lost(&self, unit: &mut Unit<'_>, messages: &[Message]) {
        let Some(Call { paths, reference }) = unit.lost.take() else {
            return;
        };
        let is_handed_over =
            |message: &Message| message.set.caller_reference.as_ref() == Some(&reference);
        let hops = messages.iter().map(|it| it.set.hops).max();
        // It is as old as the youngest of its sets, or that one would be given up before its time.
        let is_of_call = |index: usize| {
            let mut waiting = unit.merge.waiting_of(SetIndex(index)).into_iter();
            waiting.any(|path| paths.contains(&path))
        };
        let of_call = messages.iter().enumerate();
        let of_call = of_call.filter(|(index, _)| is_of_call(*index));
        let first_sent = of_call.map(|(_, message)| message.first_sent()).max();
        let changed = messages.iter().filter_map(|it| it.set.changed).min();
        let (Some(first), Some(hops)) = (messages.first(), hops) else {
            return;
        };
        if messages.iter().any(is_handed_over) {
            return;
        }
        let texts = paths.iter().map(|index| unit.merge.path(*index).clone());
        let set = Set {
            target: self.target.clone(),
            paths: texts.collect(),
            reason: first.set.reason.clone(),
            by: first.set.by.clone(),
            changed,
            first_sent,
            hops: hops.saturating_add(1),
            caller_reference: Some(reference.clone()),
            forbidden: None,
            // The call has the age of the youngest set. A target that is not trusted is asked again.
            trust: None,
        };
        let id = SetId::known(format!("again-{reference}"));
        if self.send(set, id).await {
            unit.merge.accept(&paths);
        }
    }

    /// Sends the rest of a set as a new message. Returns whether it is in the queue.
    async fn send_rest(&self, message: &Message, rest: Vec<InvalidationPath<'static>>) -> bool {
        for paths in in_messages(rest) {
            let id = message.set_id.of_rest(&paths);
            let set = Set {
                paths,
                first_sent: Some(message.first_sent()),
                hops: message.set.hops.saturating_add(1),
                caller_reference: None,
                ..message.set.clone()
            };
            if !self.send(set, id).await {
                return false;
            }
        }
        true
    }

    /// Sends a set as a new message. Lambda stops a function that invokes itself through a queue too often
    /// in a row, so after some hops the set goes through the buffer, which invokes nothing.
    async fn send(&self, mut set: Set<'static>, id: SetId) -> bool {
        let lane = set.paths.first().map_or(Lane::Paths, Lane::of);
        let group = lane.group(&set.target);
        let by_the_buffer = set.hops > MAX_HOPS;
        if by_the_buffer {
            set.hops = 0;
        }
        let entry = Entry::of_set(&set, group, &id);
        let entry = match by_the_buffer {
            false => entry,
            true => entry.and_then(Entry::into_buffer),
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                error!(stage = "submit", distribution = %set.target.distribution, alias = %self.alias(), tenant = self.tenant(), %error, "a set cannot be serialized");
                return false;
            }
        };
        let config = &self.app.config;
        let queue = match by_the_buffer {
            false => &config.submit_queue,
            true => &config.buffer_queue,
        };
        let until = Instant::now() + TIME_TO_SEND;
        let sqs = self.app.clients.lean_sqs();
        let left = queue::send_persistently(sqs, queue, vec![entry], until).await;
        left.is_empty()
    }
}

impl<'a> Answered<'a> {
    /// The target of the group.
    pub fn target(&self) -> &'a Target {
        self.group.target
    }

    /// Whether any path was rejected, so that a file must be written before the group is settled.
    pub fn has_rejected(&self) -> bool {
        let mut units = self.units.iter();
        units.any(|(unit, _)| !unit.merge.rejected().is_empty())
    }

    /// Whether a path was rejected that a flush sent.
    fn takes_trust(&self) -> bool {
        let mut units = self.units.iter();
        units.any(|(unit, messages)| {
            !unit.merge.rejected().is_empty() && messages.iter().any(Message::is_ours)
        })
    }

    fn rejected(&self) -> Vec<Rejected<'static>> {
        let rejected = self
            .units
            .iter()
            .flat_map(|(unit, _)| unit.merge.rejected());
        let rejected = rejected.map(|(reason, paths)| Rejected {
            target: self.group.target.clone(),
            paths,
            reason: reason.clone(),
        });
        rejected.collect()
    }

    fn wait_again(&mut self) {
        for (unit, _) in &mut self.units {
            unit.merge.wait_again();
        }
    }

    /// Settles each message of the group. Messages are deleted at once, unless a file holds some of the
    /// group's paths: then after the mail.
    pub async fn settle(self) -> GroupEnd {
        let is_filed = self.has_rejected();
        let mut end = GroupEnd {
            target: Some(self.group.target.id().to_owned()),
            ..GroupEnd::default()
        };
        for (unit, messages) in self.units {
            self.group.settle(unit, &messages, &mut end).await;
        }
        if !is_filed {
            self.group.delete(std::mem::take(&mut end.to_delete)).await;
        }
        end
    }
}

/// Writes one error file for all groups of one target, and settles them. If the file cannot be written,
/// their rejected paths wait.
pub async fn file_and_settle(mut groups: Vec<Answered<'_>>) -> Vec<GroupEnd> {
    let filed = match file_rejected(&groups).await {
        Ok(filed) => filed,
        Err(error) => {
            if let Some(Answered { group, .. }) = groups.first() {
                error!(stage = "submit", distribution = %group.target.distribution, alias = %group.alias(), tenant = group.tenant(), error = format!("{error:#}"), "the error file could not be written, so the rejected paths wait");
            }
            None
        }
    };
    if filed.is_none() {
        groups.iter_mut().for_each(Answered::wait_again);
    }
    let mut ends = join_all(groups.into_iter().map(Answered::settle)).await;
    if let Some(first) = ends.first_mut() {
        first.filed = filed;
    }
    ends
}

/// Takes the trust from the target, and only then writes the error file: from then on nobody will make up for
/// its paths.
async fn file_rejected(groups: &[Answered<'_>]) -> Result<Option<Filed>> {
    let rejected: Vec<Rejected<'_>> = groups.iter().flat_map(Answered::rejected).collect();
    let Some(Answered { group, .. }) = groups.first().filter(|_| !rejected.is_empty()) else {
        return Ok(None);
    };
    let app = group.app;
    if rejected
        .iter()
        .any(|it| it.reason.code == "NoSuchDistribution")
    {
        app.catalog.forget().await;
    }
    if groups.iter().any(Answered::takes_trust) {
        let lost = [(group.target, "paths were rejected")];
        let taken = app.ledger.distrust(app.state(), &lost).await;
        taken.context("the trust in the target could not be taken before")?;
    }
    let mut filed = None;
    for failure in TargetFailure::group(rejected) {
        filed = Some(file(app, &failure).await?);
    }
    Ok(filed)
}

/// Why a target is rejected without asking CloudFront to invalidate it.
fn unknown(target: &Target, standing: Standing) -> ServiceError {
    let Target {
        distribution,
        tenant,
    } = target;
    let why = match standing {
        Standing::LeftOut => format!("DistributionIds leaves {target} out"),
        Standing::NoDistribution => {
            format!("there is no distribution {distribution} in this account")
        }
        Standing::OtherKind if tenant.is_none() => {
            format!(
                "{distribution} serves nothing itself, only its tenants, and the message names none"
            )
        }
        Standing::OtherKind => format!("{distribution} is not a multi-tenant distribution"),
        Standing::NoTenant => format!("there is no {target}"),
        Standing::MayTouch => unreachable!("{target} is known, and is not rejected"),
    };
    ServiceError::own(UNKNOWN_DISTRIBUTION, why)
}

/// Groups messages into units that are submitted together. First, each alone, the messages of lost calls, so
/// that a call can be repeated unchanged, and those with paths that are forbidden; then all messages of the
/// function itself; then the messages of each other tool, so that its bad paths affect nobody else.
fn units(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let (alone, others): (Vec<Message>, Vec<Message>) = messages.into_iter().partition(|message| {
        message.set.caller_reference.is_some() || message.set.forbidden.is_some()
    });
    let mut units: Vec<Vec<Message>> = alone.into_iter().map(|message| vec![message]).collect();
    let mut by_tool: BTreeMap<(bool, String), Vec<Message>> = BTreeMap::new();
    for message in others {
        let key = (!message.is_ours(), message.set.by.clone());
        by_tool.entry(key).or_default().push(message);
    }
    units.extend(by_tool.into_values());
    units
}

/// Divides paths so that each part fits into a message.
fn in_messages(paths: Vec<InvalidationPath<'static>>) -> Vec<Vec<InvalidationPath<'static>>> {
    let mut messages = Vec::new();
    let (mut message, mut bytes) = (Vec::new(), 0);
    for path in paths {
        bytes += path.as_str().len() + JSON_BYTES_PER_PATH;
        if bytes > MAX_SET_BYTES && !message.is_empty() {
            messages.push(std::mem::take(&mut message));
            bytes = path.as_str().len() + JSON_BYTES_PER_PATH;
        }
        message.push(path);
    }
    messages.push(message);
    messages
}

/// Deletes messages that are done.
pub async fn delete(app: &App, receipt_handles: Vec<String>) {
    let left = queue::delete(
        app.clients.lean_sqs(),
        &app.config.submit_queue,
        receipt_handles,
    )
    .await;
    if left > 0 {
        warn!(
            stage = "submit",
            messages = left,
            "submitted messages could not be deleted, so they may come back"
        );
    }
}
