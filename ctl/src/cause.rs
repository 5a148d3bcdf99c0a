//! Who made an invalidation, as far as its caller reference says.
//!
//! CloudFront keeps no other trace of it. CloudTrail's event history, which holds 90 days, has the user and
//! the program of each `CreateInvalidation`.

use std::fmt;

use invalidator_core::caller_reference::{self, CallerReference};

/// Who made an invalidation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// invalidator, for this reason.
    Ours(caller_reference::Cause),
    /// invalidator before version 0.2, whose references do not say why.
    OursOfOld,
    /// The AWS CLI: `cli-1732154584-123456` (awscli, `customizations/cloudfront.py`).
    AwsCli,
    /// A UUID: the deployments of the CDK (`BucketDeployment`: `str(uuid4())`), and many programs. The
    /// console documents no form.
    Uuid,
    /// A time, as scripts take it that follow the example of the API reference.
    Timestamp,
    /// What the reference begins with, before its first long number.
    Other(String),
}

/// The most characters of a reference that are shown.
const MAX_LABEL: usize = 40;

impl Cause {
    /// The cause that a caller reference tells.
    pub fn of(reference: &str) -> Self {
        let known = CallerReference::known(reference);
        match known.cause() {
            _ if !known.is_ours() => {}
            Some(cause) => return Self::Ours(cause),
            None => return Self::OursOfOld,
        }
        if is_of_the_cli(reference) {
            Self::AwsCli
        } else if is_uuid(reference) {
            Self::Uuid
        } else if is_timestamp(reference) {
            Self::Timestamp
        } else {
            Self::Other(label(reference))
        }
    }

    /// For a machine.
    pub fn code(&self) -> String {
        match self {
            Self::Ours(cause) => format!("invalidator-{}", cause.as_str()),
            Self::OursOfOld => "invalidator".to_owned(),
            Self::AwsCli => "aws-cli".to_owned(),
            Self::Uuid => "uuid".to_owned(),
            Self::Timestamp => "timestamp".to_owned(),
            Self::Other(label) => format!("other:{label}"),
        }
    }

    /// Whether invalidator made it.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_) | Self::OursOfOld)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use caller_reference::Cause as Reason;
        match self {
            Self::Ours(Reason::Flush) => f.write_str("invalidator: objects changed"),
            Self::Ours(Reason::Replay) => f.write_str("invalidator: replayed"),
            Self::Ours(Reason::Hand) => f.write_str("invalidator: by hand"),
            Self::Ours(Reason::Tool) => f.write_str("invalidator: for another tool"),
            Self::OursOfOld => f.write_str("invalidator before 0.2"),
            Self::AwsCli => f.write_str("AWS CLI"),
            Self::Uuid => f.write_str("a UUID (CDK, or another program)"),
            Self::Timestamp => f.write_str("a time (a script)"),
            Self::Other(label) if label.is_empty() => f.write_str("unknown"),
            Self::Other(label) => write!(f, "{label}…"),
        }
    }
}

fn is_of_the_cli(reference: &str) -> bool {
    let numbers = reference.strip_prefix("cli-");
    let numbers = numbers.and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(time, random)| is_number(time) && is_number(random))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_uuid(reference: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<_> = reference.split('-').collect();
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

/// Digits, with what stands between them in the usual forms of a time.
fn is_timestamp(reference: &str) -> bool {
    let digits = reference.bytes().filter(u8::is_ascii_digit).count();
    digits >= 8
        && reference
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"-:.TZ+ _/".contains(&byte))
}

/// The part that the invalidations of one script have in common: what comes before the first five digits
/// in a row, or before a UUID.
fn label(reference: &str) -> String {
    let is_digits = |at: usize| {
        let rest = &reference.as_bytes()[at..];
        rest.len() >= 5 && rest[..5].iter().all(u8::is_ascii_digit)
    };
    let is_id = |at: usize| {
        let rest = reference.get(at..at + 36);
        rest.is_some_and(is_uuid)
    };
    let end = (0..reference.len()).find(|at| is_digits(*at) || is_id(*at));
    let label = reference[..end.unwrap_or(reference.len())]
        .trim_end_matches(['-', '_', '.', ' ', ':', '/']);
    label.chars().take(MAX_LABEL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use caller_reference::Cause as Reason;
    use proptest::prelude::*;

    #[test]
    fn a_reference_tells_who_made_it() {
        let other = |label: &str| Cause::Other(label.to_owned());
        for (reference, cause) in [
            (
                "9f86d081884c7d659a2feaa0c55ad015-flush",
                Cause::Ours(Reason::Flush),
            ),
            (
                "9f86d081884c7d659a2feaa0c55ad015-hand",
                Cause::Ours(Reason::Hand),
            ),
            ("9f86d081884c7d659a2feaa0c55ad015", Cause::OursOfOld),
            ("cli-1575570291-670203", Cause::AwsCli),
            ("cli-example", other("cli-example")),
            ("4f3bfa6e-6f2a-4f3c-9d0e-0d3b1a5f7c11", Cause::Uuid),
            ("1638960000000", Cause::Timestamp),
            ("1638960000.123456", Cause::Timestamp),
            ("20120301090000", Cause::Timestamp),
            ("2026-11-21T02:03:04.567Z", Cause::Timestamp),
            ("cms-commit-1638960000000", other("cms-commit")),
            ("s3_website gem v3 1638960000", other("s3_website gem v3")),
            (
                "deploy/4f3bfa6e-6f2a-4f3c-9d0e-0d3b1a5f7c11",
                other("deploy"),
            ),
            ("build 1234", other("build 1234")),
            ("", other("")),
            ("12", other("12")),
            ("값-123456", other("값")),
        ] {
            assert_eq!(Cause::of(reference), cause, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn any_reference_has_a_short_cause(reference in any::<String>()) {
            let cause = Cause::of(&reference);
            prop_assert!(cause.to_string().chars().count() <= MAX_LABEL + 1);
            prop_assert!(!cause.is_ours());
        }
    }
}
