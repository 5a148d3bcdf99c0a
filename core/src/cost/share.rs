//! Shares of something scarce, so that one bucket with many changes does not take what others need.

/// Shares what is available so that the smallest share is as large as possible: nobody gets more than they
/// want, and whoever gets less gets at least as much as anybody else (max-min fairness).
pub fn fair_shares(available: u64, wants: &[u64]) -> Vec<u64> {
    let mut by_want: Vec<usize> = (0..wants.len()).collect();
    by_want.sort_unstable_by_key(|place| wants[*place]);
    let mut shares = vec![0; wants.len()];
    let mut left = available;
    for (served, place) in by_want.iter().enumerate() {
        let equal = left / (wants.len() - served) as u64;
        shares[*place] = wants[*place].min(equal);
        left -= shares[*place];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flooded_bucket_takes_what_the_others_leave() {
        for (available, wants, expected) in [
            (1_000, &[][..], &[][..]),
            (1_000, &[200], &[200]),
            (1_000, &[40_000], &[1_000]),
            (1_000, &[40_000, 20, 300], &[680, 20, 300]),
            (1_000, &[600, 500], &[500, 500]),
            (10, &[5, 5, 5], &[3, 3, 4]),
            (0, &[1, 0], &[0, 0]),
        ] {
            assert_eq!(fair_shares(available, wants), expected, "{wants:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_are_fair(available in 0..300_u64, wants in prop::collection::vec(0..100_u64, 0..8)) {
            let shares = fair_shares(available, &wants);
            let wanted: u64 = wants.iter().sum();
            prop_assert_eq!(shares.iter().sum::<u64>(), wanted.min(available));
            for (share, want) in shares.iter().zip(&wants) {
                prop_assert!(share <= want);
                let is_least = || shares.iter().all(|other| *other <= share + 1);
                prop_assert!(share == want || is_least(), "{shares:?} {wants:?}");
            }
        }
    }
}
