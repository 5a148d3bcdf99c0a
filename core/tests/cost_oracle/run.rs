//! A history: what happens to the world, and what the two products make of it.
//!
//! Both get the same events at the same time, and their sets of paths fare alike. Each choice is the
//! simplest one at the end of the tape, so a history without a tape is one in which all goes well.

use std::collections::BTreeMap;

use invalidator_core::cost::ledger::{Distrust, Ledger, NextStep, Terms};
use invalidator_core::cost::skip::Decision;
use invalidator_core::event::BucketName;
use invalidator_core::state::{Beginning, SharedState};
use invalidator_core::target::{DistributionId, Target};
use time::OffsetDateTime;

use super::product::{self, Facts, Lie};
use super::tape::Tape;
use super::world::{
    Bucket, Class, Config, DAY, Event, Id, Object, PLAIN, Side, Time, Versioning, World,
};

/// When the histories begin.
const BEGIN: Time = 1_800_000_000;

/// In seconds.
pub const DEBOUNCE: Time = 10;

/// How long errors may last after an upload that is not invalidated.
const GRACE: Time = DEBOUNCE + 5;

/// How long an environment may go by old tags.
const TAGS_ARE_KEPT: Time = 60;

/// An event that takes longer is late: with it, the debounce, and the time for which paths may wait until the
/// target is not trusted any more, a version is an hour old.
const LATE: Time = 1_200;

/// At least so often submit tries again.
const LONGEST_RETRY: Time = 900;

/// At least so often a flush runs, and sees what was changed.
const SWEEP: Time = 300;

const PLAIN_CONFIG: Config = Config {
    e_tag: 1,
    is_enabled: true,
    is_ours: true,
    is_website: false,
    is_group: false,
    has_function: false,
    says_404: true,
    missing_ttl: 10,
    server_error_ttl: 10,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Live,
    DryRun,
    Stopped,
}

/// An event on its way.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    at: Time,
    event: Event,
    /// Or else a duplicate.
    is_first: bool,
}

/// Paths that were sent, and what comes of them.
#[derive(Clone, Debug)]
struct Sent {
    at: Time,
    first_sent: Time,
    /// When submit is busy with them next, and gives them back.
    tried_at: Time,
    is_accepted: bool,
    /// The flush in which the exact product sent them, if it did.
    exact: Option<u32>,
    /// Whether the skipping product sent them.
    skipping: bool,
    /// Whether they make up for something that was stale, as documented.
    is_awaited: bool,
    /// Whether it is `/*`, and for which terms.
    trust: Option<(Time, Terms)>,
}

/// How a set of paths fares: when CloudFront answers, and whether it accepts.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub after: Time,
    pub is_accepted: bool,
}

/// What a history is about: in one about everything, what takes several steps of the same kind is rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Everything,
    Configuration,
    Rules,
    Modes,
    Fates,
    Events,
}

pub struct Run<'t> {
    pub world: World,
    theme: Theme,
    tape: Tape<'t>,
    lie: Option<Lie>,
    mode: Mode,
    is_excepted: bool,
    excepted_since: Time,
    on_their_way: Vec<Delivery>,
    buffered: Vec<Delivery>,
    flush_at: Option<Time>,
    /// Whether a flush has seen the last change of the rules. What is changed to and fro before is seen by
    /// nobody.
    is_seen: bool,
    sent: Vec<Sent>,
    /// Versions of which an event told that they were created when they were gone.
    known_gone: Vec<Id>,
    /// Whether what makes up for something was exempt, planned only, or rejected, so that the next `/*` must.
    is_lost: bool,
    ledger: Ledger,
    target: Target,
    /// Of the next event, and of the next set; from the tape, if it is none.
    pub delay: Option<Time>,
    pub fate: Option<Fate>,
    pub decisions: Vec<Decision>,
    pub violation: Option<String>,
    story: Option<Vec<String>>,
}

impl<'t> Run<'t> {
    /// A history of a bucket that keeps versions, for a target that is trusted.
    pub fn new(tape: Tape<'t>, lie: Option<Lie>, tells: bool) -> Self {
        let world = World::new(BEGIN, PLAIN_CONFIG, Versioning::Enabled, false);
        let target = Target {
            distribution: DistributionId::new("E1"),
            tenant: None,
        };
        Self {
            world,
            theme: Theme::Everything,
            tape,
            lie,
            mode: Mode::Live,
            is_excepted: false,
            excepted_since: 0,
            on_their_way: Vec::new(),
            buffered: Vec::new(),
            flush_at: None,
            is_seen: true,
            sent: Vec::new(),
            known_gone: Vec::new(),
            is_lost: false,
            ledger: Ledger::begin(Beginning::First),
            target,
            delay: None,
            fate: None,
            decisions: Vec::new(),
            violation: None,
            story: tells.then(Vec::new),
        }
    }

    pub fn story(&self) -> String {
        self.story.iter().flatten().cloned().collect()
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let after = self.world.now - BEGIN;
            story.push(format!("{after:>7} s  {}\n", what()));
        }
    }

    /// A version that was there before the history begins, and that everybody knows.
    pub fn had(&mut self, object: Object, age: Time) {
        let created = self.world.now - age;
        self.tell(|| format!("there was {object:?} since {age} s"));
        self.world.put(object, created);
    }

    /// CloudFront accepts a `/*`, and the target is trusted from then on.
    pub fn trust(&mut self) {
        let now = self.time();
        let terms = self.terms();
        self.ledger.observe(now, &self.target, &terms);
        self.ledger.ask(now, &self.target);
        self.ledger.grant(now, &self.target, terms);
        self.world.pass_until(self.world.now);
        self.world.clear(Side::Skipping);
        self.tell(|| "trusted".to_owned());
    }

    fn time(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.world.now).unwrap()
    }

    fn terms(&self) -> Terms {
        let bucket = &self.world.bucket;
        let rules = match self.lie {
            Some(Lie::RulesAreTheSame) => String::new(),
            Some(Lie::VersioningAndOwnerAreTheSame) => self.is_excepted.to_string(),
            _ => format!(
                "{}{:?}{}",
                self.is_excepted, bucket.versioning, bucket.owner_enforced
            ),
        };
        let e_tag = match self.lie {
            Some(Lie::ConfigurationIsTheSame) => 1,
            _ => self.world.config.e_tag,
        };
        Terms {
            e_tag: e_tag.to_string(),
            buckets: BTreeMap::from([(BucketName::new("site"), rules)]),
        }
    }

    fn trusts(&self) -> Result<(), Distrust> {
        let (site, terms) = (BucketName::new("site"), self.terms());
        match self.lie {
            Some(Lie::AlwaysTrusted) => Ok(()),
            _ => self.ledger.trusts(&self.target, &site, &terms),
        }
    }

    /// Somebody uploads an object. `began` is how long ago the upload began, or the original was made.
    pub fn put(&mut self, object: Object, began: Time) {
        self.tell(|| format!("put {object:?}, began {began} s ago"));
        let created = self.world.now - began;
        let event = self.world.put(object, created);
        self.send(event);
    }

    pub fn delete(&mut self) {
        self.tell(|| "delete".to_owned());
        let event = self.world.delete();
        self.send(event);
    }

    /// Somebody removes a version for good.
    pub fn remove(&mut self, place: usize) {
        if place < self.world.bucket.versions.len() {
            self.tell(|| format!("remove version {place} for good"));
            let event = self.world.remove(place);
            self.send(event);
        }
    }

    pub fn expire(&mut self) {
        self.tell(|| "lifecycle removes old versions".to_owned());
        if let Some(event) = self.world.expire() {
            self.send(event);
        }
    }

    pub fn configure(&mut self, deploying: Time, change: impl FnOnce(&mut Config)) {
        self.world.configure(deploying, change);
        let config = self.world.config;
        self.tell(|| format!("{config:?}, deployed after {deploying} s"));
    }

    pub fn set_versioning(&mut self, versioning: Versioning) {
        self.tell(|| format!("versioning {versioning:?}"));
        self.world
            .change_bucket(|bucket| bucket.versioning = versioning);
        self.note_change_of_rules();
    }

    pub fn set_owner_enforced(&mut self, owner_enforced: bool) {
        self.tell(|| format!("owner enforced: {owner_enforced}"));
        let change = |bucket: &mut Bucket| bucket.owner_enforced = owner_enforced;
        self.world.change_bucket(change);
        self.note_change_of_rules();
    }

    pub fn set_excepted(&mut self, is_excepted: bool) {
        self.tell(|| format!("excepted: {is_excepted}"));
        self.is_excepted = is_excepted;
        self.excepted_since = self.world.now;
        self.note_change_of_rules();
    }

    /// The next sweep sees it.
    fn note_change_of_rules(&mut self) {
        self.is_seen = false;
        let sweep = self.world.now + self.tape.pick(&[SWEEP, 10, 40]);
        self.flush_at = Some(self.flush_at.map_or(sweep, |at| at.min(sweep)));
    }

    pub fn set_mode(&mut self, mode: Mode) {
        self.tell(|| format!("{mode:?}"));
        self.mode = mode;
        self.flush_soon();
    }

    pub fn archive(&mut self) {
        self.tell(|| "what is archived is restored, and the rest archived".to_owned());
        let now = self.world.now;
        self.world.change_bucket(|bucket| bucket.archive(now));
    }

    pub fn be_busy(&mut self) {
        self.tell(|| "S3 answers 503 for a moment".to_owned());
        self.world.be_busy();
    }

    fn flush_soon(&mut self) {
        let soon = self.world.now + DEBOUNCE;
        self.flush_at = Some(self.flush_at.map_or(soon, |at| at.min(soon)));
    }

    /// An event takes its time, and may come twice.
    fn send(&mut self, event: Event) {
        const DELAYS: [Time; 16] = [
            1, 1, 1, 1, 1, 1, 1, 2, 5, 12, 30, 900, 1_100, 3_500, 30_000, 200_000,
        ];
        const ODD_DELAYS: [Time; 8] = [1, 1, 1, 12, 900, 3_500, 100_000, 200_000];
        let delays: &[Time] = match self.theme {
            Theme::Events => &ODD_DELAYS,
            _ => &DELAYS,
        };
        let delay = self.delay.unwrap_or_else(|| *self.tape.pick(delays));
        let mut deliver = |delay, is_first| {
            self.on_their_way.push(Delivery {
                at: event.time + delay,
                event,
                is_first,
            });
        };
        deliver(delay, true);
        if self.tape.chance(10) {
            deliver(*self.tape.pick(&DELAYS), false);
        }
    }

    /// Lets time pass, and all that is due happen.
    pub fn wait(&mut self, seconds: Time) {
        let until = self.world.now + seconds;
        while self.violation.is_none() {
            let delivery = self.on_their_way.iter().map(|it| it.at).min();
            let answer = self.sent.iter().map(|it| it.at).min();
            let retry = self.sent.iter().map(|it| it.tried_at).min();
            let due = [delivery, answer, retry, self.flush_at];
            let Some(next) = due.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.world.pass_until(next.max(self.world.now));
            if delivery == Some(next) {
                self.ingest();
            } else if answer == Some(next) {
                self.submit();
            } else if retry == Some(next) {
                self.wait_again();
            } else {
                self.flush();
            }
            self.check();
        }
        self.world.pass_until(until.max(self.world.now));
        self.check();
    }

    /// The event that is due is buffered, unless its path is exempt.
    fn ingest(&mut self) {
        let now = self.world.now;
        let due = self.on_their_way.iter().position(|it| it.at <= now);
        let delivery = self.on_their_way.swap_remove(due.unwrap());
        let is_new = now - self.excepted_since < TAGS_ARE_KEPT;
        let goes_by_old = is_new && self.tape.chance(70);
        let is_excepted = self.is_excepted != goes_by_old;
        if delivery.event.is_created && is_excepted {
            self.tell(|| format!("{:?} is exempt", delivery.event));
            self.is_lost |= self.is_awaited(&delivery);
            return;
        }
        self.tell(|| format!("{:?} arrives", delivery.event));
        self.buffered.push(delivery);
        self.flush_soon();
    }

    fn flush(&mut self) {
        self.flush_at = None;
        if self.mode == Mode::Stopped {
            return;
        }
        let flush = self.world.begin_flush();
        let events = std::mem::take(&mut self.buffered);
        let serves = self.world.config.is_enabled && self.world.config.is_ours;
        if self.mode == Mode::DryRun || !serves {
            self.is_lost |= events.iter().any(|it| self.is_awaited(it));
        }
        if self.mode == Mode::DryRun {
            if !events.is_empty() && self.lie != Some(Lie::NoDryRun) {
                self.ledger.distrust_all(self.time(), "a dry run");
            }
            self.tell(|| format!("{} events are planned only", events.len()));
            return;
        }
        if !events.is_empty() && serves {
            self.invalidate(&events, flush);
            self.check();
        }
        if serves {
            self.ask_for_trust();
        }
    }

    fn invalidate(&mut self, deliveries: &[Delivery], flush: u32) {
        let events: Vec<Event> = deliveries.iter().map(|it| it.event).collect();
        let versions = &self.world.bucket.versions;
        let is_gone = |event: &&Event| versions.iter().all(|version| version.id != event.id);
        let created = events.iter().filter(|event| event.is_created);
        let gone: Vec<Id> = created.filter(is_gone).map(|event| event.id).collect();
        let is_awaited = !gone.is_empty() || deliveries.iter().any(|it| self.is_awaited(it));
        self.known_gone.extend(gone);
        let facts = Facts {
            world: &self.world,
            trust: self.trusts(),
            cut: match self.tape.chance(5) {
                true => Some(1 + self.tape.below(3)),
                false => None,
            },
            fails: self.tape.chance(3),
        };
        let decision = product::decide(&facts, &events, self.lie);
        self.tell(|| format!("{} events are flushed: {decision}", events.len()));
        let fate = self.fate();
        let skipping = matches!(decision, Decision::Invalidate(_));
        self.decisions.push(decision);
        // What waits is sent together with what comes after it, or before.
        let waiting = self.sent.iter().filter(|sent| sent.trust.is_none());
        let waits_until = waiting.map(|sent| sent.at).max().unwrap_or(0);
        self.submit_later(Sent {
            at: waits_until.max(self.world.now + fate.after),
            first_sent: self.world.now,
            tried_at: self.world.now + LONGEST_RETRY,
            is_accepted: fate.is_accepted,
            exact: Some(flush),
            skipping,
            is_awaited,
            trust: None,
        });
    }

    fn ask_for_trust(&mut self) {
        let (now, terms) = (self.time(), self.terms());
        let is_deployed = self.world.now >= self.world.deployed_at;
        let is_calm = self.lie == Some(Lie::AllKnowOfTheChange);
        self.is_seen = true;
        let step = self.ledger.next_step(now, &self.target, &terms);
        if step == NextStep::Observe {
            let long_ago = time::Duration::seconds(if is_calm { 1_000 } else { 0 });
            self.ledger.observe(now - long_ago, &self.target, &terms);
        }
        let step = self.ledger.next_step(now, &self.target, &terms);
        if step == NextStep::Ask && (is_deployed || self.lie == Some(Lie::DeployedAtOnce)) {
            self.tell(|| "ask for trust".to_owned());
            self.ledger.ask(now, &self.target);
            let fate = self.fate();
            self.submit_later(Sent {
                at: self.world.now + fate.after,
                first_sent: self.world.now,
                tried_at: self.world.now + LONGEST_RETRY,
                is_accepted: fate.is_accepted,
                exact: None,
                skipping: true,
                is_awaited: false,
                trust: Some((self.world.now, terms)),
            });
        }
    }

    fn fate(&mut self) -> Fate {
        if let Some(fate) = self.fate.take() {
            return fate;
        }
        let is_about_fates = self.theme == Theme::Fates;
        let (first, rejected) = match is_about_fates {
            true => (6, 30),
            false => (0, 5),
        };
        const AFTER: [Time; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 20, 1_000, 2_000, 20_000];
        Fate {
            after: *self.tape.pick(&AFTER[first..]),
            is_accepted: !self.tape.chance(rejected),
        }
    }

    fn submit_later(&mut self, sent: Sent) {
        let is_due = sent.at <= self.world.now;
        self.sent.push(sent);
        if is_due {
            self.submit();
        }
    }

    /// CloudFront is too busy: what waits is given back.
    fn wait_again(&mut self) {
        let now = self.time();
        for sent in &mut self.sent {
            if sent.tried_at <= self.world.now {
                sent.tried_at += LONGEST_RETRY;
                let first_sent = OffsetDateTime::from_unix_timestamp(sent.first_sent).unwrap();
                if sent.skipping && self.lie != Some(Lie::NothingWaits) {
                    self.ledger
                        .distrust_if_waiting(now, &self.target, first_sent);
                }
            }
        }
    }

    /// CloudFront answers to what is due.
    fn submit(&mut self) {
        let now = self.world.now;
        let due = self.sent.iter().position(|it| it.at <= now).unwrap();
        let sent = self.sent.remove(due);
        if !sent.is_accepted {
            self.tell(|| "rejected".to_owned());
            self.is_lost |= sent.is_awaited;
            if sent.skipping && self.lie != Some(Lie::NothingIsRejected) {
                let why = "paths were rejected";
                self.ledger.distrust(self.time(), &self.target, why);
            }
            return;
        }
        self.tell(|| {
            let by = match (sent.exact, sent.skipping) {
                (Some(_), true) => "both",
                (Some(_), false) => "the exact product",
                (None, _) => "the skipping product",
            };
            format!("the paths of {by} are cleared")
        });
        self.world.pass_until(now);
        match (sent.exact, sent.skipping) {
            (Some(flush), false) => self.world.clear_before(Side::Exact, flush),
            (exact, _) => {
                self.is_lost = false;
                self.world.clear(Side::Skipping);
                if exact.is_some() {
                    self.world.clear(Side::Exact);
                }
            }
        }
        if let Some((at, terms)) = sent.trust {
            let at = OffsetDateTime::from_unix_timestamp(at).unwrap();
            self.ledger.grant(at, &self.target, terms);
        }
    }

    /// Whether the products need not agree before this event was flushed: it is late, or it is the only sign
    /// of what happened.
    fn is_awaited(&self, delivery: &Delivery) -> bool {
        let Event {
            time,
            leaves_no_trace,
            id,
            ..
        } = delivery.event;
        let is_late = self.world.now - time > LATE;
        let is_unseen = leaves_no_trace && !self.known_gone.contains(&id);
        delivery.is_first && (is_late || is_unseen)
    }

    /// Nobody may get from the skipping product what is stale and nobody can get from the exact one, unless
    /// an event that is documented as an exception has not been flushed yet.
    fn check(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let mut pending = self.on_their_way.iter().chain(&self.buffered);
        let is_awaited = pending.any(|it| self.is_awaited(it))
            || self.sent.iter().any(|sent| sent.is_awaited)
            || self.is_lost;
        if is_awaited {
            return;
        }
        if let Some((path, answer)) = self.world.stale(GRACE) {
            self.violation = Some(format!("{path:?} is answered with {answer:?}"));
            self.tell(|| format!("STALE: {path:?} is answered with {answer:?}"));
        }
    }

    /// Lets everything arrive, and looks what is stale then.
    pub fn finish(&mut self) {
        if self.mode == Mode::Stopped {
            self.set_mode(Mode::Live);
        }
        self.wait(3 * DAY);
    }
}

/// A random history.
pub fn random<'t>(tape: Tape<'t>, lie: Option<Lie>, tells: bool) -> Run<'t> {
    let mut run = Run::new(tape, lie, tells);
    run.begin();
    let steps = 2 + run.tape.below(9);
    for _ in 0..steps {
        if run.violation.is_some() {
            break;
        }
        run.step();
        let wait = *run.tape.pick(&[
            20, 20, 20, 20, 1, 3, 9, 60, 700, 4_000, 4_000, 7_300, 7_300, 40_000, 90_000, 200_000,
        ]);
        run.wait(wait);
    }
    run.finish();
    run
}

impl Run<'_> {
    fn begin(&mut self) {
        self.theme = *self.tape.pick(&[
            Theme::Everything,
            Theme::Everything,
            Theme::Everything,
            Theme::Configuration,
            Theme::Rules,
            Theme::Modes,
            Theme::Fates,
            Theme::Events,
        ]);
        let is_odd = self.theme == Theme::Everything;
        let tape = &mut self.tape;
        let mut odd = |percent| is_odd && tape.chance(percent);
        let mut config = Config {
            is_ours: !odd(3),
            is_website: odd(10),
            is_group: odd(6),
            has_function: odd(10),
            ..PLAIN_CONFIG
        };
        let (has_acls, is_excepted) = (odd(6), odd(6));
        let (is_versioned, is_untrusted, is_not_live) = (!odd(12), odd(12), odd(10));
        let tape = &mut self.tape;
        let ttls: [Time; 12] = [10, 10, 10, 10, 10, 10, 10, 15, 0, 16, 60, 3_000];
        config.says_404 = !tape.chance(30);
        config.missing_ttl = *tape.pick(&ttls);
        config.server_error_ttl = match is_odd {
            true => *tape.pick(&ttls),
            false => 10,
        };
        let has_folder = tape.chance(20);
        let versioning = match is_versioned {
            true => Versioning::Enabled,
            false => *tape.pick(&[Versioning::Suspended, Versioning::Never]),
        };
        self.world = World::new(BEGIN, config, versioning, has_folder);
        self.world.bucket.owner_enforced = !has_acls;
        self.is_excepted = is_excepted;
        if self.theme == Theme::Rules {
            self.is_excepted = self.tape.chance(40);
        }
        self.tell(|| format!("{config:?} {versioning:?}, folder: {has_folder}"));
        let mut age = 5 * DAY;
        for _ in 0..self.tape.below(4) {
            let object = self.object();
            age -= *self.tape.pick(&[DAY, 10_000, 60]);
            self.had(object, age);
        }
        if self.tape.chance(20) {
            self.archive();
        }
        if !is_untrusted {
            self.trust();
        }
        if is_not_live {
            self.mode = *self.tape.pick(&[Mode::DryRun, Mode::Stopped]);
        }
    }

    /// An upload, mostly of what is there or was there before.
    fn object(&mut self) -> Object {
        let versions = &self.world.bucket.versions;
        let known: Vec<Object> = versions.iter().filter_map(|it| it.object).collect();
        let mut object = match known.is_empty() {
            true => PLAIN,
            false => known[self.tape.below(known.len())],
        };
        // How an upload was made is not kept with the object, but chosen anew.
        (object.multipart, object.replica) = (false, false);
        let kinds = match self.theme {
            Theme::Everything | Theme::Events => 24,
            // Content alone, and who may read it.
            _ => 15,
        };
        match self.tape.below(kinds) {
            0..10 => {}
            10..14 => object.body = *self.tape.pick(&['B', 'A', 'C']),
            14 => object.private ^= true,
            15 => object.headers ^= 1,
            16 => object.mtime ^= 1,
            17 => object.tags ^= 1,
            18 => object.class = Class::InfrequentAccess,
            19 => object.class = Class::Archive,
            20 => object.class = Class::Intelligent,
            21 => object.kms ^= true,
            22 => object.multipart = true,
            _ => object.replica = true,
        }
        object
    }

    fn step(&mut self) {
        let own: &[usize] = match self.theme {
            Theme::Everything | Theme::Fates => &[],
            Theme::Configuration => &[31, 32, 33],
            Theme::Rules => &[28, 29, 34, 35, 35],
            Theme::Modes => &[36],
            Theme::Events => &[22, 25, 26, 27],
        };
        let step = match self.theme {
            Theme::Everything => self.tape.below(40),
            _ if own.is_empty() || !self.tape.chance(45) => 0,
            _ => *self.tape.pick(own),
        };
        match step {
            0..22 => {
                let object = self.object();
                let began = match object.multipart || object.replica {
                    true => *self.tape.pick(&[30, 5_000, 50_000]),
                    false => 0,
                };
                self.put(object, began);
            }
            22..25 => self.delete(),
            25 | 26 => {
                let place = self.tape.below(3);
                self.remove(place);
            }
            27 => self.expire(),
            28 if self.is_seen => {
                let versioning = match self.world.bucket.versioning {
                    Versioning::Enabled => Versioning::Suspended,
                    _ => Versioning::Enabled,
                };
                self.set_versioning(versioning);
            }
            29 if self.is_seen => {
                let owner_enforced = !self.world.bucket.owner_enforced;
                self.set_owner_enforced(owner_enforced);
            }
            30 => {
                self.archive();
            }
            31..34 => self.reconfigure(),
            34 | 35 if self.is_seen => self.set_excepted(!self.is_excepted),
            36 => {
                let mode = *self.tape.pick(&[Mode::Live, Mode::DryRun, Mode::Stopped]);
                self.set_mode(mode);
            }
            _ => self.be_busy(),
        }
    }

    fn reconfigure(&mut self) {
        let what = *self.tape.pick(&[1, 0, 1, 2, 3, 4, 5, 6]);
        let ttl = *self.tape.pick(&[10, 300]);
        let deploying = *self.tape.pick(&[0, 300, 2_000]);
        self.configure(deploying, |config| match what {
            0 => config.is_enabled ^= true,
            1 => config.is_ours ^= true,
            2 => config.is_group ^= true,
            3 => config.has_function ^= true,
            4 => config.is_website ^= true,
            5 => config.missing_ttl = ttl,
            _ => config.server_error_ttl = ttl,
        });
    }
}
