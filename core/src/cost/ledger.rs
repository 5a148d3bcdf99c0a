//! The ledger: how many paths the stack has ordered this month and this hour, and which targets it may
//! trust to have seen every change. It is one object in the error bucket, which every environment changes
//! by conditional writes.
//!
//! ```json
//! {"v":1,"month":24322,"reserved":310,"accepted":305,"others":12,"hour":498521,"this_hour":40,"targets":{..}}
//! ```
//!
//! # Paths
//!
//! Flush reserves paths before it enqueues them, so the count is never too low, whatever dies: twenty
//! flushes cannot spend the same budget. What a dead environment had reserved and not used stays
//! reserved until the month ends. An environment reserves somewhat more than it needs while it is busy
//! ([`Lease`]), so that it writes the ledger once in many flushes.
//!
//! # Trust
//!
//! An unchanged object need not be invalidated if all that came before has reached CloudFront. That is so
//! for a target that accepted a `/*` after the bucket opted in, and for which nothing failed since:
//! [`Trust`]. Whatever is missing or unclear means: not trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use crate::cost::month::Month;
use crate::event::BucketName;
use crate::state::{
    Beginning, SharedState, StateObject, UnreadableState, Writes, check, from_versioned_json,
};
use crate::target::{DistributionId, Target};

/// The key of the ledger in the error bucket.
pub const LEDGER_KEY: &str = "state/ledger/ledger.json";

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// How many targets the ledger keeps trust for. An account has at most 500 distributions; of more tenants
/// the others are not trusted.
pub const MAX_TARGETS: usize = 2_000;

/// How many buckets of one target are kept. CloudFront allows 100 origins for a distribution.
const MAX_BUCKETS: usize = 100;

/// A target that lost its trust is left alone for so long (seconds) before it may be asked for again,
/// because what failed once often fails again at once.
const CALM: u64 = 600;

/// Paths that wait for so long (seconds) take the trust from their target. They are tried again after a
/// quarter of an hour at most, so that is noticed before what they are about is an hour old, even if its
/// event took twenty minutes.
pub const LONGEST_TRUSTED_WAIT: u64 = 1_200;

/// After the first `/*` for trust, the next one waits for so long (seconds), and for twice as long after
/// each further one.
const FIRST_WAIT: u64 = 3_600;

/// The longest wait between two of them.
const LONGEST_WAIT: u64 = 7 * 24 * 3_600;

/// What a skip relies on of a bucket: first the hash of our tags, then its versioning and ownership.
pub type RulesHash = String;

/// The configuration under which a target is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The ETag of the distribution. It changes with each change of its configuration.
    pub e_tag: String,
    /// The rules of each bucket that opted in and is an origin of the target.
    pub buckets: BTreeMap<BucketName, RulesHash>,
}

/// Whether a target has seen every change. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It accepted a `/*` under these terms, and nothing failed since.
    Trusted {
        /// When.
        since: u64,
        /// The terms.
        terms: Terms,
    },
    /// Something failed.
    Lost {
        /// When something last failed.
        since: u64,
        /// What, for the log.
        why: String,
        /// When a `/*` was last sent to regain trust, if one was.
        asked: Option<u64>,
        /// How many were sent without success.
        asks: u32,
        /// The terms when it was last looked at.
        #[serde(default)]
        terms: Option<Terms>,
    },
}

impl Trust {
    fn since(&self) -> u64 {
        match self {
            Self::Trusted { since, .. } | Self::Lost { since, .. } => *since,
        }
    }

    /// Returns whether that is new.
    fn lose(&mut self, now: u64, why: &str) -> bool {
        let (asked, asks, terms) = match self {
            Self::Lost { since, .. } if now.saturating_sub(*since) < CALM / 2 => return false,
            Self::Lost {
                asked, asks, terms, ..
            } => (*asked, *asks, terms.take()),
            Self::Trusted { terms, .. } => (None, 0, Some(std::mem::take(terms))),
        };
        *self = Self::Lost {
            since: now,
            why: why.to_owned(),
            asked,
            asks,
            terms,
        };
        true
    }
}

/// What is to be done so that a target can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing, or nothing yet.
    Nothing,
    /// To note its terms, because they are new: [`Ledger::observe`].
    Observe,
    /// To send it a `/*`.
    Ask,
}

/// Why a target is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It has not accepted a `/*` since the bucket opted in.
    NeverAsked,
    /// Something failed since.
    Lost(String),
    /// Its configuration was changed since.
    Reconfigured,
    /// The bucket's rules were changed since.
    RulesChanged,
    /// The ledger cannot be read.
    NoLedger,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverAsked => f.write_str("it has accepted no `/*` since the bucket opted in"),
            Self::Lost(why) => write!(f, "a change may not have reached it: {why}"),
            Self::Reconfigured => f.write_str("its configuration was changed"),
            Self::RulesChanged => f.write_str("the tags of the bucket were changed"),
            Self::NoLedger => f.write_str("the ledger cannot be read"),
        }
    }
}

/// The ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    v: u32,
    month: Month,
    reserved: u64,
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    others: u64,
    /// Until when the paths of others are counted, in seconds since 1970, by distribution.
    #[serde(default)]
    others_until: BTreeMap<DistributionId, u64>,
    #[serde(default)]
    last_month: u64,
    hour: u64,
    this_hour: u64,
    /// What each bucket has reserved in this hour.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    of_hour: BTreeMap<BucketName, u64>,
    /// Whether an earlier ledger was deleted or could not be read, so that more may have been ordered in the
    /// month in which this one began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_lost: bool,
    #[serde(default)]
    targets: BTreeMap<String, Trust>,
    #[serde(default)]
    writes: Writes,
}

/// For how many buckets the paths of an hour are kept apart.
const MOST_BUCKETS_OF_HOUR: usize = 1_000;

/// More paths than this in a month cost 5 million USD: such a number was not written by us.
const MOST_PATHS: u64 = 1_000_000_000;

/// The paths of others are counted this often (seconds): they change the forecast, not a bill.
const COUNT_EVERY: u64 = 1_800;

/// An invalidation is in the list after so long (seconds) at most.
const LISTED_WITHIN: u64 = 120;

/// A time for which the paths of others are not counted yet, in seconds since 1970. It ends before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// When it begins.
    pub from: u64,
    /// When it is over.
    pub until: u64,
}

/// What the ledger says about spending, at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// Paths reserved this month by this stack.
    pub reserved: u64,
    /// Paths accepted this month, as far as they were reported.
    pub accepted: u64,
    /// Paths of other callers this month, as far as they are known.
    pub others: u64,
    /// Paths reserved last month.
    pub last_month: u64,
    /// Paths reserved in this hour.
    pub this_hour: u64,
    /// Whether more may have been ordered this month than is known: then its budget counts as spent.
    pub is_lost: bool,
}

impl Spending {
    /// All paths of the account that are known for this month.
    pub fn all(&self) -> u64 {
        self.reserved + self.others
    }
}

impl StateObject for Ledger {
    const NAME: &'static str = "the ledger";
    const REMEDY: &'static str = "nothing, it begins anew: until the month ends its budget counts as spent, and no \
                                  target is trusted before it is asked again; the bucket's versions keep what was \
                                  there";
    const MAX_BYTES: usize = 4 * 1024 * 1024;

    fn from_json(text: &str) -> Result<Self, UnreadableState> {
        let ledger: Self = from_versioned_json(text, VERSION, None)?;
        for (count, field) in [
            (ledger.reserved, "reserved"),
            (ledger.accepted, "accepted"),
            (ledger.others, "others"),
            (ledger.last_month, "last_month"),
            (ledger.this_hour, "this_hour"),
        ] {
            check(count <= MOST_PATHS, field)?;
        }
        check(ledger.targets.len() <= MAX_TARGETS, "targets")?;
        ledger.writes.check()?;
        Ok(ledger)
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl SharedState for Ledger {
    /// Nothing is trusted. If there was another ledger, the budget of the month counts as spent.
    fn begin(reason: Beginning) -> Self {
        Self {
            v: VERSION,
            month: Month::default(),
            reserved: 0,
            accepted: 0,
            others: 0,
            others_until: BTreeMap::new(),
            last_month: 0,
            hour: 0,
            this_hour: 0,
            of_hour: BTreeMap::new(),
            is_lost: reason != Beginning::First,
            targets: BTreeMap::new(),
            writes: Writes::default(),
        }
    }

    fn writes(&mut self) -> &mut Writes {
        &mut self.writes
    }
}

impl Ledger {
    /// Begins a new month or hour, if one began. A clock that is behind changes nothing.
    fn turn(&mut self, now: OffsetDateTime) {
        let month = Month::at(now);
        if month > self.month {
            let is_next = self.month == month.previous();
            self.last_month = if is_next { self.reserved } else { 0 };
            // A ledger that has just begun has no month yet: what was lost is of this one.
            self.is_lost &= self.month == Month::default();
            (self.month, self.reserved, self.accepted, self.others) = (month, 0, 0, 0);
            self.others_until.clear();
        }
        let hour = seconds(now) / 3_600;
        if hour > self.hour {
            (self.hour, self.this_hour) = (hour, 0);
            self.of_hour.clear();
        }
    }

    /// What was spent, at this time.
    pub fn spending(&self, now: OffsetDateTime) -> Spending {
        let mut now_turned = Self {
            targets: BTreeMap::new(),
            others_until: BTreeMap::new(),
            writes: Writes::default(),
            ..self.clone()
        };
        now_turned.turn(now);
        Spending {
            reserved: now_turned.reserved,
            accepted: now_turned.accepted,
            others: now_turned.others,
            last_month: now_turned.last_month,
            this_hour: now_turned.this_hour,
            is_lost: now_turned.is_lost,
        }
    }

    /// The month that the counts are for.
    pub fn month(&self) -> Month {
        self.month
    }

    /// Reserves paths.
    pub fn reserve(&mut self, now: OffsetDateTime, paths: u64) {
        self.turn(now);
        self.reserved = (self.reserved + paths).min(MOST_PATHS);
        self.this_hour = (self.this_hour + paths).min(MOST_PATHS);
    }

    /// Notes for which buckets paths of this hour were reserved. Of very many buckets some are left out, which
    /// only means that they count as small.
    pub fn attribute(&mut self, now: OffsetDateTime, paths: &BTreeMap<BucketName, u64>) {
        self.turn(now);
        for (bucket, paths) in paths {
            if self.of_hour.contains_key(bucket) || self.of_hour.len() < MOST_BUCKETS_OF_HOUR {
                let of_bucket = self.of_hour.entry(bucket.clone()).or_default();
                *of_bucket = (*of_bucket + paths).min(MOST_PATHS);
            }
        }
    }

    /// How many paths a bucket has reserved in this hour.
    pub fn of_hour(&self, now: OffsetDateTime, bucket: &BucketName) -> u64 {
        match seconds(now) / 3_600 > self.hour {
            true => 0,
            false => self.of_hour.get(bucket).copied().unwrap_or(0),
        }
    }

    /// Notes paths that CloudFront accepted.
    pub fn accept(&mut self, now: OffsetDateTime, paths: u64) {
        self.turn(now);
        self.accepted = (self.accepted + paths).min(MOST_PATHS);
    }

    /// For which time the paths of others are to be counted now for a distribution, if it is time for that.
    pub fn uncounted(
        &self,
        now: OffsetDateTime,
        distribution: &DistributionId,
    ) -> Option<Uncounted> {
        let time = Uncounted {
            from: self.others_until(now, distribution),
            until: seconds(now).saturating_sub(LISTED_WITHIN),
        };
        (time.until.saturating_sub(time.from) >= COUNT_EVERY).then_some(time)
    }

    fn others_until(&self, now: OffsetDateTime, distribution: &DistributionId) -> u64 {
        let known = self.others_until.get(distribution).copied();
        known.unwrap_or(0).max(seconds(Month::at(now).start()))
    }

    /// Adds the paths that others have ordered for a distribution in a time. Returns whether they count: not if
    /// another environment was faster, nor if they are of another month.
    pub fn count_others(
        &mut self,
        now: OffsetDateTime,
        distribution: &DistributionId,
        time: Uncounted,
        paths: u64,
    ) -> bool {
        self.turn(now);
        if self.month != Month::at(now) || self.others_until(now, distribution) != time.from {
            return false;
        }
        self.others = (self.others + paths).min(MOST_PATHS);
        self.others_until.insert(distribution.clone(), time.until);
        true
    }

    /// What is known about a target.
    pub fn trust_of(&self, target: &Target) -> Option<&Trust> {
        self.targets.get(target.id())
    }

    /// Whether a change in this bucket may rely on what the target has seen, under these terms.
    ///
    /// # Errors
    /// Why not.
    pub fn trusts(
        &self,
        target: &Target,
        bucket: &BucketName,
        terms: &Terms,
    ) -> Result<(), Distrust> {
        match self.trust_of(target) {
            None => Err(Distrust::NeverAsked),
            Some(Trust::Lost { why, .. }) => Err(Distrust::Lost(why.clone())),
            Some(Trust::Trusted { terms: known, .. }) => {
                let rules = known.buckets.get(bucket);
                if known.e_tag != terms.e_tag || terms.e_tag.is_empty() {
                    Err(Distrust::Reconfigured)
                } else if rules.is_none() {
                    Err(Distrust::NeverAsked)
                } else if rules != terms.buckets.get(bucket) {
                    Err(Distrust::RulesChanged)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// What to do now, so that a target can be trusted under these terms. It is sent a `/*` only when the
    /// terms have been the same for a while: until then another environment may go by the old ones, and
    /// leave out a change that the `/*` does not make up for.
    pub fn next_step(&self, now: OffsetDateTime, target: &Target, terms: &Terms) -> NextStep {
        if terms.e_tag.is_empty() || terms.buckets.is_empty() {
            return NextStep::Nothing;
        }
        match self.trust_of(target) {
            None if self.targets.len() < MAX_TARGETS => NextStep::Observe,
            None => NextStep::Nothing,
            Some(Trust::Trusted { terms: known, .. }) if known == terms => NextStep::Nothing,
            Some(Trust::Trusted { .. }) => NextStep::Observe,
            Some(Trust::Lost { terms: known, .. }) if known.as_ref() != Some(terms) => {
                NextStep::Observe
            }
            Some(Trust::Lost {
                since, asked, asks, ..
            }) => {
                let now = seconds(now);
                let is_calm = now.saturating_sub(*since) >= CALM;
                let waited = asked.map(|asked| now.saturating_sub(asked));
                match is_calm && waited.is_none_or(|waited| waited >= wait(*asks)) {
                    true => NextStep::Ask,
                    false => NextStep::Nothing,
                }
            }
        }
    }

    /// Notes the terms of a target, if they are new. Until it accepts a `/*` it is not trusted.
    pub fn observe(&mut self, now: OffsetDateTime, target: &Target, terms: &Terms) {
        if self.next_step(now, target, terms) != NextStep::Observe {
            return;
        }
        let why = match self.trust_of(target) {
            None => "it has accepted no `/*` since the bucket opted in".to_owned(),
            Some(Trust::Trusted { .. }) => {
                "its configuration or the tags of its buckets were changed".to_owned()
            }
            Some(Trust::Lost { why, .. }) => why.clone(),
        };
        let (asked, asks) = self.asked(target);
        let lost = Trust::Lost {
            since: seconds(now),
            why,
            asked,
            asks,
            terms: Some(terms.clone()),
        };
        self.put(target, lost);
    }

    /// When a target that is not trusted was last sent a `/*`, and how many it was sent.
    fn asked(&self, target: &Target) -> (Option<u64>, u32) {
        match self.trust_of(target) {
            Some(Trust::Lost { asked, asks, .. }) => (*asked, *asks),
            _ => (None, 0),
        }
    }

    /// Notes that a `/*` is sent to trust a target.
    pub fn ask(&mut self, now: OffsetDateTime, target: &Target) {
        if let Some(Trust::Lost { asked, asks, .. }) = self.targets.get_mut(target.id()) {
            *asked = Some(seconds(now));
            *asks += 1;
        }
    }

    /// Notes that a target accepted a `/*` that was sent at `sent` for these terms. It is not trusted if
    /// something failed or its terms were changed since it was sent.
    pub fn grant(&mut self, sent: OffsetDateTime, target: &Target, terms: Terms) {
        let sent = seconds(sent);
        if terms.buckets.len() > MAX_BUCKETS {
            return;
        }
        // Without an entry nobody knows whether something failed since: the ledger was lost meanwhile.
        if let Some(trust) = self.targets.get_mut(target.id())
            && trust.since() <= sent
        {
            *trust = Trust::Trusted { since: sent, terms };
        }
    }

    /// Notes that a change may not have reached a target. Returns whether that is new. A target that was never
    /// asked needs no entry.
    pub fn distrust(&mut self, now: OffsetDateTime, target: &Target, why: &str) -> bool {
        let known = self.targets.get_mut(target.id());
        known.is_some_and(|trust| trust.lose(seconds(now), why))
    }

    /// Notes that paths for a target have been waiting since `first_sent`: a skip relies on versions that are
    /// an hour old, and these may be what the paths are for. Returns whether that is new. A `/*` that was
    /// accepted since makes up for them.
    pub fn distrust_if_waiting(
        &mut self,
        now: OffsetDateTime,
        target: &Target,
        first_sent: OffsetDateTime,
    ) -> bool {
        let sent = seconds(first_sent);
        let is_made_up_for = match self.trust_of(target) {
            Some(Trust::Trusted { since, .. }) => *since > sent,
            _ => false,
        };
        let waited = seconds(now).saturating_sub(sent);
        waited >= LONGEST_TRUSTED_WAIT
            && !is_made_up_for
            && self.distrust(now, target, "paths have been waiting for 20 minutes")
    }

    /// Whether any target is trusted.
    pub fn trusts_any(&self) -> bool {
        let mut all = self.targets.values();
        all.any(|trust| matches!(trust, Trust::Trusted { .. }))
    }

    /// Notes that changes may have reached no target, as in a dry run, which discards them. Returns whether
    /// that is new. A `/*` that is on its way makes up for none of them, so this concerns targets that are not
    /// trusted too.
    pub fn distrust_all(&mut self, now: OffsetDateTime, why: &str) -> bool {
        let lost = self.targets.values_mut();
        let lost = lost.map(|trust| trust.lose(seconds(now), why));
        any_new(lost)
    }

    /// Notes that the targets that are not listed are not told of changes. Returns whether that is new.
    pub fn distrust_unlisted(&mut self, now: OffsetDateTime, listed: &BTreeSet<String>) -> bool {
        let unlisted = self
            .targets
            .iter_mut()
            .filter(|(id, _)| !listed.contains(*id));
        let lost =
            unlisted.map(|(_, trust)| trust.lose(seconds(now), "the stack did not serve it"));
        any_new(lost)
    }

    /// Notes that uploads to a bucket are ignored while its tags have this hash: a target that is or would be
    /// trusted under other tags does not know of that. Returns whether that is new.
    pub fn distrust_other_tags(
        &mut self,
        now: OffsetDateTime,
        bucket: &BucketName,
        tags: &str,
    ) -> bool {
        let others = self.targets.values_mut().filter(|trust| {
            let terms = match trust {
                Trust::Trusted { terms, .. } => Some(terms),
                Trust::Lost { terms, .. } => terms.as_ref(),
            };
            let rules = terms.and_then(|terms| terms.buckets.get(bucket));
            rules.is_some_and(|rules| !rules.starts_with(tags))
        });
        let lost =
            others.map(|trust| trust.lose(seconds(now), "uploads were ignored under other tags"));
        any_new(lost)
    }

    fn put(&mut self, target: &Target, trust: Trust) {
        if self.targets.len() < MAX_TARGETS || self.targets.contains_key(target.id()) {
            self.targets.insert(target.id().to_owned(), trust);
        }
    }
}

/// Whether any of several changes is new. Unlike [`Iterator::any`], it makes all of them.
pub fn any_new(changes: impl Iterator<Item = bool>) -> bool {
    changes.fold(false, |any, is_new| any | is_new)
}

fn wait(asks: u32) -> u64 {
    let doubled = FIRST_WAIT.saturating_mul(1 << asks.saturating_sub(1).min(20));
    doubled.min(LONGEST_WAIT)
}

fn seconds(now: OffsetDateTime) -> u64 {
    u64::try_from(now.unix_timestamp()).unwrap_or(0)
}

/// Paths that an environment has reserved and not used yet, so that a busy one writes the ledger once in
/// many flushes. What it does not use is lost when it ends: at most [`LARGEST_LEASE`] paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    month: Month,
    left: u64,
    extra: u64,
    /// When the ledger was last written, in seconds since 1970.
    since: u64,
}

/// How many paths an environment reserves in advance at most: 0.32 USD.
pub const LARGEST_LEASE: u64 = 64;

/// An environment that reserved less than so many seconds ago is busy.
const BUSY: u64 = 60;

impl Lease {
    /// Takes paths that were reserved before. Returns whether there were enough; if not, none is taken.
    pub fn take(&mut self, now: OffsetDateTime, paths: u64) -> bool {
        let is_enough = self.month == Month::at(now) && self.left >= paths;
        if is_enough {
            self.left -= paths;
        }
        is_enough
    }

    /// How many paths to reserve if so many are needed now: more, if the environment is busy.
    pub fn wanted(&self, now: OffsetDateTime, paths: u64) -> u64 {
        let is_busy = seconds(now).saturating_sub(self.since) < BUSY;
        let extra = match is_busy {
            true => (self.extra * 2).clamp(4, LARGEST_LEASE),
            false => 0,
        };
        let left = if self.month == Month::at(now) {
            self.left
        } else {
            0
        };
        paths.saturating_sub(left) + extra
    }

    /// Notes that `wanted` paths were reserved, and takes those that are needed now.
    pub fn reserved(&mut self, now: OffsetDateTime, wanted: u64, paths: u64) {
        if self.month != Month::at(now) {
            (self.month, self.left) = (Month::at(now), 0);
        }
        self.left = (self.left + wanted).saturating_sub(paths);
        self.extra = self.left;
        self.since = seconds(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-28 12:00 UTC);

    fn target(id: &str) -> Target {
        Target {
            distribution: DistributionId::new(id),
            tenant: None,
        }
    }

    fn terms(e_tag: &str, buckets: &[(&str, &str)]) -> Terms {
        let buckets = buckets.iter();
        Terms {
            e_tag: e_tag.to_owned(),
            buckets: buckets
                .map(|(name, rules)| (BucketName::new(*name), (*rules).to_owned()))
                .collect(),
        }
    }

    /// A ledger that trusts E1 for the bucket `site`.
    fn trusting() -> (Ledger, Target, Terms) {
        let (target, terms) = (target("E1"), terms("v1", &[("site", "r1")]));
        let mut ledger = Ledger::begin(Beginning::First);
        ledger.observe(NOW - Duration::seconds(600), &target, &terms);
        ledger.ask(NOW, &target);
        ledger.grant(NOW, &target, terms.clone());
        (ledger, target, terms)
    }

    #[test]
    fn a_target_that_is_left_out_or_knows_nothing_of_ignored_uploads_loses_its_trust() {
        let site = BucketName::new("site");
        for (listed, tags, keeps) in [
            (Some("E1"), None, true),
            (Some("E2"), None, false),
            (None, Some("r1"), true),
            (None, Some("r2"), false),
        ] {
            let (mut ledger, target, terms) = trusting();
            let is_new = match (listed, tags) {
                (Some(listed), _) => {
                    ledger.distrust_unlisted(NOW, &BTreeSet::from([listed.to_owned()]))
                }
                (_, Some(tags)) => ledger.distrust_other_tags(NOW, &site, tags),
                _ => false,
            };
            assert_eq!(is_new, !keeps);
            assert_eq!(ledger.trusts(&target, &site, &terms).is_ok(), keeps);
        }
        let (mut ledger, ..) = trusting();
        assert!(!ledger.distrust_other_tags(NOW, &BucketName::new("other"), "r2"));
    }

    #[test]
    fn what_buckets_have_had_is_of_the_hour() {
        let mut ledger = Ledger::begin(Beginning::First);
        let site = BucketName::new("site");
        let of_site = BTreeMap::from([(site.clone(), 3)]);
        ledger.attribute(NOW, &of_site);
        ledger.attribute(NOW + Duration::minutes(59), &of_site);
        assert_eq!(ledger.of_hour(NOW + Duration::minutes(59), &site), 6);
        assert_eq!(ledger.of_hour(NOW, &BucketName::new("other")), 0);
        let read = Ledger::from_json(&ledger.to_json().unwrap()).unwrap();
        assert_eq!(read.of_hour(NOW, &site), 6);
        assert_eq!(ledger.of_hour(NOW + Duration::hours(1), &site), 0);
        ledger.attribute(NOW + Duration::hours(1), &of_site);
        assert_eq!(ledger.of_hour(NOW + Duration::hours(1), &site), 3);
        let many = (0..2_000).map(|n| (BucketName::new(format!("b{n}")), 1));
        ledger.attribute(NOW + Duration::hours(1), &many.collect());
        assert!(ledger.of_hour.len() <= MOST_BUCKETS_OF_HOUR);
    }

    #[test]
    fn months_and_hours_begin_anew_and_the_last_month_is_known() {
        let mut ledger = Ledger::begin(Beginning::First);
        ledger.reserve(NOW, 10);
        ledger.reserve(NOW + Duration::minutes(30), 5);
        assert_eq!(ledger.spending(NOW + Duration::minutes(30)).this_hour, 15);
        ledger.reserve(NOW + Duration::hours(1), 1);
        let spending = ledger.spending(NOW + Duration::hours(1));
        assert_eq!((spending.this_hour, spending.reserved), (1, 16));
        let december = datetime!(2026-12-01 00:00 UTC);
        assert_eq!(
            ledger.spending(december),
            Spending {
                last_month: 16,
                ..Spending::default()
            }
        );
        let february = datetime!(2027-02-01 00:00 UTC);
        assert_eq!(ledger.spending(february), Spending::default());
        // A clock that is behind takes nothing back.
        ledger.reserve(december, 2);
        ledger.reserve(NOW, 3);
        assert_eq!(ledger.spending(december).reserved, 5);
        assert_eq!(Month::at(december).to_string(), "2026-12");
    }

    #[test]
    fn a_ledger_is_read_as_it_was_written() {
        let (mut ledger, ..) = trusting();
        ledger.reserve(NOW, 3);
        let write = "0123456789abcdef";
        ledger.writes().push(write);
        let mut read = Ledger::from_json(&ledger.to_json().unwrap()).unwrap();
        assert_eq!(read, ledger);
        assert!(read.writes().contains(write));
    }

    #[test]
    fn what_is_no_ledger_says_why() {
        for (text, expected) in [
            ("", "not the documented JSON"),
            ("{}", "not the documented JSON"),
            (r#"{"v":2}"#, "version 2"),
            (
                r#"{"v":1,"month":1,"reserved":-1,"hour":0,"this_hour":0}"#,
                "not the documented JSON",
            ),
            (
                r#"{"v":1,"month":1,"reserved":1000000001,"hour":0,"this_hour":0}"#,
                "`reserved`",
            ),
        ] {
            let error = Ledger::from_json(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_ledger_that_was_lost_counts_as_spent_until_the_month_ends_and_trusts_nobody() {
        for (reason, expected) in [
            (Beginning::First, false),
            (Beginning::Deleted, true),
            (Beginning::Unreadable, true),
        ] {
            let mut ledger = Ledger::begin(reason);
            assert_eq!(ledger.spending(NOW).is_lost, expected, "{reason:?}");
            ledger.reserve(NOW, 1);
            let read = Ledger::from_json(&ledger.to_json().unwrap()).unwrap();
            assert_eq!(read.spending(NOW).is_lost, expected, "{reason:?}");
            assert!(!read.spending(datetime!(2026-12-01 00:00 UTC)).is_lost);
            assert!(!read.trusts_any());
        }
    }

    #[test]
    fn a_target_is_trusted_only_under_the_terms_it_was_asked_for() {
        let (ledger, target, granted) = trusting();
        let site = BucketName::new("site");
        let trusts =
            |bucket: &str, terms: &Terms| ledger.trusts(&target, &BucketName::new(bucket), terms);
        assert_eq!(trusts("site", &granted), Ok(()));
        for (bucket, terms, expected) in [
            (
                "site",
                terms("v2", &[("site", "r1")]),
                Distrust::Reconfigured,
            ),
            (
                "site",
                terms("v1", &[("site", "r2")]),
                Distrust::RulesChanged,
            ),
            ("site", terms("v1", &[]), Distrust::RulesChanged),
            (
                "other",
                terms("v1", &[("site", "r1"), ("other", "r1")]),
                Distrust::NeverAsked,
            ),
        ] {
            assert_eq!(trusts(bucket, &terms), Err(expected), "{terms:?}");
        }
        let unknown = Ledger::begin(Beginning::First).trusts(&target, &site, &granted);
        assert_eq!(unknown, Err(Distrust::NeverAsked));
        // Without an ETag nobody would see that the configuration was changed.
        let (mut ledger, ..) = trusting();
        let blind = terms("", &[("site", "r1")]);
        assert_eq!(ledger.next_step(NOW, &target, &blind), NextStep::Nothing);
        ledger.grant(NOW, &target, blind.clone());
        assert_eq!(
            ledger.trusts(&target, &site, &blind),
            Err(Distrust::Reconfigured)
        );
    }

    #[test]
    fn a_target_that_failed_is_asked_again_later_and_later() {
        let (mut ledger, target, terms) = trusting();
        assert_eq!(ledger.next_step(NOW, &target, &terms), NextStep::Nothing);
        assert!(ledger.distrust(NOW, &target, "paths were rejected"));
        assert!(!ledger.distrust(NOW, &target, "paths were rejected"));
        let mut asked_at = Vec::new();
        for minute in 0..60 * 24 * 3 {
            let now = NOW + Duration::minutes(minute);
            if ledger.next_step(now, &target, &terms) == NextStep::Ask {
                ledger.ask(now, &target);
                asked_at.push(minute);
            }
        }
        assert_eq!(asked_at, [10, 70, 190, 430, 910, 1_870, 3_790]);
        // What failed after it was sent is not forgiven.
        let now = NOW + Duration::days(4);
        assert!(ledger.distrust(now, &target, "paths were rejected"));
        ledger.grant(now - Duration::seconds(1), &target, terms.clone());
        assert!(matches!(ledger.trust_of(&target), Some(Trust::Lost { .. })));
        ledger.grant(now + Duration::seconds(1), &target, terms.clone());
        assert_eq!(
            ledger.trusts(&target, &BucketName::new("site"), &terms),
            Ok(())
        );
    }

    #[test]
    fn the_paths_of_others_are_added_up_once_and_begin_anew_with_each_month() {
        let mut ledger = Ledger::begin(Beginning::First);
        let begin = datetime!(2026-11-01 00:00 UTC);
        let e1 = DistributionId::new("E1");
        let time = ledger.uncounted(NOW, &e1).unwrap();
        let expected = (seconds(begin), seconds(NOW) - LISTED_WITHIN);
        assert_eq!((time.from, time.until), expected, "since the month began");
        // There were too many to read at once.
        let part = Uncounted {
            until: time.from + 100,
            ..time
        };
        assert!(ledger.count_others(NOW, &e1, part, 7));
        assert!(
            !ledger.count_others(NOW, &e1, time, 9),
            "another environment was faster"
        );
        let rest = ledger.uncounted(NOW, &e1).unwrap();
        assert_eq!((rest.from, rest.until), (part.until, time.until));
        assert!(ledger.count_others(NOW, &e1, rest, 5));
        assert_eq!(ledger.uncounted(NOW + Duration::minutes(27), &e1), None);
        assert!(ledger.uncounted(NOW + Duration::minutes(30), &e1).is_some());
        // Each distribution has a time of its own.
        let e2 = DistributionId::new("E2");
        assert_eq!(ledger.uncounted(NOW, &e2), Some(time));
        assert!(ledger.count_others(NOW, &e2, time, 1));
        ledger.reserve(NOW, 100);
        let spending = ledger.spending(NOW);
        assert_eq!((spending.others, spending.all()), (13, 113));
        let december = datetime!(2026-12-01 00:10 UTC);
        assert_eq!(ledger.spending(december).others, 0);
        assert_eq!(
            ledger.uncounted(december, &e1),
            None,
            "it has only just begun"
        );
        assert!(
            !ledger.count_others(december, &e1, rest, 5),
            "what was read is of November"
        );
        let later = december + Duration::hours(1);
        let time = ledger.uncounted(later, &e1).unwrap();
        assert_eq!(time.from, seconds(datetime!(2026-12-01 00:00 UTC)));
        assert!(ledger.count_others(later, &e1, time, 3));
        assert_eq!(ledger.spending(later).others, 3);
        let read = Ledger::from_json(&ledger.to_json().unwrap()).unwrap();
        assert_eq!(read, ledger);
    }

    #[test]
    fn a_dry_run_takes_the_trust_from_all() {
        let (mut ledger, target, terms) = trusting();
        assert!(ledger.trusts_any());
        assert!(ledger.distrust_all(NOW, "a dry run"));
        assert!(!ledger.distrust_all(NOW, "a dry run"));
        assert!(!ledger.trusts_any());
        let trusts = ledger.trusts(&target, &BucketName::new("site"), &terms);
        assert_eq!(trusts, Err(Distrust::Lost("a dry run".to_owned())));
    }

    #[test]
    fn what_is_discarded_while_a_wildcard_is_on_its_way_is_not_forgiven() {
        let (mut ledger, target, terms) = trusting();
        ledger.distrust(NOW, &target, "paths were rejected");
        let asked = NOW + Duration::seconds(600);
        ledger.ask(asked, &target);
        assert!(ledger.distrust_all(asked + Duration::seconds(1), "a dry run"));
        ledger.grant(asked, &target, terms);
        assert!(!ledger.trusts_any());
    }

    #[test]
    fn a_ledger_that_was_lost_while_a_wildcard_was_on_its_way_trusts_nobody() {
        let (_, target, terms) = trusting();
        let mut ledger = Ledger::begin(Beginning::Deleted);
        assert!(!ledger.distrust(NOW, &target, "paths were rejected"));
        ledger.grant(NOW, &target, terms);
        assert!(!ledger.trusts_any());
    }

    #[test]
    fn a_target_under_new_terms_is_asked_when_all_know_them_and_not_trusted_meanwhile() {
        let (mut ledger, target, old) = trusting();
        let site = BucketName::new("site");
        let new = terms("v2", &[("site", "r1"), ("more", "r1")]);
        let newer = terms("v3", &[("site", "r1"), ("more", "r1")]);
        for (second, terms, expected) in [
            (0, &old, NextStep::Nothing),
            (0, &new, NextStep::Observe),
            (1, &new, NextStep::Nothing),
            // Changed again before it was calm; some environments still see the old terms.
            (500, &newer, NextStep::Observe),
            (530, &new, NextStep::Observe),
            (560, &newer, NextStep::Observe),
            (1_159, &newer, NextStep::Nothing),
            (1_160, &newer, NextStep::Ask),
        ] {
            let now = NOW + Duration::seconds(second);
            assert_eq!(ledger.next_step(now, &target, terms), expected, "{second}");
            ledger.observe(now, &target, terms);
            assert_eq!(ledger.trusts(&target, &site, terms).is_ok(), *terms == old);
        }
        let asked = NOW + Duration::seconds(1_160);
        ledger.ask(asked, &target);
        assert!(ledger.trusts(&target, &site, &newer).is_err());
        assert_eq!(ledger.next_step(asked, &target, &newer), NextStep::Nothing);
        // What was sent for other terms says nothing about these.
        ledger.grant(NOW + Duration::seconds(400), &target, new);
        assert!(ledger.trusts(&target, &site, &newer).is_err());
        ledger.grant(asked, &target, newer.clone());
        let more = BucketName::new("more");
        assert_eq!(ledger.trusts(&target, &more, &newer), Ok(()));
        // An older answer that comes later takes nothing back.
        ledger.grant(NOW, &target, old);
        assert_eq!(ledger.trusts(&target, &more, &newer), Ok(()));
    }

    #[test]
    fn paths_that_wait_for_long_take_the_trust_unless_a_wildcard_made_up_for_them() {
        for (first_sent, waited, expected) in [
            (0, 1_199, false),
            (0, 1_200, true),
            (-10, 1_200, false),
            (-10, 9_000, false),
            (3_000, 3_000, true),
        ] {
            let (mut ledger, target, terms) = trusting();
            let first_sent = NOW + Duration::seconds(first_sent);
            let now = first_sent + Duration::seconds(waited);
            let is_lost = ledger.distrust_if_waiting(now, &target, first_sent);
            assert_eq!(is_lost, expected, "{first_sent} {waited}");
            let trusts = ledger.trusts(&target, &BucketName::new("site"), &terms);
            assert_eq!(trusts.is_err(), expected);
            assert!(!ledger.distrust_if_waiting(now, &target, first_sent));
        }
    }

    #[test]
    fn a_busy_environment_writes_the_ledger_rarely_and_an_idle_one_reserves_what_it_needs() {
        let reserve = |every: i64| {
            let (mut lease, mut ledger, mut writes) =
                (Lease::default(), Ledger::begin(Beginning::First), 0);
            for flush in 0..1_000 {
                let now = datetime!(2026-11-02 12:00 UTC) + Duration::seconds(flush * every);
                if !lease.take(now, 1) {
                    let wanted = lease.wanted(now, 1);
                    ledger.reserve(now, wanted);
                    lease.reserved(now, wanted, 1);
                    writes += 1;
                }
            }
            let now = datetime!(2026-11-02 12:00 UTC) + Duration::seconds(999 * every);
            (writes, ledger.spending(now).reserved)
        };
        assert_eq!(reserve(600), (1_000, 1_000));
        let (writes, reserved) = reserve(1);
        assert!(
            writes < 50 && reserved < 1_000 + LARGEST_LEASE,
            "{writes} {reserved}"
        );
    }

    #[test]
    fn a_lease_ends_with_its_month() {
        let mut lease = Lease::default();
        lease.reserved(NOW, 10, 1);
        assert!(lease.take(NOW, 9));
        lease.reserved(NOW, 10, 1);
        let december = datetime!(2026-12-01 00:00 UTC);
        assert!(!lease.take(december, 1));
        assert_eq!(lease.wanted(december, 3), 3);
    }
}
