//! The mails about incidents. Their subject and first lines are fixed, because people filter by them and
//! scripts read them: the bucket, an empty line, and the keys of the files.

use std::fmt::Write;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::error_file::{FOLDER, SUBJECT};
use crate::incident::{Claim, News};
use crate::text::one_line;

/// The subject of the mail when an incident is over.
pub const SUBJECT_OVER: &str = "[Over] CloudFront Invalidation";

/// Where a mail explains itself.
pub const DOCS: &str = "docs/operate.md#error-cloudfront-invalidation";

/// SNS accepts 256 KiB. Keys that do not fit are left out of the mail, but their files are written.
const MAX_KEYS_BYTES: usize = 60 * 1024;
const MAX_MAIL_BYTES: usize = 250 * 1024;

/// How many targets of an incident a mail names.
const MAX_TARGETS: usize = 20;

/// What a mail says about where it comes from.
#[derive(Clone, Debug)]
pub struct Place {
    /// The error bucket.
    pub bucket: String,
    /// The URL of SubmitQueue.
    pub submit_queue: String,
    /// The account's number.
    pub account: String,
    /// The region.
    pub region: String,
    /// The name of the stack.
    pub stack: String,
}

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Below 100 characters, as SNS wants it.
    pub subject: &'static str,
    /// Below 256 KiB.
    pub text: String,
}

/// Writes one mail about incidents. Those that are over have a mail of their own.
pub fn mail(place: &Place, claims: &[Claim]) -> Mail {
    let is_over = claims.iter().all(|claim| claim.news == News::Over);
    let subject = if is_over { SUBJECT_OVER } else { SUBJECT };
    let of = |keys: fn(&Claim) -> &Vec<String>| {
        let mut all: Vec<&str> = Vec::new();
        for key in claims.iter().flat_map(keys) {
            if !all.contains(&key.as_str()) {
                all.push(key);
            }
        }
        all
    };
    let replayable = of(|claim| &claim.incident.untold.keys);
    let unreadable = of(|claim| &claim.incident.untold.unreadable);
    let mut text = format!("bucket : {}\n\n", place.bucket);
    let shown = list_keys(&mut text, &replayable);
    list_keys(&mut text, &unreadable);
    let known = replayable.len() + unreadable.len();
    let files: u64 = claims.iter().map(|claim| claim.incident.untold.files).sum();
    if files > known as u64 || shown < replayable.len() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "and more, see the folder {FOLDER} of the bucket");
    }
    let _ = writeln!(
        text,
        "\naccount : {}\nregion : {}\nstack : {}",
        place.account, place.region, place.stack
    );
    for claim in claims {
        if text.len() > MAX_MAIL_BYTES / 2 {
            let _ = writeln!(text, "\nand more, see the function's log");
            break;
        }
        describe(&mut text, claim);
    }
    if shown > 0 {
        command(&mut text, place, &replayable[..shown]);
    }
    let _ = writeln!(text, "\nWhat the reasons mean: {DOCS}");
    Mail { subject, text }
}

/// Lists keys line by line; returns how many fit.
fn list_keys(text: &mut String, keys: &[&str]) -> usize {
    let mut shown = 0;
    for key in keys {
        if text.len() > MAX_KEYS_BYTES {
            break;
        }
        let _ = writeln!(text, "{key}");
        shown += 1;
    }
    shown
}

fn describe(
    text: &mut String,
    Claim {
        code,
        news,
        incident,
    }: &Claim,
) {
    let since = time_of(incident.since);
    let (paths, told) = (count(incident.paths, "path"), incident.untold.paths);
    let _ = match news {
        News::First => writeln!(text, "\n{code}: {paths} rejected, since {since}"),
        News::Digest => writeln!(
            text,
            "\n{code}: still going on. {paths} rejected since {since}, {told} of them since the last mail"
        ),
        News::Over => writeln!(
            text,
            "\n{code}: over. {paths} rejected from {since} to {}",
            time_of(incident.last)
        ),
    };
    for (id, target) in incident.targets.iter().take(MAX_TARGETS) {
        let paths = count(target.paths, "path");
        let _ = writeln!(text, "  {id} ({}): {paths}", target.alias);
    }
    if incident.targets.len() > MAX_TARGETS {
        let more = incident.targets.len() - MAX_TARGETS;
        let _ = writeln!(text, "  and {more} more targets");
    }
    if !incident.samples.is_empty() {
        let _ = writeln!(text, "sample paths: {}", incident.samples.join(" "));
    }
    for reason in &incident.reasons {
        let _ = writeln!(text, "reason: {reason}");
    }
    if *news == News::First {
        let _ = writeln!(
            text,
            "While this goes on, a mail tells what was added: after 30 minutes, then after twice the time, at most once a day."
        );
    }
}

fn command(text: &mut String, place: &Place, keys: &[&str]) {
    let Place {
        bucket,
        submit_queue,
        region,
        ..
    } = place;
    let _ = writeln!(
        text,
        "\nOnce the cause is fixed, replay with:\n\
         invalidatorctl replay --region {region} --bucket {bucket} --submit-queue {submit_queue} {}",
        keys.join(" ")
    );
}

fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A time as people write it, in UTC.
fn time_of(seconds: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = time.and_then(|time| time.format(format).ok());
    text.unwrap_or_else(|| one_line(&seconds.to_string(), 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Incidents, Rejection};

    fn place() -> Place {
        Place {
            bucket: "errors".to_owned(),
            submit_queue: "https://sqs/1/submit.fifo".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            stack: "invalidator".to_owned(),
        }
    }

    fn rejection(target: &str, code: &str, n: usize) -> Rejection {
        Rejection {
            code: code.to_owned(),
            reason: format!("CloudFront CreateInvalidation: {code}: no. What to do: this."),
            target: target.to_owned(),
            alias: "www.example.org".to_owned(),
            paths: 12,
            samples: vec!["/a".to_owned(), "/b*".to_owned()],
            key: format!("{FOLDER}{n}_{target}.txt"),
            can_be_replayed: code != "UnreadableMessage",
        }
    }

    #[test]
    fn the_first_mail_a_digest_and_the_last_one() {
        let mut state = Incidents::default();
        let begin = 1_795_226_584;
        let next = |state: &mut Incidents, now: u64| {
            let claims = state.claim(now);
            state.sent(now, &claims, true);
            mail(&place(), &claims)
        };
        state.record(begin, &[rejection("E1", "AccessDenied", 1)]);
        let first = next(&mut state, begin);
        assert_eq!(first.subject, "[Error] CloudFront Invalidation");
        assert_eq!(
            first.text,
            "bucket : errors\n\n\
             invalidation_error/1_E1.txt\n\n\
             account : 123456789012\nregion : eu-west-1\nstack : invalidator\n\n\
             AccessDenied: 12 paths rejected, since 2026-11-21 02:03 UTC\n  \
             E1 (www.example.org): 12 paths\n\
             sample paths: /a /b*\n\
             reason: CloudFront CreateInvalidation: AccessDenied: no. What to do: this.\n\
             While this goes on, a mail tells what was added: after 30 minutes, then after twice the time, at most once a day.\n\n\
             Once the cause is fixed, replay with:\n\
             invalidatorctl replay --region eu-west-1 --bucket errors --submit-queue https://sqs/1/submit.fifo invalidation_error/1_E1.txt\n\n\
             What the reasons mean: docs/operate.md#error-cloudfront-invalidation\n"
        );
        state.record(begin + 60, &[rejection("E1", "AccessDenied", 2)]);
        state.record(begin + 60, &[rejection("E2", "AccessDenied", 3)]);
        let digest = next(&mut state, begin + 1_800);
        assert_eq!(digest.subject, "[Error] CloudFront Invalidation");
        assert!(
            digest.text.starts_with("bucket : errors\n\ninvalidation_error/2_E1.txt\ninvalidation_error/3_E2.txt\n\naccount"),
            "{}",
            digest.text
        );
        let goes_on = "AccessDenied: still going on. 36 paths rejected since 2026-11-21 02:03 UTC, 24 of them since the last mail\n  E1 (www.example.org): 24 paths\n  E2 (www.example.org): 12 paths\n";
        assert!(digest.text.contains(goes_on), "{}", digest.text);
        let over = next(&mut state, begin + 60 + 24 * 3_600);
        assert_eq!(over.subject, "[Over] CloudFront Invalidation");
        assert!(
            over.text.starts_with("bucket : errors\n\n\naccount")
                && over.text.contains("AccessDenied: over. 36 paths rejected from 2026-11-21 02:03 UTC to 2026-11-21 02:04 UTC\n")
                && !over.text.contains("replay"),
            "{}",
            over.text
        );
    }

    #[test]
    fn a_message_that_cannot_be_read_is_told_and_not_replayed() {
        let mut state = Incidents::default();
        state.record(1, &[rejection("E1/paths", "UnreadableMessage", 1)]);
        let text = mail(&place(), &state.claim(1)).text;
        assert!(text.starts_with("bucket : errors\n\ninvalidation_error/1_E1/paths.txt\n"));
        assert!(!text.contains("invalidatorctl replay"), "{text}");
    }

    #[test]
    fn a_mail_of_many_files_stays_below_the_limit_of_sns_and_says_what_it_left_out() {
        let mut state = Incidents::default();
        for n in 0..5_000 {
            let (target, code) = (format!("E{n:05}"), format!("Code{}", n % 50));
            let mut rejection = rejection(&target, &code, n);
            rejection.reason = "\u{1b}[31m한\n".repeat(1_000);
            rejection.samples = vec!["/%ED%95%9C".repeat(400); 3];
            state.record(1, &[rejection]);
        }
        let Mail { subject, text } = mail(&place(), &state.claim(1));
        assert!(text.len() < 256 * 1024, "{}", text.len());
        assert!(subject.len() < 100 && SUBJECT_OVER.len() < 100);
        assert!(
            text.contains("and more, see the folder"),
            "{}",
            &text[..200]
        );
        let is_plain = |c: char| c == '\n' || !c.is_control();
        assert!(text.chars().all(is_plain));
    }
}
