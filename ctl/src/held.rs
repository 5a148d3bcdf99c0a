//! What is paused, and what is held back for that in the error bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use invalidator::aws::error::service_error;
use invalidator::pauses::read_pauses;
use invalidator_core::cost::amount::Of;
use invalidator_core::event::BucketName;
use invalidator_core::pause::{HELD_FOLDER, HeldKey, Pause, Pauses};
use serde::Serialize;

use crate::account::Account;
use crate::stack::Stack;

/// The keys of a bucket that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub bucket: BucketName,
    /// Empty for all keys.
    pub prefix: String,
}

/// Reads `BUCKET`, `BUCKET/PREFIX`, or either with `s3://`.
impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").unwrap_or(text);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if prefix.len() > 1_024 {
            return Err("no key of S3 is longer than 1,024 bytes".to_owned());
        }
        Ok(Self {
            bucket: bucket.parse().map_err(|it| format!("{it}"))?,
            prefix: prefix.to_owned(),
        })
    }
}

/// As it is given on the command line: `site/img/`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "{}", self.bucket),
            prefix => write!(f, "{}/{prefix}", self.bucket),
        }
    }
}

/// An object of changes that are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldObject {
    pub key: String,
    pub of: HeldKey,
}

/// The objects of changes that are held back, of all buckets or of one.
///
/// # Errors
/// That of S3.
pub async fn objects(
    s3: &Client,
    error_bucket: &str,
    of: Option<&BucketName>,
) -> Result<Vec<HeldObject>> {
    let folder = of.map_or_else(|| HELD_FOLDER.to_owned(), HeldKey::folder);
    let (mut objects, mut token) = (Vec::new(), None);
    loop {
        let call = s3.list_objects_v2().bucket(error_bucket).prefix(&folder);
        let page = call.set_continuation_token(token).send().await;
        let page = page.map_err(|error| service_error(&error));
        let page = page.with_context(|| format!("failed to list s3://{error_bucket}/{folder}"))?;
        for key in page.contents.unwrap_or_default() {
            let key = key.key.unwrap_or_default();
            let Some(of) = HeldKey::of(&key) else {
                bail!(
                    "s3://{error_bucket}/{key} is nothing that the function has written: remove it"
                );
            };
            objects.push(HeldObject { key, of });
        }
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(objects);
        }
    }
}

/// A number of changes in a number of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub changes: u64,
    pub objects: u64,
}

impl Amount {
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a HeldObject>) -> Self {
        let mut amount = Self::default();
        for object in objects {
            amount.changes += object.of.changes;
            amount.objects += 1;
        }
        amount
    }

    pub fn is_nothing(self) -> bool {
        self.objects == 0
    }
}

/// `1,204 changes are held back`
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.changes == 1 { "is" } else { "are" };
        write!(f, "{} {verb} held back", Of(self.changes, "change"))
    }
}

/// A pause, and what is held back for it.
#[derive(Clone, Debug, Serialize)]
pub struct Paused {
    pub bucket: BucketName,
    pub prefix: String,
    pub since: String,
    pub by: String,
    pub why: String,
    /// Whether somebody has begun to resume it.
    pub is_being_resumed: bool,
    pub held: Amount,
    #[serde(skip)]
    pub pause: Pause,
}

/// What is held back in a bucket, though its pause is not there any more.
#[derive(Clone, Debug, Serialize)]
pub struct Left {
    pub bucket: BucketName,
    pub held: Amount,
}

/// All that is paused, and all that is held back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    pub pauses: Vec<Paused>,
    pub left: Vec<Left>,
}

impl Overview {
    /// # Errors
    /// If the list of pauses or the objects cannot be read.
    pub async fn read(account: &Account, stack: &Stack) -> Result<Self> {
        let (s3, bucket) = (account.clients.s3(), stack.error_bucket.as_str());
        // The list first: what is held back after that belongs to a pause that is shown.
        let pauses = read_pauses(s3, bucket).await?;
        Ok(Self::new(&pauses, &objects(s3, bucket, None).await?))
    }

    fn new(pauses: &Pauses, objects: &[HeldObject]) -> Self {
        let mut of_pauses: BTreeMap<&str, Vec<&HeldObject>> = BTreeMap::new();
        for object in objects {
            of_pauses.entry(&object.of.pause).or_default().push(object);
        }
        let pauses = pauses.all().iter().map(|pause| Paused {
            bucket: pause.bucket.clone(),
            prefix: pause.prefix.clone(),
            since: pause.since(),
            by: pause.by.clone(),
            why: pause.why.clone(),
            is_being_resumed: pause.is_resumed,
            held: Amount::of(of_pauses.remove(pause.id.as_str()).unwrap_or_default()),
            pause: pause.clone(),
        });
        let pauses = pauses.collect();
        let mut left: BTreeMap<&BucketName, Vec<&HeldObject>> = BTreeMap::new();
        for object in of_pauses.into_values().flatten() {
            left.entry(&object.of.bucket).or_default().push(object);
        }
        let left = left.into_iter().map(|(bucket, objects)| Left {
            bucket: bucket.clone(),
            held: Amount::of(objects),
        });
        Self {
            pauses,
            left: left.collect(),
        }
    }

    pub fn is_nothing(&self) -> bool {
        self.pauses.is_empty() && self.left.is_empty()
    }

    /// What of these buckets is held back, or is just put back, a line each.
    pub fn held_of(&self, buckets: &[BucketName]) -> Vec<String> {
        let pauses = self.pauses.iter();
        let pauses = pauses.filter(|it| buckets.contains(&it.bucket));
        let pauses = pauses.filter(|it| !it.held.is_nothing() || it.is_being_resumed);
        let left = self.left.iter().filter(|it| buckets.contains(&it.bucket));
        pauses
            .map(ToString::to_string)
            .chain(left.map(ToString::to_string))
            .collect()
    }

    /// The ids of the pauses of these buckets.
    pub fn ids_of(&self, buckets: &[BucketName]) -> BTreeSet<String> {
        let pauses = self.pauses.iter();
        let pauses = pauses.filter(|it| buckets.contains(&it.bucket));
        pauses.map(|it| it.pause.id.clone()).collect()
    }
}

/// `s3://site/img/ is paused since .., by ..: backfill; 1,204 changes are held back`
impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.pause, self.held)
    }
}

/// `s3://site/: 1,204 changes are held back, of a pause that is over`
impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, held } = self;
        write!(f, "s3://{bucket}/: {held}, of a pause that is over")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_what_its_keys_begin_with() {
        for (text, bucket, prefix) in [
            ("site", "site", ""),
            ("site/", "site", ""),
            ("site/img/", "site", "img/"),
            ("s3://site/img/a", "site", "img/a"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(
                (place.bucket.as_str(), place.prefix.as_str()),
                (bucket, prefix)
            );
        }
        for text in [
            "",
            "s3://",
            "http://site",
            "/img",
            &format!("site/{}", "x".repeat(1_025)),
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_no_pause_of_the_list_holds_back_is_left() {
        let site = BucketName::new("site");
        let now = time::macros::datetime!(2026-11-21 02:03:04 UTC);
        let place = (site.clone(), "img/".to_owned());
        let pause = Pause::new(1, place, now, "ada".to_owned(), String::new());
        let object = |id: u64, changes| {
            let of = HeldKey {
                bucket: site.clone(),
                pause: format!("{id:016x}"),
                changes,
            };
            HeldObject {
                key: of.key("text"),
                of,
            }
        };
        let mut pauses = Pauses::default();
        assert!(pauses.begin(pause));
        let overview = Overview::new(&pauses, &[object(1, 3), object(2, 4), object(1, 2)]);
        assert_eq!(
            overview.held_of(std::slice::from_ref(&site)),
            [
                "s3://site/img/ is paused since 2026-11-21T02:03:04Z, by ada; 5 changes are held back",
                "s3://site/: 4 changes are held back, of a pause that is over"
            ]
        );
        assert!(overview.held_of(&[BucketName::new("other")]).is_empty());
        let nothing = Overview::new(&pauses, &[]);
        assert!(
            nothing.held_of(&[site]).is_empty(),
            "nothing is held back yet"
        );
    }
}
