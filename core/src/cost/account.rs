//! What an account has ordered so far, and what it is likely to order.

use time::OffsetDateTime;

use super::amount::NanoUsd;
use super::ledger::Spending;
use super::month::Month;
use super::price::{FREE_PATHS, PATH};

/// The paths of an account, at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// Paths of this month that are reserved or were accepted, with those of other callers, because the
    /// free ones are shared.
    pub this_month: u64,
    /// Those of this hour.
    pub this_hour: u64,
    /// Those of last month.
    pub last_month: u64,
    /// Which part of the month is over: 0 to 1.
    pub elapsed: f64,
    /// Which part of the hour is over: 0 to 1.
    pub elapsed_of_hour: f64,
}

/// Last month counts as much as so large a part of this month: three days. So the first flush of a month
/// does not stand for the whole month, and after a week this month is what counts.
const LAST_MONTH: f64 = 0.1;

impl Account {
    /// What the ledger says at a time. If an earlier ledger was lost, the budget of the month counts as spent:
    /// nobody knows what was ordered before.
    pub fn at(now: OffsetDateTime, spending: &Spending, budget: u64) -> Self {
        let least = if spending.is_lost { budget } else { 0 };
        let of_hour = u32::from(now.minute()) * 60 + u32::from(now.second());
        Self {
            this_month: spending.all().max(least),
            this_hour: spending.this_hour,
            last_month: spending.last_month,
            elapsed: Month::elapsed(now),
            elapsed_of_hour: f64::from(of_hour) / 3_600.0,
        }
    }

    /// How many paths are likely to be ordered until the month ends: as many in a day as until now.
    ///
    /// It counts paths, not flushes. While paths are exact, this is more than the wildcards that later
    /// flushes need at least, so a month that begins with exact paths has some left for its last days.
    pub fn forecast(&self) -> u64 {
        let elapsed = self.elapsed.clamp(0.0, 1.0);
        let known = self.this_month as f64 + self.last_month as f64 * LAST_MONTH;
        let of_month = known / (elapsed + LAST_MONTH);
        (of_month * (1.0 - elapsed)).round() as u64
    }

    /// How many free paths are left.
    pub fn free(&self) -> u64 {
        FREE_PATHS.saturating_sub(self.this_month)
    }

    /// How many paths of this month are paid for.
    fn paid_this_month(&self) -> u64 {
        self.this_month.saturating_sub(FREE_PATHS)
    }

    /// How many paths of this hour are paid for. The free ones were the first of the month.
    fn paid_this_hour(&self) -> u64 {
        self.paid_this_month().min(self.this_hour)
    }

    /// What the paths of this month cost.
    pub fn spent_this_month(&self) -> NanoUsd {
        PATH.amount * self.paid_this_month()
    }

    /// What the paths of this hour cost.
    pub fn spent_this_hour(&self) -> NanoUsd {
        PATH.amount * self.paid_this_hour()
    }

    /// What the month is likely to cost.
    pub fn forecast_cost(&self) -> NanoUsd {
        let paths = self.this_month.saturating_add(self.forecast());
        PATH.amount * paths.saturating_sub(FREE_PATHS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_goes_on_as_it_began_and_begins_as_the_last_one_was() {
        for (this_month, last_month, elapsed, expected) in [
            (0, 0, 0.0, 0),
            (0, 600, 0.0, 600),
            // The first flush of a new account.
            (200, 0, 0.0, 2_000),
            (200, 0, 1.0 / 30.0, 1_450),
            (20, 600, 1.0 / 30.0, 580),
            (300, 600, 0.5, 300),
            (300, 0, 0.5, 250),
            // Last month was a flood, and this month is calm.
            (15, 6_000, 0.5, 513),
            (1_000, 0, 0.9, 100),
            (1_000, 6_000, 1.0, 0),
            (5, 5, 7.0, 0),
        ] {
            let account = Account {
                this_month,
                last_month,
                elapsed,
                ..Account::default()
            };
            assert_eq!(account.forecast(), expected, "{account:?}");
        }
    }

    #[test]
    fn a_lost_ledger_counts_as_a_spent_budget() {
        let spending = Spending {
            reserved: 300,
            others: 20,
            last_month: 7,
            this_hour: 5,
            ..Spending::default()
        };
        let lost = Spending {
            is_lost: true,
            ..spending
        };
        let now = time::macros::datetime!(2026-11-16 00:30 UTC);
        let account = Account::at(now, &spending, 1_000);
        let known = (account.this_month, account.this_hour, account.last_month);
        assert_eq!(known, (320, 5, 7));
        assert!(
            (account.elapsed - 0.5).abs() < 0.01 && (account.elapsed_of_hour - 0.5).abs() < 0.01
        );
        assert_eq!(Account::at(now, &lost, 1_000).this_month, 1_000);
        assert_eq!(Account::at(now, &lost, 100).this_month, 320);
    }

    #[test]
    fn the_free_paths_are_the_first_of_the_month() {
        for (this_month, this_hour, free, hour, month) in [
            (0, 0, 1_000, 0, 0),
            (999, 999, 1, 0, 0),
            (1_001, 400, 0, 1, 1),
            (1_400, 300, 0, 300, 400),
        ] {
            let account = Account {
                this_month,
                this_hour,
                ..Account::default()
            };
            let spent = (account.spent_this_hour(), account.spent_this_month());
            let expected = (PATH.amount * hour, PATH.amount * month);
            assert_eq!((account.free(), spent), (free, expected), "{account:?}");
        }
    }

    #[test]
    fn the_forecast_of_the_bill_leaves_out_the_free_paths() {
        let account = Account {
            this_month: 900,
            elapsed: 0.5,
            ..Account::default()
        };
        // 900 and 750 more.
        assert_eq!(account.forecast_cost(), PATH.amount * 650);
    }
}
