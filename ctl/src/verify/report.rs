//! What was found.

use std::collections::BTreeSet;
use std::process::ExitCode;

use invalidator_core::cost::amount::Of;
use invalidator_core::event::{BucketName, ObjectKey};
use invalidator_core::target::DistributionId;
use invalidator_core::text::Lines;
use serde::Serialize;

use super::compare::Verdict;
use super::item::{Check, Counts, hash};
use crate::function::Function;
use crate::site::Site;

const VERSION: u32 = 1;

/// So many URLs are listed of each verdict.
const MAX_LISTED: usize = 100;

/// The result.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The version of this form.
    v: u32,
    /// Objects that were looked at.
    objects: u64,
    /// Listed objects that are not in the sample.
    not_sampled: u64,
    urls: u64,
    fresh: u64,
    stale: u64,
    not_comparable: u64,
    not_served: u64,
    /// Objects that no distribution serves at a name that can be asked.
    unserved: u64,
    /// Listed objects whose uploads are ignored, and which are left out.
    excepted: u64,
    /// The hashes of the objects that are stale at any URL.
    #[serde(skip)]
    stale_objects: BTreeSet<u64>,
    /// What is not fresh, at most a hundred of each verdict.
    findings: Vec<Finding>,
    notes: Vec<String>,
}

/// A URL that is not fresh.
#[derive(Debug, Serialize)]
struct Finding {
    url: String,
    distribution: DistributionId,
    bucket: BucketName,
    key: ObjectKey<'static>,
    #[serde(flatten)]
    verdict: Verdict,
}

impl Report {
    pub fn new(site: &Site, function: &Function) -> Self {
        let mut notes = vec![
            "one edge location has answered, the one nearest to this machine, to requests that are not signed"
                .to_owned(),
        ];
        notes.extend(site.unknown.iter().chain(&function.notes).cloned());
        Self {
            v: VERSION,
            notes,
            ..Self::default()
        }
    }

    /// Adds what became of objects before any request.
    pub fn count(&mut self, counts: Counts) {
        self.objects += counts.objects;
        self.unserved += counts.unserved;
        self.excepted += counts.excepted;
    }

    pub fn add(&mut self, check: Check, verdict: Verdict) {
        self.urls += 1;
        let count = match &verdict {
            Verdict::Fresh => {
                self.fresh += 1;
                return;
            }
            Verdict::Stale(_) => {
                self.stale_objects
                    .insert(hash(&(&check.bucket, &check.key)));
                &mut self.stale
            }
            Verdict::NotComparable(_) => &mut self.not_comparable,
            Verdict::NotServed(_) => &mut self.not_served,
        };
        *count += 1;
        if *count > MAX_LISTED as u64 {
            return;
        }
        self.findings.push(Finding {
            url: format!("https://{}{}", check.host, check.path),
            distribution: check.distribution,
            bucket: check.bucket,
            key: check.key,
            verdict,
        });
    }

    /// Puts the findings in order: answers come as they come. So many listed objects are not in the sample.
    pub fn finish(&mut self, not_sampled: u64) {
        self.not_sampled = not_sampled;
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Fresh => 0,
            Verdict::Stale(_) => 1,
            Verdict::NotComparable(_) => 2,
            Verdict::NotServed(_) => 3,
        };
        self.findings
            .sort_by(|a, b| (rank(&a.verdict), &a.url).cmp(&(rank(&b.verdict), &b.url)));
    }

    /// How many objects are stale; `None` if nothing could be compared.
    pub fn stale_objects(&self) -> Option<u64> {
        (self.fresh + self.stale > 0).then_some(self.stale_objects.len() as u64)
    }

    /// Whether there were no objects to look at.
    pub fn is_empty(&self) -> bool {
        self.objects == 0
    }

    /// Failed if anything is stale, or if there were URLs and none could be compared.
    pub fn status(&self) -> ExitCode {
        let is_compared = self.fresh > 0 || self.is_empty();
        match self.stale == 0 && is_compared {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// For a person.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::new();
        for note in &self.notes {
            lines.line(format_args!("note: {note}"));
        }
        for Finding { url, verdict, .. } in &self.findings {
            match verdict {
                Verdict::Fresh => {}
                Verdict::Stale(why) => lines.line(format_args!("stale: {url}: {why}")),
                Verdict::NotComparable(why) => {
                    lines.line(format_args!("not comparable: {url}: {why}"));
                }
                Verdict::NotServed(why) => lines.line(format_args!("not served: {url}: {why}")),
            }
        }
        let listed = self.findings.len() as u64;
        match self.urls - self.fresh - listed {
            0 => {}
            more => lines.line(format_args!("and {more} more that are not fresh")),
        }
        let Self {
            objects,
            urls,
            fresh,
            stale,
            not_comparable,
            not_served,
            ..
        } = self;
        if self.excepted > 0 {
            let excepted = Of(self.excepted, "object");
            lines.line(format_args!(
                "left out: {excepted} under exception paths, where uploads are ignored"
            ));
        }
        if self.unserved > 0 {
            let unserved = Of(self.unserved, "object");
            lines.line(format_args!(
                "served by no distribution that can be asked: {unserved}; `invalidatorctl why` says why"
            ));
        }
        if self.not_sampled > 0 {
            let listed = objects + self.not_sampled;
            lines.line(format_args!(
                "a sample: {objects} of {} in the list; --all looks at all of them",
                Of(listed, "object")
            ));
        }
        let (urls, objects) = (Of(*urls, "URL"), Of(*objects, "object"));
        lines.line(format_args!(
            "{urls} of {objects}: {fresh} fresh, {stale} stale, {not_comparable} not comparable, {not_served} not \
             served"
        ));
        lines
    }
}
