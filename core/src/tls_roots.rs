//! The age of Mozilla's root certificates, which are built into the function and the command line.
//!
//! Servers are only believed if a root vouches for them. A root that AWS takes into use is unknown to an old
//! build, and one that Mozilla no longer trusts is still trusted by it: so they have to be renewed, by
//! `cargo update --package webpki-roots`.

use time::macros::date;
use time::{Date, Duration};

/// The version of the crate webpki-roots, as in `Cargo.lock`. `tests/checks/test_supply.py` compares both.
pub const VERSION: &str = "1.0.10";

/// The day on which this version was published.
pub const PUBLISHED: Date = date!(2026 - 10 - 19);

/// Above this age, a build should be replaced.
const OLD: Duration = Duration::days(365);

/// Whether the roots are older than a year.
pub fn are_old(today: Date) -> bool {
    today - PUBLISHED > OLD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_old_after_a_year() {
        let a_year_later = PUBLISHED + Duration::days(365);
        for (today, old) in [
            (PUBLISHED, false),
            (a_year_later, false),
            (a_year_later.next_day().unwrap(), true),
            // The clock of a machine that stands still is no reason for an alarm.
            (date!(1970 - 01 - 01), false),
        ] {
            assert_eq!(are_old(today), old, "{today}");
        }
    }
}
