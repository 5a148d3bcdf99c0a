//! What was found: problems, warnings and notes, and what was looked at and is well.

use std::fmt;

use invalidator_core::service_error::ServiceError;
use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Changes are lost, or do not reach CloudFront.
    Problem,
    /// It costs more than it must, is late, or will fail some day.
    Warning,
    /// How it is, so that nobody is surprised.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// What a finding is about, in the order in which they are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Stack,
    Function,
    Role,
    Queues,
    Mail,
    Bucket(String),
    /// The id and the alias.
    Distribution(String, String),
}

impl Subject {
    /// A bucket of this name.
    pub fn bucket(name: &str) -> Self {
        Self::Bucket(name.to_owned())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack => f.write_str("the stack"),
            Self::Function => f.write_str("the function"),
            Self::Role => f.write_str("the function's role"),
            Self::Queues => f.write_str("the queues"),
            Self::Mail => f.write_str("mails and alarms"),
            Self::Bucket(name) => write!(f, "bucket {name}"),
            Self::Distribution(id, alias) if alias.is_empty() => write!(f, "distribution {id}"),
            Self::Distribution(id, alias) => write!(f, "distribution {id} ({alias})"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is not as it should be, or that is good to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The rule, for a script that looks for one: `bucket-not-connected`.
    pub rule: &'static str,
    pub subject: Subject,
    /// What it is.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What fixes it: commands to paste, or a line that begins with `#` where there is none.
    pub fix: Vec<String>,
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub all: Vec<Finding>,
    /// What was looked at and is well.
    pub well: Vec<(Subject, String)>,
}

impl Findings {
    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.all.push(finding);
    }

    /// Says what is well.
    pub fn well(&mut self, subject: &Subject, what: impl Into<String>) {
        self.well.push((subject.clone(), what.into()));
    }

    /// Whether a finding about this subject has one of these rules.
    pub fn has(&self, subject: &Subject, rules: &[&str]) -> bool {
        let mut all = self.all.iter();
        all.any(|it| it.subject == *subject && rules.contains(&it.rule))
    }

    /// How many findings are this bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.all.iter().filter(|it| it.severity == severity).count()
    }

    /// In the order of their subjects, the worst ones first.
    pub fn sort(&mut self) {
        self.all
            .sort_by(|a, b| (&a.subject, a.severity).cmp(&(&b.subject, b.severity)));
        self.well.sort_by(|a, b| a.0.cmp(&b.0));
    }
}

impl Finding {
    /// Changes are lost, or do not reach CloudFront.
    pub fn problem(
        rule: &'static str,
        subject: &Subject,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Problem, rule, subject, what.into(), why.into())
    }

    /// It costs more than it must, is late, or will fail some day.
    pub fn warning(
        rule: &'static str,
        subject: &Subject,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, rule, subject, what.into(), why.into())
    }

    /// How it is.
    pub fn note(
        rule: &'static str,
        subject: &Subject,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Note, rule, subject, what.into(), why.into())
    }

    fn new(
        severity: Severity,
        rule: &'static str,
        subject: &Subject,
        what: String,
        why: String,
    ) -> Self {
        Self {
            severity,
            rule,
            subject: subject.clone(),
            what,
            why,
            fix: Vec::new(),
        }
    }

    /// Something that could not be looked at, so that nobody knows whether it is well.
    pub fn unread(subject: &Subject, what: &str, error: &ServiceError) -> Self {
        let finding = Self::warning(
            "not-looked-at",
            subject,
            format!("{what} could not be looked at: {error}"),
            "a fault there would not be found",
        );
        match error.action {
            Some(action) => finding.fix(format!(
                "# allow {action} for whoever runs this command, then check again"
            )),
            None => finding,
        }
    }

    /// With a command that fixes it.
    pub fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix.push(command.into());
        self
    }
}

/// A number of things: `1 file`, `2 files`.
pub fn count(number: impl Into<i64>, what: &str) -> String {
    match number.into() {
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}
