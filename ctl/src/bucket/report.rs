//! What was changed in a bucket, for a person or a machine.

use anyhow::Result;
use serde::Serialize;

use crate::output::{Format, show_json, show_line, tell};

/// The version of the JSON.
const VERSION: u32 = 1;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    /// Nothing was to be done.
    Nothing,
}

/// What is changed.
#[derive(Debug)]
pub struct Report<'a> {
    bucket: &'a str,
    function: &'a str,
    changes: &'a [String],
}

#[derive(Serialize)]
struct Json<'a> {
    v: u32,
    bucket: &'a str,
    function: &'a str,
    outcome: Outcome,
    /// `+` what came and `-` what went.
    changes: &'a [String],
    /// Where the settings before are.
    saved: Option<&'a str>,
}

impl<'a> Report<'a> {
    pub fn new(bucket: &'a str, function: &'a str, changes: &'a [String]) -> Self {
        Self {
            bucket,
            function,
            changes,
        }
    }

    /// Tells the difference, before it is asked for.
    pub fn tell(&self, title: &str) {
        tell(format_args!("{}: {title}", self.bucket));
        for change in self.changes {
            tell(format_args!("  {change}"));
        }
    }

    /// Shows what came of it.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn show(
        &self,
        format: Format,
        outcome: Outcome,
        what: &str,
        saved: Option<&str>,
    ) -> Result<()> {
        match format {
            Format::Text => show_line(format_args!("{}: {what}", self.bucket)),
            Format::Json => show_json(&Json {
                v: VERSION,
                bucket: self.bucket,
                function: self.function,
                outcome,
                changes: self.changes,
                saved,
            })?,
        }
        Ok(())
    }
}
