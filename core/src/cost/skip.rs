//! Skipping: an upload after which viewers get the same as before need not be paid for.
//!
//! A path costs as much as a thousand LISTs, so it pays to look before. Only buckets that opted in with the
//! tag `invalidate=changed` are looked at. There are two rules, and whatever is missing, late or unsure is
//! invalidated:
//!
//! * **Unchanged**: all versions from a base to the current one have the same content, headers, tags and
//!   storage class. The base is below every version that an event of this flush is about, and at least an
//!   hour old.
//! * **First upload**: the key has one version and nothing else, so only errors can be cached under its path,
//!   and these expire as soon as an invalidation would take effect.
//!
//! # Why nothing stale is left behind
//!
//! Assume that a cache holds what was the answer at some time T, from a version U. The target is
//! [trusted](crate::cost::ledger), so it cleared everything since it was asked, and T is later than that.
//!
//! * U is one of the versions from the base to the current one: it is like the current one.
//! * U is older than the base: at T the base was not there yet, or it would have been the current one. So its
//!   own event came later than T, and, as the base is an hour old, was flushed. Either the path was
//!   invalidated then, and U is not in the cache; or it was skipped then, by an older base, and the same
//!   argument shows that U was like the versions above that base, and so like this one.
//! * U is not in the list: somebody removed that version for good. That is an event of its own, which
//!   invalidates the path when it comes. Lifecycle does it without an event for us, but not before a day is
//!   over: so an event that is more than an hour late is invalidated.
//!
//! The order of versions is that of the list, never that of times: these have whole seconds, and that of a
//! multipart upload or of a replica is not when it came. Only the age of the base is a time, so a base must
//! be neither of them. The same ETag means the same content, for a plain upload: it is its MD5.
//!
//! What it cannot see is what S3 sends no event for: tags that are changed in place, bucket policies, the
//! code of functions. An exact invalidation would not come either; but somebody who uploads everything
//! again in order to refresh it has to invalidate `/*` instead.
//!
//! # How to ask, with the fewest calls
//!
//! 1. Of each bucket, [`BucketFacts`]: two calls in each flush, after it received the events, as what was read
//!    before may not hold for them. Of each target, whether the ledger trusts it. They make a [`Gate`] for
//!    each behavior and origin that serve keys of the bucket. If no gate [is open](Gate::is_open), nothing is
//!    looked up.
//! 2. Of each key, [`Created`], from the events alone.
//! 3. For the keys that are left, and whose paths would be paid for at an open gate,
//!    [`look_ups`](look_ups::LookUps) says which lists to ask for. [`Created::compare`] reads them.
//! 4. For a [`Candidate::SameContent`], if a gate is open for unchanged objects, `HeadObject` and
//!    `GetObjectTagging` of each of its versions. [`Candidate::compare`] reads them.
//! 5. At each target, [`decide`].

pub mod facts;
pub mod key;
pub mod look_ups;
pub mod reason;

use std::fmt;
use std::time::Duration;

use super::ledger::Distrust;
use super::price;
use facts::{BucketFacts, Serving, Versioning};
pub use key::{Candidate, Created};
use reason::Fact;
pub use reason::{Finding, WhyNot};

/// An error that is cached no longer than the debounce and this is gone when an exact invalidation would
/// take effect.
const TIME_TO_INVALIDATE: Duration = Duration::from_secs(5);

/// Which rules may be used for keys of a bucket at a target that serves them in a certain way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    unchanged: Result<(), WhyNot>,
    first_upload: Result<(), WhyNot>,
}

impl Gate {
    /// The rules that may be used. `trust` is whether every change is known to have reached the target, as the
    /// ledger says.
    pub fn new(
        bucket: &BucketFacts,
        serving: &Serving,
        trust: Result<(), Distrust>,
        debounce: Duration,
    ) -> Self {
        let limit = debounce + TIME_TO_INVALIDATE;
        let both = may_skip(bucket, serving, trust, limit);
        let first_upload = both.clone().and_then(|()| may_be_missing(serving, limit));
        Self {
            unchanged: both,
            first_upload,
        }
    }

    /// Whether there is any use in looking a key up.
    pub fn is_open(&self) -> bool {
        self.why_closed().is_none()
    }

    /// Why no key is skipped, if it is closed.
    pub fn why_closed(&self) -> Option<&WhyNot> {
        match (&self.unchanged, &self.first_upload) {
            (Err(why), Err(_)) => Some(why),
            _ => None,
        }
    }

    /// Whether there is any use in looking at the headers of versions.
    pub fn is_open_for_unchanged(&self) -> bool {
        self.unchanged.is_ok()
    }
}

fn may_skip(
    bucket: &BucketFacts,
    serving: &Serving,
    trust: Result<(), Distrust>,
    limit: Duration,
) -> Result<(), WhyNot> {
    if !bucket.only_changed {
        return Err(WhyNot::NotOptedIn);
    }
    match bucket.versioning {
        Some(Versioning::Enabled) => {}
        Some(other) => return Err(WhyNot::NotVersioned(other)),
        None => return Err(WhyNot::Unknown(Fact::Versioning)),
    }
    match bucket.owner_enforced {
        Some(true) => {}
        Some(false) => return Err(WhyNot::Acls),
        None => return Err(WhyNot::Unknown(Fact::Ownership)),
    }
    trust.map_err(WhyNot::NotTrusted)?;
    if serving.in_group {
        return Err(WhyNot::OriginGroup);
    }
    // A bulk upload makes S3 answer with 503, which is cached for objects that did not change, too.
    are_short(serving.server_error_ttl, limit)
}

/// Whether nothing but errors can be cached for an object that was missing, and these not for long.
fn may_be_missing(serving: &Serving, limit: Duration) -> Result<(), WhyNot> {
    if serving.is_website {
        return Err(WhyNot::Website);
    }
    if serving.may_rewrite {
        return Err(WhyNot::Function);
    }
    are_short(serving.missing_object_ttl, limit)
}

fn are_short(ttl: Duration, limit: Duration) -> Result<(), WhyNot> {
    match ttl <= limit {
        true => Ok(()),
        false => Err(WhyNot::LongErrors { ttl, limit }),
    }
}

/// The paths at which a target serves a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// How many would be invalidated.
    pub count: usize,
    /// Whether there is any beside its own: that of its folder, `/`, or those that carry it as an error page.
    pub has_others: bool,
}

/// Whether the paths of a key are invalidated at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are not.
    Skip {
        /// Why.
        because: Finding,
        /// How many paths that saves.
        paths: usize,
    },
    /// They are.
    Invalidate(WhyNot),
}

/// Decides on the paths of a key at one target.
pub fn decide(found: &Result<Finding, WhyNot>, gate: &Gate, paths: Paths) -> Decision {
    let allowed = match found {
        Err(why) => Err(why),
        Ok(Finding::Unchanged { .. }) => gate.unchanged.as_ref().map(|()| found),
        Ok(Finding::FirstUpload) if paths.has_others => Err(&WhyNot::OtherPaths),
        Ok(Finding::FirstUpload) => gate.first_upload.as_ref().map(|()| found),
    };
    match (allowed, found) {
        (Ok(_), Ok(because)) => Decision::Skip {
            because: because.clone(),
            paths: paths.count,
        },
        (Err(why), _) | (_, Err(why)) => Decision::Invalidate(why.clone()),
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip { because, paths } => {
                let saved = price::PATH.amount * *paths as u64;
                write!(f, "{because}, saves {saved}")
            }
            Self::Invalidate(why) => write!(f, "not skipped: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    fn gate(
        change: impl FnOnce(&mut BucketFacts, &mut Serving, &mut Result<(), Distrust>),
    ) -> Gate {
        let mut bucket = BucketFacts {
            only_changed: true,
            versioning: Some(Versioning::Enabled),
            owner_enforced: Some(true),
        };
        let mut serving = Serving {
            is_website: false,
            in_group: false,
            may_rewrite: false,
            missing_object_ttl: LIMIT,
            server_error_ttl: LIMIT,
        };
        let mut trust = Ok(());
        change(&mut bucket, &mut serving, &mut trust);
        Gate::new(&bucket, &serving, trust, Duration::from_secs(10))
    }

    const ONE: Paths = Paths {
        count: 1,
        has_others: false,
    };

    fn unchanged() -> Finding {
        Finding::Unchanged {
            since: "3/L4kqtJlcpXroDTDmJ".to_owned(),
            versions: 2,
        }
    }

    #[test]
    fn what_closes_a_gate_closes_it_for_one_rule_or_both() {
        type Change = fn(&mut BucketFacts, &mut Serving, &mut Result<(), Distrust>);
        let too_long = |ttl| WhyNot::LongErrors {
            ttl: Duration::from_secs(ttl),
            limit: LIMIT,
        };
        let for_both: [(Change, WhyNot); 9] = [
            (|it, _, _| it.only_changed = false, WhyNot::NotOptedIn),
            (
                |it, _, _| it.versioning = Some(Versioning::Suspended),
                WhyNot::NotVersioned(Versioning::Suspended),
            ),
            (
                |it, _, _| it.versioning = Some(Versioning::Never),
                WhyNot::NotVersioned(Versioning::Never),
            ),
            (
                |it, _, _| it.versioning = None,
                WhyNot::Unknown(Fact::Versioning),
            ),
            (|it, _, _| it.owner_enforced = Some(false), WhyNot::Acls),
            (
                |it, _, _| it.owner_enforced = None,
                WhyNot::Unknown(Fact::Ownership),
            ),
            (
                |_, _, it| *it = Err(Distrust::NoLedger),
                WhyNot::NotTrusted(Distrust::NoLedger),
            ),
            (|_, it, _| it.in_group = true, WhyNot::OriginGroup),
            (
                |_, it, _| it.server_error_ttl = Duration::from_secs(16),
                too_long(16),
            ),
        ];
        for (change, why) in for_both {
            let gate = gate(change);
            assert_eq!(gate.why_closed(), Some(&why));
            for found in [unchanged(), Finding::FirstUpload] {
                let decision = decide(&Ok(found), &gate, ONE);
                assert_eq!(decision, Decision::Invalidate(why.clone()));
            }
        }
        let for_first_uploads: [(Change, WhyNot); 3] = [
            (|_, it, _| it.is_website = true, WhyNot::Website),
            (|_, it, _| it.may_rewrite = true, WhyNot::Function),
            (
                |_, it, _| it.missing_object_ttl = Duration::from_secs(300),
                too_long(300),
            ),
        ];
        for (change, why) in for_first_uploads {
            let gate = gate(change);
            assert!(gate.is_open() && gate.is_open_for_unchanged());
            let first = decide(&Ok(Finding::FirstUpload), &gate, ONE);
            assert_eq!(first, Decision::Invalidate(why));
            let decision = decide(&Ok(unchanged()), &gate, ONE);
            assert!(matches!(decision, Decision::Skip { .. }));
        }
    }

    #[test]
    fn a_decision_tells_its_reason_and_its_amount() {
        let open = gate(|_, _, _| {});
        let others = Paths {
            count: 2,
            has_others: true,
        };
        for (found, paths, expected) in [
            (
                Ok(unchanged()),
                ONE,
                "unchanged since version 3/L4kqtJlcpXroDTDmJ, saves 0.005 USD",
            ),
            (
                Ok(unchanged()),
                others,
                "unchanged since version 3/L4kqtJlcpXroDTDmJ, saves 0.01 USD",
            ),
            (
                Ok(Finding::FirstUpload),
                ONE,
                "the first upload of this key, saves 0.005 USD",
            ),
            (
                Ok(Finding::FirstUpload),
                others,
                "not skipped: its folder or `/` may have been answered with something else",
            ),
            (
                Err(WhyNot::OtherHeader("Cache-Control")),
                ONE,
                "not skipped: another Cache-Control",
            ),
            (
                Err(WhyNot::Unknown(Fact::Headers)),
                ONE,
                "not skipped: the headers of a version could not be read in time",
            ),
        ] {
            assert_eq!(decide(&found, &open, paths).to_string(), expected);
        }
    }
}
