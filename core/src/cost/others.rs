//! How much of an account's free paths others have used: consoles, deployments, scripts.
//!
//! CloudFront lists the invalidations of a distribution with their times, the newest first; how many paths one
//! has, and whose it is, tells only a call for each. So they are read now and then, the oldest first, from where
//! the last count ended. A count may end at any call: what was read until then counts. What other stacks of ours
//! have ordered cannot be told from what this one has, so it is not counted.

use super::ledger::Uncounted;

/// At most so many calls are made at a time. The rest is read the next time.
pub const MOST_CALLS: usize = 40;

/// Which of the listed invalidations of a distribution to read, in this order. `listed` are their times and ids.
pub fn to_read(mut listed: Vec<(u64, String)>, time: Uncounted) -> Vec<(u64, String)> {
    listed.retain(|(at, _)| (time.from..time.until).contains(at));
    listed.sort_unstable();
    // What was created while the pages were read moves the others on to the next page.
    listed.dedup();
    listed
}

/// What was read of a distribution so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    time: Uncounted,
    /// Paths of the seconds before the last one.
    paths: u64,
    /// The last second of which something was read, and its paths.
    second: u64,
    of_second: u64,
    is_empty: bool,
}

impl Count {
    /// Nothing was read yet.
    pub fn new(time: Uncounted) -> Self {
        Self {
            time,
            paths: 0,
            second: time.from,
            of_second: 0,
            is_empty: true,
        }
    }

    /// Adds an invalidation of this time; how many paths it has, if others have ordered it.
    pub fn add(&mut self, at: u64, paths: u64) {
        if at > self.second {
            self.paths += self.of_second;
            (self.second, self.of_second) = (at, 0);
        }
        self.of_second += paths;
        self.is_empty = false;
    }

    /// All was read.
    pub fn all(self) -> (Uncounted, u64) {
        (self.time, self.paths + self.of_second)
    }

    /// The next one could not be read, which is of this time. Counts all of a second, or none. `None` if nothing
    /// counts.
    pub fn until(self, next: u64) -> Option<(Uncounted, u64)> {
        let (until, paths) = if next > self.second {
            (next, self.paths + self.of_second)
        } else if next > self.time.from {
            (next, self.paths)
        } else if self.is_empty {
            return None;
        } else {
            // A second with more than can be read at a time: the rest of it is left out, or it would be read for
            // ever.
            (next + 1, self.of_second)
        };
        let time = Uncounted { until, ..self.time };
        (time.from < time.until).then_some((time, paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Uncounted = Uncounted {
        from: 10,
        until: 20,
    };

    #[test]
    fn the_oldest_are_read_first_and_each_once() {
        let listed = [
            (20, "f"),
            (19, "e"),
            (19, "d"),
            (12, "c"),
            (12, "c"),
            (10, "b"),
            (9, "a"),
        ];
        let listed = listed.map(|(at, id)| (at, id.to_owned())).to_vec();
        let read = to_read(listed, TIME);
        let ids: Vec<&str> = read.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(ids, ["b", "c", "d", "e"]);
    }

    #[test]
    fn a_count_that_ends_early_counts_all_of_a_second_or_none() {
        for (read, next, expected) in [
            (&[][..], 12, Some((12, 0))),
            (&[][..], 10, None),
            (&[(10, 1), (10, 2)], 10, Some((11, 3))),
            (&[(10, 1)], 11, Some((11, 1))),
            (&[(12, 1), (15, 2)], 15, Some((15, 1))),
            (&[(12, 1), (15, 2)], 16, Some((16, 3))),
        ] {
            let mut count = Count::new(TIME);
            read.iter().for_each(|(at, paths)| count.add(*at, *paths));
            let counted = count.until(next).map(|(time, paths)| (time.until, paths));
            assert_eq!(counted, expected, "{read:?} {next}");
        }
    }

    proptest! {
        #[test]
        fn each_counts_once_wherever_the_counts_end(
            times in proptest::collection::vec(0..60_u64, 0..40), most in 6..12_usize,
        ) {
            // Each has as many paths as its number, so that no two sums are alike by chance.
            let listed = times.iter().zip(1_u64..).map(|(at, n)| (*at, n.to_string()));
            let listed: Vec<(u64, String)> = listed.collect();
            let mut time = Uncounted { from: 10, until: 50 };
            let mut all = 0;
            let of_second = |second: u64| times.iter().filter(|at| **at == second).count();
            prop_assume!((10..50).all(|second| of_second(second) < most));
            while time.from < time.until {
                let read = to_read(listed.clone(), time);
                let mut count = Count::new(time);
                for (at, id) in read.iter().take(most) {
                    count.add(*at, id.parse().unwrap());
                }
                let counted = match read.get(most) {
                    None => Some(count.all()),
                    Some((next, _)) => count.until(*next),
                };
                let (counted, paths) = counted.unwrap();
                prop_assert!(counted.from < counted.until);
                all += paths;
                time.from = counted.until;
            }
            let expected = listed.iter().filter(|(at, _)| (10..50).contains(at));
            let expected: u64 = expected.map(|(_, id)| id.parse::<u64>().unwrap()).sum();
            prop_assert_eq!(all, expected);
        }
    }
}
