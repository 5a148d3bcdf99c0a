//! Amounts of money, and how they and numbers are shown.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const NANOS_PER_USD: u64 = 1_000_000_000;

/// An amount of money in whole billionths of a USD. All prices that decide are whole in this unit, so
/// sums are exact and a decision is the same on every machine.
///
/// Arithmetic stops at the largest amount, 18 billion USD, and at zero: nothing that costs so much is
/// ever paid, and a saving below zero is none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NanoUsd(u64);

impl NanoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a USD.
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    /// So many whole USD.
    pub const fn usd(usd: u64) -> Self {
        Self(usd.saturating_mul(NANOS_PER_USD))
    }

    /// In billionths of a USD.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In USD, for a metric or a chart.
    pub fn to_usd(self) -> f64 {
        self.0 as f64 / NANOS_PER_USD as f64
    }

    /// So often this amount.
    pub const fn times(self, number: u64) -> Self {
        Self(self.0.saturating_mul(number))
    }

    /// What is left if another amount is taken away; at least zero.
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The half.
    pub const fn half(self) -> Self {
        Self(self.0 / 2)
    }
}

impl Add for NanoUsd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for NanoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for NanoUsd {
    type Output = Self;

    fn mul(self, number: u64) -> Self {
        self.times(number)
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// As a person writes it: `0.005 USD`, `6.015 USD`, `5.00 USD`. Rounded to a tenth of a cent; a smaller
/// amount to two digits.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0 USD");
        }
        let rounded = self.rounded();
        let whole = Thousands(rounded / NANOS_PER_USD);
        let decimals = format!("{:09}", rounded % NANOS_PER_USD);
        let shown = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{whole}.{} USD", &decimals[..shown])
    }
}

impl NanoUsd {
    fn rounded(self) -> u64 {
        const TENTH_OF_A_CENT: u64 = 1_000_000;
        let unit = if self.0 >= TENTH_OF_A_CENT {
            TENTH_OF_A_CENT
        } else {
            10_u64.pow(self.0.max(1).ilog10().saturating_sub(1))
        };
        self.0.saturating_add(unit / 2) / unit * unit
    }
}

/// A text that is no amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount in USD: it is a number like 50 or 0.005, with at most nine decimals")]
pub struct UnknownAmount(String);

impl FromStr for NanoUsd {
    type Err = UnknownAmount;

    /// Reads an amount of a setting: `50`, `0.005`.
    fn from_str(text: &str) -> Result<Self, UnknownAmount> {
        let error = || UnknownAmount(text.to_owned());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !are_digits(whole) || !are_digits(decimals) || decimals.len() > 9 {
            return Err(error());
        }
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let nanos: u64 = format!("{decimals:0<9}").parse().map_err(|_| error())?;
        let amount = whole.checked_mul(NANOS_PER_USD);
        let amount = amount.and_then(|amount| amount.checked_add(nanos));
        amount.map(Self).ok_or_else(error)
    }
}

/// A number with commas between its thousands: `1,204`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thousands(pub u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.char_indices() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A number of things: `1 path`, `1,204 paths`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of(pub u64, pub &'static str);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = *self;
        let plural = if number == 1 { "" } else { "s" };
        write!(f, "{} {noun}{plural}", Thousands(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_as_a_person_writes_it() {
        for (nanos, expected) in [
            (0, "0 USD"),
            (1, "0.000000001 USD"),
            (400, "0.0000004 USD"),
            (10_900, "0.000011 USD"),
            (1_860_000, "0.002 USD"),
            (1_200_000, "0.001 USD"),
            (5_000_000, "0.005 USD"),
            (60_000_000, "0.06 USD"),
            (999_999, "0.001 USD"),
            (9_999_500_000, "10.00 USD"),
            (6_015_000_000, "6.015 USD"),
            (5_000_000_000, "5.00 USD"),
            (4_995_000_000_000, "4,995.00 USD"),
        ] {
            assert_eq!(NanoUsd::new(nanos).to_string(), expected, "{nanos}");
        }
    }

    #[test]
    fn an_amount_of_a_setting_is_read() {
        for (text, expected) in [
            ("50", Some(50_000_000_000)),
            ("0.005", Some(5_000_000)),
            ("0", Some(0)),
            ("1.000000001", Some(1_000_000_001)),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-5", None),
            ("+5", None),
            ("5 USD", None),
            ("1.0000000001", None),
            ("99999999999", None),
        ] {
            let amount = text.parse::<NanoUsd>().ok().map(NanoUsd::get);
            assert_eq!(amount, expected, "{text}");
        }
    }

    #[test]
    fn numbers_have_commas_and_their_nouns_a_plural() {
        for (number, expected) in [
            (0, "0 paths"),
            (1, "1 path"),
            (999, "999 paths"),
            (1_204, "1,204 paths"),
            (1_000_000, "1,000,000 paths"),
        ] {
            assert_eq!(Of(number, "path").to_string(), expected);
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let most = NanoUsd::new(u64::MAX);
        assert_eq!(most + NanoUsd::usd(1), most);
        assert_eq!(NanoUsd::usd(1) * u64::MAX, most);
        assert_eq!(NanoUsd::usd(1).less(most), NanoUsd::ZERO);
        let sum: NanoUsd = [most, NanoUsd::usd(1)].into_iter().sum();
        assert_eq!(sum, most);
    }
}
