//! Whether the paths of a flush are paid for one by one or [covered](super::cover), and whether they are
//! sent at all. Each decision says why.
//!
//! First [`decide`], for each bucket with changes. Where it says so, the cheapest cover takes the place of the
//! paths. Then [`admit`], for what is left to be paid. Both count the paths of all targets of a flush, and share
//! fairly between its buckets what they may spend: a bucket that floods the flush gets what the others
//! leave.
//!
//! # The budget
//!
//! `exact` never collapses, `frugal` always. `balanced` collapses when the paths, what is reserved, and the
//! [forecast](Account::forecast) for the rest of the month do not fit into the month's budget.
//! So exact paths never take a month above its budget, whatever comes later; and each set that comes when the
//! budget is used up has one path where `/*` is allowed and cheapest.
//!
//! # The spending limits
//!
//! Whoever may upload could make us pay: 40,000 keys at once are 200 USD. Above a limit the cheapest cover is
//! used in every mode, and what may not be spent even so waits in the queue. Nothing is dropped; the admin is
//! asked, and can raise the limit.
//!
//! Half of a limit is kept for sets of at most ten paths, and rationed over the rest of the hour or the
//! month. Such a set is a wildcard, or a change that nobody has to worry about. So a flood that has used up the
//! rest does not stop others, and a stack at its limit still sends a wildcard every few minutes: a queue
//! keeps a message for 14 days only, and a month is longer.

use std::fmt;

use super::account::Account;
use super::amount::{NanoUsd, Of, Thousands};
use super::limits::Limits;
use super::mode::CostMode;
use super::price::{FREE_PATHS, PATH};
use super::share::fair_shares;

/// What the operator wants to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostRules {
    /// `COST_MODE`.
    pub mode: CostMode,
    /// `MONTHLY_PATH_BUDGET`: how many paths of a month may be exact in `balanced`.
    pub budget: u64,
    /// The spending limits.
    pub limits: SpendingLimits,
}

/// What may be spent on paths at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendingLimits {
    /// In an hour.
    pub hour: NanoUsd,
    /// In a month.
    pub month: NanoUsd,
}

impl Default for SpendingLimits {
    fn default() -> Self {
        Self {
            hour: NanoUsd::usd(5),
            month: NanoUsd::usd(50),
        }
    }
}

impl Default for CostRules {
    fn default() -> Self {
        Self {
            mode: CostMode::Balanced,
            // AWS's free paths.
            budget: FREE_PATHS,
            limits: SpendingLimits::default(),
        }
    }
}

/// How the paths of a bucket's changes are paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One by one.
    Exact(WhyExact),
    /// By the cheapest cover.
    Cover(WhyCover),
}

/// Why paths stay exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyExact {
    /// The mode is `exact`.
    Mode,
    /// They fit into the budget.
    Fits(Budget),
}

/// Why paths are covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyCover {
    /// The mode is `frugal`.
    Mode,
    /// They do not fit into the budget.
    Budget(Budget),
    /// The ledger cannot be read, so nobody knows what is left of the budget.
    NoLedger,
    /// They are above a spending limit.
    Limit(LimitReached),
}

/// What the budget is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many paths are wanted.
    pub wanted: u64,
    /// How many are reserved or were accepted this month.
    pub reserved: u64,
    /// How many are likely to be wanted until the month ends.
    pub forecast: u64,
    /// How many the month may have.
    pub budget: u64,
}

/// A limit for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// An hour.
    Hour,
    /// A month.
    Month,
}

/// A spending limit that paths would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// Which limit.
    pub period: Period,
    /// How high it is.
    pub limit: NanoUsd,
    /// What was spent in that time.
    pub spent: NanoUsd,
    /// How many paths are wanted.
    pub wanted: u64,
}

impl Decision {
    /// The limits of the cover, if there is to be one. Above a spending limit only the price counts.
    pub fn cover_limits(&self, mode: CostMode) -> Option<Limits> {
        match (self, mode) {
            (Self::Exact(_), _) => None,
            (Self::Cover(WhyCover::Limit(_)), _) | (_, CostMode::Frugal) => Some(Limits::frugal()),
            (Self::Cover(_), _) => Some(Limits::balanced()),
        }
    }
}

/// Decides for each bucket of a flush, given how many exact paths its changes have for all targets.
/// `account` is `None` if the ledger cannot be read.
pub fn decide(rules: &CostRules, account: Option<&Account>, wants: &[Want]) -> Vec<Decision> {
    decide_with(rules, account, None, wants)
}

/// The same. If the ledger cannot be read, `least` is what is known to be spent, for the spending limits.
pub fn decide_with(
    rules: &CostRules,
    account: Option<&Account>,
    least: Option<&Account>,
    wants: &[Want],
) -> Vec<Decision> {
    let admissions = admit(rules, account.or(least), wants);
    let left = account.map_or(0, |account| left_of_budget(rules, account));
    let paths: Vec<u64> = wants.iter().map(|want| want.paths).collect();
    let shares = fair_shares(left, &paths);
    let buckets = paths.iter().zip(shares).zip(admissions);
    let decisions = buckets.map(|((want, share), admission)| match admission.reached {
        Some(limit) => Decision::Cover(WhyCover::Limit(limit)),
        None => decide_within_limits(rules, account, *want, *want <= share),
    });
    decisions.collect()
}

/// How many exact paths fit into the budget, beside what is reserved and forecast.
fn left_of_budget(rules: &CostRules, account: &Account) -> u64 {
    let needed = account.this_month.saturating_add(account.forecast());
    rules.budget.saturating_sub(needed)
}

fn decide_within_limits(
    rules: &CostRules,
    account: Option<&Account>,
    wanted: u64,
    fits: bool,
) -> Decision {
    match (rules.mode, account) {
        (CostMode::Exact, _) => Decision::Exact(WhyExact::Mode),
        (CostMode::Frugal, _) => Decision::Cover(WhyCover::Mode),
        (CostMode::Balanced, None) => Decision::Cover(WhyCover::NoLedger),
        (CostMode::Balanced, Some(account)) => {
            let budget = Budget {
                wanted,
                reserved: account.this_month,
                forecast: account.forecast(),
                budget: rules.budget,
            };
            match fits {
                true => Decision::Exact(WhyExact::Fits(budget)),
                false => Decision::Cover(WhyCover::Budget(budget)),
            }
        }
    }
}

/// How many paths may be ordered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// So many.
    pub paths: u64,
    /// The limit that keeps the others waiting, if not all may be ordered.
    pub reached: Option<LimitReached>,
}

/// A set of at most so many paths may use what is kept for small sets, as long as its bucket has ordered less
/// than a tenth of the hour's limit: many small sets of one bucket are a flood, too.
const SMALL_SET: u64 = 10;
const SMALL_PART: u64 = 10;

/// What a bucket wants, and what it has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// How many paths its changes have.
    pub paths: u64,
    /// How many it has ordered in this hour.
    pub had: u64,
}

impl From<u64> for Want {
    /// Nothing was ordered before.
    fn from(paths: u64) -> Self {
        Self { paths, had: 0 }
    }
}

impl Want {
    fn is_small(self, rules: &CostRules) -> bool {
        let most = rules.limits.hour.get() / PATH.amount.get() / SMALL_PART;
        self.paths <= SMALL_SET && self.had + self.paths <= most.max(1)
    }
}

/// Says for each bucket how many of its paths the spending limits allow, given how many there are. What they do
/// not allow has to wait.
///
/// Without an account nobody knows what was spent: then what an hour allows is allowed.
pub fn admit(rules: &CostRules, account: Option<&Account>, wants: &[Want]) -> Vec<Admission> {
    let unknown = Account {
        this_month: FREE_PATHS,
        elapsed: 1.0,
        elapsed_of_hour: 1.0,
        ..Account::default()
    };
    let account = account.unwrap_or(&unknown);
    let rooms = [Period::Hour, Period::Month].map(|period| Room::new(rules, account, period));
    let shares = rooms.map(|room| room.shares(rules, wants));
    let admission = |(place, want): (usize, &Want)| {
        let [by_hour, by_month] = [0, 1].map(|period| shares[period][place]);
        let (paths, room) = match by_hour <= by_month {
            true => (by_hour, rooms[0]),
            false => (by_month, rooms[1]),
        };
        let reached = (paths < want.paths).then(|| room.reached(want.paths));
        Admission { paths, reached }
    };
    wants.iter().enumerate().map(admission).collect()
}

/// How many paths a limit still allows.
#[derive(Clone, Copy)]
struct Room {
    period: Period,
    limit: NanoUsd,
    spent: NanoUsd,
    for_large: u64,
    for_small: u64,
}

impl Room {
    fn new(rules: &CostRules, account: &Account, period: Period) -> Self {
        let (limit, spent) = match period {
            Period::Hour => (rules.limits.hour, account.spent_this_hour()),
            Period::Month => (rules.limits.month, account.spent_this_month()),
        };
        // A ration is what a minute of the hour may spend, or an hour of the month.
        let (elapsed, ration) = match period {
            Period::Hour => (account.elapsed_of_hour, 1.0 / 60.0),
            Period::Month => (account.elapsed, 1.0 / (30.0 * 24.0)),
        };
        let paths_beside = |rest: f64| {
            let kept = limit.half().get() as f64 * rest.clamp(0.0, 1.0);
            let left = limit.less(spent).less(NanoUsd::new(kept as u64));
            let paid = left.get() / PATH.amount.get();
            paid.saturating_add(account.free())
        };
        Self {
            period,
            limit,
            spent,
            for_large: paths_beside(1.0 - elapsed),
            for_small: paths_beside(1.0 - elapsed - ration),
        }
    }

    /// The small sets first: what they take is missing for the large ones.
    fn shares(&self, rules: &CostRules, wants: &[Want]) -> Vec<u64> {
        let of_size = |small: bool| -> Vec<u64> {
            let is_of_size = |want: &Want| want.is_small(rules) == small;
            let paths = |want: &Want| if is_of_size(want) { want.paths } else { 0 };
            wants.iter().map(paths).collect()
        };
        let small = fair_shares(self.for_small, &of_size(true));
        let left = self.for_large.saturating_sub(small.iter().sum());
        let large = fair_shares(left, &of_size(false));
        small
            .into_iter()
            .zip(large)
            .map(|(small, large)| small + large)
            .collect()
    }

    fn reached(&self, wanted: u64) -> LimitReached {
        LimitReached {
            period: self.period,
            limit: self.limit,
            spent: self.spent,
            wanted,
        }
    }
}

impl SpendingLimits {
    /// The limit of which at least half is spent, if one is: the admin should know before it is reached.
    pub fn half_spent(&self, account: &Account) -> Option<Period> {
        if account.spent_this_month() >= self.month.half() {
            Some(Period::Month)
        } else if account.spent_this_hour() >= self.hour.half() {
            Some(Period::Hour)
        } else {
            None
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(why) => write!(f, "exact paths: {why}"),
            Self::Cover(why) => write!(f, "the cheapest cover: {why}"),
        }
    }
}

impl fmt::Display for WhyExact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode => f.write_str("the cost mode is exact"),
            Self::Fits(budget) => write!(f, "fits into the month's budget: {budget}"),
        }
    }
}

impl fmt::Display for WhyCover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode => f.write_str("the cost mode is frugal"),
            Self::Budget(budget) => {
                let wanted = Of(budget.wanted, "path");
                write!(f, "no room for {wanted} in the month's budget: {budget}")
            }
            Self::NoLedger => f.write_str("the ledger cannot be read"),
            Self::Limit(limit) => limit.fmt(f),
        }
    }
}

/// `120 of 1,000 reserved, 45 more forecast`
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [reserved, budget, forecast] =
            [self.reserved, self.budget, self.forecast].map(Thousands);
        write!(
            f,
            "{reserved} of {budget} reserved, {forecast} more forecast"
        )
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Month => "month",
        })
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            period,
            limit,
            spent,
            wanted,
        } = self;
        let wanted = Of(*wanted, "path");
        write!(
            f,
            "{wanted} would go beyond what is left of the spending limit of {limit} for this {period}, with {spent} spent"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(this_month: u64, elapsed: f64) -> Account {
        Account {
            this_month,
            elapsed,
            ..Account::default()
        }
    }

    fn rules(mode: CostMode) -> CostRules {
        CostRules {
            mode,
            ..CostRules::default()
        }
    }

    #[test]
    fn each_decision_says_why() {
        use CostMode::{Balanced, Exact, Frugal};
        let calm = account(120, 0.5);
        let busy = account(900, 0.9);
        let flooded = Account {
            this_hour: 1_500,
            ..account(2_000, 0.1)
        };
        for (mode, account, wanted, expected) in [
            (
                Exact,
                Some(calm),
                800,
                "exact paths: the cost mode is exact",
            ),
            (
                Balanced,
                Some(calm),
                780,
                "exact paths: fits into the month's budget: 120 of 1,000 reserved, 100 more forecast",
            ),
            (
                Balanced,
                Some(calm),
                781,
                "the cheapest cover: no room for 781 paths in the month's budget: 120 of 1,000 reserved, 100 more forecast",
            ),
            (
                Balanced,
                Some(busy),
                10,
                "exact paths: fits into the month's budget: 900 of 1,000 reserved, 90 more forecast",
            ),
            (
                Balanced,
                Some(busy),
                11,
                "the cheapest cover: no room for 11 paths in the month's budget: 900 of 1,000 reserved, 90 more forecast",
            ),
            (
                Balanced,
                None,
                1,
                "the cheapest cover: the ledger cannot be read",
            ),
            (
                Frugal,
                Some(calm),
                2,
                "the cheapest cover: the cost mode is frugal",
            ),
            (
                Frugal,
                None,
                2,
                "the cheapest cover: the cost mode is frugal",
            ),
            (Exact, None, 1_000, "exact paths: the cost mode is exact"),
            (
                Exact,
                None,
                1_001,
                "the cheapest cover: 1,001 paths would go beyond what is left of the spending limit of 5.00 USD for this hour, with 0 USD spent",
            ),
            (
                Exact,
                Some(flooded),
                100,
                "the cheapest cover: 100 paths would go beyond what is left of the spending limit of 5.00 USD for this hour, with 5.00 USD spent",
            ),
        ] {
            let decision = decide(&rules(mode), account.as_ref(), &[wanted.into()])[0];
            assert_eq!(decision.to_string(), expected, "{mode} {wanted}");
        }
    }

    #[test]
    fn a_cover_is_sparing_only_in_balanced_and_below_the_limits() {
        let limit = LimitReached {
            period: Period::Hour,
            limit: NanoUsd::usd(5),
            spent: NanoUsd::ZERO,
            wanted: 1,
        };
        for (why, mode, expected) in [
            (WhyCover::NoLedger, CostMode::Balanced, Limits::balanced()),
            (WhyCover::Mode, CostMode::Frugal, Limits::frugal()),
            (WhyCover::Limit(limit), CostMode::Balanced, Limits::frugal()),
            (WhyCover::Limit(limit), CostMode::Exact, Limits::frugal()),
        ] {
            let limits = Decision::Cover(why).cover_limits(mode);
            assert_eq!(limits, Some(expected), "{why} {mode}");
        }
        let exact = Decision::Exact(WhyExact::Mode);
        assert_eq!(exact.cover_limits(CostMode::Exact), None);
    }

    #[test]
    fn a_flooded_bucket_leaves_the_others_exact() {
        let is_exact = |wants: &[u64]| -> Vec<bool> {
            let wants: Vec<Want> = wants.iter().copied().map(Want::from).collect();
            let decisions = decide(&rules(CostMode::Balanced), Some(&account(0, 0.0)), &wants);
            let is_exact = |decision| matches!(decision, &Decision::Exact(_));
            decisions.iter().map(is_exact).collect()
        };
        assert_eq!(is_exact(&[40_000, 20, 300]), [false, true, true]);
        assert_eq!(is_exact(&[600, 500]), [false, true]);
        assert_eq!(is_exact(&[600]), [true]);
        assert_eq!(is_exact(&[]), [] as [bool; 0]);
    }

    /// A distribution on which no wildcard may be used, or a mode that uses none: an hour in which a
    /// bucket is flooded.
    #[test]
    fn a_flood_stays_within_the_limits_and_does_not_stop_others() {
        let rules = rules(CostMode::Exact);
        let mut spent = account(0, 0.5);
        let (mut of_flood, mut of_others) = (0, 0);
        for flush in 0..360 {
            spent.elapsed_of_hour = f64::from(flush) / 360.0;
            // A change of another bucket comes with each flush.
            let admissions = admit(&rules, Some(&spent), &[2_778.into(), 1.into()]);
            let [flood, other] = admissions[..] else {
                panic!("two buckets")
            };
            assert_eq!((other.paths, other.reached), (1, None), "{flush}");
            assert!(flood.reached.is_some());
            of_flood += flood.paths;
            of_others += other.paths;
            spent.this_month += flood.paths + other.paths;
            spent.this_hour += flood.paths + other.paths;
        }
        assert_eq!(of_others, 360);
        assert!(spent.spent_this_hour() <= rules.limits.hour);
        // Nor does the flood get less than it may.
        assert!(of_flood >= 2_000 - 360 - 20, "{of_flood}");
    }

    /// A flood that comes in small sets is one all the same.
    #[test]
    fn many_small_sets_of_a_bucket_leave_room_for_another() {
        let rules = rules(CostMode::Exact);
        let mut spent = account(1_000, 0.5);
        let (mut of_flood, mut of_other) = (0, 0);
        for second in (0..3_600).step_by(10) {
            spent.elapsed_of_hour = f64::from(second) / 3_600.0;
            let mut ask = |paths: u64, had: &mut u64| {
                let admission = admit(&rules, Some(&spent), &[Want { paths, had: *had }])[0];
                *had += admission.paths;
                spent.this_month += admission.paths;
                spent.this_hour += admission.paths;
                admission.paths
            };
            ask(10, &mut of_flood);
            // The other bucket changes once a minute, in a flush of its own.
            if second % 60 == 30 {
                assert_eq!(ask(1, &mut of_other), 1, "at {second} s");
            }
        }
        assert_eq!(of_other, 60);
        assert!((800..=940).contains(&of_flood), "{of_flood}");
        assert!(spent.spent_this_hour() <= rules.limits.hour);
    }

    #[test]
    fn what_is_above_a_limit_waits() {
        let rules = CostRules::default();
        for (this_month, this_hour, want, admitted, period) in [
            // The free ones, and those for 5 USD.
            (0, 0, 2_000, 2_000, None),
            (0, 0, 2_001, 2_000, Some(Period::Hour)),
            (2_000, 2_000, 1, 0, Some(Period::Hour)),
            (2_000, 999, 1, 1, None),
            (10_995, 0, 10, 5, Some(Period::Month)),
            (11_000, 0, 1, 0, Some(Period::Month)),
        ] {
            let account = Account {
                this_hour,
                elapsed_of_hour: 1.0,
                ..account(this_month, 1.0)
            };
            let admission = admit(&rules, Some(&account), &[want.into()])[0];
            let reached = admission.reached.map(|reached| reached.period);
            assert_eq!(
                (admission.paths, reached),
                (admitted, period),
                "{this_month} {this_hour} {want}"
            );
        }
    }

    #[test]
    fn a_stack_at_its_limit_still_sends_a_wildcard_now_and_then() {
        let rules = CostRules::default();
        let mut account = account(6_000, 0.0);
        let (mut waited, mut longest) = (0, 0);
        for minute in 0..30 * 24 * 60 {
            account.elapsed = f64::from(minute) / (30.0 * 24.0 * 60.0);
            account.elapsed_of_hour = f64::from(minute % 60) / 60.0;
            account.this_hour *= u64::from(minute % 60 != 0);
            let [flood, wildcard] = admit(&rules, Some(&account), &[5_000.into(), 1.into()])[..]
            else {
                panic!("two sets")
            };
            waited = if wildcard.paths == 1 { 0 } else { waited + 1 };
            longest = longest.max(waited);
            account.this_month += flood.paths + wildcard.paths;
            account.this_hour += flood.paths + wildcard.paths;
        }
        assert!(account.spent_this_month() <= rules.limits.month);
        // The last ration of the month may be used up an hour before it ends.
        assert!(longest <= 60, "{longest} minutes");
    }

    #[test]
    fn the_admin_is_told_at_half_of_a_limit() {
        let limits = SpendingLimits::default();
        for (this_month, this_hour, expected) in [
            (1_499, 1_499, None),
            (1_500, 1_500, Some(Period::Hour)),
            (1_500, 0, None),
            (6_000, 0, Some(Period::Month)),
        ] {
            let account = Account {
                this_hour,
                ..account(this_month, 0.5)
            };
            assert_eq!(limits.half_spent(&account), expected, "{this_month}");
        }
    }
}
