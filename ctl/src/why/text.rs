//! The answer for a person.

use std::fmt;

use invalidator_core::event::ChangeKind;
use invalidator_core::text::Lines;

use super::answer::{Answer, Looking, Named, Object, Outcome, Served, Way};
use crate::grouped::{Names, Skipped as SkippedLine};

/// `E1 (www.example.org)`
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{tenant} (tenant of {})", self.distribution),
            None => write!(f, "{} ({})", self.distribution, self.alias),
        }
    }
}

impl Answer {
    /// What the plan says.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::new();
        if let Some(url) = &self.url {
            lines.line(url);
            if self.objects.is_empty() {
                lines.line("  is no object of a bucket");
            }
        }
        for note in &self.notes {
            lines.line(format_args!("note: {note}"));
        }
        for object in &self.objects {
            object.add_to(&mut lines);
        }
        lines
    }
}

impl Object {
    fn add_to(&self, lines: &mut Lines) {
        lines.line(format_args!("s3://{}/{}", self.bucket, self.key));
        if self.only_changed {
            lines.line(
                "  the bucket is tagged invalidate=changed: uploads that change nothing for viewers are skipped",
            );
        }
        if self.served.is_empty() {
            lines.line("  no distribution serves it");
        }
        for served in &self.served {
            served.add_to(lines);
        }
        for skipped in &self.skipped {
            let reasons: Vec<&str> = skipped.reasons.iter().map(String::as_str).collect();
            let line = SkippedLine {
                names: &skipped.distributions,
                kind: &skipped.kind,
                reasons: &reasons,
            };
            lines.line(format_args!("  {line}"));
        }
        if !self.served.is_empty() {
            let change = match self.cost_of {
                ChangeKind::Created => "an upload",
                ChangeKind::Deleted => "a deletion",
            };
            lines.line(format_args!("  what {change} costs, if it comes alone:"));
            let mut cost = Lines::new();
            self.cost.add_to(&mut cost);
            cost.as_str()
                .lines()
                .for_each(|line| lines.line(format_args!("  {line}")));
        }
    }

    /// What happened.
    pub fn history_lines(&self) -> Lines {
        let mut lines = Lines::new();
        let Some(history) = &self.history else {
            return lines;
        };
        lines.line(format_args!(
            "what happened to s3://{}/{}:",
            self.bucket, self.key
        ));
        match &history.log {
            Some(log) => log.add_to(&mut lines),
            None => {
                lines.line("  it is not known where the function logs: name the stack with --stack")
            }
        }
        for looked in &history.invalidations {
            looked.add_to(&mut lines);
        }
        lines
    }
}

impl Served {
    fn add_to(&self, lines: &mut Lines) {
        let Self { distributions, way } = self;
        lines.line(format_args!("  {}", Names(distributions)));
        let Way {
            origin,
            domain,
            origin_path,
            ..
        } = way;
        let below = match origin_path.as_str() {
            "" => "which serves the whole bucket".to_owned(),
            path => format!("which serves what is below `{path}/`"),
        };
        lines.line(format_args!("    origin `{origin}` is {domain}, {below}"));
        for looking in &way.lookups {
            looking.add_to(lines);
        }
        for function in &way.rewriting_functions {
            lines.line(format_args!(
                "    the function {function} may rewrite paths: what is cached under other paths is not known"
            ));
        }
        lines.line(format_args!(
            "    errors: the 403 or 404 of a missing object is cached for at least {} s",
            way.missing_object_ttl
        ));
        for page in &way.error_pages {
            let what = match page.outlasts_debounce {
                true => "longer than the debounce, so `/*` is invalidated when its object changes",
                false => "not longer than the debounce, so it is left to expire",
            };
            let (path, seconds) = (&page.path, page.seconds);
            lines.line(format_args!(
                "    error page `{path}`: cached for {seconds} s under any path that has its error, {what}"
            ));
        }
        match (&way.upload, &way.deletion) {
            (upload, deletion) if upload.is_like(deletion) => {
                upload.add_to("an upload or a deletion", lines);
            }
            (upload, deletion) => {
                upload.add_to("an upload", lines);
                deletion.add_to("a deletion", lines);
            }
        }
        if let Some(seconds) = way.rationed {
            lines.line(format_args!(
                "    wildcards that names need go at most every {seconds} s for a bucket and a distribution"
            ));
        }
    }
}

impl Looking {
    fn add_to(&self, lines: &mut Lines) {
        let because = self.because.as_ref();
        let because = because.map_or_else(String::new, |because| format!(", because {because}"));
        lines.line(format_args!("    path {}{because}", self.path));
        for behavior in &self.no_match {
            lines.line(format_args!("      {behavior} does not match"));
        }
        let group = if self.is_group { "the group " } else { "" };
        let (behavior, sends_to) = (&self.behavior, &self.sends_to);
        lines.line(format_args!(
            "      {behavior} takes it, and sends it to {group}`{sends_to}`"
        ));
        let query_strings = match self.query_strings {
            true => "query strings are in the cache key",
            false => "query strings are not in the cache key",
        };
        lines.line(format_args!("      {}; {query_strings}", self.caching_text));
    }
}

impl Outcome {
    /// Whether both lead to the same paths, for the same reasons.
    fn is_like(&self, other: &Self) -> bool {
        self == other
    }

    fn add_to(&self, change: &str, lines: &mut Lines) {
        match self {
            Self::Invalidate(paths) => {
                for path in paths {
                    let line = format!("    {change} invalidates {path}");
                    match paths.iter().any(|other| other.covers(path)) {
                        true => {
                            lines.line(format_args!("{line}, with the wildcard that covers it"))
                        }
                        false => lines.line(line),
                    }
                }
            }
            Self::Nothing(reason) => {
                lines.line(format_args!("    {change} invalidates nothing: {reason}"));
            }
        }
    }
}
