//! Objects under `state/` of the error bucket: what must outlive an environment and a deployment.
//!
//! Each is one JSON object with a version. Whoever may write to the bucket may also have written or deleted
//! it, so an object counts only if it is one that this program could have written itself. What cannot be
//! read is reported, and replaced by what is safe: [`SharedState::begin`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::text::one_line;

/// The folder of all state objects in the error bucket.
pub const FOLDER: &str = "state/";

/// A kind of state object.
pub trait StateObject: Sized {
    /// Its name in logs, such as `the mode`.
    const NAME: &'static str;

    /// What a person does if it was deleted or cannot be read.
    const REMEDY: &'static str;

    /// The largest object that is read or written.
    const MAX_BYTES: usize;

    /// Reads the object.
    ///
    /// # Errors
    /// If this program could not have written it.
    fn from_json(text: &str) -> Result<Self, UnreadableState>;

    /// The object.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    fn to_json(&self) -> Result<String, serde_json::Error>;
}

/// A state object that all environments change, with conditional writes.
pub trait SharedState: StateObject {
    /// The state where there is none to continue from. It must be safe for this reason: what was deleted or
    /// cannot be read may have said anything.
    fn begin(reason: Beginning) -> Self;

    /// The last writes.
    fn writes(&mut self) -> &mut Writes;
}

/// Why a state begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// There never was one.
    First,
    /// Somebody deleted it.
    Deleted,
    /// There is one that cannot be read.
    Unreadable,
}

/// The ids of the last writes of a state, so that a writer whose answer was lost finds its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Writes(Vec<String>);

impl Writes {
    /// How many are remembered.
    pub const MAX: usize = 10;

    /// Whether this write is one of the last.
    pub fn contains(&self, write: &str) -> bool {
        self.0.iter().any(|known| known == write)
    }

    /// Adds a write, and forgets the oldest.
    pub fn push(&mut self, write: &str) {
        self.0.push(write.to_owned());
        let old = self.0.len().saturating_sub(Self::MAX);
        self.0.drain(..old);
    }

    /// # Errors
    /// If these are not the ids of writes: 16 hexadecimal digits.
    pub fn check(&self) -> Result<(), UnreadableState> {
        let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let is_id = |write: &String| write.len() == 16 && write.bytes().all(is_hex);
        check(self.0.len() <= Self::MAX, "writes")?;
        check(self.0.iter().all(is_id), "writes")
    }
}

/// The result of looking for a state object.
#[derive(Debug)]
pub enum Reading<T> {
    /// There is one, and its version (ETag).
    Found(T, Option<String>),
    /// There is none, and the bucket knows of no deletion.
    Absent,
    /// Somebody deleted it.
    Deleted,
    /// There is something else, of this version.
    Unreadable(UnreadableState, Option<String>),
}

/// Why an object is no state of this program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableState {
    /// It is larger than any that this program writes.
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// It is not the documented JSON.
    #[error("it is not the documented JSON: {0}")]
    Json(String),
    /// It has a version that this code does not know.
    #[error("it is of version {found}, this program reads version {known}")]
    Version {
        /// Its version.
        found: u32,
        /// The version that this code writes.
        known: u32,
    },
    /// A field has a value that this program does not write.
    #[error("its field `{0}` has a value that this program does not write")]
    Value(&'static str),
}

impl From<serde_json::Error> for UnreadableState {
    fn from(error: serde_json::Error) -> Self {
        // It quotes the object.
        Self::Json(one_line(&error.to_string(), 200))
    }
}

/// Reads an object as it is in the bucket.
///
/// # Errors
/// If this program could not have written it.
pub fn from_bytes<T: StateObject>(bytes: &[u8]) -> Result<T, UnreadableState> {
    if bytes.len() > T::MAX_BYTES {
        return Err(UnreadableState::TooLarge(T::MAX_BYTES));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| UnreadableState::NotText)?;
    T::from_json(text)
}

/// Reads JSON with the version `known` in its field `v`. The version is looked at first, because all else
/// may differ in another version. Objects without one are of version `unversioned`, if any is.
///
/// # Errors
/// If it is of another version, or not such JSON.
pub fn from_versioned_json<T: DeserializeOwned>(
    text: &str,
    known: u32,
    unversioned: Option<u32>,
) -> Result<T, UnreadableState> {
    #[derive(Deserialize)]
    struct Version {
        v: Option<u32>,
    }
    let Version { v } = serde_json::from_str(text)?;
    let no_version = || UnreadableState::Json("it has no version `v`".to_owned());
    let found = v.or(unversioned).ok_or_else(no_version)?;
    if found != known {
        return Err(UnreadableState::Version { found, known });
    }
    Ok(serde_json::from_str(text)?)
}

/// # Errors
/// If the value of this field is not valid.
pub fn check(is_valid: bool, field: &'static str) -> Result<(), UnreadableState> {
    match is_valid {
        true => Ok(()),
        false => Err(UnreadableState::Value(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_the_last_ten_and_ids() {
        let mut writes = Writes::default();
        for n in 0..12 {
            writes.push(&format!("{n:016x}"));
        }
        writes.check().unwrap();
        let is_known = |n: u64| writes.contains(&format!("{n:016x}"));
        assert_eq!(
            (is_known(1), is_known(2), is_known(11)),
            (false, true, true)
        );
        for other in [
            vec!["x".repeat(16)],
            vec!["0".repeat(17)],
            vec![String::new()],
            vec!["0".repeat(16); 11],
        ] {
            let refused = Writes(other.clone()).check();
            assert_eq!(refused, Err(UnreadableState::Value("writes")), "{other:?}");
        }
    }

    #[test]
    fn the_version_is_looked_at_first() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Body {
            word: String,
        }
        let read = |text, unversioned| from_versioned_json::<Body>(text, 2, unversioned);
        let other = |found| UnreadableState::Version { found, known: 2 };
        for (text, unversioned, expected) in [
            (r#"{"v":2,"word":"a"}"#, None, Ok("a")),
            (r#"{"word":"a"}"#, Some(2), Ok("a")),
            (r#"{"word":"a"}"#, Some(1), Err(other(1))),
            (r#"{"v":3,"words":[]}"#, None, Err(other(3))),
        ] {
            let expected = expected.map(|word| Body {
                word: word.to_owned(),
            });
            assert_eq!(read(text, unversioned), expected, "{text}");
        }
        for text in [
            "",
            "[]",
            "null",
            r#"{"v":-1}"#,
            r#"{"v":2}"#,
            r#"{"word":"a"}"#,
        ] {
            let error = read(text, None).expect_err(text);
            assert!(matches!(error, UnreadableState::Json(_)), "{text}: {error}");
        }
    }

    #[test]
    fn an_error_quotes_no_more_than_a_line_of_the_object() {
        #[derive(Debug, Deserialize)]
        enum Word {}
        let text = format!(r#"{{"v":1,"{}":0}}"#, "\\u001b".repeat(10_000));
        let error = from_versioned_json::<Word>(&text, 1, None).unwrap_err();
        let error = error.to_string();
        assert!(error.len() < 3_000 && !error.contains('\u{1b}'), "{error}");
    }
}
