//! A time in the past, as a person writes it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads `10m`, `2h`, `3d`, `30s`, or a time.
///
/// # Errors
/// If it is neither.
pub fn since(text: &str) -> Result<OffsetDateTime, String> {
    before(OffsetDateTime::now_utc(), text)
}

fn before(now: OffsetDateTime, text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    let expected = || "expected 10m, 2h, 3d, or a time such as 2026-11-21T02:03:04Z".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let number = text
        .strip_suffix(unit)
        .and_then(|it| it.parse::<u32>().ok());
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let seconds = number
        .map(|it| i64::from(it) * seconds)
        .ok_or_else(expected)?;
    let since = now.checked_sub(time::Duration::seconds(seconds));
    since.ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_some_time_ago_or_a_date() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400)] {
            assert_eq!(
                before(now, text).map(|it| -it.unix_timestamp()),
                Ok(seconds),
                "{text}"
            );
        }
        let date = since("2026-11-21T02:03:04Z").unwrap();
        assert_eq!(date.unix_timestamp(), 1_795_226_584);
        for text in [
            "",
            "m",
            "10",
            "10w",
            "-1m",
            "1.5h",
            "yesterday",
            "9999999999d",
            "4000000000d",
            "é",
        ] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
