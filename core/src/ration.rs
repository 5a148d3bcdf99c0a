//! Rations of the wildcards that names need.
//!
//! Whoever may upload chooses the names of objects. A key that begins with `~` needs `/*`, which empties
//! all caches of a distribution, and CloudFront accepts one wildcard per second and account. So of the
//! wildcards that names in one bucket need at one target, the first are submitted at once, and the others
//! once in an interval, together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::BucketName;
use crate::path::InvalidationPath;
use crate::state::{
    Beginning, SharedState, StateObject, UnreadableState, Writes, check, from_versioned_json,
};
use crate::target::Target;
use crate::wildcards::{AT_ONCE, widened};

/// The object that holds the rations in use, in the error bucket.
pub const STATE_KEY: &str = "state/rations.json";

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// How many buckets and targets are remembered. Of more, those that may have the next ration soonest are
/// forgotten.
const MOST: usize = 1_000;

/// When wildcards that names need were last submitted, for each bucket and target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rations {
    /// In milliseconds since 1970.
    last: BTreeMap<(BucketName, Target), u64>,
    writes: Writes,
}

/// A point in time, in milliseconds since 1970, and how long a ration lasts.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// Now.
    pub now: u64,
    /// The time from one ration to the next.
    pub interval: Duration,
}

impl When {
    /// How long after a ration that was used at this time the next one may be used. The clock of the
    /// environment that used it may be ahead; one that is ahead by more than the interval tells nothing.
    fn wait(self, used: u64) -> Duration {
        let ahead = Duration::from_millis(used.saturating_sub(self.now));
        let since = Duration::from_millis(self.now.saturating_sub(used));
        match ahead < self.interval {
            true => self.interval.saturating_sub(since),
            false => Duration::ZERO,
        }
    }
}

impl Rations {
    /// Asks for the next ration. Returns how long to wait for it; zero if it may be used now, and then it
    /// counts as used.
    pub fn take(&mut self, bucket: &BucketName, target: &Target, when: When) -> Duration {
        let key = (bucket.clone(), target.clone());
        let wait = self.last.get(&key).map(|last| when.wait(*last));
        let wait = wait.unwrap_or_default();
        if wait.is_zero() {
            self.used(bucket, target, when);
        }
        wait
    }

    /// Notes that a ration was used without asking, by wildcards that had waited for it.
    pub fn used(&mut self, bucket: &BucketName, target: &Target, when: When) {
        self.last.insert((bucket.clone(), target.clone()), when.now);
        self.forget(when);
    }

    /// Adds the rations that other environments have used.
    pub fn merge(&mut self, other: &Self, when: When) {
        for (key, used) in &other.last {
            let known = self.last.entry(key.clone()).or_default();
            *known = (*known).max(*used);
        }
        self.forget(when);
    }

    /// Forgets the rations that are over, and those that are over soonest if there are too many.
    fn forget(&mut self, when: When) {
        self.last.retain(|_, used| !when.wait(*used).is_zero());
        while self.last.len() > MOST {
            let oldest = self.last.iter().min_by_key(|(_, used)| **used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.last.remove(&oldest);
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    used: Vec<Used>,
    writes: Writes,
}

#[derive(Serialize, Deserialize)]
struct Used {
    bucket: BucketName,
    #[serde(flatten)]
    target: Target,
    at: u64,
}

impl StateObject for Rations {
    const NAME: &'static str = "the rations of wildcards";
    const REMEDY: &'static str = "nothing, they begin anew; find out who wrote to state/ of the bucket, whose \
                                  versions keep what was there";
    const MAX_BYTES: usize = 512 * 1024;

    fn from_json(text: &str) -> Result<Self, UnreadableState> {
        let Body { used, writes, .. } = from_versioned_json(text, VERSION, None)?;
        writes.check()?;
        check(used.len() <= MOST, "used")?;
        let used = used.into_iter();
        let last = used.map(|it| ((it.bucket, it.target), it.at)).collect();
        Ok(Self { last, writes })
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        let used = self.last.iter().map(|((bucket, target), at)| Used {
            bucket: bucket.clone(),
            target: target.clone(),
            at: *at,
        });
        serde_json::to_string(&Body {
            v: VERSION,
            used: used.collect(),
            writes: self.writes.clone(),
        })
    }
}

impl SharedState for Rations {
    /// None is in use, so the next wildcards are submitted at once.
    fn begin(_: Beginning) -> Self {
        Self::default()
    }

    fn writes(&mut self) -> &mut Writes {
        &mut self.writes
    }
}

/// The few wildcards to submit in place of several lists of them that have waited for the same ration.
pub fn together<'a>(
    waited: impl IntoIterator<Item = InvalidationPath<'a>>,
    min_depth: usize,
) -> Vec<InvalidationPath<'a>> {
    let mut wildcards: Vec<_> = waited.into_iter().collect();
    wildcards = widened(&wildcards, AT_ONCE, min_depth);
    wildcards.sort_by(|a, b| a.order().cmp(&b.order()));
    wildcards.dedup_by(|next, kept| kept.clears(next));
    wildcards
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{DistributionId, TenantId};
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000;

    /// So many milliseconds after some time, with rations of five minutes.
    fn at(milliseconds: u64) -> When {
        When {
            now: 1_000_000 * MINUTE + milliseconds,
            interval: Duration::from_secs(300),
        }
    }

    fn bucket(name: impl std::fmt::Display) -> BucketName {
        BucketName::new(name.to_string())
    }

    fn target(id: &str) -> Target {
        Target {
            distribution: DistributionId::new(id),
            tenant: None,
        }
    }

    #[test]
    fn the_first_goes_at_once_and_the_others_once_in_the_interval() {
        let mut rations = Rations::default();
        let (site, e1) = (bucket("site"), target("E1"));
        for (now, wait) in [
            (0, 0),
            (10_000, 290),
            (2 * MINUTE, 180),
            (5 * MINUTE, 0),
            (6 * MINUTE, 240),
            (60 * MINUTE, 0),
        ] {
            let found = rations.take(&site, &e1, at(now));
            assert_eq!(found, Duration::from_secs(wait), "{now}");
        }
        let now = at(61 * MINUTE);
        assert!(!rations.take(&site, &e1, now).is_zero());
        assert!(rations.take(&site, &target("E2"), now).is_zero());
        assert!(rations.take(&bucket("other"), &e1, now).is_zero());
        // What had waited need not ask.
        rations.used(&site, &e1, at(63 * MINUTE));
        let wait = rations.take(&site, &e1, at(65 * MINUTE));
        assert_eq!(wait, Duration::from_secs(180));
    }

    #[test]
    fn nobody_waits_longer_than_the_interval_whatever_the_clocks_say() {
        let mut rations = Rations::default();
        let (site, e1) = (bucket("site"), target("E1"));
        assert!(rations.take(&site, &e1, at(100 * MINUTE)).is_zero());
        let slow = at(99 * MINUTE);
        assert_eq!(rations.take(&site, &e1, slow), slow.interval);
        assert!(
            rations.take(&site, &e1, at(10 * MINUTE)).is_zero(),
            "set back"
        );
        let never = When {
            interval: Duration::ZERO,
            ..at(0)
        };
        for _ in 0..3 {
            assert!(Rations::default().take(&site, &e1, never).is_zero());
        }
    }

    #[test]
    fn what_other_environments_have_used_counts() {
        let (site, e1, e2) = (bucket("site"), target("E1"), target("E2"));
        let (mut one, mut other) = (Rations::default(), Rations::default());
        one.used(&site, &e1, at(0));
        other.used(&site, &e1, at(2 * MINUTE));
        other.used(&site, &e2, at(0));
        one.merge(&other, at(3 * MINUTE));
        assert_eq!(one.take(&site, &e1, at(3 * MINUTE)).as_secs(), 240);
        assert_eq!(one.take(&site, &e2, at(3 * MINUTE)).as_secs(), 120);
        let before = one.clone();
        one.merge(&Rations::default(), at(3 * MINUTE));
        assert_eq!(one, before);
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_is_over_first() {
        let mut rations = Rations::default();
        let e1 = target("E1");
        for n in 0..MOST {
            let now = at(if n < 10 { 0 } else { 4 * MINUTE });
            assert!(rations.take(&bucket(n), &e1, now).is_zero());
        }
        let now = at(5 * MINUTE);
        assert!(rations.take(&bucket(MOST), &e1, now).is_zero());
        assert_eq!(rations.last.len(), MOST - 9, "ten were over");
        let mut others = Rations::default();
        for n in MOST..2 * MOST {
            others.used(&bucket(n), &e1, now);
        }
        rations.merge(&others, now);
        assert_eq!(rations.last.len(), MOST);
        for n in MOST..2 * MOST {
            assert!(!rations.take(&bucket(n), &e1, now).is_zero(), "{n}");
        }
    }

    #[test]
    fn the_object_is_short_and_readable() {
        let mut rations = Rations::default();
        let tenant = Target {
            tenant: Some(TenantId::new("dt_1")),
            ..target("E2")
        };
        rations.used(&bucket("site"), &target("E1"), at(1));
        rations.used(&bucket("site"), &tenant, at(2));
        rations.writes().push("0123456789abcdef");
        let json = concat!(
            r#"{"v":1,"used":[{"bucket":"site","distribution":"E1","at":60000000001},"#,
            r#"{"bucket":"site","distribution":"E2","tenant":"dt_1","at":60000000002}],"#,
            r#""writes":["0123456789abcdef"]}"#
        );
        assert_eq!(rations.to_json().unwrap(), json);
        assert_eq!(Rations::from_json(json).unwrap(), rations);
        for other in [
            "hello",
            r#"{"v":2}"#,
            r#"{"v":1,"used":[{"bucket":"a b","distribution":"E1","at":1}],"writes":[]}"#,
            r#"{"v":1,"used":[{"bucket":"site","distribution":"E1","at":-1}],"writes":[]}"#,
            r#"{"v":1,"used":[],"writes":["x"]}"#,
        ] {
            assert!(Rations::from_json(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_largest_object_can_be_read_again() {
        let mut rations = Rations::default();
        for n in 0..MOST {
            let target = Target {
                distribution: DistributionId::new("E".repeat(32)),
                tenant: Some(TenantId::new(format!("dt_{n:060}"))),
            };
            rations.used(&bucket("b".repeat(63)), &target, at(0));
        }
        for n in 0..Writes::MAX {
            rations.writes().push(&format!("{n:016x}"));
        }
        let json = rations.to_json().unwrap();
        assert!(json.len() <= Rations::MAX_BYTES, "{}", json.len());
        assert_eq!(Rations::from_json(&json).unwrap(), rations);
    }

    #[test]
    fn what_has_waited_goes_together() {
        let wildcards = |texts: &[&str]| {
            let path = |text: &&str| InvalidationPath::try_from((*text).to_owned()).unwrap();
            texts.iter().map(path).collect::<Vec<_>>()
        };
        let found = together(wildcards(&["/b*", "/a*", "/b*", "/a/1*"]), 0);
        assert_eq!(found, wildcards(&["/a*", "/b*"]));
        let many: Vec<_> = (0..30).map(|n| format!("/a/{n}/*")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(together(wildcards(&many), 0), wildcards(&["/a/*"]));
        assert_eq!(together(wildcards(&many), 2).len(), 30);
    }

    proptest! {
        /// Somebody asks at any times, and what must wait comes back when it is told to: each wildcard goes
        /// within the interval, and none sooner after another than the interval.
        #[test]
        fn nothing_starves_and_nothing_goes_too_often(
            pauses in proptest::collection::vec(0_u64..200_000, 1..60),
        ) {
            let mut rations = Rations::default();
            let (site, e1) = (bucket("site"), target("E1"));
            let mut now = 0;
            let mut waiting: Vec<u64> = Vec::new();
            let mut submitted: Vec<u64> = Vec::new();
            for pause in pauses {
                now += pause;
                waiting.sort_unstable();
                while waiting.first().is_some_and(|due| *due <= now) {
                    // All that is due at the same time goes together.
                    let due = waiting[0];
                    waiting.retain(|it| *it > due);
                    rations.used(&site, &e1, at(due));
                    submitted.push(due);
                }
                let wait = rations.take(&site, &e1, at(now)).as_millis() as u64;
                prop_assert!(wait <= 5 * MINUTE);
                match wait {
                    0 => submitted.push(now),
                    wait => waiting.push(now + wait),
                }
            }
            for pair in submitted.windows(2) {
                prop_assert!(pair[1] - pair[0] >= 5 * MINUTE, "{submitted:?}");
            }
        }
    }
}
