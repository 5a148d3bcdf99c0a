//! The scenario of a run. Everything here follows from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::faults::{Call, Fault, Rule};
use crate::queue::Moods;
use invalidator_core::retry::VISIBILITY_TIMEOUT;
use strict_cloudfront::rate::TokenBucket;
use strict_cloudfront::rules::InProgressLimit;
use strict_cloudfront::service::Service;
use strict_cloudfront::{Behavior, CACHING_DISABLED, Distribution, Origin};

/// The virtual time of day at the start, without the phase.
pub fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)
}

/// How long a wildcard that a name needs waits for its ration, by default.
const RATION: Duration = Duration::from_secs(300);

/// How often the sweep of the template comes.
pub const SWEEP: Duration = Duration::from_secs(300);

/// The kind of a run. Each kind except the last checks something that only holds while nothing else
/// goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Only what is always so: clocks differ, standard queues have no order, short polls miss messages.
    Quiet,
    /// As quiet, with changes at the edges of windows, on clocks that differ as much as they may.
    Edges,
    /// Calls that buffer changes take seconds or hang; nothing else is wrong.
    SlowBuffer,
    /// Answers of CloudFront to invalidations get lost, and nothing else does.
    LostAnswers,
    /// Every tick of an ingest vanishes: the sweep is the only one.
    NoTicks,
    /// CloudFront accepts few paths at a time.
    Throttled,
    /// CloudFront takes seconds for each of many small sets: a flush runs out of time.
    Crawl,
    /// Many changes within seconds, all of them single events, and receives that return few.
    Burst,
    /// A burst of events uses up the account's concurrency, which flush and submit need too.
    Crowded,
    /// The answer to one receive gets lost, with the messages it hid.
    LostReceives,
    /// One distribution is slow, busy or forbidden, and its error files cannot be written.
    Neighbor,
    /// Anything goes wrong.
    Storm,
}

/// How fast CloudFront accepts paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quota {
    /// As fast as they come.
    None,
    /// The documented quota, read strictly: 150 paths and one wildcard per second, for the account.
    PerSecond,
    /// The older one: 3,000 paths and 15 wildcards in progress, for each distribution.
    InProgress,
}

/// What is wrong with one distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sickness {
    /// Each invalidation takes so long.
    Slow(Duration),
    Busy,
    /// It may not be invalidated.
    Forbidden,
}

/// An object that changes.
#[derive(Clone, Debug)]
pub struct Change {
    pub bucket: &'static str,
    pub key: String,
    pub deleted: bool,
}

/// How many pauses there are in a run.
const PAUSES: usize = 60;

/// A pause.
#[derive(Clone, Copy, Debug)]
pub struct Paused {
    pub bucket: &'static str,
    pub prefix: &'static str,
    pub from: Duration,
    pub until: Duration,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub at: Duration,
    pub changes: Vec<Change>,
}

/// How CloudFront refuses one distribution for a while.
#[derive(Clone, Debug)]
struct Denial {
    distribution: &'static str,
    code: (&'static str, u16),
    from: Duration,
    until: Duration,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub kind: Kind,
    pub phase: Duration,
    pub settings: BTreeMap<&'static str, String>,
    pub debounce: Duration,
    pub events: Vec<Event>,
    pub rules: Vec<Rule>,
    pub moods: Moods,
    /// From this time on nothing goes wrong any more.
    pub healed_at: Duration,
    /// Probabilities: the function dies in an invocation; S3 tells the same event twice; a tick
    /// invokes two environments; the event source mapping fails to delete; another environment is
    /// started although one is idle.
    pub crash: f64,
    pub told_twice: f64,
    pub overlap: f64,
    pub mapping_forgets: f64,
    pub new_environment: f64,
    /// How many invocations may run at once in the account.
    pub concurrency: usize,
    /// How many paths are reserved before the first hour, if there is a ledger.
    pub reserved: Option<u64>,
    /// Bodies in the buffer that nobody can read.
    pub planted: usize,
    /// When somebody begins to wait until all changes so far are accepted.
    pub waits: Vec<Duration>,
    /// When somebody holds changes back, and when they are resumed.
    pub pauses: Vec<Paused>,
    /// Calls a second and burst, paths in progress, and how long they are.
    throttle: Option<(f64, f64, Option<usize>, Duration)>,
    denial: Option<Denial>,
    bad_paths: BTreeSet<String>,
    /// How many paths CloudFront accepts in one batch, if fewer than usual.
    largest_batch: Option<usize>,
    quota: Quota,
    sick: Option<(&'static str, Sickness)>,
}

const DISTRIBUTIONS: [&str; 4] = ["E1", "E2", "E3", "E4"];

impl Scenario {
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kind = match seed % 12 {
            0 => Kind::Quiet,
            1 => Kind::Edges,
            2 => Kind::SlowBuffer,
            3 => Kind::LostAnswers,
            4 => Kind::NoTicks,
            5 => Kind::Throttled,
            6 => Kind::Burst,
            7 => Kind::Neighbor,
            8 => Kind::LostReceives,
            9 if seed % 48 == 9 => Kind::Crawl,
            9 if seed % 48 == 33 => Kind::Crowded,
            _ => Kind::Storm,
        };
        let mut scenario = Self {
            seed,
            kind,
            phase: Duration::from_millis(rng.u64(0..3_600_000)),
            settings: BTreeMap::new(),
            debounce: Duration::from_secs(10),
            events: events(&mut rng, kind),
            rules: Vec::new(),
            moods: Moods {
                short_poll_misses: 0.2,
                brings_few: 0.5,
                ..Moods::default()
            },
            healed_at: Duration::ZERO,
            crash: 0.0,
            told_twice: 0.0,
            overlap: 0.0,
            mapping_forgets: 0.0,
            new_environment: 0.2,
            concurrency: 1_000,
            reserved: None,
            planted: 0,
            waits: Vec::new(),
            pauses: Vec::new(),
            throttle: None,
            denial: None,
            bad_paths: BTreeSet::new(),
            largest_batch: None,
            quota: [Quota::None, Quota::PerSecond, Quota::InProgress][(seed / 12 % 3) as usize],
            sick: None,
        };
        scenario.go_wrong(&mut rng);
        scenario
    }

    /// A burst of single events, one every five milliseconds, where this many invocations may run at once.
    pub fn crowded(events: usize, concurrency: usize) -> Self {
        const SEED: u64 = 33;
        let mut scenario = Self::from_seed(SEED);
        let mut rng = Rng::with_seed(SEED);
        let event = |n: usize| Event {
            at: Duration::from_millis(5 * n as u64),
            changes: vec![change(&mut rng, n, 0, false)],
        };
        scenario.events = (0..events).map(event).collect();
        scenario.concurrency = concurrency;
        scenario
    }

    /// Somebody uploads a key that needs `/*` every ten seconds, for half an hour, among other uploads.
    pub fn names() -> Self {
        const SEED: u64 = 0;
        let mut scenario = Self::from_seed(SEED);
        let mut rng = Rng::with_seed(SEED);
        let event = |n: usize| Event {
            at: Duration::from_secs(10 * n as u64),
            changes: vec![
                Change {
                    bucket: ALPHA,
                    key: format!("~{n}"),
                    deleted: false,
                },
                Change {
                    bucket: ALPHA,
                    key: format!("{n}.html"),
                    deleted: rng.bool(),
                },
            ],
        };
        scenario.events = (0..180).map(event).collect();
        scenario.healed_at = Duration::from_secs(1_800);
        scenario.new_environment = 0.0;
        scenario
    }

    /// As from this seed, with few exact paths a month.
    pub fn balanced(seed: u64) -> Self {
        let mut scenario = Self::from_seed(seed);
        let budget = ["0", "5", "40"][(seed / 12 % 3) as usize];
        scenario.settings.insert("COST_MODE", "balanced".to_owned());
        scenario
            .settings
            .insert("MONTHLY_PATH_BUDGET", budget.to_owned());
        scenario
    }

    /// As from this seed, and somebody waits now and then until all changes so far are accepted.
    pub fn with_waits(seed: u64) -> Self {
        let mut scenario = Self::from_seed(seed);
        let mut rng = Rng::with_seed(seed ^ 0xfe9ce);
        for _ in 0..rng.usize(1..4) {
            let event = &scenario.events[rng.usize(0..scenario.events.len())];
            let later = Duration::from_millis(rng.u64(0..20_000));
            scenario.waits.push(event.at + later);
        }
        scenario
    }

    /// As from this seed, and somebody pauses parts of the buckets and resumes them, often just when a flush writes.
    pub fn with_pauses(seed: u64) -> Self {
        let mut scenario = Self::from_seed(seed);
        let mut rng = Rng::with_seed(seed ^ 0x9a05e);
        let cache = pick(&mut rng, &["0", "60"]);
        scenario.settings.insert("CACHE_SECONDS", cache.to_owned());
        for _ in 0..PAUSES {
            let event = &scenario.events[rng.usize(0..scenario.events.len())];
            let longest = pick(&mut rng, &[1_500, 1_500, 90_000]);
            let from = event.at + Duration::from_millis(rng.u64(0..20_000));
            scenario.pauses.push(Paused {
                bucket: pick(&mut rng, &BUCKETS),
                prefix: pick(&mut rng, &["", "web/", "b/"]),
                from,
                until: from + Duration::from_millis(rng.u64(20..longest)),
            });
        }
        scenario
    }

    /// A flood of uploads to one bucket, so many within an hour, and now and then a change in the other. Little
    /// may be spent.
    pub fn flood(uploads: usize, settings: &[(&'static str, &str)]) -> Self {
        const SEED: u64 = 0;
        let mut scenario = Self::from_seed(SEED);
        let of_second = uploads.div_ceil(3_600 / 2);
        let flood = |second: usize| Event {
            at: Duration::from_secs(second as u64),
            changes: (0..of_second)
                .map(|n| Change {
                    bucket: ALPHA,
                    key: format!("flood/{second:04}-{n}.jpg"),
                    deleted: false,
                })
                .collect(),
        };
        let other = |minute: usize| Event {
            at: Duration::from_secs(60 * minute as u64 + 1),
            changes: vec![Change {
                bucket: BETA,
                key: format!("page-{minute}.html"),
                deleted: true,
            }],
        };
        scenario.events = (0..3_600)
            .step_by(2)
            .map(flood)
            .chain((0..60).map(other))
            .collect();
        scenario.events.sort_by_key(|event| event.at);
        scenario.settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        scenario.debounce = Duration::from_secs(10);
        scenario.healed_at = Duration::from_secs(3_600);
        scenario.new_environment = 0.0;
        scenario.quota = Quota::None;
        // It begins with an hour of the ledger.
        scenario.phase = Duration::ZERO;
        scenario
    }

    /// The time of day at its beginning.
    pub fn begins(&self) -> OffsetDateTime {
        OffsetDateTime::from(epoch() + self.phase)
    }

    /// How much later a path may be because a wildcard takes its place: CloudFront takes one a second.
    pub fn wait_for_wildcards(&self) -> Duration {
        match self.collapses() {
            true => Duration::from_secs(60),
            false => Duration::ZERO,
        }
    }

    /// Whether wildcards may take the place of paths.
    pub fn collapses(&self) -> bool {
        self.settings
            .get("COST_MODE")
            .is_some_and(|mode| mode == "balanced")
    }

    fn go_wrong(&mut self, rng: &mut Rng) {
        use Call as C;
        use Fault as F;
        let last = self.events.last().map_or(Duration::ZERO, |event| event.at);
        self.healed_at = last + Duration::from_secs(rng.u64(10..600));
        self.settings(rng);
        match self.kind {
            Kind::Quiet => self.new_environment = 0.4,
            Kind::Edges => {
                self.new_environment = 0.4;
                self.moods.arrives_late = 1_000;
                let shorter = Duration::from_secs(2 * rng.u64(0..2));
                self.events = at_edges(rng, self.debounce - shorter, self.phase);
                self.healed_at = self.events.last().map_or(Duration::ZERO, |event| event.at);
            }
            Kind::SlowBuffer => {
                self.new_environment = 0.4;
                self.rules = vec![
                    Rule::new(F::Slow, &[C::BufferChanges], 0.4),
                    Rule::new(F::Hang, &[C::BufferChanges], 0.1),
                ];
            }
            Kind::LostAnswers => {
                let lost = rng.f64().mul_add(0.6, 0.2);
                self.rules = vec![
                    Rule::new(F::AnswerLost, &[C::Invalidate], lost),
                    Rule::new(F::ServiceErrorAfterEffect, &[C::Invalidate], lost / 2.0),
                    Rule::new(F::HangAfterEffect, &[C::Invalidate], lost / 4.0),
                ];
            }
            Kind::Burst => {
                self.quota = Quota::None;
                self.moods.brings_few = 0.9;
            }
            Kind::Crowded => self.concurrency = pick(rng, &[1, 2, 3]),
            Kind::Neighbor => self.sicken(rng),
            Kind::LostReceives => {
                self.rules = vec![Rule::new(F::AnswerLost, &[C::Receive], 0.3)];
            }
            Kind::NoTicks => self.rules = vec![Rule::new(F::Vanishes, &[], 1.0)],
            Kind::Throttled => self.throttle(rng),
            Kind::Crawl => {
                self.healed_at += Duration::from_secs(600);
                self.settings
                    .insert("MAX_PATHS_PER_INVALIDATION", "2".to_owned());
                self.rules = vec![
                    Rule::new(F::Slow, &[C::Invalidate], 0.95),
                    Rule::new(F::Hang, &[C::Invalidate], 0.02),
                ];
            }
            Kind::Storm => self.storm(rng),
        }
    }

    fn sicken(&mut self, rng: &mut Rng) {
        let sickness = pick(
            rng,
            &[
                Sickness::Slow(Duration::from_secs(5)),
                Sickness::Slow(Duration::from_secs(3_600)),
                Sickness::Busy,
                Sickness::Forbidden,
            ],
        );
        self.sick = Some((pick(rng, &DISTRIBUTIONS), sickness));
        self.rules = vec![Rule::new(Fault::ServiceError, &[Call::WriteFile], 1.0)];
    }

    /// Small limits make rare situations frequent.
    fn settings(&mut self, rng: &mut Rng) {
        let timed = self.is_timed();
        let debounce = match self.kind {
            Kind::Burst | Kind::Crowded => 10,
            _ => pick(rng, &[10, 10, 10, 3, 5, 30]),
        };
        self.debounce = Duration::from_secs(debounce);
        self.settings
            .insert("DEBOUNCE_SECONDS", debounce.to_string());
        let paths = match self.kind {
            Kind::Burst | Kind::Crowded => 3_000,
            _ => pick(rng, &[3_000, 20, 4]),
        };
        self.settings
            .insert("MAX_PATHS_PER_INVALIDATION", paths.to_string());
        let receivers = pick(rng, &[16, 2]);
        self.settings
            .insert("DRAIN_CONCURRENCY", receivers.to_string());
        if !timed {
            let changes = pick(rng, &[200_000, 200_000, 20]);
            self.settings
                .insert("MAX_CHANGES_PER_FLUSH", changes.to_string());
            let seconds = pick(rng, &[21_600, 21_600, 300]);
            self.settings
                .insert("GIVE_UP_AFTER_SECONDS", seconds.to_string());
        }
    }

    fn throttle(&mut self, rng: &mut Rng) {
        let per_second = pick(rng, &[0.05, 0.5, 2.0]);
        let burst = pick(rng, &[1.0, 3.0, 10.0]);
        let in_progress = rng.bool().then(|| {
            self.settings
                .insert("MAX_PATHS_PER_INVALIDATION", "10".to_owned());
            rng.usize(10..30)
        });
        let seconds = Duration::from_secs(rng.u64(5..60));
        self.throttle = Some((per_second, burst, in_progress, seconds));
    }

    fn storm(&mut self, rng: &mut Rng) {
        use Fault as F;
        let often = |rng: &mut Rng| pick(rng, &[0.0, 0.0, 0.0, 0.02, 0.08, 0.3]);
        for fault in [
            F::NotConnected,
            F::AnswerLost,
            F::ServiceError,
            F::ServiceErrorAfterEffect,
            F::Throttled,
            F::Hang,
            F::HangAfterEffect,
            F::LateEffect,
            F::Slow,
            F::EntriesFail,
            F::Vanishes,
        ] {
            let calls = match rng.u8(0..3) {
                0 => vec![pick(rng, &ALL_CALLS), pick(rng, &ALL_CALLS)],
                _ => Vec::new(),
            };
            let mut probability = often(rng);
            // All calls of one purpose may fail for minutes.
            if !calls.is_empty() && rng.u8(0..4) == 0 {
                probability = 0.9;
            }
            self.rules.push(Rule::new(fault, &calls, probability));
        }
        self.rules.retain(|rule| rule.probability > 0.0);
        self.moods = Moods {
            short_poll_misses: 0.3,
            long_poll_misses: often(rng) / 3.0,
            brings_few: pick(rng, &[0.0, 0.5, 0.9]),
            arrives_late: pick(rng, &[0, 1_000]),
            comes_twice: often(rng),
            survives_deletion: often(rng),
        };
        self.concurrency = pick(rng, &[1_000, 1_000, 1_000, 10, 3]);
        self.crash = pick(rng, &[0.0, 0.0, 0.03, 0.1, 0.3]);
        self.told_twice = pick(rng, &[0.0, 0.1]);
        self.overlap = pick(rng, &[0.0, 0.0, 0.3]);
        self.mapping_forgets = pick(rng, &[0.0, 0.0, 0.1]);
        self.planted = pick(rng, &[0, 0, 0, 2]);
        if rng.u8(0..4) == 0 {
            self.throttle(rng);
        }
        if rng.u8(0..4) == 0 {
            let from = Duration::from_secs(rng.u64(0..200));
            self.denial = Some(Denial {
                distribution: pick(rng, &DISTRIBUTIONS),
                code: pick(rng, &[("AccessDenied", 403), ("NoSuchDistribution", 404)]),
                from,
                until: from + Duration::from_secs(rng.u64(10..600)),
            });
        }
        if rng.u8(0..6) == 0 {
            self.largest_batch = Some(pick(rng, &[1, 3]));
        }
        if rng.u8(0..4) == 0 {
            let changes: Vec<_> = self.events.iter().flat_map(|it| &it.changes).collect();
            let change = changes[rng.usize(0..changes.len())];
            let paths = expected(change);
            self.bad_paths
                .extend(paths.into_iter().map(|(_, path)| path));
        }
    }

    /// Whether the run is about time.
    fn is_timed(&self) -> bool {
        matches!(
            self.kind,
            Kind::Quiet
                | Kind::Edges
                | Kind::SlowBuffer
                | Kind::NoTicks
                | Kind::Burst
                | Kind::Crowded
                | Kind::LostReceives
                | Kind::Neighbor
        )
    }

    /// In the kinds of runs that are about time: how soon after its ingest a change must be at
    /// CloudFront. That is the delay of the tick, a flush that is under way, two long polls, and the
    /// calls. A neighbor of a sick distribution may be two seconds later.
    pub fn promises(&self, distribution: &str, path: &str) -> Option<Duration> {
        let prompt = self.debounce + Duration::from_secs(8);
        let is_sick = self.sick.is_some_and(|(sick, _)| sick == distribution);
        let is_wildcard = (distribution == "E2" && path.starts_with("/q/")) || needs_wildcard(path);
        let has_to_wait = is_wildcard && self.quota != Quota::None;
        if !self.is_timed() || is_sick || has_to_wait {
            return None;
        }
        let within = match self.kind {
            Kind::NoTicks => SWEEP + prompt,
            // A poller keeps trying for this long, and then the batch is received again.
            Kind::Crowded => prompt + VISIBILITY_TIMEOUT,
            Kind::Neighbor => prompt + Duration::from_secs(2),
            // Messages are hidden for this long, and then fetched by a tick that comes back every minute.
            Kind::LostReceives => prompt + VISIBILITY_TIMEOUT + Duration::from_secs(60),
            _ => prompt,
        };
        // It waits for its ration, and then for a flush, which only the sweep may start.
        let rationed = match needs_wildcard(path) {
            true => RATION + SWEEP + prompt,
            false => Duration::ZERO,
        };
        Some(within + rationed)
    }

    /// How much longer than usual a call of CloudFront takes.
    pub fn slowness(&self, path: &str, now: Duration) -> Option<Duration> {
        match self.sick {
            Some((sick, Sickness::Slow(by))) if now < self.healed_at => {
                let is_of_it = path.contains(&format!("/distribution/{sick}/invalidation"));
                is_of_it.then_some(by)
            }
            _ => None,
        }
    }

    /// Whether CloudFront may ever refuse, or seem to.
    pub fn may_refuse(&self) -> bool {
        let strikes_cloudfront = self.rules.iter().any(|rule| rule.strikes(Call::Invalidate));
        self.throttle.is_some()
            || self.sick.is_some()
            || self.denial.is_some()
            || self.largest_batch.is_some()
            || !self.bad_paths.is_empty()
            || strikes_cloudfront
    }

    /// The tags of a bucket: one, or none.
    pub fn tags(&self, bucket: &str) -> Option<(&'static str, &'static str)> {
        (bucket == BETA).then_some(("exceptionPaths", "private"))
    }

    /// Puts the distributions in the account. [`expected`] describes independently what they serve.
    pub fn set_up(&self, cloudfront: &mut Service) {
        let alpha = || Origin::s3("alpha", ALPHA);
        let beta = || Origin::s3("beta", BETA);
        let by_query = Behavior::new("/q/*", "alpha")
            .legacy(0, 86_400, 31_536_000)
            .forward_query_strings(&[]);
        for distribution in [
            Distribution::new("E1", alpha())
                .behavior(Behavior::new("/nocache/*", "alpha").policy(CACHING_DISABLED)),
            Distribution::new("E2", alpha().path("/web")).behavior(by_query),
            Distribution::new("E3", beta()),
            Distribution::new("E4", alpha())
                .origin(beta())
                .behavior(Behavior::new("/b/*", "beta")),
            Distribution::new("E5", alpha()).disabled(),
        ] {
            cloudfront.put_distribution(distribution);
        }
        match self.quota {
            Quota::None => {}
            Quota::PerSecond => {
                cloudfront.rates.paths = Some(TokenBucket::new(150.0, 150.0));
                cloudfront.rates.wildcards = Some(TokenBucket::new(1.0, 1.0));
            }
            Quota::InProgress => {
                cloudfront.in_progress_limit = Some(InProgressLimit {
                    paths: 3_000,
                    wildcards: 15,
                });
                cloudfront.completes_after = Duration::from_secs(20);
            }
        }
        if let Some((per_second, burst, in_progress, seconds)) = self.throttle {
            cloudfront.rates.calls = Some(TokenBucket::new(per_second, burst));
            cloudfront.in_progress_limit = in_progress.map(|paths| InProgressLimit {
                paths,
                wildcards: 15,
            });
            cloudfront.completes_after = seconds;
        }
    }

    /// What CloudFront refuses for good: error code and status.
    pub fn refusal(&self, path: &str, body: &[u8], now: Duration) -> Option<(&'static str, u16)> {
        if let Some(denial) = &self.denial
            && path.contains(&format!("/distribution/{}/", denial.distribution))
            && (denial.from..denial.until).contains(&now)
        {
            return Some(denial.code);
        }
        if let Some((sick, sickness)) = self.sick
            && path.contains(&format!("/distribution/{sick}/"))
            && now < self.healed_at
        {
            match sickness {
                Sickness::Slow(_) => {}
                Sickness::Busy => return Some(("TooManyInvalidationsInProgress", 400)),
                Sickness::Forbidden => return Some(("AccessDenied", 403)),
            }
        }
        if self.bad_paths.is_empty() && self.largest_batch.is_none() {
            return None;
        }
        let body = String::from_utf8_lossy(body);
        let paths = body.matches("<Path>").count();
        if self.largest_batch.is_some_and(|largest| paths > largest) {
            return Some(("BatchTooLarge", 413));
        }
        let is_bad = |path: &String| body.contains(&format!("<Path>{path}</Path>"));
        self.bad_paths
            .iter()
            .any(is_bad)
            .then_some(("InvalidArgument", 400))
    }
}

const ALL_CALLS: [Call; 14] = [
    Call::BufferChanges,
    Call::SendTick,
    Call::SendSet,
    Call::Receive,
    Call::Delete,
    Call::Hide,
    Call::ReadTags,
    Call::ReadMode,
    Call::WriteFile,
    Call::ReadState,
    Call::WriteState,
    Call::Mail,
    Call::ReadDistributions,
    Call::Invalidate,
];

/// The buckets that a distribution serves.
pub const BUCKETS: [&str; 2] = [ALPHA, BETA];

const ALPHA: &str = "sim-alpha";
const BETA: &str = "sim-beta";
const UNSERVED: &str = "sim-gamma";

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())]
}

fn events(rng: &mut Rng, kind: Kind) -> Vec<Event> {
    // A later change also flushes a stranded one, so there must be quiet times to notice it.
    let (count, mean_pause) = match rng.u8(0..4) {
        0 => (rng.usize(3..12), 40_000),
        1 => (rng.usize(5..25), 8_000),
        2 => (rng.usize(10..40), 3_000),
        _ => (rng.usize(10..40), 300),
    };
    let large = kind == Kind::Storm && rng.u8(0..12) == 0;
    let (count, mean_pause) = match kind {
        Kind::Crawl => (5, 5_000),
        Kind::Burst => (rng.usize(20..200), 10),
        Kind::Crowded => (rng.usize(100..300), 10),
        _ => (count, mean_pause),
    };
    let mut at = Duration::from_millis(rng.u64(0..10_000));
    let mut events = Vec::with_capacity(count);
    // A burst is one invalidation, unless some of it waits for a ration. And what waits for a ration goes into
    // the buffer: where that is slow, such a flush holds up the next one, which is timed without it here.
    let with_names = !matches!(kind, Kind::Burst | Kind::SlowBuffer);
    for n in 0..count {
        let changes = match rng.u8(0..10) {
            _ if kind == Kind::Crawl => 80,
            _ if matches!(kind, Kind::Burst | Kind::Crowded) => 1,
            0 => rng.usize(2..25),
            1 if large => 150,
            _ => 1,
        };
        let changes = (0..changes).map(|m| match with_names && rng.u8(0..10) == 0 {
            true => with_tilde(rng, n, m),
            false => change(rng, n, m, changes > 100),
        });
        events.push(Event {
            at,
            changes: changes.collect(),
        });
        at += Duration::from_millis(rng.u64(0..2 * mean_pause));
    }
    events
}

/// Pairs of changes: one is ingested just after a window begins on a clock that is ahead, the other
/// just before it ends on one that is behind.
fn at_edges(rng: &mut Rng, window: Duration, phase: Duration) -> Vec<Event> {
    let start = epoch().duration_since(SystemTime::UNIX_EPOCH).unwrap() + phase;
    let (start, window) = (start.as_millis() as u64, window.as_millis() as u64);
    let mut events = Vec::new();
    let mut after = start + 5_000;
    for n in 0..8 {
        let begin = after.next_multiple_of(window);
        for (m, at) in [
            begin - 1_150 + rng.u64(0..400),
            begin + window + 150 + rng.u64(0..700),
        ]
        .into_iter()
        .enumerate()
        {
            events.push(Event {
                at: Duration::from_millis(at - start),
                changes: vec![Change {
                    bucket: ALPHA,
                    ..change(rng, n, m, false)
                }],
            });
        }
        after = begin + window + 75_000;
    }
    events
}

fn change(rng: &mut Rng, n: usize, m: usize, long: bool) -> Change {
    let bucket = pick(rng, &[ALPHA, ALPHA, ALPHA, BETA, BETA, UNSERVED]);
    let folder = pick(
        rng,
        &["", "web/", "web/q/", "nocache/", "b/", "private/", "a b/"],
    );
    // Most keys change only once, so that no other change hides that theirs was lost.
    let name = match rng.u8(0..5) {
        0 => format!("often-{}", rng.u8(0..3)),
        _ => format!("{n}-{m}"),
    };
    let padding = if long { "x".repeat(600) } else { String::new() };
    Change {
        bucket,
        key: format!("{folder}{name}{padding}.html"),
        deleted: rng.u8(0..4) == 0,
    }
}

/// A change of an object whose name needs a wildcard. It has a folder of its own, so that no other change is
/// cleared by it.
fn with_tilde(rng: &mut Rng, n: usize, m: usize) -> Change {
    let name = match rng.u8(0..3) {
        0 => format!("often~{}", rng.u8(0..3)),
        _ => format!("{n}-{m}~"),
    };
    Change {
        bucket: pick(rng, &[ALPHA, BETA]),
        key: format!("{TILDES}{name}.html"),
        deleted: rng.u8(0..4) == 0,
    }
}

/// The folder of keys with a `~`.
const TILDES: &str = "tilde/";

/// Whether CloudFront takes a path only as a wildcard.
fn needs_wildcard(path: &str) -> bool {
    path.contains('~')
}

/// What CloudFront may be asked to clear for a path: the path, or where a name needs a wildcard, what that
/// begins with, or the folder, where many do.
pub fn askable(path: &str) -> Vec<String> {
    match path.split_once('~') {
        Some((prefix, _)) => vec![prefix.to_owned(), format!("/{TILDES}")],
        None => vec![path.to_owned()],
    }
}

/// Which paths of which distributions a change must reach. This is the simulation's own word on
/// what [`Scenario::set_up`] serves: it knows nothing of the product's planning.
pub fn expected(change: &Change) -> Vec<(&'static str, String)> {
    let key = change.key.as_str();
    let encoded = |key: &str| format!("/{}", key.replace(' ', "%20"));
    let mut paths = Vec::new();
    if change.bucket == ALPHA {
        if change.deleted || !key.starts_with("nocache/") {
            paths.push(("E1", encoded(key)));
        }
        if let Some(rest) = key.strip_prefix("web/") {
            paths.push(("E2", encoded(rest)));
        }
        if !key.starts_with("b/") {
            paths.push(("E4", encoded(key)));
        }
    }
    if change.bucket == BETA && (change.deleted || !key.starts_with("private/")) {
        paths.push(("E3", encoded(key)));
        if key.starts_with("b/") {
            paths.push(("E4", encoded(key)));
        }
    }
    paths
}

/// Whether a path may be invalidated though it need not be, because its bucket's tags may be unreadable.
pub fn tolerated(change: &Change) -> Vec<(&'static str, String)> {
    match change.bucket {
        BETA => expected(&Change {
            deleted: true,
            ..change.clone()
        }),
        _ => expected(change),
    }
}

/// The event as S3 sends it.
pub fn payload(event: &Event, phase: Duration) -> Value {
    let time = OffsetDateTime::from(epoch() + phase + event.at);
    let time = time.format(&Rfc3339).unwrap();
    let record = |change: &Change| {
        let name = match change.deleted {
            true => "ObjectRemoved:Delete",
            false => "ObjectCreated:Put",
        };
        json!({
            "eventVersion": "2.3", "eventSource": "aws:s3", "eventName": name, "eventTime": time,
            "s3": { "bucket": { "name": change.bucket }, "object": { "key": change.key.replace(' ', "+") } },
        })
    };
    json!({ "Records": event.changes.iter().map(record).collect::<Vec<_>>() })
}
