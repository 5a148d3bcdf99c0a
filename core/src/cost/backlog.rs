//! How many wildcards CloudFront still has to take.

use std::time::{Duration, SystemTime};

/// CloudFront takes one wildcard a second (CloudFront Developer Guide, "Quotas"). Whether that is for an account or for
/// a distribution is not documented, so all count together.
const ONE: Duration = Duration::from_secs(1);

/// The wildcards that were ordered in the place of paths and have not had their second yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct WildcardBacklog {
    /// When the last of them is through.
    through: Option<SystemTime>,
}

impl WildcardBacklog {
    /// How many wait now.
    pub fn waiting(self, now: SystemTime) -> u64 {
        let left = self.left(now);
        left.as_secs() + u64::from(left.subsec_nanos() > 0)
    }

    /// Adds wildcards that are ordered now.
    pub fn add(&mut self, now: SystemTime, wildcards: u32) {
        if wildcards > 0 {
            self.through = Some(now + self.left(now) + ONE * wildcards);
        }
    }

    /// How long it takes until all are through.
    fn left(self, now: SystemTime) -> Duration {
        let left = self.through.and_then(|it| it.duration_since(now).ok());
        left.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leaves_in_each_second() {
        let at = |milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        let mut backlog = WildcardBacklog::default();
        assert_eq!(backlog.waiting(at(0)), 0);
        backlog.add(at(0), 10);
        backlog.add(at(0), 0);
        for (now, waiting) in [
            (0, 10),
            (1, 10),
            (1_000, 9),
            (8_000, 2),
            (10_000, 0),
            (99_000, 0),
        ] {
            assert_eq!(backlog.waiting(at(now)), waiting, "{now} ms");
        }
        // What is ordered later waits behind what is left.
        backlog.add(at(8_000), 10);
        assert_eq!(backlog.waiting(at(8_000)), 12);
        backlog.add(at(100_000), 1);
        assert_eq!(backlog.waiting(at(100_000)), 1);
    }
}
