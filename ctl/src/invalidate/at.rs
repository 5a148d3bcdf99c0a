//! When a job is to be submitted, as a person says it.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use time::OffsetDateTime;

/// The record of a job is kept for a year.
const MOST_DAYS: i64 = 365;

/// A time to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    pub time: OffsetDateTime,
    /// Where somebody said it, or this machine is.
    offset: Offset,
}

/// `2026-12-01 08:00:00 +01 (2026-12-01 07:00:00 UTC)`
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Timestamp::from_second(self.time.unix_timestamp()).map_err(|_| fmt::Error)?;
        let shown = |offset: Offset| offset.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S");
        if self.offset == Offset::UTC {
            return write!(f, "{} UTC", shown(Offset::UTC));
        }
        let (local, utc) = (shown(self.offset), shown(Offset::UTC));
        write!(f, "{local} {} ({utc} UTC)", self.offset)
    }
}

/// Reads `2026-12-01 08:00` (of this machine), `2026-12-01T08:00:00+01:00`, or `+2h`.
///
/// # Errors
/// If it is none of them, or is not within the next year.
pub fn read(text: &str) -> Result<When, String> {
    read_at(Timestamp::now(), &TimeZone::system(), text)
}

fn read_at(now: Timestamp, zone: &TimeZone, text: &str) -> Result<When, String> {
    let (time, offset) = match text.strip_prefix('+') {
        Some(later) => {
            let time = now.checked_add(duration(later).ok_or_else(|| expected(text))?);
            let time = time.map_err(|_| expected(text))?;
            (time, zone.to_offset(time))
        }
        None => match text.parse() {
            Ok(time) => (time, offset_in(text).unwrap_or(Offset::UTC)),
            Err(_) => local(text, zone)?,
        },
    };
    if time <= now {
        return Err(format!("`{text}` is in the past"));
    }
    if time.duration_since(now) > SignedDuration::from_hours(24 * MOST_DAYS) {
        return Err(format!(
            "`{text}` is more than {MOST_DAYS} days ahead: the record of a job is kept for a year"
        ));
    }
    let seconds = OffsetDateTime::from_unix_timestamp(time.as_second());
    let time = seconds.map_err(|_| expected(text))?;
    Ok(When { time, offset })
}

fn expected(text: &str) -> String {
    format!(
        "`{text}` is no time: say `2026-12-01 08:00`, `2026-12-01T08:00:00+01:00`, or +2h from now on"
    )
}

/// `2h`, `90m`, `1h30m`, `45s`, `1d`.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut seconds: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..end].parse().ok()?;
        let unit = match rest.as_bytes().get(end)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    (seconds > 0).then(|| SignedDuration::from_secs(seconds))
}

/// The offset at the end of a time.
fn offset_in(text: &str) -> Option<Offset> {
    let sign = text
        .rfind(['+', '-'])
        .filter(|at| *at > "2026-12-01".len())?;
    let (hours, minutes) = text[sign + 1..]
        .split_once(':')
        .unwrap_or((&text[sign + 1..], "0"));
    let seconds = hours.parse::<i32>().ok()? * 3_600 + minutes.parse::<i32>().ok()? * 60;
    let negative = text.as_bytes().get(sign) == Some(&b'-');
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok()
}

/// A time of this machine, by the offset that it has at that time.
fn local(text: &str, zone: &TimeZone) -> Result<(Timestamp, Offset), String> {
    let is_local = |c: char| c.is_ascii_digit() || "-: T".contains(c);
    if !text.contains(':') || !text.chars().all(is_local) {
        return Err(expected(text));
    }
    let time: DateTime = text.parse().map_err(|_| expected(text))?;
    let ambiguous = zone.to_ambiguous_timestamp(time);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => {
            let time = ambiguous.unambiguous();
            Ok((time.map_err(|_| expected(text))?, offset))
        }
        AmbiguousOffset::Gap { .. } => Err(format!(
            "`{text}` does not exist on this machine: its clock is put forward then"
        )),
        AmbiguousOffset::Fold { before, after } => Err(format!(
            "`{text}` comes twice on this machine, as its clock is put back then: say it with its offset, {before} or \
             {after}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn now() -> Timestamp {
        "2026-09-28T20:47:01.9Z".parse().unwrap()
    }

    #[test]
    fn a_time_is_shown_where_it_was_said_and_in_utc() {
        for (text, expected) in [
            (
                "2026-12-01 08:00",
                "2026-12-01 08:00:00 +01 (2026-12-01 07:00:00 UTC)",
            ),
            (
                "2026-10-01T08:00:30",
                "2026-10-01 08:00:30 +02 (2026-10-01 06:00:30 UTC)",
            ),
            (
                "2026-12-01T08:00:00+05:30",
                "2026-12-01 08:00:00 +05:30 (2026-12-01 02:30:00 UTC)",
            ),
            (
                "2026-12-01T08:00:00-03:00",
                "2026-12-01 08:00:00 -03 (2026-12-01 11:00:00 UTC)",
            ),
            ("2026-12-01T08:00:00Z", "2026-12-01 08:00:00 UTC"),
            ("+2h", "2026-09-29 00:47:01 +02 (2026-09-28 22:47:01 UTC)"),
            (
                "+1d1h30m5s",
                "2026-09-30 00:17:06 +02 (2026-09-29 22:17:06 UTC)",
            ),
        ] {
            let when = read_at(now(), &zone(), text).map(|it| it.to_string());
            assert_eq!(when.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_to_come_is_told() {
        for (text, expected) in [
            ("", "is no time"),
            ("tomorrow", "is no time"),
            ("2026-12-01", "is no time"),
            ("2026-12-01 25:00", "is no time"),
            ("2026-13-01 08:00", "is no time"),
            ("2026-12-01 08:00[Europe/Berlin]", "is no time"),
            ("+", "is no time"),
            ("+0s", "is no time"),
            ("+2", "is no time"),
            ("+2w", "is no time"),
            ("+-2h", "is no time"),
            ("+2h3", "is no time"),
            ("+9223372036854775807d", "is no time"),
            ("+99999999999999999999s", "is no time"),
            ("+2é", "is no time"),
            ("2026-09-28 20:00", "is in the past"),
            ("2026-09-28T20:47:01Z", "is in the past"),
            ("+366d", "more than 365 days ahead"),
            (
                "2026-10-25 02:30",
                "comes twice on this machine, as its clock is put back then: say it with its offset, +02 or +01",
            ),
            ("2027-03-28 02:30", "does not exist on this machine"),
        ] {
            let problem = read_at(now(), &zone(), text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
