//! Allows only so many look-ups in a period, because whoever sends made-up ids would make us look them all up.

use std::time::{Duration, SystemTime};

/// What was used of an allowance. By the wall clock, as all that is kept between invocations.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    since: Option<SystemTime>,
    used: usize,
}

impl Allowance {
    /// Whether less than `most` was used in the period that contains `now`.
    pub(super) fn has_room(&mut self, now: SystemTime, period: Duration, most: usize) -> bool {
        let is_same_period = self.since.is_some_and(|since| {
            // If the clock was set back, a new period begins.
            now.duration_since(since).is_ok_and(|age| age < period)
        });
        if !is_same_period {
            *self = Self {
                since: Some(now),
                used: 0,
            };
        }
        self.used < most
    }

    /// Uses one.
    pub(super) fn use_one(&mut self) {
        self.used += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_allowed_in_a_period() {
        const PERIOD: Duration = Duration::from_secs(60);
        let mut allowance = Allowance::default();
        let mut ask = |second: u64| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            let is_allowed = allowance.has_room(now, PERIOD, 2);
            if is_allowed {
                allowance.use_one();
            }
            is_allowed
        };
        for (second, expected) in [
            (100, true),
            (101, true),
            (102, false),
            (159, false),
            (160, true),
            (219, true),
            (219, false),
            (220, true),
            // The clock was set back.
            (10, true),
        ] {
            assert_eq!(ask(second), expected, "second {second}");
        }
        let mut none = Allowance::default();
        let now = SystemTime::UNIX_EPOCH;
        assert!(none.has_room(now, Duration::ZERO, 1), "nothing is cached");
        none.use_one();
        assert!(none.has_room(now, Duration::ZERO, 1));
    }
}
