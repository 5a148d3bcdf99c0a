//! How many lines of a kind may be logged: all while there are few, and a sample of many.

/// So many may follow each other at once, after a quiet time.
const AT_ONCE: u64 = 300;

/// One more is allowed after so many milliseconds: four a minute.
const EVERY: u64 = 15_000;

/// An allowance that fills up as time passes: a token bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// When it was, or will be, full again, in milliseconds since 1970.
    full_at: u64,
}

impl Allowance {
    /// Takes one of what is allowed at `now`, in milliseconds since 1970. Returns whether there was one.
    pub fn take(&mut self, now: u64) -> bool {
        let used_until = self.full_at.max(now);
        // Measured from `full_at`, not from the clock, so that what passes is kept to the millisecond.
        let is_allowed = used_until - now <= (AT_ONCE - 1) * EVERY;
        if is_allowed {
            self.full_at = used_until + EVERY;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn many_are_allowed_at_once_and_then_four_a_minute() {
        let mut allowance = Allowance::default();
        let now = 1_795_226_584_567;
        let mut taken = |now| (0..1_000).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(now), 300);
        assert_eq!(taken(now), 0);
        assert_eq!(taken(now + 14_999), 0);
        assert_eq!(taken(now + 60_000), 4);
        assert_eq!(taken(now + 600 * 60_000), 300);
    }

    proptest! {
        /// Against a bucket that is filled drop by drop.
        #[test]
        fn it_is_a_bucket_that_fills_up(pauses in prop::collection::vec(0_u64..40_000, 0..700)) {
            let mut allowance = Allowance::default();
            let (mut now, mut bucket) = (1_000_000_000_000, AT_ONCE * EVERY);
            for pause in pauses {
                now += pause;
                bucket = (bucket + pause).min(AT_ONCE * EVERY);
                let expected = bucket >= EVERY;
                bucket -= if expected { EVERY } else { 0 };
                prop_assert_eq!(allowance.take(now), expected);
            }
        }
    }
}
