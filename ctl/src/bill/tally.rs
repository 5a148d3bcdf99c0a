//! Adds up the invalidations of a month: by day, distribution and cause. Pure.

use std::collections::BTreeMap;

use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::month::Month;
use invalidator_core::cost::price::{FREE_PATHS, PATH};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::invalidation::{Billed, Invalidation, Read};
use crate::cause::Cause;
use crate::in_json::{in_usd, rfc3339};

/// The version of the JSON.
const VERSION: u32 = 1;

/// How many of the largest invalidations are shown.
const LARGEST: usize = 10;

/// How many labels of others' references are told apart.
const MAX_OTHERS: usize = 20;

/// The forecast goes by so many days.
const FORECAST_DAYS: i64 = 7;

/// The bill of an account and month.
#[derive(Debug, Serialize)]
pub struct Bill {
    v: u32,
    pub account: String,
    #[serde(serialize_with = "as_text")]
    pub month: Month,
    /// Until when the invalidations were read.
    #[serde(serialize_with = "rfc3339")]
    pub until: OffsetDateTime,
    #[serde(flatten)]
    pub total: Amount,
    pub free_paths_left: u64,
    /// `None` if the month is over, or has hardly begun.
    pub forecast: Option<Forecast>,
    /// Each day that has begun.
    pub days: Vec<Day>,
    /// Those with invalidations, the dearest first.
    pub distributions: Vec<Distribution>,
    /// The dearest first.
    pub causes: Vec<OfCause>,
    pub largest: Vec<Largest>,
    /// What could not be read, so the sums are too low.
    pub missing: Vec<Missing>,
    pub notes: Vec<String>,
}

/// A sum of invalidations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub invalidations: u64,
    pub paths: u64,
    /// Among the paths.
    pub wildcards: u64,
    #[serde(serialize_with = "in_usd")]
    pub usd: NanoUsd,
}

/// What the month will have cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    pub paths: u64,
    #[serde(serialize_with = "in_usd")]
    pub usd: NanoUsd,
    /// It goes on as in the last so many days.
    pub as_in_days: f64,
}

/// A day of the month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Day {
    /// Such as 2026-11-21.
    pub day: String,
    #[serde(flatten)]
    pub amount: Amount,
    /// Paths by the id of the distribution or tenant.
    pub distributions: BTreeMap<String, u64>,
    /// Paths by cause.
    pub causes: BTreeMap<String, u64>,
}

/// A distribution or tenant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    pub id: String,
    /// `null` if it was deleted.
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_of: Option<String>,
    /// Its USD are its share of the account's.
    #[serde(flatten)]
    pub amount: Amount,
    /// Paths by cause.
    pub causes: BTreeMap<String, u64>,
}

/// Who made invalidations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfCause {
    pub cause: String,
    pub shown: String,
    pub is_invalidator: bool,
    /// Its USD are its share of the account's.
    #[serde(flatten)]
    pub amount: Amount,
}

/// One of the invalidations with the most paths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Largest {
    pub id: String,
    #[serde(serialize_with = "rfc3339")]
    pub time: OffsetDateTime,
    pub distribution: String,
    pub cause: String,
    pub shown: String,
    pub paths: u64,
    pub first_path: String,
}

/// A distribution whose invalidations could not all be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    pub distribution: String,
    pub error: String,
}

fn as_text<S: serde::Serializer>(month: &Month, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(month)
}

/// What so many paths of a month cost, after the free ones.
pub fn price(paths: u64) -> NanoUsd {
    PATH.amount.times(paths.saturating_sub(FREE_PATHS))
}

impl Bill {
    /// The paths of the day that has most: the length of the longest bar.
    pub fn most_paths_of_a_day(&self) -> u64 {
        let paths = self.days.iter().map(|day| day.amount.paths);
        paths.max().unwrap_or(0)
    }
}

impl Amount {
    fn add(&mut self, invalidation: &Invalidation) {
        self.invalidations += 1;
        self.paths += invalidation.paths;
        self.wildcards += invalidation.wildcards;
    }

    /// With its share of the account's costs.
    fn share_of(mut self, all: &Self) -> Self {
        let share =
            u128::from(all.usd.get()) * u128::from(self.paths) / u128::from(all.paths.max(1));
        self.usd = NanoUsd::new(u64::try_from(share).unwrap_or(u64::MAX));
        self
    }
}

/// Adds up a month as it was read at `now`.
pub fn tally(account: String, month: Month, now: OffsetDateTime, read: &[Read]) -> Bill {
    let until = now.min(month.end());
    let labels = Labels::of(read);
    let mut total = Amount::default();
    let mut causes: BTreeMap<Cause, Amount> = BTreeMap::new();
    let mut days = days(month, until);
    let mut distributions = Vec::new();
    for Read {
        of, invalidations, ..
    } in read
    {
        let mut amount = Amount::default();
        let mut by_cause = BTreeMap::new();
        for invalidation in invalidations {
            let cause = labels.cause(invalidation);
            amount.add(invalidation);
            total.add(invalidation);
            let place = usize::from(invalidation.created().day()) - 1;
            // CloudFront's clock may be ahead of this machine's.
            let last = days.len() - 1;
            let day = &mut days[place.min(last)];
            day.amount.add(invalidation);
            *day.distributions.entry(of.id.clone()).or_default() += invalidation.paths;
            *day.causes.entry(cause.code()).or_default() += invalidation.paths;
            *by_cause.entry(cause.code()).or_default() += invalidation.paths;
            causes.entry(cause).or_default().add(invalidation);
        }
        if amount.invalidations > 0 {
            distributions.push(Distribution::new(of, amount, by_cause));
        }
    }
    total.usd = price(total.paths);
    // The first paths of the month are the free ones.
    let mut paths = 0;
    for day in &mut days {
        let before = price(paths);
        paths += day.amount.paths;
        day.amount.usd = price(paths).less(before);
    }
    for distribution in &mut distributions {
        distribution.amount = distribution.amount.share_of(&total);
    }
    distributions.sort_by(|a, b| {
        b.amount
            .paths
            .cmp(&a.amount.paths)
            .then_with(|| a.id.cmp(&b.id))
    });
    let causes = causes.into_iter().map(|(cause, amount)| OfCause {
        cause: cause.code(),
        shown: cause.to_string(),
        is_invalidator: cause.is_ours(),
        amount: amount.share_of(&total),
    });
    let mut causes: Vec<_> = causes.collect();
    causes.sort_by(|a, b| {
        b.amount
            .paths
            .cmp(&a.amount.paths)
            .then_with(|| a.cause.cmp(&b.cause))
    });
    Bill {
        v: VERSION,
        account,
        month,
        until,
        forecast: forecast(month, now, total.paths, read),
        total,
        free_paths_left: FREE_PATHS.saturating_sub(total.paths),
        days,
        distributions,
        causes,
        largest: largest(read, &labels),
        missing: missing(read),
        notes: notes(month, now, read),
    }
}

impl Distribution {
    fn new(of: &Billed, amount: Amount, causes: BTreeMap<String, u64>) -> Self {
        Self {
            id: of.id.clone(),
            name: of.name.clone(),
            tenant_of: of.tenant_of.clone(),
            amount,
            causes,
        }
    }
}

/// The labels of others' references that are told apart: those with the most paths.
struct Labels(Vec<Cause>);

impl Labels {
    fn of(read: &[Read]) -> Self {
        let mut others: BTreeMap<Cause, u64> = BTreeMap::new();
        for invalidation in read.iter().flat_map(|it| &it.invalidations) {
            let cause = Cause::of(&invalidation.reference);
            if matches!(cause, Cause::Other(_)) {
                *others.entry(cause).or_default() += invalidation.paths;
            }
        }
        let mut others: Vec<_> = others.into_iter().collect();
        others.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        others.truncate(MAX_OTHERS);
        Self(others.into_iter().map(|(cause, _)| cause).collect())
    }

    fn cause(&self, invalidation: &Invalidation) -> Cause {
        match Cause::of(&invalidation.reference) {
            other @ Cause::Other(_) if !self.0.contains(&other) => Cause::Other(String::new()),
            cause => cause,
        }
    }
}

fn days(month: Month, until: OffsetDateTime) -> Vec<Day> {
    let is_over = until >= month.end();
    let last = if is_over {
        month.days()
    } else {
        until.to_offset(time::UtcOffset::UTC).day()
    };
    let days = (1..=last).map(|day| Day {
        day: month.date(day).to_string(),
        amount: Amount::default(),
        distributions: BTreeMap::new(),
        causes: BTreeMap::new(),
    });
    days.collect()
}

/// The rest of the month goes on as the last week of it, or as what there is of it.
fn forecast(month: Month, now: OffsetDateTime, paths: u64, read: &[Read]) -> Option<Forecast> {
    let begin = month.start().max(now - Duration::days(FORECAST_DAYS));
    let span = now - begin;
    if !month.contains(now) || span < Duration::days(1) {
        return None;
    }
    let invalidations = read.iter().flat_map(|it| &it.invalidations);
    let recent = invalidations.filter(|it| it.created() >= begin);
    let recent: u64 = recent.map(|it| it.paths).sum();
    let rest = (month.end() - now) / span;
    let paths = paths + (recent as f64 * rest).round() as u64;
    Some(Forecast {
        paths,
        usd: price(paths),
        as_in_days: (span / Duration::days(1) * 10.0).round() / 10.0,
    })
}

fn largest(read: &[Read], labels: &Labels) -> Vec<Largest> {
    let all = read
        .iter()
        .flat_map(|it| it.invalidations.iter().map(move |one| (&it.of, one)));
    let mut all: Vec<_> = all.collect();
    all.sort_by(|(_, a), (_, b)| b.paths.cmp(&a.paths).then_with(|| b.time.cmp(&a.time)));
    all.truncate(LARGEST);
    let largest = all.into_iter().map(|(of, invalidation)| {
        let cause = labels.cause(invalidation);
        Largest {
            id: invalidation.id.clone(),
            time: invalidation.created(),
            distribution: of.id.clone(),
            cause: cause.code(),
            shown: cause.to_string(),
            paths: invalidation.paths,
            first_path: invalidation.first.clone(),
        }
    });
    largest.collect()
}

fn missing(read: &[Read]) -> Vec<Missing> {
    let missing = read.iter().filter_map(|it| {
        Some(Missing {
            distribution: it.of.id.clone(),
            error: it.missing.as_ref()?.to_string(),
        })
    });
    missing.collect()
}

fn notes(month: Month, now: OffsetDateTime, read: &[Read]) -> Vec<String> {
    let mut notes = vec![
        "Of distributions that were deleted, only what an earlier run on this machine has read is here."
            .to_owned(),
    ];
    if month < Month::at(now).previous() {
        notes.push(
            "CloudFront may not list invalidations of this month any more: it once promised the current and \
             the previous month, and promises nothing today."
                .to_owned(),
        );
    }
    let forgotten: usize = read.iter().map(|it| it.forgotten).sum();
    if forgotten > 0 {
        notes.push(format!(
            "CloudFront does not list {forgotten} of these invalidations any more; an earlier run has read them."
        ));
    }
    notes.push(
        "The cause is told by the caller reference, which anybody may choose. Which user or program it was is \
         in CloudTrail's event history, for 90 days."
            .to_owned(),
    );
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    fn invalidation(time: OffsetDateTime, paths: u64, reference: &str) -> Invalidation {
        Invalidation {
            id: format!("I{}", time.unix_timestamp()),
            time: i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap(),
            paths,
            wildcards: 0,
            reference: reference.to_owned(),
            first: "/a".to_owned(),
        }
    }

    fn read(id: &str, invalidations: Vec<Invalidation>) -> Read {
        Read {
            of: Billed {
                id: id.to_owned(),
                name: Some(id.to_owned()),
                tenant_of: None,
            },
            invalidations,
            forgotten: 0,
            missing: None,
        }
    }

    fn november() -> Month {
        "2026-11".parse().unwrap()
    }

    /// So many paths on each of the first days of November.
    fn daily(days: i64, paths: u64) -> Vec<Read> {
        let noon = november().start() + Duration::hours(12);
        let days = (0..days).map(|day| invalidation(noon + Duration::days(day), paths, "r"));
        vec![read("E1", days.collect())]
    }

    #[test]
    fn the_forecast_goes_on_as_the_last_week() {
        let forecast = |now, read: &[Read]| tally(String::new(), november(), now, read).forecast;
        let even = forecast(datetime!(2026-11-11 0:00 UTC), &daily(10, 100)).unwrap();
        assert_eq!((even.paths, even.as_in_days), (3_000, 7.0));
        assert_eq!(even.usd, price(3_000));
        // A launch on the first day does not count for the rest of the month.
        let mut launch = daily(10, 100);
        launch[0]
            .invalidations
            .push(invalidation(november().start(), 5_000, "r"));
        let after = forecast(datetime!(2026-11-11 0:00 UTC), &launch).unwrap();
        assert_eq!(after.paths, 8_000);
        let young = forecast(datetime!(2026-11-03 12:00 UTC), &daily(2, 100)).unwrap();
        assert_eq!((young.paths, young.as_in_days), (2_400, 2.5));
        assert_eq!(
            forecast(datetime!(2026-11-01 23:00 UTC), &daily(1, 100)),
            None
        );
        assert_eq!(
            forecast(datetime!(2026-12-01 0:00 UTC), &daily(30, 100)),
            None
        );
    }

    #[test]
    fn the_first_paths_of_the_month_are_the_free_ones() {
        let bill = tally(String::new(), november(), november().end(), &daily(30, 300));
        let costs: Vec<f64> = bill
            .days
            .iter()
            .map(|day| day.amount.usd.to_usd())
            .collect();
        assert_eq!(costs[..5], [0.0, 0.0, 0.0, 1.0, 1.5]);
        assert_eq!(bill.total.usd, NanoUsd::usd(40));
        assert_eq!(bill.free_paths_left, 0);
        let small = tally(String::new(), november(), november().end(), &daily(1, 300));
        assert_eq!(
            (small.total.usd, small.free_paths_left),
            (NanoUsd::ZERO, 700)
        );
    }

    #[test]
    fn only_the_largest_scripts_are_told_apart() {
        let time = november().start();
        let script = |n: u64| {
            let name: String = std::iter::repeat_n('x', n as usize).collect();
            invalidation(time, n, &format!("{name}-1638960000"))
        };
        let bill = tally(
            String::new(),
            november(),
            november().end(),
            &[read("E1", (1..=30).map(script).collect())],
        );
        assert_eq!(bill.causes.len(), MAX_OTHERS + 1);
        let rest = bill.causes.iter().find(|it| it.cause == "other:").unwrap();
        assert_eq!(rest.amount.paths, (1..=10).sum::<u64>());
    }

    proptest! {
        /// Whichever way it is divided, nothing is lost and nothing is counted twice.
        #[test]
        fn all_sums_are_the_same(
            made in proptest::collection::vec((0..3_usize, 0..2_592_000_i64, 0..2_000_u64, 0..4_usize), 0..40),
        ) {
            let references = ["cli-1-2", "9f86d081884c7d659a2feaa0c55ad015-flush", "a", "b"];
            let mut all: Vec<Read> = ["E1", "E2", "dt_1"].map(|id| read(id, Vec::new())).into();
            for (target, second, paths, reference) in &made {
                let time = november().start() + Duration::seconds(*second);
                all[*target].invalidations.push(invalidation(time, *paths, references[*reference]));
            }
            let bill = tally(String::new(), november(), november().end(), &all);
            let paths: u64 = made.iter().map(|(_, _, paths, _)| paths).sum();
            prop_assert_eq!(bill.total.paths, paths);
            prop_assert_eq!(bill.total.usd, price(paths));
            prop_assert_eq!(bill.days.iter().map(|it| it.amount.usd).sum::<NanoUsd>(), price(paths));
            for sum in [
                bill.days.iter().map(|it| it.amount.paths).sum::<u64>(),
                bill.days.iter().flat_map(|it| it.distributions.values()).sum(),
                bill.days.iter().flat_map(|it| it.causes.values()).sum(),
                bill.distributions.iter().map(|it| it.amount.paths).sum(),
                bill.distributions.iter().flat_map(|it| it.causes.values()).sum(),
                bill.causes.iter().map(|it| it.amount.paths).sum(),
            ] {
                prop_assert_eq!(sum, paths);
            }
            let shares = bill.causes.iter().map(|it| it.amount.usd).sum::<NanoUsd>();
            prop_assert!(price(paths).less(shares) < NanoUsd::new(10));
            prop_assert!(shares <= price(paths));
        }
    }
}
