//! What one way to pay has ordered so far.

use super::cells::Cells;
use super::flush::Ordered;
use super::history::Second;
use super::way::Way;
use crate::cost::account::Account;
use crate::cost::amount::NanoUsd;
use crate::cost::collapse::{CostRules, Decision, WhyCover, admit, decide};
use crate::cost::limits::Limits;
use crate::cost::price::{FREE_PATHS, PATH};

const HOUR: Second = 3_600;
const DAY: Second = 24 * HOUR;

/// The past is cut into months of thirty days, from its beginning on.
const MONTH: Second = 30 * DAY;

/// What a way to pay has cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Which way.
    pub way: Way,
    /// How many paths were ordered, and what they cost beyond the free ones.
    pub total: Amount,
    /// Of each day.
    pub days: Vec<Amount>,
    /// The paths of each target.
    pub targets: Vec<u64>,
    /// The paths of each top folder.
    pub folders: Vec<u64>,
    /// How many of the paths are wildcards.
    pub wildcards: u64,
    /// How many keys were cleared though they had not changed.
    pub others: u64,
    /// What it costs at most to fetch these again.
    pub refetches: NanoUsd,
    /// How many flushes were above a spending limit.
    pub above_limits: u64,
    /// How many paths still wait at the end, because of the spending limits.
    pub waiting: u64,
}

/// A number of paths, and their cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// The paths.
    pub paths: u64,
    /// What they cost.
    pub cost: NanoUsd,
}

impl Amount {
    fn add(&mut self, paths: u64, cost: NanoUsd) {
        self.paths += paths;
        self.cost += cost;
    }
}

/// Orders paths in one way, from the beginning of a history to its end.
#[derive(Debug)]
pub(super) struct Spender {
    /// None: whatever it costs.
    rules: Option<CostRules>,
    since: Second,
    until: Second,
    now: Second,
    this_month: u64,
    last_month: u64,
    this_hour: u64,
    waiting: Cells,
    spent: Spent,
}

impl Spender {
    pub fn new(
        way: Way,
        rules: &CostRules,
        (since, until): (Second, Second),
        targets: usize,
    ) -> Self {
        let mode = match way {
            Way::EachPath | Way::WildcardPerBurst => None,
            Way::Ours(mode) | Way::OnlyChanged(mode) => Some(mode),
        };
        let days = until / DAY - since / DAY + 1;
        Self {
            rules: mode.map(|mode| CostRules { mode, ..*rules }),
            since,
            until,
            now: since,
            this_month: 0,
            last_month: 0,
            this_hour: 0,
            waiting: Cells::default(),
            spent: Spent {
                way,
                total: Amount::default(),
                days: vec![Amount::default(); days as usize],
                targets: vec![0; targets],
                folders: Vec::new(),
                wildcards: 0,
                others: 0,
                refetches: NanoUsd::ZERO,
                above_limits: 0,
                waiting: 0,
            },
        }
    }

    pub fn way(&self) -> Way {
        self.spent.way
    }

    /// The limits of the cover, if so many paths are to be covered.
    pub fn cover_limits(&mut self, at: Second, wanted: u64) -> Option<Limits> {
        self.advance(at);
        let rules = self.rules?;
        let decision = decide(&rules, Some(&self.account()), &[wanted.into()])[0];
        if let Decision::Cover(WhyCover::Limit(_)) = decision {
            self.spent.above_limits += 1;
        }
        decision.cover_limits(rules.mode)
    }

    /// Orders paths at a time, as many as the spending limits allow. The others wait.
    pub fn order(&mut self, at: Second, ordered: &Ordered) {
        self.advance(at);
        self.spent.wildcards += ordered.wildcards;
        self.spent.others += ordered.others;
        self.spent.refetches += ordered.refetches;
        self.waiting.add_all(&ordered.cells);
        self.release();
    }

    /// What was spent until the end.
    pub fn finish(mut self, until: Second) -> Spent {
        self.advance(until);
        self.spent.waiting = self.waiting.paths();
        self.spent
    }

    /// Goes on to a time. What waits is tried again each hour.
    fn advance(&mut self, to: Second) {
        while self.waiting.paths() > 0 {
            let next = (self.now / HOUR + 1).saturating_mul(HOUR);
            if next > to {
                break;
            }
            self.go_to(next);
            self.release();
        }
        self.go_to(to.max(self.now));
    }

    fn go_to(&mut self, to: Second) {
        match self.month(to) - self.month(self.now) {
            0 => {}
            1 => (self.last_month, self.this_month) = (self.this_month, 0),
            _ => (self.last_month, self.this_month) = (0, 0),
        }
        if to / HOUR != self.now / HOUR {
            self.this_hour = 0;
        }
        self.now = to;
    }

    /// The month of a time. The last moment is no month of its own, nor are flushes that would come after it.
    fn month(&self, time: Second) -> Second {
        let last = (self.until - self.since).saturating_sub(1) / MONTH;
        last.min((time - self.since) / MONTH)
    }

    fn account(&self) -> Account {
        let of_month = self.now - self.since - self.month(self.now) * MONTH;
        Account {
            this_month: self.this_month,
            this_hour: self.this_hour,
            last_month: self.last_month,
            elapsed: f64::from(of_month) / f64::from(MONTH),
            elapsed_of_hour: f64::from(self.now % HOUR) / f64::from(HOUR),
        }
    }

    fn release(&mut self) {
        let wanted = self.waiting.paths();
        let admitted = match &self.rules {
            Some(rules) => admit(rules, Some(&self.account()), &[wanted.into()])[0].paths,
            None => wanted,
        };
        let ordered = self.waiting.take(admitted);
        self.pay(&ordered);
    }

    fn pay(&mut self, ordered: &Cells) {
        for (target, folder, paths) in ordered.iter() {
            self.spent.targets[target] += paths;
            if self.spent.folders.len() <= folder {
                self.spent.folders.resize(folder + 1, 0);
            }
            self.spent.folders[folder] += paths;
        }
        let paths = ordered.paths();
        let paid = |of_month: u64| of_month.saturating_sub(FREE_PATHS);
        let cost = PATH.amount * (paid(self.this_month + paths) - paid(self.this_month));
        self.this_month += paths;
        self.this_hour += paths;
        self.spent.total.add(paths, cost);
        let day = (self.now / DAY - self.since / DAY) as usize;
        if let Some(day) = self.spent.days.get_mut(day) {
            day.add(paths, cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::mode::CostMode;

    const SINCE: Second = 1_000 * DAY + 12 * HOUR;

    fn spender(way: Way, days: Second) -> Spender {
        Spender::new(way, &CostRules::default(), (SINCE, SINCE + days * DAY), 1)
    }

    fn paths(number: u64) -> Ordered {
        let mut ordered = Ordered::default();
        ordered.cells.add(0, 1, number);
        ordered
    }

    #[test]
    fn each_month_has_its_free_paths() {
        let mut spender = spender(Way::EachPath, 60);
        for day in [0, 29, 31, 59] {
            spender.order(SINCE + day * DAY, &paths(700));
        }
        let spent = spender.finish(SINCE + 60 * DAY);
        assert_eq!(
            (spent.total.paths, spent.total.cost),
            (2_800, PATH.amount * 800)
        );
        assert_eq!(spent.days.len(), 61);
        let of_days: Vec<_> = [0, 29, 31, 59].map(|day| spent.days[day].cost).into();
        let expected = [0, 400, 0, 400].map(|paid| PATH.amount * paid);
        assert_eq!(of_days, expected);
        assert_eq!(
            (&spent.targets[..], &spent.folders[..]),
            (&[2_800][..], &[0, 2_800][..])
        );
    }

    #[test]
    fn no_month_begins_at_the_last_moment() {
        let mut spender = spender(Way::Ours(CostMode::Exact), 30);
        for hour in 0..24 {
            spender.order(SINCE + hour * HOUR, &paths(20_000));
        }
        let spent = spender.finish(SINCE + 30 * DAY);
        let limit = CostRules::default().limits.month;
        assert!(spent.total.cost <= limit, "{}", spent.total.cost);
        assert_eq!(spent.total.paths + spent.waiting, 480_000);
    }

    #[test]
    fn what_is_above_the_limit_of_an_hour_waits_and_is_ordered_later() {
        let mut spender = spender(Way::Ours(CostMode::Exact), 2);
        let wanted = 2_500;
        assert_eq!(spender.cover_limits(SINCE, wanted), Some(Limits::frugal()));
        spender.order(SINCE, &paths(wanted));
        // Half of the limit is for small sets.
        assert_eq!(spender.spent.total.paths, 1_500);
        let spent = spender.finish(SINCE + 2 * DAY);
        assert_eq!(
            (spent.total.paths, spent.waiting, spent.above_limits),
            (2_500, 0, 1)
        );
    }

    #[test]
    fn the_account_knows_where_in_the_month_it_is() {
        let mut spender = spender(Way::Ours(CostMode::Balanced), 60);
        spender.order(SINCE + 5 * DAY, &paths(100));
        spender.advance(SINCE + 15 * DAY + HOUR / 2);
        let account = spender.account();
        assert_eq!(
            (account.this_month, account.last_month, account.this_hour),
            (100, 0, 0)
        );
        assert!((account.elapsed - 0.5).abs() < 0.001);
        assert!((account.elapsed_of_hour - 0.5).abs() < 0.001);
        spender.advance(SINCE + 31 * DAY);
        assert_eq!(
            (spender.account().this_month, spender.account().last_month),
            (0, 100)
        );
    }
}
