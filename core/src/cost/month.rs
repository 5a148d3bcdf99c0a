//! A month of the bill. AWS bills by months in UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Date, Month as Name, OffsetDateTime, Time, UtcOffset};

/// A month of the bill, in UTC: months since the year 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Month(u32);

/// A text that names no month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a month such as 2026-11")]
pub struct NoMonth;

impl Month {
    /// The month at this time.
    pub fn at(now: OffsetDateTime) -> Self {
        let now = now.to_offset(UtcOffset::UTC);
        let year = u32::try_from(now.year()).unwrap_or(0);
        Self(year * 12 + u32::from(u8::from(now.month())) - 1)
    }

    /// Which part of the month is over: 0 to 1.
    pub fn elapsed(now: OffsetDateTime) -> f64 {
        let days = f64::from(now.month().length(now.year()));
        let seconds = f64::from(u32::from(now.day()) - 1) * 86_400.0
            + f64::from(u32::from(now.hour()) * 3_600 + u32::from(now.minute()) * 60);
        seconds / (days * 86_400.0)
    }

    /// Its first moment.
    pub fn start(self) -> OffsetDateTime {
        self.date(1).with_time(Time::MIDNIGHT).assume_utc()
    }

    /// The first moment after it.
    pub fn end(self) -> OffsetDateTime {
        Self(self.0 + 1).start()
    }

    /// Whether a moment is in it.
    pub fn contains(self, time: OffsetDateTime) -> bool {
        Self::at(time) == self
    }

    /// The month before it.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many days it has.
    pub fn days(self) -> u8 {
        self.in_words().length(self.year())
    }

    /// A day of it, counted from 1.
    ///
    /// # Panics
    /// If it has no such day.
    pub fn date(self, day: u8) -> Date {
        match Date::from_calendar_date(self.year(), self.in_words(), day) {
            Ok(date) => date,
            Err(error) => panic!("{self} has no day {day}: {error}"),
        }
    }

    /// For a person: `November 2026`.
    pub fn name(self) -> String {
        format!("{} {}", self.in_words(), self.year())
    }

    fn year(self) -> i32 {
        // Of a u32 that counts months.
        (self.0 / 12) as i32
    }

    fn in_words(self) -> Name {
        Name::January.nth_next((self.0 % 12) as u8)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let month = text.split_once('-').and_then(|(year, month)| {
            // CloudFront is of 2008.
            let year: u32 = year.parse().ok()?;
            let month: u32 = month.parse().ok()?;
            let is_month = (2008..=9_998).contains(&year) && (1..=12).contains(&month);
            is_month.then(|| Self(year * 12 + month - 1))
        });
        month
            .filter(|month| month.to_string() == text)
            .ok_or(NoMonth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    #[test]
    fn a_month_begins_and_ends_in_utc() {
        let december: Month = "2026-12".parse().unwrap();
        assert_eq!(december.start(), datetime!(2026-12-01 0:00 UTC));
        assert_eq!(december.end(), datetime!(2027-01-01 0:00 UTC));
        assert!(december.contains(datetime!(2027-01-01 8:59 +9)));
        assert!(!december.contains(datetime!(2026-12-01 8:59 +9)));
        assert!(!december.contains(december.end()));
        assert_eq!(december.days(), 31);
        assert_eq!(december.date(31), date!(2026 - 12 - 31));
        assert_eq!(december.previous().to_string(), "2026-11");
        assert_eq!(Month::at(december.start()), december);
        assert_eq!("2028-02".parse::<Month>().unwrap().days(), 29);
        assert_eq!(december.name(), "December 2026");
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "11-2026",
            "2026-11-01",
            "2007-01",
            "+2026-11",
        ] {
            assert_eq!(text.parse::<Month>(), Err(NoMonth), "{text}");
        }
    }

    #[test]
    fn a_part_of_the_month_is_over() {
        assert_eq!(Month::elapsed(datetime!(2026-12-01 0:00 UTC)), 0.0);
        let noon = Month::elapsed(datetime!(2026-11-15 12:00 UTC));
        assert!((noon - 14.5 / 30.0).abs() < 1e-9);
    }
}
