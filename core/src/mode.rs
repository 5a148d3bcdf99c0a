//! The mode: whether the stack invalidates, only plans, or waits. It is a decision of the operator, kept
//! as an object in the error bucket, so that no deployment changes it.
//!
//! ```json
//! {"v":1,"mode":"stopped","since":"2026-11-21T02:03:04Z","by":"arn:aws:iam::123456789012:user/ada","why":"release"}
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::state::{Reading, StateObject, UnreadableState, check, from_versioned_json};

/// The key of the object in the error bucket.
pub const MODE_KEY: &str = "state/mode.json";

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// What the stack does with changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Changes become invalidations.
    Live,
    /// Changes are planned, logged, counted and then discarded. Sets that wait in SubmitQueue stay there.
    DryRun,
    /// Changes wait in BufferQueue and sets in SubmitQueue. Nothing is discarded.
    Stopped,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Live, Self::DryRun, Self::Stopped];

    /// What happens to changes in this mode, for a person.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Live => "changes are invalidated in CloudFront",
            Self::DryRun => "changes are planned and logged, and then discarded",
            Self::Stopped => "changes wait and nothing is invalidated; SQS keeps them for 14 days",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::DryRun => "dry-run",
            Self::Stopped => "stopped",
        })
    }
}

/// A text that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no mode: it is live, dry-run or stopped")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let mode = Self::ALL.into_iter().find(|mode| mode.to_string() == text);
        mode.ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// The mode, and who chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenMode {
    /// The mode.
    pub mode: Mode,
    /// When it was chosen. `None` for the template's `InitialMode`.
    pub since: Option<OffsetDateTime>,
    /// Who chose it.
    pub by: String,
    /// Why, in the operator's words. May be empty.
    pub why: String,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    mode: Mode,
    since: String,
    by: String,
    #[serde(default)]
    why: String,
}

impl ChosenMode {
    /// The mode of a stack for which nobody has chosen one: that of the template's `InitialMode`.
    pub fn initial(mode: Mode) -> Self {
        Self {
            mode,
            since: None,
            by: "the template's InitialMode".to_owned(),
            why: String::new(),
        }
    }

    /// Whether somebody chose it.
    pub fn was_chosen(&self) -> bool {
        self.since.is_some()
    }

    /// A mode that somebody chooses at this time.
    pub fn new(mode: Mode, now: OffsetDateTime, by: String, why: String) -> Self {
        let second = now.replace_nanosecond(0).unwrap_or(now);
        let since = Some(second.to_offset(UtcOffset::UTC));
        Self {
            mode,
            since,
            by,
            why,
        }
    }

    /// When it was chosen, as text: a time of RFC 3339, or `the deployment`.
    pub fn since(&self) -> String {
        let time = self.since.and_then(|since| since.format(&Rfc3339).ok());
        time.unwrap_or_else(|| "the deployment".to_owned())
    }
}

impl StateObject for ChosenMode {
    const NAME: &'static str = "the mode";
    const REMEDY: &'static str = "write it again with `invalidatorctl mode`";
    const MAX_BYTES: usize = 64 * 1024;

    fn from_json(text: &str) -> Result<Self, UnreadableState> {
        let body: Body = from_versioned_json(text, VERSION, None)?;
        let since = OffsetDateTime::parse(&body.since, &Rfc3339);
        check(since.is_ok(), "since")?;
        Ok(Self {
            mode: body.mode,
            since: since.ok(),
            by: body.by,
            why: body.why,
        })
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Body {
            v: VERSION,
            mode: self.mode,
            since: self.since(),
            by: self.by.clone(),
            why: self.why.clone(),
        })
    }
}

impl fmt::Display for ChosenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since {}, by {}", self.mode, self.since(), self.by)?;
        match self.why.as_str() {
            "" => Ok(()),
            why => write!(f, ": {why}"),
        }
    }
}

/// The mode to work in. `None` as a reading is a call that failed.
///
/// If the object cannot be read, or somebody deleted a mode that was chosen, it is the last known mode, unless
/// that is a dry run; without one it is `None`, and the stack does nothing, because it may have been stopped.
pub fn mode_in_force(
    reading: Option<Reading<ChosenMode>>,
    last_known: Option<&ChosenMode>,
    initial: Mode,
) -> Option<ChosenMode> {
    // A dry run discards changes, so it has to be sure.
    let last_known_unless_dry_run = || last_known.filter(|it| it.mode != Mode::DryRun).cloned();
    match reading {
        Some(Reading::Found(chosen, _)) => Some(chosen),
        Some(Reading::Absent) => match last_known.is_some_and(ChosenMode::was_chosen) {
            // It is gone for good, with all its versions.
            true => last_known_unless_dry_run(),
            false => Some(ChosenMode::initial(initial)),
        },
        Some(Reading::Deleted | Reading::Unreadable(..)) | None => last_known_unless_dry_run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn chosen(mode: Mode) -> ChosenMode {
        let now = datetime!(2026-11-21 03:03:04.567 +1);
        ChosenMode::new(mode, now, "ada".to_owned(), "release".to_owned())
    }

    #[test]
    fn a_mode_is_what_it_was_when_it_was_written() {
        for mode in Mode::ALL {
            let json = chosen(mode).to_json().unwrap();
            assert_eq!(ChosenMode::from_json(&json).unwrap(), chosen(mode));
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!(
            chosen(Mode::DryRun).to_json().unwrap(),
            r#"{"v":1,"mode":"dry-run","since":"2026-11-21T02:03:04Z","by":"ada","why":"release"}"#
        );
    }

    #[test]
    fn what_is_no_mode_is_named() {
        for (text, expected) in [
            ("", "not the documented JSON"),
            ("stopped", "not the documented JSON"),
            (r#"{"mode":"live"}"#, "no version `v`"),
            (r#"{"v":2,"mode":"paused"}"#, "of version 2"),
            (
                r#"{"v":1,"mode":"paused","since":"2026-11-21T02:03:04Z","by":""}"#,
                "unknown variant `paused`",
            ),
            (r#"{"v":1,"mode":"live","by":""}"#, "missing field `since`"),
            (
                r#"{"v":1,"mode":"live","since":"today","by":""}"#,
                "field `since`",
            ),
        ] {
            let error = ChosenMode::from_json(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = "Live".parse::<Mode>().unwrap_err().to_string();
        assert_eq!(error, "`Live` is no mode: it is live, dry-run or stopped");
    }

    #[test]
    fn fields_that_a_later_version_adds_are_skipped() {
        let text =
            r#"{"v":1,"mode":"stopped","since":"2026-11-21T02:03:04Z","by":"ada","until":"2027"}"#;
        assert_eq!(ChosenMode::from_json(text).unwrap().mode, Mode::Stopped);
    }

    #[test]
    fn the_mode_in_force_is_the_chosen_one_or_the_last_known_or_none() {
        let stopped = chosen(Mode::Stopped);
        let dry_run = chosen(Mode::DryRun);
        let live = ChosenMode::initial(Mode::Live);
        let found = |chosen: &ChosenMode| Some(Reading::Found(chosen.clone(), None));
        let unreadable = || Some(Reading::Unreadable(UnreadableState::NotText, None));
        for (reading, last_known, expected) in [
            (found(&stopped), Some(&live), Some(&stopped)),
            (found(&dry_run), Some(&stopped), Some(&dry_run)),
            // Nobody has chosen one.
            (Some(Reading::Absent), None, Some(&live)),
            (Some(Reading::Absent), Some(&live), Some(&live)),
            // It was chosen, and is gone.
            (Some(Reading::Absent), Some(&stopped), Some(&stopped)),
            (Some(Reading::Deleted), Some(&stopped), Some(&stopped)),
            (Some(Reading::Deleted), Some(&live), Some(&live)),
            (Some(Reading::Deleted), None, None),
            (unreadable(), Some(&stopped), Some(&stopped)),
            (unreadable(), None, None),
            (None, Some(&stopped), Some(&stopped)),
            (None, Some(&live), Some(&live)),
            (None, None, None),
            // It would discard changes by hearsay.
            (Some(Reading::Absent), Some(&dry_run), None),
            (Some(Reading::Deleted), Some(&dry_run), None),
            (unreadable(), Some(&dry_run), None),
            (None, Some(&dry_run), None),
        ] {
            let name = format!("{reading:?} {last_known:?}");
            let mode = mode_in_force(reading, last_known, Mode::Live);
            assert_eq!(mode.as_ref(), expected, "{name}");
        }
    }

    #[test]
    fn a_mode_tells_since_when_and_by_whom() {
        assert_eq!(
            chosen(Mode::Stopped).to_string(),
            "stopped since 2026-11-21T02:03:04Z, by ada: release"
        );
        assert_eq!(
            ChosenMode::initial(Mode::DryRun).to_string(),
            "dry-run since the deployment, by the template's InitialMode"
        );
    }
}
