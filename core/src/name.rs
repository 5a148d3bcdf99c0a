//! Names that AWS gives to what an account holds. Each is a type with AWS's alphabet, so that a text from
//! an event, a message, a file or a command line is checked once, where it enters.

use std::fmt;

use crate::text::one_line;

/// A text that is not such a name. Anybody may have written it, so only its beginning is shown, with
/// special characters escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
}

/// How many characters of a text that is not a name are shown.
const SHOWN: usize = 64;

impl InvalidName {
    /// This text is not what it should be: `the id of a distribution`.
    pub(crate) fn new(text: &str, what: &'static str) -> Self {
        let text = one_line(text, SHOWN);
        Self { text, what }
    }

    /// What the text should be.
    pub fn expected(&self) -> &'static str {
        self.what
    }
}

/// Defines the type of a name: what it is, and which texts it can be.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident: $what:literal, $is_legal:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
        #[serde(try_from = "std::borrow::Cow<'_, str>")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes one that AWS has given, unchecked.
            pub fn new(text: impl Into<std::sync::Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::name::InvalidName;

            /// Checks a text that may come from anybody.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let is_legal: fn(&str) -> bool = $is_legal;
                match is_legal(text) {
                    true => Ok(Self(text.into())),
                    false => Err($crate::name::InvalidName::new(text, $what)),
                }
            }
        }

        impl TryFrom<std::borrow::Cow<'_, str>> for $name {
            type Error = $crate::name::InvalidName;

            fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::name::InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

pub(crate) use name;

/// Whether a text has so many characters, all of them ASCII that is allowed.
pub(crate) fn is_made_of(
    text: &str,
    length: std::ops::RangeInclusive<usize>,
    is_allowed: fn(u8) -> bool,
) -> bool {
    length.contains(&text.len()) && text.bytes().all(is_allowed)
}

name! {
    /// The name of a bucket: `site`.
    ///
    /// The names of buckets made in us-east-1 before March 2018 may have capitals, underscores and up to
    /// 255 characters (S3 User Guide, "General purpose bucket naming rules"). A bucket of those days may
    /// still send events, so its name is as good as a new one.
    BucketName: "the name of a bucket (3 to 255 letters, digits, `.`, `-` and `_`)",
    |text| is_made_of(text, 3..=255, |c| c.is_ascii_alphanumeric() || b".-_".contains(&c))
}

name! {
    /// A region: `eu-west-1`.
    Region: "the name of a region (like eu-west-1)",
    |text| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && is_made_of(text, 2..=32, |c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'
            })
    }
}

name! {
    /// The number of an account: `123456789012`.
    AccountId: "the number of an account (12 digits)",
    |text| is_made_of(text, 12..=12, |c| c.is_ascii_digit())
}

name! {
    /// The name of a queue: `s-TickQueue-x.fifo`. Source: SQS API Reference, "CreateQueue".
    QueueName: "the name of a queue (up to 80 letters, digits, `-` and `_`, perhaps with `.fifo`)",
    |text| {
        text.len() <= 80
            && is_made_of(text.strip_suffix(".fifo").unwrap_or(text), 1..=80, |c| {
                c.is_ascii_alphanumeric() || c == b'-' || c == b'_'
            })
    }
}

/// What a topic's ARN says about the place of a stack. All its resources are in this partition, region
/// and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicArn {
    text: String,
    partition: String,
    /// The region.
    pub region: Region,
    /// The account.
    pub account: AccountId,
}

impl TopicArn {
    /// The ARN as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The ARN of a queue in the same partition.
    pub fn of_queue(&self, region: &Region, account: &AccountId, name: &QueueName) -> String {
        format!("arn:{}:sqs:{region}:{account}:{name}", self.partition)
    }

    /// The ARN of the CloudFront Function of this name in the same account.
    pub fn of_function(&self, name: &str) -> String {
        let (partition, account) = (&self.partition, &self.account);
        format!("arn:{partition}:cloudfront::{account}:function/{name}")
    }
}

impl std::str::FromStr for TopicArn {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "the ARN of a topic, arn:aws:sns:<region>:<account>:<name>";
        let read = || {
            let mut parts = text.splitn(6, ':');
            let mut next = || parts.next();
            let (prefix, partition, service) = (next()?, next()?, next()?);
            let (region, account) = (next()?.parse().ok()?, next()?.parse().ok()?);
            let name = next()?;
            let is_partition = partition == "aws" || partition.starts_with("aws-");
            let is_legal = |text, length, more: fn(u8) -> bool| is_made_of(text, length, more);
            let is_topic = prefix == "arn"
                && is_partition
                && is_legal(partition, 3..=32, |c| c.is_ascii_lowercase() || c == b'-')
                && service == "sns"
                && is_legal(name, 1..=256, |c| {
                    c.is_ascii_alphanumeric() || b"-_.".contains(&c)
                });
            is_topic.then(|| Self {
                text: text.to_owned(),
                partition: partition.to_owned(),
                region,
                account,
            })
        };
        read().ok_or_else(|| InvalidName::new(text, WHAT))
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Source: S3 User Guide, "General purpose bucket naming rules".
    #[test]
    fn a_bucket_has_a_name_that_s3_allows_or_once_allowed() {
        let long = |n: usize| "a".repeat(n);
        for (text, expected) in [
            ("site", true),
            ("www.example.org", true),
            ("a-b.c1", true),
            ("123", true),
            ("Old_Bucket.Of-2010", true),
            (long(63).as_str(), true),
            (long(255).as_str(), true),
            (long(256).as_str(), false),
            ("ab", false),
            ("", false),
            ("a b", false),
            ("a/../b", false),
            ("site\n", false),
            ("s3://site", false),
            ("bücket", false),
            ("$(id)", false),
        ] {
            assert_eq!(text.parse::<BucketName>().is_ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn regions_accounts_and_queues_have_the_alphabets_of_aws() {
        for (text, is_region, is_account, is_queue) in [
            ("eu-west-1", true, false, true),
            ("us-gov-west-1", true, false, true),
            ("cn-north-1", true, false, true),
            ("123456789012", false, true, true),
            ("12345678901", false, false, true),
            ("1234567890123", false, false, true),
            ("s-TickQueue-1a2B.fifo", false, false, true),
            ("a.fifo.fifo", false, false, false),
            (".fifo", false, false, false),
            ("EU-WEST-1", false, false, true),
            ("eu west", false, false, false),
            ("eu-west-1;id", false, false, false),
            ("", false, false, false),
        ] {
            assert_eq!(text.parse::<Region>().is_ok(), is_region, "{text:?}");
            assert_eq!(text.parse::<AccountId>().is_ok(), is_account, "{text:?}");
            assert_eq!(text.parse::<QueueName>().is_ok(), is_queue, "{text:?}");
        }
        assert!("q".repeat(81).parse::<QueueName>().is_err());
    }

    #[test]
    fn a_topic_tells_partition_region_and_account() {
        let queue: QueueName = "q.fifo".parse().unwrap();
        for (text, expected) in [
            (
                "arn:aws:sns:eu-west-1:123456789012:alerts",
                "arn:aws:sqs:eu-west-1:123456789012:q.fifo",
            ),
            (
                "arn:aws-cn:sns:cn-north-1:123456789012:alerts",
                "arn:aws-cn:sqs:cn-north-1:123456789012:q.fifo",
            ),
            (
                "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a.fifo",
                "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:q.fifo",
            ),
        ] {
            let topic: TopicArn = text.parse().unwrap();
            assert_eq!(topic.as_str(), text);
            let arn = topic.of_queue(&topic.region, &topic.account, &queue);
            assert_eq!(arn, expected);
        }
        for text in [
            "",
            "alerts",
            "arn:aws:sqs:eu-west-1:123456789012:alerts",
            "arn:aws:sns:eu-west-1:1:alerts",
            "arn:aws:sns::123456789012:alerts",
            "arn:aws:sns:eu-west-1:123456789012:",
            "arn:aws:sns:eu-west-1:123456789012:a:b",
            "arn:AWS:sns:eu-west-1:123456789012:alerts",
        ] {
            assert!(text.parse::<TopicArn>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_name_is_told_briefly_on_one_line(text in any::<String>(), times in 1..500usize) {
            if let Err(error) = text.repeat(times).parse::<BucketName>() {
                let told = error.to_string();
                prop_assert!(told.len() < 1_000, "{}", told.len());
                prop_assert!(!told.contains(char::is_control), "{told:?}");
            }
        }
    }
}
