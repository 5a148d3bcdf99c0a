//! Reads an object of the error bucket whose paths somebody wants to submit again.
//!
//! Whoever may write to the bucket can make an object that looks like an error file, so it is not
//! believed: it must be where the function writes, and be for the target that its key names. Whether
//! that target is in the account is the caller's question.

use std::str::Utf8Error;

use crate::error_file::{FOLDER, InvalidErrorFile, Section, Unreadable};
use crate::text::one_line;

/// The longest object that is read, in bytes. A submit that rejects ten messages of a mebibyte each writes
/// a sixth of it.
pub const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;

/// An object that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum NotReplayable {
    /// The key is none of an error file.
    #[error(
        "its key is none of an error file, which is {FOLDER}<time and ten characters>_<id of a distribution \
         or tenant>.txt; name the files that the mail lists"
    )]
    Key,
    /// It is the body of a message that could not be read.
    #[error(
        "it holds a message of SubmitQueue that could not be read, so it has no paths to submit; look who \
         sent it"
    )]
    UnreadableMessage,
    /// It is longer than an error file can be.
    #[error(
        "it has {0} bytes, an error file at most {MAX_FILE_BYTES}; the function did not write it"
    )]
    TooLong(usize),
    /// It is not text.
    #[error("it is not UTF-8 ({0}); the function did not write it")]
    NotUtf8(Utf8Error),
    /// It is no error file.
    #[error("it is no error file: {0}. Correct it, or delete it if the function did not write it")]
    Text(InvalidErrorFile),
    /// It is for another target than its key says.
    #[error(
        "its key names `{of_key}` and its first line `{of_text}`; the function does not write such a file: \
         find out who did"
    )]
    OtherTarget {
        /// The id in the key.
        of_key: String,
        /// The id in the first line.
        of_text: String,
    },
    /// It has no path.
    #[error("it has no paths")]
    Empty,
}

/// The id of the target in the key of an error file: all between the first `_`, which neither the time nor
/// the random characters before it contain, and `.txt`.
///
/// # Errors
/// If the key is none of an error file with paths.
pub fn id_in_key(key: &str) -> Result<&str, NotReplayable> {
    let name = key
        .strip_prefix(FOLDER)
        .and_then(|name| name.strip_suffix(".txt"));
    match name.and_then(|name| name.split_once('_')) {
        Some((unique, id)) if is_alphanumeric(unique) && !id.is_empty() => match id {
            Unreadable::ID => Err(NotReplayable::UnreadableMessage),
            id => Ok(id),
        },
        _ => Err(NotReplayable::Key),
    }
}

fn is_alphanumeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Reads the error file with this key, which people may have edited.
///
/// # Errors
/// If the object is none that the function may have written.
pub fn read(key: &str, object: &[u8]) -> Result<Section<'static>, NotReplayable> {
    let id = id_in_key(key)?;
    let mut sections = read_text(object)?;
    if let Some(other) = sections.iter().find(|it| it.file.id.as_str() != id) {
        return Err(NotReplayable::OtherTarget {
            of_key: one_line(id, 100),
            of_text: other.file.id.to_string(),
        });
    }
    let first = sections.pop().ok_or(NotReplayable::Empty)?;
    Ok(sections.into_iter().fold(first, joined))
}

fn joined(mut section: Section<'static>, other: Section<'static>) -> Section<'static> {
    section.file.sets.extend(other.file.sets);
    section.hosts.extend(other.hosts);
    section
}

/// Reads a text that somebody has at hand: an error file, or several one after the other.
///
/// # Errors
/// If it is none.
pub fn read_text(text: &[u8]) -> Result<Vec<Section<'static>>, NotReplayable> {
    if text.len() > MAX_FILE_BYTES {
        return Err(NotReplayable::TooLong(text.len()));
    }
    let text = std::str::from_utf8(text).map_err(NotReplayable::NotUtf8)?;
    let sections = Section::all_from_text(text).map_err(NotReplayable::Text)?;
    let mut paths = sections.iter().flat_map(|it| &it.file.sets).flatten();
    match paths.next() {
        Some(_) => Ok(sections),
        None => Err(NotReplayable::Empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_file::{ErrorFile, error_key};
    use crate::path::InvalidationPath;
    use proptest::prelude::*;
    use time::OffsetDateTime;

    const KEY: &str = "invalidation_error/20261121020304567891abcde01234_E1.txt";

    #[test]
    fn only_what_the_function_may_have_written_is_replayed() {
        let text = "CloudFront Id [E1]\n(Set 1 Start)\n\n/a\n\n(Set 1 End)\n\n";
        let key = |name: &str| format!("{FOLDER}{name}");
        for (key, text, expected) in [
            (KEY.to_owned(), text.to_owned(), "/a"),
            (key("1a_dt_1.txt"), text.replace("E1", "dt_1"), "/a"),
            (
                "20261121_E1.txt".to_owned(),
                text.to_owned(),
                "its key is none",
            ),
            (
                "state/1_E1.txt".to_owned(),
                text.to_owned(),
                "its key is none",
            ),
            (key("a/1_E1.txt"), text.to_owned(), "its key is none"),
            (key("_E1.txt"), text.to_owned(), "its key is none"),
            (key("1_.txt"), text.to_owned(), "its key is none"),
            (key("1_E1"), text.to_owned(), "its key is none"),
            (
                key("1_unreadable.txt"),
                "{}".to_owned(),
                "could not be read",
            ),
            (
                key("1_E2.txt"),
                text.to_owned(),
                "its key names `E2` and its first line `E1`",
            ),
            (
                key("1_dt_1.txt"),
                text.replace("E1", "1"),
                "names `dt_1` and its first line `1`",
            ),
            (KEY.to_owned(), "<html>".to_owned(), "the first line is not"),
            (
                KEY.to_owned(),
                "CloudFront Id [E1]\n".to_owned(),
                "it has no paths",
            ),
            (
                KEY.to_owned(),
                "CloudFront Id [E1]\nb c\n".repeat(2),
                "line 2: `b c`",
            ),
        ] {
            let told = match read(&key, text.as_bytes()) {
                Ok(section) => section.file.sets[0][0].to_string(),
                Err(refusal) => refusal.to_string(),
            };
            assert!(told.contains(expected), "{key}: {told}");
        }
        let error = read(KEY, b"CloudFront Id [E1]\n\xff").unwrap_err();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
    }

    #[test]
    fn the_errors_of_a_file_are_bounded() {
        let lines = "no path\n".repeat(1_000_000) + &"x".repeat(1_000_000);
        let error = read(KEY, format!("CloudFront Id [E1]\n{lines}").as_bytes());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("line 11: `no path`"), "{error}");
        assert!(error.contains("; and 999991 more. Correct"), "{error}");
        assert!(error.len() < 4_000, "{} bytes", error.len());
        let id = "E".repeat(1_000_000);
        let error = read(KEY, format!("CloudFront Id [{id}]\n/a\n").as_bytes()).unwrap_err();
        assert!(error.to_string().len() < 1_000, "{error}");
    }

    /// Texts that are nearly error files.
    fn nearly() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            4 => "/[!-~]{0,20}".prop_map(String::from),
            1 => Just(String::new()),
            1 => "\\(Set [0-9] (Start|End)\\)",
            1 => "CloudFront Id \\[[A-Z0-9]{0,3}\\]",
            1 => any::<String>(),
        ];
        let rest = prop::collection::vec(line, 0..20);
        ("CloudFront Id \\[E1\\]", rest)
            .prop_map(|(first, rest)| format!("{first}\n{}", rest.join("\n")))
    }

    proptest! {
        #[test]
        fn any_object_is_read_or_refused_with_an_error_for_a_terminal(
            key in prop_oneof![Just(KEY.to_owned()), any::<String>()],
            text in prop_oneof![nearly(), any::<String>()],
        ) {
            match read(&key, text.as_bytes()) {
                Ok(Section { file, .. }) => {
                    let again = ErrorFile::from_text(&file.to_text()).unwrap();
                    prop_assert_eq!(&again, &file);
                    prop_assert_eq!(id_in_key(&key).unwrap(), file.id.as_str());
                }
                Err(error) => {
                    let error = error.to_string();
                    prop_assert!(!error.chars().any(char::is_control), "{error:?}");
                    prop_assert!(error.len() < 8_000, "{error}");
                }
            }
        }

        #[test]
        fn what_the_function_writes_can_be_replayed(
            id in "E[A-Z0-9]{1,13}|dt_[A-Za-z0-9_-]{1,27}",
            seconds in 0_i64..4_000_000_000,
            random in "[a-z0-9]{10}",
            paths in prop::collection::vec("/[!-~]{0,20}", 1..20),
        ) {
            let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let key = error_key(now, &random, &id).unwrap();
            let paths = paths.into_iter().map(|path| InvalidationPath::try_from(path).unwrap());
            let file = ErrorFile { id: id.parse().unwrap(), sets: vec![paths.collect()] };
            prop_assert_eq!(read(&key, file.to_text().as_bytes()).unwrap().file, file);
        }
    }
}
