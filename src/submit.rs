//! A set of paths, to CloudFront, and what came of it.
//!
//! * [`outcome`]: what CloudFront's answer means
//! * [`split`]: which paths of a refused set are the bad ones

pub mod outcome;
pub mod split;

use std::fmt;
use std::time::Duration;

use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::error::BuildError;
use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Deadline;
use crate::distributions::Target;
use crate::path::InvalidationPath;
use outcome::{Answer, Refusal};

pub use outcome::describe;

/// What makes a repeated call the same call: CloudFront answers with the earlier invalidation if
/// reference and paths are the same.
///
/// It is a hash of what the set was made from, so it needs neither clock nor chance, and stays the
/// same through every retry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallerReference(String);

impl CallerReference {
    /// The reference of a set: of its target, its paths, and the ids of the buffered messages they
    /// came from. The same messages, flushed twice because a flush died, make the same invalidation;
    /// a later change of the same keys comes in another message, and makes another.
    pub fn of_set(target: &Target, paths: &[InvalidationPath<'_>], message_ids: &[&str]) -> Self {
        let mut ids = message_ids.to_vec();
        ids.sort_unstable();
        Self::hash([target.id()].into_iter().chain(ids), paths)
    }

    /// The reference of a part of a set that CloudFront did not take whole.
    fn of_part(&self, paths: &[InvalidationPath<'_>]) -> Self {
        Self::hash([self.0.as_str()], paths)
    }

    /// 128 bits of SHA-256 in hex. Each part is led by its length, so that no two lists of parts
    /// read the same.
    fn hash<'a>(
        parts: impl IntoIterator<Item = &'a str>,
        paths: &'a [InvalidationPath<'_>],
    ) -> Self {
        let mut hash = Sha256::new();
        let parts = parts
            .into_iter()
            .chain([""])
            .chain(paths.iter().map(InvalidationPath::as_str));
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        Self(
            digest
                .iter()
                .take(16)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }

    /// The reference as CloudFront takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallerReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set on its way to CloudFront. As JSON it is the body of a message of RetryQueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission<'a> {
    /// The distribution or tenant.
    pub target: Target,
    /// The paths.
    pub paths: Vec<InvalidationPath<'a>>,
    /// The same on every attempt.
    pub caller_reference: CallerReference,
}

/// Paths that CloudFront refused for good, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The distribution or tenant.
    pub target: Target,
    /// The paths.
    pub paths: Vec<InvalidationPath<'a>>,
    /// Why.
    pub refusal: Refusal,
}

/// What became of a submission: each of its paths is in exactly one of the three.
#[derive(Debug, Default)]
pub struct Settlement<'a> {
    /// What CloudFront took.
    pub accepted: Vec<Accepted>,
    /// What it may take later, and why it did not now.
    pub held_back: Option<(Submission<'a>, Refusal)>,
    /// What it will never take.
    pub refused: Vec<Refused<'a>>,
}

impl<'a> Settlement<'a> {
    /// A set that was not even tried, because an earlier one of its target was held back.
    pub fn held_back_behind_another(submission: Submission<'a>) -> Self {
        let reason = Refusal::new(
            "HeldBack",
            "an earlier set of the same distribution is held back",
        );
        Self {
            held_back: Some((submission, reason)),
            ..Self::default()
        }
    }
}

/// An invalidation CloudFront took.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id, for `aws cloudfront get-invalidation`.
    pub invalidation_id: String,
    /// How many paths it has.
    pub paths: usize,
}

/// What a call may take, with the SDK's own attempts and what comes after it: see
/// [`crate::aws::timeouts`].
const TIME_FOR_A_CALL: Duration = Duration::from_secs(18);

/// Submits a set. A set that is too large is halved; one with a bad path goes through without it;
/// one that is held back again may be halved up to `halvings` times. What there is no time for
/// before the deadline is held back too.
pub async fn submit<'a>(
    cloudfront: &Client,
    submission: Submission<'a>,
    halvings: u32,
    deadline: &Deadline,
) -> Settlement<'a> {
    let call = async |part: &Submission<'_>| {
        if deadline.remaining() < TIME_FOR_A_CALL {
            let message = "the function's time was over";
            return Answer::Later(Refusal::new("OutOfTime", message));
        }
        create_invalidation(cloudfront, part).await
    };
    split::settle(submission, halvings, call).await
}

/// One call.
async fn create_invalidation(cloudfront: &Client, submission: &Submission<'_>) -> Answer {
    let batch = match batch(submission) {
        Ok(batch) => batch,
        Err(error) => return Answer::Refused(Refusal::new("InvalidBatch", error.to_string())),
    };
    match &submission.target.tenant {
        None => {
            let call = cloudfront
                .create_invalidation()
                .distribution_id(submission.target.distribution.as_str())
                .invalidation_batch(batch);
            let result = call.send().await;
            Answer::from_result(
                result.map(|answer| answer.invalidation.map(|invalidation| invalidation.id)),
            )
        }
        Some(tenant) => {
            let call = cloudfront
                .create_invalidation_for_distribution_tenant()
                .id(tenant.as_str())
                .invalidation_batch(batch);
            let result = call.send().await;
            Answer::from_result(
                result.map(|answer| answer.invalidation.map(|invalidation| invalidation.id)),
            )
        }
    }
}

fn batch(submission: &Submission<'_>) -> Result<InvalidationBatch, BuildError> {
    let items = submission
        .paths
        .iter()
        .map(|path| path.as_str().to_owned())
        .collect::<Vec<_>>();
    let quantity = i32::try_from(items.len()).unwrap_or(i32::MAX);
    let paths = Paths::builder()
        .quantity(quantity)
        .set_items(Some(items))
        .build()?;
    InvalidationBatch::builder()
        .paths(paths)
        .caller_reference(submission.caller_reference.as_str())
        .build()
}
