//! Incidents: one mail when paths begin to be rejected, digests while that goes on, and one mail when it
//! is over. Nothing here decides whether a path is written to a file: that happens at once, for all.
//!
//! An incident is all that is rejected with the same code. The state of all open incidents is one object
//! in the error bucket, which every environment changes conditionally. Sending a mail takes three steps,
//! so that neither two environments send the same mail nor an environment that dies takes one with it:
//! [`Incidents::claim`] and write, send, [`Incidents::sent`] and write. What was claimed for longer than
//! [`CLAIM_SECONDS`] and not sent is due again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::{
    Beginning, SharedState, StateObject, UnreadableState, Writes, check, from_versioned_json,
};
use crate::text::one_line;

/// The key of the state in the error bucket.
pub const STATE_KEY: &str = "state/incidents/open.json";

/// The time between the first mail and the first digest. It doubles with each digest.
pub const FIRST_PERIOD: u64 = 30 * 60;

/// The longest time between two digests. An incident in which nothing was rejected for so long is over.
pub const LONGEST_PERIOD: u64 = 24 * 3_600;

/// How long an environment may take to send a mail.
pub const CLAIM_SECONDS: u64 = 300;

/// How many files and samples the state keeps; all are counted.
const MAX_KEYS: usize = 100;
const MAX_SAMPLES: usize = 3;

/// How many incidents and targets the state keeps apart. More of them share the last one.
const MAX_INCIDENTS: usize = 20;
const MAX_TARGETS: usize = 50;
const OTHERS: &str = "others";

/// A text of a service is cut after so many characters.
const MAX_TEXT: usize = 300;

/// A reason is cut after so many characters.
const MAX_REASON: usize = 3 * MAX_TEXT;

/// The longest text of the state: a reason of which each character was escaped.
const MAX_STORED_TEXT: usize = MAX_REASON * 10;

/// The largest count of the state: numbers of JSON are exact up to here.
const MAX_COUNT: u64 = 1 << 53;

/// The last second of the year 9999, and of the state.
const MAX_TIME: u64 = 253_402_300_799;

/// Paths that were rejected with one code, and are in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The code, such as `AccessDenied`.
    pub code: String,
    /// The error as text.
    pub reason: String,
    /// The target's id.
    pub target: String,
    /// The alias of its distribution.
    pub alias: String,
    /// How many paths.
    pub paths: u64,
    /// Some of them; of a message that cannot be read, what is wrong with it.
    pub samples: Vec<String>,
    /// The key of the file.
    pub key: String,
    /// Whether the file can be replayed.
    pub can_be_replayed: bool,
}

/// An incident: what is rejected with the same code. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When it began.
    pub since: u64,
    /// When a path was last rejected.
    pub last: u64,
    /// The latest different errors.
    pub reasons: Vec<String>,
    /// The first paths, or what is wrong with the first messages that cannot be read.
    pub samples: Vec<String>,
    /// All paths and files.
    pub paths: u64,
    /// How many files.
    pub files: u64,
    /// Its targets, by id.
    pub targets: BTreeMap<String, IncidentTarget>,
    /// What no mail has told yet.
    pub untold: Untold,
    /// How many mails were sent.
    pub mails: u32,
    /// When the next digest may be sent.
    pub next_mail: u64,
    /// When an environment began to send a mail.
    pub claimed: Option<u64>,
}

/// A target of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentTarget {
    /// The alias of its distribution.
    pub alias: String,
    /// How many paths were rejected.
    pub paths: u64,
    /// Whether CloudFront has accepted paths since.
    pub accepted: bool,
}

/// What no mail has told yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// How many paths.
    pub paths: u64,
    /// How many files.
    pub files: u64,
    /// The keys of the files that can be replayed, as far as they are kept.
    pub keys: Vec<String>,
    /// The keys of the others.
    pub unreadable: Vec<String>,
}

/// The purpose of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The incident has begun.
    First,
    /// It goes on.
    Digest,
    /// It is over.
    Over,
}

/// A mail to send about an incident, as it was when the mail was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The code of the incident.
    pub code: String,
    /// Why a mail is sent.
    pub news: News,
    /// The incident.
    pub incident: Incident,
}

/// All open incidents, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// The incidents.
    pub open: BTreeMap<String, Incident>,
    writes: Writes,
}

/// The version this code writes, and the only one it reads. Objects of older programs have none.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Body {
    open: BTreeMap<String, Incident>,
    #[serde(default)]
    writes: Writes,
}

#[derive(Serialize)]
struct BodyRef<'a> {
    v: u32,
    open: &'a BTreeMap<String, Incident>,
    writes: &'a Writes,
}

impl StateObject for Incidents {
    const NAME: &'static str = "the state of the incidents";
    const REMEDY: &'static str = "nothing, it begins anew and no mail is kept back; find out who wrote to \
                                  state/ of the bucket, whose versions keep what was there";
    const MAX_BYTES: usize = 4 * 1024 * 1024;

    fn from_json(text: &str) -> Result<Self, UnreadableState> {
        let Body { open, writes } = from_versioned_json(text, VERSION, Some(VERSION))?;
        writes.check()?;
        check(open.len() <= MAX_INCIDENTS + 1, "open")?;
        for (code, incident) in &open {
            check(is_safe(code), "open")?;
            incident.check()?;
        }
        Ok(Self { open, writes })
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&BodyRef {
            v: VERSION,
            open: &self.open,
            writes: &self.writes,
        })
    }
}

impl SharedState for Incidents {
    /// None is open, so the next rejection is a new incident, and its mail is sent at once.
    fn begin(_: Beginning) -> Self {
        Self::default()
    }

    fn writes(&mut self) -> &mut Writes {
        &mut self.writes
    }
}

/// Whether this program may have written this text, which it shows to people.
fn is_safe(text: &str) -> bool {
    text == one_line(text, MAX_STORED_TEXT)
}

/// Whether these are at most so many texts that this program may have written.
fn are_safe(texts: &[String], most: usize) -> bool {
    texts.len() <= most && texts.iter().all(|text| is_safe(text))
}

impl Incidents {
    /// Adds what was rejected at `now`.
    pub fn record(&mut self, now: u64, rejections: &[Rejection]) {
        for rejection in rejections {
            let code = one_line(&rejection.code, MAX_TEXT);
            let is_known = self.open.contains_key(&code);
            let code = match is_known || self.open.len() < MAX_INCIDENTS {
                true => code,
                false => OTHERS.to_owned(),
            };
            let incident = self.open.entry(code).or_insert_with(|| Incident::new(now));
            incident.add(now, rejection);
        }
    }

    /// Notes that CloudFront accepted paths of these targets after `began`. Returns whether that is new to
    /// any incident.
    pub fn accepted(&mut self, began: u64, targets: &[String]) -> bool {
        let mut is_new = false;
        for incident in self.open.values_mut().filter(|it| it.last < began) {
            for target in targets {
                if let Some(known) = incident.targets.get_mut(target) {
                    is_new |= !std::mem::replace(&mut known.accepted, true);
                }
            }
        }
        is_new
    }

    /// Claims the mails that are due at `now`. The state must be written before they are sent.
    pub fn claim(&mut self, now: u64) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (code, incident) in &mut self.open {
            let Some(news) = incident.due(now) else {
                continue;
            };
            incident.claimed = Some(now);
            claims.push(Claim {
                code: code.clone(),
                news,
                incident: incident.clone(),
            });
        }
        claims
    }

    /// Notes which claimed mails were sent, or with `is_sent` false that they were not.
    pub fn sent(&mut self, now: u64, claims: &[Claim], is_sent: bool) {
        for claim in claims {
            let Some(incident) = self.open.get_mut(&claim.code) else {
                continue;
            };
            if incident.claimed != claim.incident.claimed {
                continue;
            }
            incident.claimed = None;
            if !is_sent {
                continue;
            }
            incident.untold.forget(&claim.incident.untold);
            match claim.news {
                News::Over
                    if incident.last == claim.incident.last && incident.untold.files == 0 =>
                {
                    self.open.remove(&claim.code);
                }
                // Something was rejected meanwhile: that is a new incident, of which nobody was told.
                News::Over => incident.begin_again(now),
                News::First | News::Digest => {
                    incident.next_mail = now + incident.period();
                    incident.mails += 1;
                }
            }
        }
    }
}

impl Incident {
    fn new(now: u64) -> Self {
        Self {
            since: now,
            last: now,
            reasons: Vec::new(),
            samples: Vec::new(),
            paths: 0,
            files: 0,
            targets: BTreeMap::new(),
            untold: Untold::default(),
            mails: 0,
            next_mail: now,
            claimed: None,
        }
    }

    /// # Errors
    /// If this program could not have written it.
    fn check(&self) -> Result<(), UnreadableState> {
        check(are_safe(&self.reasons, MAX_SAMPLES), "reasons")?;
        check(are_safe(&self.samples, MAX_SAMPLES), "samples")?;
        check(self.targets.len() <= MAX_TARGETS + 1, "targets")?;
        for (id, target) in &self.targets {
            check(is_safe(id) && is_safe(&target.alias), "targets")?;
            check(target.paths <= MAX_COUNT, "targets")?;
        }
        let untold = &self.untold;
        for keys in [&untold.keys, &untold.unreadable] {
            check(are_safe(keys, MAX_KEYS), "untold")?;
        }
        check(untold.paths.max(untold.files) <= MAX_COUNT, "untold")?;
        check(self.paths <= MAX_COUNT, "paths")?;
        check(self.files <= MAX_COUNT, "files")?;
        check(self.mails <= u32::MAX / 2, "mails")?;
        for (time, field) in [
            (self.since, "since"),
            (self.last, "last"),
            (self.next_mail, "next_mail"),
            (self.claimed.unwrap_or_default(), "claimed"),
        ] {
            check(time <= MAX_TIME, field)?;
        }
        Ok(())
    }

    fn add(&mut self, now: u64, rejection: &Rejection) {
        self.last = self.last.max(now);
        let reason = one_line(&rejection.reason, MAX_REASON);
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
            let old = self.reasons.len().saturating_sub(MAX_SAMPLES);
            self.reasons.drain(..old);
        }
        self.paths += rejection.paths;
        self.files += 1;
        let missing = MAX_SAMPLES.saturating_sub(self.samples.len());
        let samples = rejection.samples.iter().take(missing);
        let samples = samples.map(|sample| one_line(sample, MAX_TEXT));
        self.samples.extend(samples);
        let target = one_line(&rejection.target, MAX_TEXT);
        let is_known = self.targets.contains_key(&target);
        let target = match is_known || self.targets.len() < MAX_TARGETS {
            true => target,
            false => OTHERS.to_owned(),
        };
        let target = self.targets.entry(target);
        let target = target.or_insert_with(|| IncidentTarget {
            alias: one_line(&rejection.alias, MAX_TEXT),
            paths: 0,
            accepted: false,
        });
        target.paths += rejection.paths;
        target.accepted = false;
        self.untold.add(rejection);
    }

    /// The time to the next digest: it doubles with each mail.
    fn period(&self) -> u64 {
        let doublings = self.mails.min(10);
        LONGEST_PERIOD.min(FIRST_PERIOD << doublings)
    }

    /// The mail that is due. A claim or a next mail further ahead than this program writes it, as by a clock
    /// that was wrong, keeps no mail back.
    fn due(&self, now: u64) -> Option<News> {
        let is_claimed = self
            .claimed
            .is_some_and(|at| now.abs_diff(at) < CLAIM_SECONDS);
        if is_claimed {
            return None;
        }
        if self.mails == 0 {
            return Some(News::First);
        }
        if self.is_over(now) {
            return Some(News::Over);
        }
        let is_time = now >= self.next_mail || self.next_mail > now + LONGEST_PERIOD;
        (self.untold.files > 0 && is_time).then_some(News::Digest)
    }

    /// Whether all targets accept paths again and nothing was rejected for half an hour, or nothing was
    /// rejected for a day.
    fn is_over(&self, now: u64) -> bool {
        let quiet = now.saturating_sub(self.last);
        let all_accept = self.targets.values().all(|target| target.accepted);
        quiet >= LONGEST_PERIOD || (all_accept && quiet >= FIRST_PERIOD)
    }

    fn begin_again(&mut self, now: u64) {
        let untold = std::mem::take(&mut self.untold);
        *self = Self {
            last: self.last,
            reasons: std::mem::take(&mut self.reasons),
            paths: untold.paths,
            files: untold.files,
            targets: std::mem::take(&mut self.targets),
            untold,
            ..Self::new(now)
        };
    }
}

impl Untold {
    fn add(&mut self, rejection: &Rejection) {
        self.paths += rejection.paths;
        self.files += 1;
        let keys = match rejection.can_be_replayed {
            true => &mut self.keys,
            false => &mut self.unreadable,
        };
        if keys.len() < MAX_KEYS {
            keys.push(one_line(&rejection.key, MAX_TEXT));
        }
    }

    /// Removes what a mail has told.
    fn forget(&mut self, told: &Self) {
        self.paths = self.paths.saturating_sub(told.paths);
        self.files = self.files.saturating_sub(told.files);
        self.keys.retain(|key| !told.keys.contains(key));
        self.unreadable.retain(|key| !told.unreadable.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MINUTE: u64 = 60;

    fn rejection(code: &str, target: &str, n: usize) -> Rejection {
        Rejection {
            code: code.to_owned(),
            reason: format!("{code}: no"),
            target: target.to_owned(),
            alias: "www.example.org".to_owned(),
            paths: 2,
            samples: vec!["/a".to_owned(), "/b".to_owned()],
            key: format!("invalidation_error/{n}_{target}.txt"),
            can_be_replayed: true,
        }
    }

    /// What happens, and when, in minutes.
    enum Event {
        Rejected(&'static str),
        Accepted(&'static str),
        Check,
    }

    /// Each row: the minute, what happens, and the mail that is sent. One mail at once, digests after 30
    /// minutes, an hour and two, and one mail when all targets accept paths and half an hour has passed.
    #[test]
    fn an_incident_is_one_mail_then_digests_then_one_mail() {
        use Event::{Accepted, Check, Rejected};
        let mut state = Incidents::default();
        for (n, (minute, event, expected)) in [
            (0, Rejected("E1"), Some(News::First)),
            (1, Rejected("E1"), None),
            (2, Rejected("E2"), None),
            (29, Check, None),
            (30, Check, Some(News::Digest)),
            // Nothing new: no digest, and it is not over, as no target accepts paths.
            (95, Check, None),
            // The time has passed, so the next rejection is told at once.
            (100, Rejected("E1"), Some(News::Digest)),
            (101, Rejected("E1"), None),
            (219, Check, None),
            (220, Check, Some(News::Digest)),
            (230, Accepted("E1"), None),
            (261, Check, None),
            (262, Rejected("E2"), None),
            (263, Accepted("E2"), None),
            (291, Check, None),
            (292, Check, Some(News::Over)),
            (293, Check, None),
            // A new incident, which ends after a day although nothing was accepted.
            (300, Rejected("E1"), Some(News::First)),
            (300 + 24 * 60 - 1, Check, None),
            (300 + 24 * 60, Check, Some(News::Over)),
        ]
        .into_iter()
        .enumerate()
        {
            let now = minute * MINUTE;
            match event {
                Rejected(target) => state.record(now, &[rejection("AccessDenied", target, n)]),
                Accepted(target) => assert!(state.accepted(now, &[target.to_owned()])),
                Check => {}
            }
            let claims = state.claim(now);
            assert!(state.claim(now).is_empty(), "claimed twice");
            state.sent(now, &claims, true);
            let news = claims.first().map(|claim| claim.news);
            assert_eq!(news, expected, "minute {minute}");
        }
        assert!(state.open.is_empty());
    }

    #[test]
    fn a_mail_that_was_not_sent_or_whose_environment_died_is_due_again() {
        let mut state = Incidents::default();
        state.record(0, &[rejection("AccessDenied", "E1", 1)]);
        let claims = state.claim(0);
        state.sent(1, &claims, false);
        assert_eq!(state.claim(2)[0].news, News::First, "it was not sent");
        assert!(state.claim(2 + CLAIM_SECONDS - 1).is_empty());
        let claims = state.claim(2 + CLAIM_SECONDS);
        assert_eq!(
            claims[0].news,
            News::First,
            "nobody knows whether it was sent"
        );
        // Another path is rejected while the mail is under way: a digest will tell it.
        state.record(303, &[rejection("AccessDenied", "E1", 2)]);
        state.sent(304, &claims, true);
        assert_eq!(state.open["AccessDenied"].untold.files, 1);
    }

    #[test]
    fn what_is_rejected_while_the_last_mail_is_sent_is_a_new_incident() {
        let mut state = Incidents::default();
        state.record(0, &[rejection("AccessDenied", "E1", 1)]);
        let claims = state.claim(0);
        state.sent(0, &claims, true);
        let over = state.claim(LONGEST_PERIOD);
        assert_eq!(over[0].news, News::Over);
        state.record(LONGEST_PERIOD, &[rejection("AccessDenied", "E1", 2)]);
        state.sent(LONGEST_PERIOD, &over, true);
        let first = state.claim(LONGEST_PERIOD);
        assert_eq!(
            (first[0].news, first[0].incident.untold.files),
            (News::First, 1)
        );
    }

    #[test]
    fn the_state_stays_small_and_counts_all() {
        let mut state = Incidents::default();
        for n in 0..5_000 {
            let mut rejection = rejection(&format!("Code{}", n % 50), &format!("E{n}"), n);
            rejection.reason = "\u{1b}[31m".repeat(1_000);
            rejection.samples = vec!["/x".repeat(4_000); 3];
            state.record(1, &[rejection]);
        }
        let files: u64 = state.open.values().map(|it| it.files).sum();
        assert_eq!((state.open.len(), files), (MAX_INCIDENTS + 1, 5_000));
        let json = state.to_json().unwrap();
        assert!(json.len() < 500_000, "{}", json.len());
        assert!(!json.contains("\\u001b"));
        Incidents::from_json(&json).unwrap();
    }

    #[test]
    fn a_state_is_what_it_was_when_it_was_written_and_older_programs_wrote_no_version() {
        let mut state = Incidents::default();
        state.record(1, &[rejection("AccessDenied", "E1", 1)]);
        state.claim(1);
        state.writes().push("0123456789abcdef");
        let json = state.to_json().unwrap();
        assert!(
            json.starts_with(r#"{"v":1,"open":{"AccessDenied":"#),
            "{json}"
        );
        assert_eq!(Incidents::from_json(&json).unwrap(), state);
        let old = json.replace(r#""v":1,"#, "");
        assert_eq!(Incidents::from_json(&old).unwrap(), state);
    }

    #[test]
    fn what_this_program_could_not_have_written_is_no_state() {
        let mut state = Incidents::default();
        state.record(1, &[rejection("AccessDenied", "E1", 1)]);
        let json = state.to_json().unwrap();
        for (from, to, expected) in [
            (r#""v":1"#, r#""v":2"#, "of version 2"),
            (r#""paths":2,"#, r#""paths":9007199254740993,"#, "`"),
            (r#""since":1"#, r#""since":253402300800"#, "`since`"),
            (r#""next_mail":1"#, r#""next_mail":-1"#, "JSON"),
            (r#""mails":0"#, r#""mails":4294967295"#, "`mails`"),
            (
                r#""claimed":null"#,
                r#""claimed":18446744073709551615"#,
                "`claimed`",
            ),
            (r#""E1":"#, r#""E\u001b1":"#, "`targets`"),
            (r#""/a""#, r#""\u202e""#, "`samples`"),
            (
                r#"["AccessDenied: no"]"#,
                r#"["1","2","3","4"]"#,
                "`reasons`",
            ),
            (r#"invalidation_error/1_E1.txt"#, r#"a\nb"#, "`untold`"),
            (r#""writes":[]"#, r#""writes":["x"]"#, "`writes`"),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json, "{from}");
            let error = Incidents::from_json(&changed).expect_err(to).to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    /// A clock that was years ahead, or somebody who wrote the state.
    #[test]
    fn times_far_ahead_keep_no_mail_back() {
        let mut state = Incidents::default();
        state.record(1_000, &[rejection("AccessDenied", "E1", 1)]);
        let mut claimed = state.clone();
        claimed.claim(9_000_000);
        assert_eq!(claimed.claim(1_000)[0].news, News::First);
        let first = state.claim(9_000_000);
        state.sent(9_000_000, &first, true);
        state.record(1_001, &[rejection("AccessDenied", "E1", 2)]);
        assert_eq!(state.claim(1_001)[0].news, News::Digest);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reject { code: usize, target: usize },
        Accept { target: usize },
        Check,
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step, bool)>> {
        let step = prop_oneof![
            4 => (0..2usize, 0..3usize).prop_map(|(code, target)| Step::Reject { code, target }),
            1 => (0..3usize).prop_map(|target| Step::Accept { target }),
            3 => Just(Step::Check),
        ];
        let pause = prop_oneof![0..300u64, 0..7_200u64, 0..200_000u64];
        vec((pause, step, proptest::bool::weighted(0.9)), 1..60)
    }

    /// Sends what is due; returns it. If `is_sent` is false, the mail fails.
    fn mail(state: &mut Incidents, now: u64, is_sent: bool) -> Vec<Claim> {
        let claims = state.claim(now);
        state.sent(now, &claims, is_sent);
        if is_sent { claims } else { Vec::new() }
    }

    /// Changes one of all values in a JSON text.
    fn changed(json: &str, which: usize, new: &serde_json::Value) -> String {
        fn places(value: &mut serde_json::Value) -> Vec<&mut serde_json::Value> {
            let is_leaf = match value {
                serde_json::Value::Object(fields) => fields.is_empty(),
                serde_json::Value::Array(items) => items.is_empty(),
                _ => true,
            };
            if is_leaf {
                return vec![value];
            }
            match value {
                serde_json::Value::Object(fields) => fields.values_mut().flat_map(places).collect(),
                serde_json::Value::Array(items) => items.iter_mut().flat_map(places).collect(),
                _ => Vec::new(),
            }
        }
        let mut json: serde_json::Value = serde_json::from_str(json).unwrap();
        let mut places = places(&mut json);
        let which = which % places.len();
        *places.remove(which) = new.clone();
        json.to_string()
    }

    fn json_values() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            prop_oneof![
                0..3_000_000u64,
                any::<u64>(),
                Just(MAX_COUNT),
                Just(MAX_TIME)
            ]
            .prop_map(serde_json::Value::from),
            ".{0,8}".prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            Just(serde_json::json!([])),
            Just(serde_json::json!({})),
        ]
    }

    proptest! {
        /// Whoever wrote the state, as far as it is read: no mail about a new rejection is kept back. The
        /// times between which one is due may be wrong, so it takes two days at most.
        #[test]
        fn whatever_the_state_says_what_is_rejected_is_told(
            changes in vec((any::<usize>(), json_values()), 0..5),
            began in 0..2_000_000u64,
        ) {
            let mut state = Incidents::default();
            state.record(1_000, &[rejection("A", "E1", 1), rejection("A", "E2", 2)]);
            let claims = state.claim(1_000);
            state.sent(1_000, &claims, true);
            let mut json = state.to_json().unwrap();
            for (which, new) in changes {
                let changed = changed(&json, which, &new);
                if Incidents::from_json(&changed).is_ok() {
                    json = changed;
                }
            }
            let mut state = Incidents::from_json(&json).unwrap();
            prop_assert_eq!(Incidents::from_json(&state.to_json().unwrap()).unwrap(), state.clone());
            state.record(began, &[rejection("A", "E1", 3), rejection("B", "E1", 4)]);
            for days in 0..3 {
                let now = began + days * (LONGEST_PERIOD + 2 * CLAIM_SECONDS);
                let claims = state.claim(now);
                state.sent(now, &claims, true);
            }
            prop_assert!(state.open.values().all(|it| it.untold.files == 0));
        }

        /// Whatever services and messages say: what is written can be read again.
        #[test]
        fn what_is_recorded_can_be_read_again(
            texts in vec((any::<String>(), any::<String>(), any::<String>(), any::<String>()), 1..40),
            more in 0..3_000usize,
        ) {
            let mut state = Incidents::default();
            for (now, (code, text, target, key)) in (1..).zip(texts) {
                let rejection = Rejection {
                    code,
                    reason: text.repeat(more),
                    target,
                    alias: text.clone(),
                    samples: vec![text.repeat(more); 5],
                    key,
                    ..rejection("", "", 0)
                };
                state.record(now, &[rejection]);
                let claims = state.claim(now);
                state.sent(now, &claims, now % 2 == 0);
            }
            let json = state.to_json().unwrap();
            prop_assert_eq!(crate::state::from_bytes::<Incidents>(json.as_bytes()), Ok(state));
        }

        /// However events arrive, and whichever mails fail: the first mail comes once, digests keep their
        /// distance, the last mail says that it is over, and each file is in a mail and each path counted
        /// in exactly one.
        #[test]
        fn each_path_is_told_once_and_each_incident_begins_and_ends(steps in steps()) {
            let mut state = Incidents::default();
            let (mut now, mut paths, mut keys) = (1, 0, Vec::new());
            let mut mails: Vec<(u64, Claim)> = Vec::new();
            for (n, (pause, step, is_sent)) in steps.into_iter().enumerate() {
                now += pause;
                match step {
                    Step::Reject { code, target } => {
                        let rejection = rejection(["A", "B"][code], ["E1", "E2", "E3"][target], n);
                        paths += rejection.paths;
                        keys.push(rejection.key.clone());
                        state.record(now, &[rejection]);
                    }
                    Step::Accept { target } => {
                        state.accepted(now, &[["E1", "E2", "E3"][target].to_owned()]);
                    }
                    Step::Check => {}
                }
                let sent = mail(&mut state, now, is_sent);
                mails.extend(sent.into_iter().map(|claim| (now, claim)));
            }
            for _ in 0..3 {
                now += LONGEST_PERIOD;
                let sent = mail(&mut state, now, true);
                mails.extend(sent.into_iter().map(|claim| (now, claim)));
            }
            prop_assert!(state.open.is_empty());
            let told: u64 = mails.iter().map(|(_, claim)| claim.incident.untold.paths).sum();
            prop_assert_eq!(told, paths);
            for key in keys {
                let names = |(_, claim): &&(u64, Claim)| claim.incident.untold.keys.contains(&key);
                prop_assert_eq!(mails.iter().filter(names).count(), 1);
            }
            for code in ["A", "B"] {
                let of_code = mails.iter().filter(|(_, claim)| claim.code == code);
                let of_code: Vec<(u64, News)> = of_code.map(|(at, claim)| (*at, claim.news)).collect();
                prop_assert!(of_code.first().is_none_or(|(_, news)| *news == News::First));
                prop_assert!(of_code.last().is_none_or(|(_, news)| *news == News::Over));
                for pair in of_code.windows(2) {
                    let [(before, first), (at, second)] = [pair[0], pair[1]];
                    prop_assert_eq!(second == News::First, first == News::Over);
                    if second == News::Digest {
                        prop_assert!(at - before >= FIRST_PERIOD);
                    }
                }
            }
        }
    }
}
