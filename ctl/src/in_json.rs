//! How times and amounts stand in JSON.

use invalidator_core::cost::amount::NanoUsd;
use serde::Serializer;
use serde::ser::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time: `2026-11-21T02:03:05Z`.
///
/// # Errors
/// If it is beyond the year 9999.
pub fn rfc3339<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.format(&Rfc3339).map_err(Error::custom)?;
    serializer.serialize_str(&text)
}

/// An amount in USD.
///
/// # Errors
/// If it cannot be written.
pub fn in_usd<S: Serializer>(amount: &NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(amount.to_usd())
}
