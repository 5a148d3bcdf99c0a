//! A set of paths for one target: the body of a message of SubmitQueue.
//!
//! ```json
//! {"v":1,"distribution":"E2QWRUHAPOMQZL","paths":["/a","/b*"],"reason":"flush","by":"invalidator"}
//! ```
//!
//! Other tools may send such messages too. `tenant` names a distribution tenant; `reason` and `by` say
//! why and who, for the log. The message group is the target and the lane ([`Lane::group`]); the
//! deduplication id is a new UUID for each request. All other fields are for the function only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::caller_reference::{CallerReference, Cause};
use crate::cost::ledger::Terms;
use crate::event::EventTime;
use crate::path::{InvalidationPath, WildcardCause};
use crate::target::{DistributionId, Target, TenantId};
use crate::text::one_line;

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// How many bytes of JSON the paths of a set may take: an SQS message holds 1 MiB.
pub const MAX_SET_BYTES: usize = 900 * 1024;

/// How many paths a set may have, as an invalidation.
pub const MAX_SET_PATHS: usize = 3_000;

/// How many characters of `reason` and `by` are kept.
const MAX_NOTE: usize = 200;

/// The quotes and the comma around a path in JSON.
pub const JSON_BYTES_PER_PATH: usize = 3;

/// `by` of the function's own sets. They are merged only with each other, because other senders may
/// have paths that CloudFront rejects.
pub const OURSELVES: &str = "invalidator";

/// `by` of the sets that the command line sends.
pub const COMMAND_LINE: &str = "invalidatorctl";

/// How the `reason` of a replay begins.
pub const REPLAY_OF: &str = "replay of ";

/// A set of paths to invalidate for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// The distribution or tenant.
    pub target: Target,
    /// The paths.
    pub paths: Vec<InvalidationPath<'a>>,
    /// Why the set was sent: `flush`, or what a person wrote.
    pub reason: String,
    /// Who sent the set: `invalidator`, or another tool.
    pub by: String,
    /// When the oldest of its changes happened, if their events say so.
    pub changed: Option<EventTime>,
    /// If this is the rest of a set: when that set was first sent, in milliseconds since 1970. Giving up
    /// goes by this time.
    pub first_sent: Option<u64>,
    /// How often the rest of a set was sent as a new message. Lambda stops a function that invokes itself
    /// through a queue about sixteen times in a row (Lambda Developer Guide, "Recursive loop detection").
    pub hops: u32,
    /// Present if the paths were sent to CloudFront with this reference, and the answer was lost. They
    /// are sent again unchanged, with the same reference, and not merged with others.
    pub caller_reference: Option<CallerReference>,
    /// Present if a setting forbids the function to submit these paths, which changes need: they are
    /// rejected, for this reason.
    pub forbidden: Option<TooWide>,
    /// Present if this is a `/*` after which the target may be trusted, under these terms.
    pub trust: Option<Terms>,
}

/// Why wildcards are not submitted: they are wider than the setting allows. It has no text of its sender,
/// because anybody may send a set, and the reason is in the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooWide {
    /// How many folders deep a wildcard must be.
    pub min_depth: u32,
    /// Why the widest of them is needed.
    pub cause: WildcardCause,
}

impl fmt::Display for TooWide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min_depth, cause } = self;
        write!(
            f,
            "MinWildcardDepth is {min_depth}, and a wider wildcard is needed: {cause}"
        )
    }
}

/// The sets of a target wait in two lanes, because a wildcard may have to wait much longer than a plain
/// path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Paths without a wildcard.
    Paths,
    /// Wildcards.
    Wildcards,
}

impl Lane {
    /// The lane of a path.
    pub fn of(path: &InvalidationPath<'_>) -> Self {
        match path.wildcard_prefix() {
            None => Self::Paths,
            Some(_) => Self::Wildcards,
        }
    }

    /// The message groups of a target.
    pub fn groups(target: &Target) -> [String; 2] {
        [Self::Paths, Self::Wildcards].map(|lane| lane.group(target))
    }

    /// The message group in SubmitQueue: `E2QWRUHAPOMQZL/paths`.
    pub fn group(self, target: &Target) -> String {
        format!("{}/{self}", target.id())
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paths => "paths",
            Self::Wildcards => "wildcards",
        })
    }
}

/// A message of SubmitQueue that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableSet {
    /// The body is not a set: the beginning of what serde says, which may quote the body.
    #[error("the message is not a set of paths: {0}")]
    Json(String),
    /// The body has a version that this code does not know.
    #[error("the message is of version {0}, this function reads version {VERSION}")]
    Version(u32),
    /// The caller reference was not made by the function.
    #[error("the caller reference is not one of the function's own")]
    CallerReference,
    /// The list of paths is empty.
    #[error("the message has no paths")]
    Empty,
    /// The list of paths is too long for a set.
    #[error("the message has {0} paths, more than the {MAX_SET_PATHS} of a set")]
    TooMany(usize),
}

impl From<serde_json::Error> for UnreadableSet {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(one_line(&error.to_string(), MAX_NOTE))
    }
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    v: u32,
    distribution: DistributionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantId>,
    paths: std::borrow::Cow<'a, [InvalidationPath<'a>]>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<EventTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_sent: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    hops: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller_reference: Option<CallerReference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forbidden: Option<TooWide>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust: Option<Terms>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Reads only the field that tells the format.
#[derive(Deserialize)]
struct Format {
    v: Option<u32>,
}

/// Reads only the field that tells who sent it.
#[derive(Deserialize)]
struct Sender {
    by: String,
}

impl Set<'_> {
    /// Why its paths are invalidated.
    pub fn cause(&self) -> Cause {
        match self.by.as_str() {
            OURSELVES => Cause::Flush,
            COMMAND_LINE if self.reason.starts_with(REPLAY_OF) => Cause::Replay,
            COMMAND_LINE => Cause::Hand,
            _ => Cause::Tool,
        }
    }

    /// The body of its message.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Body {
            v: VERSION,
            distribution: self.target.distribution.clone(),
            tenant: self.target.tenant.clone(),
            paths: (&self.paths[..]).into(),
            reason: self.reason.clone(),
            by: self.by.clone(),
            changed: self.changed,
            first_sent: self.first_sent,
            hops: self.hops,
            caller_reference: self.caller_reference.clone(),
            forbidden: self.forbidden,
            trust: self.trust.clone(),
        })
    }
}

impl<'a> Set<'a> {
    /// A set that a flush makes. `changed` is when the oldest of its changes happened.
    pub fn of_flush(
        target: Target,
        paths: Vec<InvalidationPath<'a>>,
        changed: Option<EventTime>,
    ) -> Self {
        Self {
            target,
            paths,
            reason: "flush".to_owned(),
            by: OURSELVES.to_owned(),
            changed,
            first_sent: None,
            hops: 0,
            caller_reference: None,
            forbidden: None,
            trust: None,
        }
    }
}

impl Set<'static> {
    /// Reads the body of a message of SubmitQueue.
    ///
    /// # Errors
    /// If the body does not have the format, has a version that this code does not know, or has no paths or
    /// too many.
    pub fn from_json(body: &str) -> Result<Self, UnreadableSet> {
        let format: Format = serde_json::from_str(body)?;
        let set = match format.v {
            None | Some(VERSION) => Self::from_body(serde_json::from_str(body)?),
            Some(other) => return Err(UnreadableSet::Version(other)),
        };
        match set.paths.len() {
            0 => return Err(UnreadableSet::Empty),
            1..=MAX_SET_PATHS => {}
            count => return Err(UnreadableSet::TooMany(count)),
        }
        let reference = set.caller_reference.as_ref();
        if reference.is_some_and(|reference| !reference.is_ours()) {
            return Err(UnreadableSet::CallerReference);
        }
        Ok(set)
    }

    /// Whether the body of a message that cannot be read says that another sender wrote it. Otherwise it may be
    /// a set of a newer version of the function.
    pub fn is_of_another(body: &str) -> bool {
        let said: Result<Sender, _> = serde_json::from_str(body);
        said.is_ok_and(|sender| sender.by != OURSELVES)
    }

    fn from_body(body: Body<'static>) -> Self {
        Self {
            target: Target {
                distribution: body.distribution,
                tenant: body.tenant,
            },
            paths: body.paths.into_owned(),
            reason: note(&body.reason),
            by: note(&body.by),
            changed: body.changed,
            first_sent: body.first_sent,
            hops: body.hops,
            caller_reference: body.caller_reference,
            forbidden: body.forbidden,
            trust: body.trust,
        }
    }
}

/// What a sender says about a set, short and on one line. A note stays as it is when the rest of its set is
/// sent again.
fn note(text: &str) -> String {
    let text = one_line(text, MAX_NOTE);
    match text.char_indices().nth(MAX_NOTE) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set() -> Set<'static> {
        let path = |text: &str| InvalidationPath::try_from(text.to_owned()).unwrap();
        Set {
            target: Target {
                distribution: DistributionId::new("E1"),
                tenant: None,
            },
            paths: vec![path("/a"), path("/b*")],
            reason: "flush".to_owned(),
            by: "invalidator".to_owned(),
            changed: None,
            first_sent: None,
            hops: 0,
            caller_reference: None,
            forbidden: None,
            trust: None,
        }
    }

    #[test]
    fn a_message_is_short_and_readable() {
        let body = r#"{"v":1,"distribution":"E1","paths":["/a","/b*"],"reason":"flush","by":"invalidator"}"#;
        assert_eq!(set().to_json().unwrap(), body);
        assert_eq!(Set::from_json(body).unwrap(), set());
    }

    #[test]
    fn who_sent_a_set_and_why_tells_its_cause() {
        for (by, reason, cause) in [
            (OURSELVES, "flush", Cause::Flush),
            (
                COMMAND_LINE,
                "replay of invalidation_error/a_E1.txt",
                Cause::Replay,
            ),
            (COMMAND_LINE, "new release", Cause::Hand),
            ("deploy script", "replay of yesterday", Cause::Tool),
            ("", "", Cause::Tool),
        ] {
            let mut sent = set();
            (sent.by, sent.reason) = (by.to_owned(), reason.to_owned());
            assert_eq!(sent.cause(), cause, "{by}: {reason}");
        }
    }

    #[test]
    fn a_rest_keeps_its_age_and_its_hops() {
        let mut rest = set();
        rest.target.tenant = Some(TenantId::new("dt_1"));
        rest.changed = Some(EventTime(1));
        rest.first_sent = Some(2);
        rest.hops = 3;
        rest.caller_reference = Some(CallerReference::known("0123456789abcdef0123456789abcdef"));
        rest.forbidden = Some(TooWide {
            min_depth: 2,
            cause: WildcardCause::Tilde,
        });
        assert_eq!(Set::from_json(&rest.to_json().unwrap()).unwrap(), rest);
    }

    #[test]
    fn a_message_that_cannot_be_read_says_why() {
        for (body, expected) in [
            ("hello", "not a set"),
            (r#"{"v":2,"distribution":"E1","paths":["/a"]}"#, "version 2"),
            (r#"{"v":1,"distribution":"E1"}"#, "paths"),
            (r#"{"v":1,"distribution":"E1","paths":[]}"#, "no paths"),
            (
                r#"{"v":1,"distribution":"E1","paths":["/a*"],"forbidden":"see https://evil.example"}"#,
                "TooWide",
            ),
            (
                r#"{"v":1,"distribution":"e-1","paths":["/a"]}"#,
                "`e-1` is not the id",
            ),
            (
                r#"{"v":1,"distribution":"E1","tenant":"a b","paths":["/a"]}"#,
                "`a b` is not the id",
            ),
            (
                r#"{"v":1,"distribution":"E1","paths":["a"]}"#,
                "`a` is not an invalidation path",
            ),
            (r#"{"paths":["/a"]}"#, "`v`"),
            (
                r#"{"v":1,"distribution":"E1","paths":["/a"],"caller_reference":"mine"}"#,
                "not one of the function's own",
            ),
        ] {
            let error = Set::from_json(body).expect_err(body).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let paths = |count| format!("[{}]", vec!["\"/a\""; count].join(","));
        let body = |count| format!(r#"{{"v":1,"distribution":"E1","paths":{}}}"#, paths(count));
        assert!(Set::from_json(&body(3_000)).is_ok());
        let error = Set::from_json(&body(3_001)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the message has 3001 paths, more than the 3000 of a set"
        );
    }

    #[test]
    fn a_message_that_cannot_be_read_may_be_one_of_a_newer_version() {
        for (body, expected) in [
            (r#"{"v":2,"to":"E1","by":"invalidator"}"#, false),
            (r#"{"v":2,"to":"E1"}"#, false),
            (r#"{"v":2,"by":{"name":"deploy"}}"#, false),
            ("packed", false),
            ("", false),
            (r#"{"v":1,"distribution":"E1","by":"deploy"}"#, true),
            (r#"{"v":1,"paths":["a b"],"by":"invalidatorctl"}"#, true),
            (r#"{"by":""}"#, true),
        ] {
            assert_eq!(Set::is_of_another(body), expected, "{body}");
        }
    }

    /// A text of any kind, short or long, with what a program may obey in it.
    fn hostile() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            any::<String>(),
            "[A-Z0-9]{0,40}",
            "dt_[A-Za-z0-9]{0,70}",
            "/[ -~]{0,20}",
            "[\u{1b}\u{202e}\n\r a-z:/.]{0,20}",
        ];
        (text, prop_oneof![Just(1usize), Just(5_000)]).prop_map(|(text, times)| text.repeat(times))
    }

    /// Mostly this text, so that the rest of the message is looked at too.
    fn mostly(text: &'static str) -> impl Strategy<Value = String> {
        prop_oneof![4 => Just(text.to_owned()), 1 => hostile()]
    }

    proptest! {
        /// Whatever a message holds: what is read is legal, and why it cannot be read is told briefly, on
        /// one line, without a character that a program may obey.
        #[test]
        fn what_is_read_is_legal_and_what_is_not_is_told_briefly(
                        (v, distribution) in (prop_oneof![4 => Just(1u64), 1 => any::<u64>()], mostly("E1")),
            (tenant, hops) in (proptest::option::of(mostly("dt_1")), any::<u32>()),
            (paths, notes) in (proptest::collection::vec(mostly("/a"), 0..4), hostile()),
            raw in proptest::option::weighted(0.1, hostile()),
        ) {
            let body = raw.unwrap_or_else(|| serde_json::json!({
                "v": v, "distribution": distribution, "tenant": tenant, "paths": paths, "reason": notes, "by": notes,
                "hops": hops,
            }).to_string());
            match Set::from_json(&body) {
                Ok(set) => {
                    prop_assert!(set.target.distribution.as_str().parse::<DistributionId>().is_ok());
                    let tenant = set.target.tenant.as_ref();
                    prop_assert!(tenant.is_none_or(|id| id.as_str().parse::<TenantId>().is_ok()));
                    let is_legal = |path: &InvalidationPath<'_>| InvalidationPath::try_from(path.to_string()).is_ok();
                    prop_assert!(set.paths.iter().all(is_legal) && !set.paths.is_empty());
                    for note in [&set.reason, &set.by] {
                        prop_assert!(note.chars().count() <= MAX_NOTE && !note.contains(char::is_control), "{note:?}");
                    }
                    prop_assert_eq!(Set::from_json(&set.to_json().unwrap()).unwrap(), set);
                }
                Err(error) => {
                    let told = error.to_string();
                    prop_assert!(told.len() < 3_000, "{}", told.len());
                    prop_assert!(!told.contains(char::is_control), "{told:?}");
                }
            }
        }
    }
}
