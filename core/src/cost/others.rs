//! How much of an account's free paths others have used: consoles, deployments, scripts.
//!
//! CloudFront lists the invalidations of a distribution with their times, the newest first; how many paths one
//! has, and whose it is, tells only a call for each. So they are read now and then, from where the last count
//! ended, and a limited number at a time. What other stacks of ours have ordered cannot be told from what
//! this one has, so it is not counted.

use super::ledger::Uncounted;

/// At most so many invalidations are read at a time. The rest is read the next time.
pub const MOST_READ: usize = 100;

/// Which of the listed invalidations to read, and until when (seconds since 1970) all are counted then.
/// `listed` are those of all distributions, with their times, in any order.
pub fn to_read<T>(mut listed: Vec<(u64, T)>, time: Uncounted, most: usize) -> (Vec<T>, u64) {
    listed.retain(|(at, _)| (time.from..time.until).contains(at));
    listed.sort_by_key(|(at, _)| *at);
    let until = match listed.get(most) {
        None => time.until,
        // All of a second, or none. If a second has more, all of it, or they would never be read.
        Some((cut, _)) if listed[0].0 < *cut => *cut,
        Some((cut, _)) => cut + 1,
    };
    let read = listed.into_iter().take_while(|(at, _)| *at < until);
    (read.map(|(_, item)| item).collect(), until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_are_read_first_and_those_of_a_second_together() {
        let time = Uncounted {
            from: 10,
            until: 20,
        };
        for (times, most, read, until) in [
            (&[][..], 2, &[][..], 20),
            (&[9, 10, 19, 20], 2, &[10, 19], 20),
            (&[15, 12, 11], 2, &[11, 12], 15),
            (&[15, 12, 12], 2, &[12, 12], 15),
            (&[15, 15, 12], 2, &[12], 15),
            (&[12, 15, 12, 12], 2, &[12, 12, 12], 13),
        ] {
            let listed = times.iter().map(|at| (*at, *at)).collect();
            assert_eq!(
                to_read(listed, time, most),
                (read.to_vec(), until),
                "{times:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn each_is_read_once_whatever_the_steps_are(
            times in proptest::collection::vec(0..60_u64, 0..40), most in 1..6_usize,
        ) {
            let listed: Vec<(u64, usize)> = times.iter().copied().zip(0..).collect();
            let mut time = Uncounted { from: 10, until: 50 };
            let mut all = Vec::new();
            while time.from < time.until {
                let (read, until) = to_read(listed.clone(), time, most);
                prop_assert!(until > time.from);
                all.extend(read);
                time.from = until;
            }
            all.sort_unstable();
            let expected: Vec<usize> =
                listed.iter().filter(|(at, _)| (10..50).contains(at)).map(|(_, n)| *n).collect();
            prop_assert_eq!(all, expected);
        }
    }
}
