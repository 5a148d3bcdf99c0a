//! What an estimate goes by.

use std::time::Duration;

use crate::bucket_tags::ExceptionRules;
use crate::cost::collapse::CostRules;
use crate::cost::skip::facts::BucketFacts;
use crate::event::BucketName;
use crate::plan::Rules;

/// What an estimate goes by.
#[derive(Clone, Copy, Debug)]
pub struct PastRules<'a> {
    /// The bucket.
    pub bucket: &'a BucketName,
    /// What planning goes by: the distributions above all.
    pub plan: Rules<'a>,
    /// The exception rules of the bucket.
    pub exceptions: &'a ExceptionRules,
    /// The budget and the spending limits. Its mode does not matter, as all are tried.
    pub cost: CostRules,
    /// What would be known of the bucket if it had the tag `invalidate=changed`.
    pub facts: BucketFacts,
    /// A burst of changes ends when nothing happens for so long.
    pub burst: Duration,
}
