//! What was asked for: an object or a page.

use invalidator_core::distributions::address::Address;
use invalidator_core::event::{BucketName, ObjectKey};

use crate::usage::Usage;

/// An object, or a page.
#[derive(Debug)]
pub enum Asked {
    Object(BucketName, ObjectKey<'static>),
    Page(Address),
}

impl Asked {
    /// Reads `s3://BUCKET/KEY`, `https://HOST/PATH`, or a key of this bucket.
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(text: &str, bucket: Option<&BucketName>) -> Result<Self, Usage> {
        let usage = |problem: &dyn std::fmt::Display| Usage(format!("`{text}`: {problem}"));
        let key = |key: &str| {
            let key = ObjectKey::new(key.to_owned());
            key.map_err(|problem| usage(&problem))
        };
        // With --bucket it is a key, whatever it looks like.
        if let Some(bucket) = bucket {
            return Ok(Self::Object(bucket.clone(), key(text)?));
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, name) = rest.split_once('/').unwrap_or((rest, ""));
            let bucket = bucket.parse().map_err(|problem| usage(&problem))?;
            return Ok(Self::Object(bucket, key(name)?));
        }
        if text.contains("://") {
            let address = Address::parse(text);
            return address.map(Self::Page).map_err(|problem| usage(&problem));
        }
        Err(usage(
            &"say s3://BUCKET/KEY, https://HOST/PATH, or the key and --bucket BUCKET",
        ))
    }

    /// The bucket of an object.
    pub fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Object(bucket, _) => Some(bucket),
            Self::Page(_) => None,
        }
    }
}
