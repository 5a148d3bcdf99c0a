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

/// An object that is no mode.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableMode {
    /// It is not the documented JSON.
    #[error("{MODE_KEY} is not the JSON of a mode: {0}")]
    Json(#[from] serde_json::Error),
    /// It says when it was chosen in no format that is known.
    #[error("{MODE_KEY} has `{0}` as `since`, which is no time like 2026-11-21T02:03:04Z")]
    Time(String),
    /// It has a version that this code does not know.
    #[error("{MODE_KEY} is of version {0}, this program reads version {VERSION}")]
    Version(u32),
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

    /// Reads the object.
    ///
    /// # Errors
    /// If it is not the JSON of a mode, or of a version that is not known.
    pub fn from_json(text: &str) -> Result<Self, UnreadableMode> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Version { v } = serde_json::from_str(text)?;
        if v != VERSION {
            return Err(UnreadableMode::Version(v));
        }
        let body: Body = serde_json::from_str(text)?;
        let since = OffsetDateTime::parse(&body.since, &Rfc3339);
        let since = since.map_err(|_| UnreadableMode::Time(body.since))?;
        Ok(Self {
            mode: body.mode,
            since: Some(since),
            by: body.by,
            why: body.why,
        })
    }

    /// The object.
    ///
    /// # Errors
    /// None in practice: strings always serialize.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Body {
            v: VERSION,
            mode: self.mode,
            since: self.since(),
            by: self.by.clone(),
            why: self.why.clone(),
        })
    }

    /// When it was chosen, as text: a time of RFC 3339, or `the deployment`.
    pub fn since(&self) -> String {
        let time = self.since.and_then(|since| since.format(&Rfc3339).ok());
        time.unwrap_or_else(|| "the deployment".to_owned())
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

/// The result of looking for the object.
#[derive(Debug)]
pub enum ModeReading {
    /// It was read.
    Found(ChosenMode),
    /// There is none: nobody has chosen a mode.
    Absent,
    /// It cannot be read, or is no mode.
    Unreadable,
}

/// The mode to work in. If the object cannot be read it is the last known one, unless that is a dry run;
/// without one it is `None`, and the stack does nothing, because it may have been stopped.
pub fn mode_in_force(
    reading: ModeReading,
    last_known: Option<&ChosenMode>,
    initial: Mode,
) -> Option<ChosenMode> {
    match reading {
        ModeReading::Found(chosen) => Some(chosen),
        ModeReading::Absent => Some(ChosenMode::initial(initial)),
        // A dry run discards changes, so it has to be sure.
        ModeReading::Unreadable => last_known.filter(|it| it.mode != Mode::DryRun).cloned(),
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
            ("", "not the JSON of a mode"),
            ("stopped", "not the JSON of a mode"),
            (r#"{"mode":"live"}"#, "missing field `v`"),
            (r#"{"v":2,"mode":"paused"}"#, "of version 2"),
            (
                r#"{"v":1,"mode":"paused","since":"2026-11-21T02:03:04Z","by":""}"#,
                "unknown variant `paused`",
            ),
            (r#"{"v":1,"mode":"live","by":""}"#, "missing field `since`"),
            (
                r#"{"v":1,"mode":"live","since":"today","by":""}"#,
                "`today` as `since`",
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
        for (reading, last_known, expected) in [
            (
                ModeReading::Found(stopped.clone()),
                Some(&live),
                Some(&stopped),
            ),
            (ModeReading::Absent, None, Some(&live)),
            // Somebody removed the object: back to the template.
            (ModeReading::Absent, Some(&stopped), Some(&live)),
            (ModeReading::Unreadable, Some(&stopped), Some(&stopped)),
            // It would discard changes by hearsay.
            (ModeReading::Unreadable, Some(&dry_run), None),
            (ModeReading::Unreadable, None, None),
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
