//! The findings, for a person or a machine.

use invalidator_core::text::Lines;
use serde::Serialize;
use time::OffsetDateTime;

use super::facts::Facts;
use super::finding::{Finding, Findings, Severity, Subject, count};
use crate::in_json::rfc3339;

/// The version of the JSON.
const VERSION: u32 = 1;

/// What a check found.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    v: u32,
    account: &'a str,
    region: &'a str,
    stack: &'a str,
    #[serde(serialize_with = "rfc3339")]
    time: OffsetDateTime,
    problems: i64,
    warnings: i64,
    notes: i64,
    findings: &'a [Finding],
    /// What was looked at and is well.
    well: Vec<Well<'a>>,
}

#[derive(Debug, Serialize)]
struct Well<'a> {
    subject: &'a Subject,
    what: &'a str,
}

impl<'a> Report<'a> {
    pub fn new(facts: &'a Facts, findings: &'a Findings) -> Self {
        let well = findings.well.iter();
        Self {
            v: VERSION,
            account: &facts.account,
            region: &facts.region,
            stack: &facts.stack.name,
            time: facts.now,
            problems: number(findings, Severity::Problem),
            warnings: number(findings, Severity::Warning),
            notes: number(findings, Severity::Note),
            findings: &findings.all,
            well: well.map(|(subject, what)| Well { subject, what }).collect(),
        }
    }

    /// For a person: by subject, the worst first.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::new();
        let mut subjects: Vec<&Subject> = self.findings.iter().map(|it| &it.subject).collect();
        subjects.extend(self.well.iter().map(|it| it.subject));
        subjects.sort();
        subjects.dedup();
        for subject in subjects {
            lines.line(subject);
            let findings = self.findings.iter().filter(|it| it.subject == *subject);
            findings.for_each(|finding| add(finding, &mut lines));
            for well in self.well.iter().filter(|it| it.subject == subject) {
                lines.line(format_args!("  ok: {}", well.what));
            }
            lines.line("");
        }
        lines.line(format_args!(
            "{}, {}, {}",
            count(self.problems, "problem"),
            count(self.warnings, "warning"),
            count(self.notes, "note")
        ));
        lines
    }
}

fn add(finding: &Finding, lines: &mut Lines) {
    let Finding {
        severity,
        what,
        why,
        fix,
        ..
    } = finding;
    lines.line(format_args!("  {severity}: {what}"));
    lines.line(format_args!("    why: {why}"));
    for (place, command) in fix.iter().enumerate() {
        let label = if place == 0 { "fix:" } else { "    " };
        lines.line(format_args!("    {label} {command}"));
    }
}

fn number(findings: &Findings, severity: Severity) -> i64 {
    i64::try_from(findings.count(severity)).unwrap_or(i64::MAX)
}
