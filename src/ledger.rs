//! What an environment knows of the ledger, and how it changes it.
//!
//! The ledger is one object in the error bucket. What it may hold, and what follows from it, is decided in
//! [`invalidator_core::cost::ledger`]. If it cannot be read, nobody knows what is left of the
//! budget and no target is trusted: then the cheapest cover is used in the mode `balanced`, and nothing is skipped. The
//! spending limits go by what was last read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use invalidator_core::cost::ledger::{
    LEDGER_KEY, LONGEST_TRUSTED_WAIT, Lease, Ledger, NextStep, Terms, Uncounted, any_new,
};
use invalidator_core::event::BucketName;
use invalidator_core::state::{Beginning, Reading, SharedState};
use invalidator_core::target::{DistributionId, Target};
use time::OffsetDateTime;
use tracing::warn;

use crate::state::{State, Version};

/// For how long an environment goes by what it has read, where only the budget is concerned.
const FRESH: Duration = Duration::from_secs(60);

/// What a flush has read so lately it uses, and changes, without reading it again.
const JUST_READ: Duration = Duration::from_secs(10);

/// How long a change of the ledger may take, with a second to spare.
pub const TIME_TO_TELL: Duration = Duration::from_secs(5);

/// Accepted paths are written this often: they are for people, and the reserved ones are what counts.
const REPORT_EVERY: Duration = Duration::from_secs(300);

/// How long reading the ledger may take.
const TIME_TO_READ: Duration = Duration::from_secs(4);

/// What an environment knows of the ledger.
#[derive(Debug, Default)]
pub struct LedgerKeeper {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The ledger, and when it was read or written.
    known: Option<(Version<Ledger>, SystemTime)>,
    /// Whether the running flush has read or written it.
    is_of_this_flush: bool,
    lease: Lease,
    /// Paths that could not be reserved, because the ledger could not be changed: in all, and in an hour.
    unwritten: u64,
    unwritten_of_hour: (i64, u64),
    /// For which buckets paths were taken from the lease since.
    of_buckets: BTreeMap<BucketName, u64>,
    /// What is not in the ledger yet.
    news: News,
    /// When accepted paths were last written.
    reported: Option<SystemTime>,
    /// When to see again whether the paths of others are to be counted.
    count_at: Option<SystemTime>,
}

/// What CloudFront accepted.
#[derive(Debug, Default)]
pub struct News {
    /// Paths that CloudFront accepted.
    pub accepted: u64,
    /// Those of them that no flush has reserved, because somebody else sent them.
    pub not_reserved: u64,
    /// The targets that accepted a `/*` for trust.
    pub granted: Vec<Granted>,
}

/// A `/*` for trust that was accepted.
#[derive(Debug)]
pub struct Granted {
    /// When it was first sent to SubmitQueue.
    pub sent: OffsetDateTime,
    pub target: Target,
    /// For what it was sent.
    pub terms: Terms,
}

/// A set that waits.
#[derive(Debug)]
pub struct Waiting {
    pub target: Target,
    /// When it was first sent, if that is known.
    pub since: Option<OffsetDateTime>,
}

impl News {
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.not_reserved += other.not_reserved;
        self.granted.extend(other.granted);
    }

    fn is_urgent(&self) -> bool {
        self.not_reserved > 0 || !self.granted.is_empty()
    }
}

impl Memory {
    fn unwritten_of(&self, now: OffsetDateTime) -> u64 {
        match self.unwritten_of_hour {
            (of, paths) if of == hour(now) => paths,
            _ => 0,
        }
    }
}

fn hour(now: OffsetDateTime) -> i64 {
    now.unix_timestamp() / 3_600
}

impl LedgerKeeper {
    /// The ledger, at most a minute old. `None` if it cannot be read.
    pub async fn current(&self, state: State<'_>) -> Option<Ledger> {
        let now = state.clock.now();
        let known = self.memory().known.clone();
        let is_fresh = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age < FRESH);
        match known {
            Some((ledger, at)) if is_fresh(at) => Some(ledger.state),
            _ => self.read(state).await,
        }
    }

    /// From now on what was read before is not that of the running flush.
    pub fn begin_flush(&self) {
        self.memory().is_of_this_flush = false;
    }

    /// The ledger as the running flush has read or written it a moment ago, or as it is now. `None` if it cannot be
    /// read.
    pub async fn read_lately(&self, state: State<'_>) -> Option<Ledger> {
        match self.just_read(state.clock.now()) {
            Some(known) => Some(known.state),
            None => self.read(state).await,
        }
    }

    fn just_read(&self, now: SystemTime) -> Option<Version<Ledger>> {
        let memory = self.memory();
        let known = memory.known.as_ref().filter(|_| memory.is_of_this_flush);
        let (known, at) = known?;
        let is_new = now.duration_since(*at).is_ok_and(|age| age < JUST_READ);
        is_new.then(|| known.clone())
    }

    /// The ledger as this environment has last read it, however long ago. `None` if it never has.
    pub fn last_known(&self) -> Option<Ledger> {
        let memory = self.memory();
        memory
            .known
            .as_ref()
            .map(|(ledger, _)| ledger.state.clone())
    }

    /// The ledger as it is now. `None` if it cannot be read.
    pub async fn read(&self, state: State<'_>) -> Option<Ledger> {
        let reading = state.read_within::<Ledger>(TIME_TO_READ, LEDGER_KEY);
        let reading = reading.await;
        let begins_again = matches!(reading, Ok(Reading::Deleted | Reading::Unreadable(..)));
        let (ledger, e_tag) = match reading {
            Ok(Reading::Found(ledger, e_tag)) => (ledger, e_tag),
            Ok(Reading::Absent) => (Ledger::begin(Beginning::First), None),
            Ok(Reading::Deleted) => (Ledger::begin(Beginning::Deleted), None),
            Ok(Reading::Unreadable(..)) => (Ledger::begin(Beginning::Unreadable), None),
            Err(error) => {
                self.warn_of_read(&error);
                return None;
            }
        };
        let ledger = Version {
            state: ledger,
            e_tag,
        };
        self.remember(state, &ledger);
        // One that begins anew in the place of another is reported, and written as what it is.
        self.memory().is_of_this_flush = !begins_again;
        Some(ledger.state)
    }

    fn warn_of_read(&self, error: &anyhow::Error) {
        let error = format!("{error:#}");
        let spent = match self.memory().known {
            Some(_) => "the spending limits go by what was last read",
            None => "what was spent in this month is not known, so its limit does not hold",
        };
        warn!(
            stage = "flush",
            error, "the ledger cannot be read: nothing is skipped, and {spent}"
        );
    }

    /// How many paths a bucket has reserved in this hour.
    pub fn of_hour(&self, ledger: &Ledger, now: OffsetDateTime, bucket: &BucketName) -> u64 {
        let taken = self.memory().of_buckets.get(bucket).copied();
        ledger.of_hour(now, bucket) + taken.unwrap_or(0)
    }

    /// Reserves paths for changes of buckets before they are enqueued, and some in advance if that is wanted, so
    /// that no two flushes spend the same budget. What cannot be reserved is remembered, and reserved later.
    ///
    /// # Errors
    /// If the ledger could not be changed: nobody knows what was spent.
    pub async fn reserve(
        &self,
        state: State<'_>,
        of_buckets: &BTreeMap<&BucketName, u64>,
        in_advance: bool,
    ) -> Result<()> {
        let now = state.clock.now_utc();
        let paths = of_buckets.values().sum();
        let wanted = {
            let mut memory = self.memory();
            for (bucket, paths) in of_buckets {
                *memory.of_buckets.entry((*bucket).clone()).or_default() += paths;
            }
            if memory.lease.take(now, paths) {
                return Ok(());
            }
            match in_advance {
                true => memory.lease.wanted(now, paths),
                false => paths,
            }
        };
        let (of_buckets, unwritten) = {
            let mut memory = self.memory();
            (std::mem::take(&mut memory.of_buckets), memory.unwritten)
        };
        // The flush has just read it. If another environment was faster, S3 refuses the write.
        let known = self.just_read(state.clock.now());
        let changed = self.change_known(state, known, |ledger| {
            ledger.reserve(now, wanted + unwritten);
            ledger.attribute(now, &of_buckets);
            true
        });
        let changed = changed.await;
        let mut memory = self.memory();
        match changed {
            Ok(_) => {
                memory.unwritten -= unwritten;
                memory.unwritten_of_hour = (0, 0);
                memory.lease.reserved(now, wanted, paths);
                Ok(())
            }
            Err(error) => {
                memory.unwritten += paths;
                memory.unwritten_of_hour = (hour(now), memory.unwritten_of(now) + paths);
                for (bucket, paths) in of_buckets {
                    *memory.of_buckets.entry(bucket).or_default() += paths;
                }
                Err(error)
            }
        }
    }

    /// How many paths this environment could not reserve: in all, and in this hour.
    pub fn unwritten(&self, now: OffsetDateTime) -> (u64, u64) {
        let memory = self.memory();
        (memory.unwritten, memory.unwritten_of(now))
    }

    /// Notes which targets are listed: the others are not told of changes, so they are not trusted.
    ///
    /// # Errors
    /// If the ledger could not be changed.
    pub async fn distrust_unlisted(
        &self,
        state: State<'_>,
        listed: &BTreeSet<String>,
    ) -> Result<Ledger> {
        let now = state.clock.now_utc();
        self.change(state, |ledger| ledger.distrust_unlisted(now, listed))
            .await
    }

    /// Notes that uploads to buckets are ignored, each with the hash of its tags. Usually that is known, and
    /// costs at most one call in a minute.
    ///
    /// # Errors
    /// If the ledger could not be changed: the uploads must then not be ignored.
    pub async fn uploads_ignored(
        &self,
        state: State<'_>,
        buckets: &BTreeMap<&BucketName, String>,
    ) -> Result<()> {
        let now = state.clock.now_utc();
        let mut known = self
            .current(state)
            .await
            .context("the ledger cannot be read")?;
        let lose = |ledger: &mut Ledger| {
            let lost = buckets
                .iter()
                .map(|(bucket, tags)| ledger.distrust_other_tags(now, bucket, tags));
            any_new(lost)
        };
        if lose(&mut known) {
            self.change(state, lose).await?;
        }
        Ok(())
    }

    /// Whether to see if the paths of others are to be counted. The next time is in a minute.
    pub fn may_count_others(&self, now: SystemTime) -> bool {
        let may = self.memory().count_at.is_none_or(|at| at <= now);
        if may {
            self.count_others_in(now, FRESH);
        }
        may
    }

    /// Sets when to see again whether the paths of others are to be counted.
    pub fn count_others_in(&self, now: SystemTime, time: Duration) {
        self.memory().count_at = Some(now + time);
    }

    /// Adds the paths that others have ordered, each for a distribution and a time, unless another environment
    /// was faster.
    ///
    /// # Errors
    /// If the ledger could not be changed: they are not counted.
    pub async fn count_others(
        &self,
        state: State<'_>,
        counted: &[(DistributionId, Uncounted, u64)],
    ) -> Result<()> {
        let now = state.clock.now_utc();
        self.change(state, |ledger| {
            let counts = counted.iter().map(|(distribution, time, paths)| {
                ledger.count_others(now, distribution, *time, *paths)
            });
            any_new(counts)
        })
        .await?;
        Ok(())
    }

    /// Notes the terms of targets, where they are new.
    ///
    /// # Errors
    /// If the ledger could not be changed: these targets are not trusted.
    pub async fn observe(&self, state: State<'_>, targets: &[(Target, Terms)]) -> Result<()> {
        let now = state.clock.now_utc();
        self.change(state, |ledger| {
            let mut is_new = false;
            for (target, terms) in targets {
                if ledger.next_step(now, target, terms) == NextStep::Observe {
                    ledger.observe(now, target, terms);
                    is_new = true;
                }
            }
            is_new
        })
        .await?;
        Ok(())
    }

    /// Notes that targets are sent a `/*` to be trusted again, and reserves these paths. Returns those that no
    /// other environment was faster with.
    ///
    /// # Errors
    /// If the ledger could not be changed: then none is to be sent.
    pub async fn ask(
        &self,
        state: State<'_>,
        targets: Vec<(Target, Terms)>,
    ) -> Result<Vec<(Target, Terms)>> {
        let now = state.clock.now_utc();
        let mut asked = Vec::new();
        self.change(state, |ledger| {
            asked.clear();
            for (target, terms) in &targets {
                if ledger.next_step(now, target, terms) == NextStep::Ask {
                    ledger.ask(now, target);
                    asked.push((target.clone(), terms.clone()));
                }
            }
            ledger.reserve(now, asked.len() as u64);
            !asked.is_empty()
        })
        .await?;
        Ok(asked)
    }

    /// Notes that changes may not have reached these targets, and why.
    ///
    /// # Errors
    /// If the ledger could not be changed: the changes must then not be given up.
    pub async fn distrust(&self, state: State<'_>, targets: &[(&Target, &str)]) -> Result<()> {
        let now = state.clock.now_utc();
        self.change(state, |ledger| {
            let lost = targets
                .iter()
                .map(|(target, why)| ledger.distrust(now, target, why));
            any_new(lost)
        })
        .await?;
        Ok(())
    }

    /// Notes that changes are discarded for all targets, as in a dry run.
    ///
    /// # Errors
    /// If the ledger could not be changed: the changes must then not be discarded.
    pub async fn distrust_all(&self, state: State<'_>, why: &str) -> Result<()> {
        let now = state.clock.now_utc();
        self.change(state, |ledger| ledger.distrust_all(now, why))
            .await?;
        Ok(())
    }

    /// Notes that sets wait. What has not been waiting for long costs no call.
    ///
    /// # Errors
    /// If the ledger could not be changed. The paths wait on, so it is tried again.
    pub async fn distrust_waiting(&self, state: State<'_>, waiting: &[Waiting]) -> Result<()> {
        let now = state.clock.now_utc();
        let waits_long =
            |since: OffsetDateTime| (now - since).whole_seconds() >= LONGEST_TRUSTED_WAIT as i64;
        if !waiting.iter().any(|it| it.since.is_none_or(waits_long)) {
            return Ok(());
        }
        self.change(state, |ledger| {
            let lost = waiting.iter().map(|Waiting { target, since }| match since {
                Some(since) => ledger.distrust_if_waiting(now, target, *since),
                None => ledger.distrust(now, target, "nobody knows for how long paths have waited"),
            });
            any_new(lost)
        })
        .await?;
        Ok(())
    }

    /// Keeps news, until they are written.
    pub fn keep(&self, news: News) {
        self.memory().news.add(news);
    }

    /// Writes what was kept. What is not urgent is written later, together.
    pub async fn tell(&self, state: State<'_>) {
        let now = state.clock.now();
        let news = {
            let mut memory = self.memory();
            let reported = *memory.reported.get_or_insert(now);
            let is_due = now
                .duration_since(reported)
                .is_ok_and(|age| age >= REPORT_EVERY);
            let is_urgent = memory.news.is_urgent();
            if !is_urgent && (memory.news.accepted == 0 || !is_due) {
                return;
            }
            memory.reported = Some(now);
            std::mem::take(&mut memory.news)
        };
        let now = state.clock.now_utc();
        let changed = self.change(state, |ledger| {
            ledger.accept(now, news.accepted);
            ledger.reserve(now, news.not_reserved);
            for granted in &news.granted {
                ledger.grant(granted.sent, &granted.target, granted.terms.clone());
            }
            true
        });
        if let Err(error) = changed.await {
            let error = format!("{error:#}");
            warn!(
                stage = "submit",
                error, "the ledger cannot be changed, so it counts too little until it can"
            );
            self.keep(news);
        }
    }

    async fn change(
        &self,
        state: State<'_>,
        change: impl FnMut(&mut Ledger) -> bool,
    ) -> Result<Ledger> {
        self.change_known(state, None, change).await
    }

    async fn change_known(
        &self,
        state: State<'_>,
        known: Option<Version<Ledger>>,
        change: impl FnMut(&mut Ledger) -> bool,
    ) -> Result<Ledger> {
        let ledger = state.change_known(LEDGER_KEY, known, change).await?;
        self.remember(state, &ledger);
        Ok(ledger.state)
    }

    fn remember(&self, state: State<'_>, ledger: &Version<Ledger>) {
        let mut memory = self.memory();
        memory.known = Some((ledger.clone(), state.clock.now()));
        memory.is_of_this_flush = true;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
