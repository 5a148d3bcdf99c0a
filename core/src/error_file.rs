//! The file of rejected paths in the error bucket.
//! Administrators and their scripts rely on these formats, so they are fixed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use crate::incident::Rejection;
use crate::name::InvalidName;
use crate::path::{InvalidationPath, MAX_PATH_CHARACTERS};
use crate::problems::Problems;
use crate::rejection::Rejected;
use crate::service_error::ServiceError;
use crate::target::{Target, TargetId};
use crate::text::one_line;

/// The folder of the error files.
pub const FOLDER: &str = "invalidation_error/";

/// The subject of the mail.
pub const SUBJECT: &str = "[Error] CloudFront Invalidation";

/// Paths that were rejected for one target, set by set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFile<'a> {
    /// The distribution's id, or the tenant's.
    pub id: TargetId,
    /// The sets.
    pub sets: Vec<Vec<InvalidationPath<'a>>>,
}

/// How the time is written in a key.
const KEY_TIME: StaticFormatDescription =
    format_description!("[year][month][day][hour][minute][second][subsecond digits:6]");

/// The digits of the time in a key.
const KEY_TIME_DIGITS: usize = 20;

/// The key of an error file. `random` is ten of `[a-z0-9]`.
///
/// # Errors
/// None in practice: the format has only parts every time has.
pub fn error_key(
    now: OffsetDateTime,
    random: &str,
    id: &str,
) -> Result<String, time::error::Format> {
    let time = now.to_offset(time::UtcOffset::UTC).format(KEY_TIME)?;
    Ok(format!("{FOLDER}{time}{random}_{id}.txt"))
}

/// When an error file was written, as its key says. `None` if the function did not make the key.
pub fn time_in_key(key: &str) -> Option<OffsetDateTime> {
    let digits = key.strip_prefix(FOLDER)?.get(..KEY_TIME_DIGITS)?;
    let time = time::PrimitiveDateTime::parse(digits, KEY_TIME).ok()?;
    Some(time.assume_utc())
}

/// A text that is not an error file.
#[derive(Debug, thiserror::Error)]
pub enum InvalidErrorFile {
    /// The first line is wrong.
    #[error("the first line is not `CloudFront Id [..]`")]
    NoId,
    /// It is more than one file.
    #[error("it holds several files, one after the other")]
    Several,
    /// The id is neither a distribution's nor a tenant's.
    #[error("the first line: {0}")]
    Id(#[from] InvalidName),
    /// Lines are neither paths nor part of the format.
    #[error(
        "these lines are no paths, which begin with `/`, hold printable ASCII only and have at most \
         {MAX_PATH_CHARACTERS} characters: {0}"
    )]
    Lines(Problems<BadLine>),
}

/// A line of an error file that is neither a path nor part of the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The number of the line, from 1.
    line: usize,
    /// Its beginning.
    text: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`", self.line, self.text)
    }
}

impl ErrorFile<'_> {
    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("CloudFront Id [{}]\n", self.id);
        for (n, set) in (1..).zip(&self.sets) {
            let paths: String = set.iter().flat_map(|path| [path.as_str(), "\n"]).collect();
            // Writing to a String cannot fail.
            let _ = write!(text, "(Set {n} Start)\n\n{paths}\n(Set {n} End)\n\n");
        }
        text
    }

    /// Reads a file back.
    ///
    /// # Errors
    /// If the text was not written by [`ErrorFile::to_text`], or holds several files.
    pub fn from_text(text: &str) -> Result<Self, InvalidErrorFile> {
        let mut sections = Section::all_from_text(text)?;
        match sections.pop() {
            Some(only) if sections.is_empty() => Ok(only.file),
            _ => Err(InvalidErrorFile::Several),
        }
    }
}

/// A part of a text that people may have edited: the paths of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// The target and its paths.
    pub file: ErrorFile<'a>,
    /// The hosts of the URLs that stood in the place of paths.
    pub hosts: BTreeSet<String>,
}

impl Section<'_> {
    /// Reads what the function wrote, also after people have edited it: with a byte order mark, with white space
    /// around the lines, with lines that begin with `#`, with URLs instead of paths, and with several files one
    /// after the other.
    ///
    /// # Errors
    /// If the first line that says something names no target, or another line is no path.
    pub fn all_from_text(text: &str) -> Result<Vec<Self>, InvalidErrorFile> {
        let mut sections: Vec<Self> = Vec::new();
        let mut problems = Problems::default();
        let text = text.trim_start_matches('\u{feff}');
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Some(id) = id_of_line(text) {
                sections.push(Self::new(id.parse()?));
                continue;
            }
            let section = sections.last_mut().ok_or(InvalidErrorFile::NoId)?;
            if !section.take(text) {
                problems.push(BadLine {
                    line,
                    text: one_line(text, 120),
                });
            }
        }
        if !problems.is_empty() {
            return Err(InvalidErrorFile::Lines(problems));
        }
        if sections.is_empty() {
            return Err(InvalidErrorFile::NoId);
        }
        Ok(sections)
    }

    fn new(id: TargetId) -> Self {
        Self {
            file: ErrorFile {
                id,
                sets: Vec::new(),
            },
            hosts: BTreeSet::new(),
        }
    }

    /// Takes a line that is not empty. Whether it could be read.
    fn take(&mut self, line: &str) -> bool {
        let sets = &mut self.file.sets;
        if line.starts_with("(Set ") && line.ends_with(" Start)") {
            sets.push(Vec::new());
            return true;
        }
        if line.starts_with("(Set ") && line.ends_with(" End)") {
            return true;
        }
        let url = url_parts(line);
        let path = url.map_or(line, |(_, path)| path).to_owned();
        let Ok(path) = InvalidationPath::try_from(path) else {
            return false;
        };
        self.hosts.extend(url.map(|(host, _)| host.to_owned()));
        match sets.last_mut() {
            Some(set) => set.push(path),
            None => sets.push(vec![path]),
        }
        true
    }
}

fn id_of_line(line: &str) -> Option<&str> {
    line.strip_prefix("CloudFront Id [")?.strip_suffix(']')
}

/// The host of a URL, and its path with the query string, as a viewer sends it.
fn url_parts(line: &str) -> Option<(&str, &str)> {
    let scheme = ["https://", "http://"];
    let rest = scheme.iter().find_map(|it| line.strip_prefix(it))?;
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    match rest.find('/') {
        Some(0) => None,
        Some(at) => Some(rest.split_at(at)),
        None => Some((rest, "/")),
    }
}

/// Everything that was rejected for one target.
#[derive(Debug)]
pub struct TargetFailure<'a> {
    /// The distribution or tenant.
    pub target: Target,
    /// The file to write.
    pub file: ErrorFile<'a>,
    /// The different reasons, in order of appearance.
    pub reasons: Vec<ServiceError>,
    /// The reason of each set of the file.
    reason_of_set: Vec<ServiceError>,
}

/// How many paths a mail shows of each file.
const MAX_SAMPLES: usize = 3;

impl<'a> TargetFailure<'a> {
    /// Groups rejected paths by target, in order of target.
    pub fn group(rejected: Vec<Rejected<'a>>) -> Vec<Self> {
        let mut failures: BTreeMap<Target, Self> = BTreeMap::new();
        for Rejected {
            target,
            paths,
            reason,
        } in rejected
        {
            let failure = failures.entry(target.clone()).or_insert_with(|| Self {
                file: ErrorFile {
                    id: target.target_id(),
                    sets: Vec::new(),
                },
                reasons: Vec::new(),
                reason_of_set: Vec::new(),
                target,
            });
            failure.file.sets.push(paths);
            failure.reason_of_set.push(reason.clone());
            if !failure.reasons.contains(&reason) {
                failure.reasons.push(reason);
            }
        }
        failures.into_values().collect()
    }

    /// What was rejected for each reason. `key` names the file, `alias` the target's distribution.
    pub fn rejections(&self, key: &str, alias: &str) -> Vec<Rejection> {
        let mut rejections: Vec<Rejection> = Vec::new();
        for (set, reason) in self.file.sets.iter().zip(&self.reason_of_set) {
            let known = rejections.iter().position(|it| it.code == reason.code);
            let index = known.unwrap_or(rejections.len());
            if known.is_none() {
                rejections.push(Rejection {
                    code: reason.code.clone(),
                    reason: reason.to_string(),
                    target: self.target.id().to_owned(),
                    alias: alias.to_owned(),
                    paths: 0,
                    samples: Vec::new(),
                    key: key.to_owned(),
                    can_be_replayed: true,
                });
            }
            let rejection = &mut rejections[index];
            rejection.paths += set.len() as u64;
            let samples = set.iter().take(MAX_SAMPLES - rejection.samples.len());
            rejection.samples.extend(samples.map(ToString::to_string));
        }
        rejections
    }

    /// The error codes, as object metadata, where only printable ASCII is safe.
    pub fn codes(&self) -> String {
        metadata(self.reasons.iter().map(|reason| reason.code.as_str()))
    }

    /// The error messages, as object metadata.
    pub fn messages(&self) -> String {
        metadata(self.reasons.iter().map(|reason| reason.message.as_str()))
    }
}

/// A message that cannot be read. Its body is written to a file unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    queue: &'static str,
    why: String,
}

impl Unreadable {
    /// Takes the place of the target's id in the key.
    pub const ID: &'static str = "unreadable";

    /// The error code in the object's metadata.
    pub const CODE: &'static str = "UnreadableMessage";

    /// A message of SubmitQueue in this message group, and why it cannot be read.
    pub fn in_submit_queue(group: &str, why: &str) -> Self {
        Self {
            queue: "SubmitQueue",
            why: one_line(&format!("message group {group}: {why}"), MAX_WHY),
        }
    }

    /// A message of BufferQueue, and why it cannot be read.
    pub fn in_buffer_queue(why: &str) -> Self {
        Self {
            queue: "BufferQueue",
            why: one_line(why, MAX_WHY),
        }
    }

    /// Why it cannot be read. This may quote what is in it.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What the mail tells about the message. `key` names the file.
    pub fn rejection(&self, key: &str) -> Rejection {
        let queue = self.queue;
        Rejection {
            code: Self::CODE.to_owned(),
            reason: format!(
                "a message of {queue} cannot be read, so it was not processed. Its file holds it as it was. \
                 What to do: find out who sends such messages; one that a newer version of the function wrote \
                 can be sent to {queue} again."
            ),
            target: queue.to_owned(),
            alias: "queue".to_owned(),
            paths: 0,
            samples: vec![self.why.clone()],
            key: key.to_owned(),
            can_be_replayed: false,
        }
    }
}

/// How many characters of the reason why a message cannot be read are told.
const MAX_WHY: usize = 700;

/// Joins texts for object metadata, of which S3 accepts 2 KB in total.
fn metadata<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    printable(&seen.join("; "))
}

/// Limits a text to 700 characters of printable ASCII, so that it is safe in metadata and in a mail,
/// whoever wrote it.
pub fn printable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 700;
    let printable = |c: char| match c == ' ' || c.is_ascii_graphic() {
        true => c,
        false => '?',
    };
    text.chars().take(MAX_CHARACTERS).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{DistributionId, TenantId};
    use time::macros::datetime;

    fn path(text: &str) -> InvalidationPath<'static> {
        InvalidationPath::try_from(text.to_owned()).unwrap()
    }

    fn rejected(id: &str, paths: &[&str], code: &str) -> Rejected<'static> {
        Rejected {
            target: Target {
                distribution: DistributionId::new(id),
                tenant: None,
            },
            paths: paths.iter().map(|text| path(text)).collect(),
            reason: ServiceError::own(code, format!("{code} happened")),
        }
    }

    #[test]
    fn the_key_tells_when_and_for_which_distribution() {
        let now = datetime!(2026-11-21 02:03:04.567891 UTC);
        assert_eq!(
            error_key(now, "abcde01234", "E2QWRUHAPOMQZL").unwrap(),
            "invalidation_error/20261121020304567891abcde01234_E2QWRUHAPOMQZL.txt"
        );
        let elsewhere = datetime!(2026-11-21 11:03:04.000001 +9);
        assert_eq!(
            error_key(elsewhere, "x", "E").unwrap(),
            "invalidation_error/20261121020304000001x_E.txt"
        );
        for key in [
            error_key(now, "abcde01234", "E2QWRUHAPOMQZL").unwrap(),
            error_key(elsewhere.replace_day(20).unwrap(), "0123456789", "E").unwrap(),
        ] {
            let again = error_key(time_in_key(&key).unwrap(), "", "").unwrap();
            let until_time = again.strip_suffix("_.txt").unwrap();
            assert!(key.starts_with(until_time), "{key}: {again}");
            assert_eq!(until_time.len(), FOLDER.len() + KEY_TIME_DIGITS);
        }
        for key in [
            "invalidation_error/1_E1.txt",
            "invalidation_error/2026112102030456789é_E1.txt",
            "a",
        ] {
            assert_eq!(time_in_key(key), None);
        }
    }

    #[test]
    fn the_file_is_in_the_format_administrators_know() {
        let file = ErrorFile {
            id: "E1".parse().unwrap(),
            sets: vec![vec![path("/a"), path("/b")], vec![path("/c*")]],
        };
        let text = "CloudFront Id [E1]\n(Set 1 Start)\n\n/a\n/b\n\n(Set 1 End)\n\n(Set 2 Start)\n\n/c*\n\n(Set 2 End)\n\n";
        assert_eq!(file.to_text(), text);
        assert_eq!(ErrorFile::from_text(text).unwrap(), file);
        assert_eq!(
            ErrorFile::from_text(&text.replace('\n', "\r\n")).unwrap(),
            file
        );
    }

    #[test]
    fn what_people_edited_is_read() {
        let text = "\u{feff}# from the mail of Monday\n\n  CloudFront Id [E1]\r\n(Set 1 Start)\n\n \t/a \n\
                    https://www.example.org/b?x=1#top\nhttp://example.org\n# /left-out\n\n(Set 1 End)\n\
                    CloudFront Id [E2]\n/c*\n";
        let sections = Section::all_from_text(text).unwrap();
        let read: Vec<_> = sections
            .iter()
            .map(|it| {
                let paths: Vec<&str> = it
                    .file
                    .sets
                    .iter()
                    .flatten()
                    .map(|it| it.as_str())
                    .collect();
                let hosts: Vec<&str> = it.hosts.iter().map(String::as_str).collect();
                (it.file.id.as_str(), paths, hosts)
            })
            .collect();
        let of_first = ["/a", "/b?x=1", "/"];
        assert_eq!(
            read,
            [
                (
                    "E1",
                    of_first.to_vec(),
                    vec!["example.org", "www.example.org"]
                ),
                ("E2", vec!["/c*"], vec![]),
            ]
        );
        assert!(matches!(
            ErrorFile::from_text(text),
            Err(InvalidErrorFile::Several)
        ));
        for (text, expected) in [
            ("# nothing\n", "the first line is not"),
            ("/a\nCloudFront Id [E1]\n", "the first line is not"),
            ("CloudFront Id [E1]\nhttps:///a\n", "line 2: `https:///a`"),
            ("CloudFront Id [E1]\nftp://example.org/a\n", "line 2: `ftp:"),
            (
                "CloudFront Id [E1]\nhttps://example.org/a b\n",
                "line 2: `https:",
            ),
        ] {
            let error = Section::all_from_text(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_line() {
        assert!(matches!(
            ErrorFile::from_text("hello"),
            Err(InvalidErrorFile::NoId)
        ));
        for id in ["", "e1", "E1; id", "dt_", "E1\u{1b}[31m"] {
            let error = ErrorFile::from_text(&format!("CloudFront Id [{id}]\n"));
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("the first line: `"), "{error}");
            assert!(!error.contains(char::is_control), "{error}");
        }
        let error = ErrorFile::from_text("CloudFront Id [E1]\n(Set 1 Start)\n\na b\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 4") && error.contains("`a b`"),
            "{error}"
        );
    }

    #[test]
    fn there_is_one_file_a_target_with_its_sets_and_reasons() {
        let mut of_tenant = rejected("E3", &["/t"], "AccessDenied");
        of_tenant.target.tenant = Some(TenantId::new("dt_1"));
        let failures = TargetFailure::group(vec![
            rejected("E2", &["/a"], "AccessDenied"),
            rejected("E1", &["/b"], "InvalidArgument"),
            rejected("E2", &["/c"], "InvalidArgument"),
            of_tenant,
        ]);
        let files: Vec<_> = failures
            .iter()
            .map(|failure| (failure.file.id.as_str(), failure.file.sets.len()))
            .collect();
        assert_eq!(files, [("E1", 1), ("E2", 2), ("dt_1", 1)]);
        assert_eq!(failures[1].codes(), "AccessDenied; InvalidArgument");
    }

    #[test]
    fn metadata_is_printable_ascii_of_a_length_s3_takes() {
        let mut failure = TargetFailure::group(vec![rejected("E1", &["/a"], "A")]).remove(0);
        failure.reasons[0].message = format!("한\n{}", "x".repeat(5_000));
        let message = failure.messages();
        assert!(
            message.starts_with("??x") && message.len() <= 700,
            "{message}"
        );
    }
}
