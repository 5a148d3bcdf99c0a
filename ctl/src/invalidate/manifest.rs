//! Two lists of files with their hashes: what a deployment had before, and what it has now.

use std::collections::BTreeMap;

use invalidator_core::event::ChangeKind;
use invalidator_core::problems::Problems;
use invalidator_core::text::one_line;
use serde::Deserialize;

/// The hash of each name.
pub type Manifest = BTreeMap<String, String>;

/// A text that is no manifest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidManifest {
    /// It begins as JSON does, but is none that is known.
    #[error(
        "it is neither an object of names and hashes nor what `aws s3api list-objects-v2` prints: {0}"
    )]
    Json(String),
    /// Lines are not as `sha256sum` prints them.
    #[error("these lines are not `HASH  NAME`, as sha256sum prints them: {0}")]
    Lines(Problems<String>),
    /// It has no names.
    #[error("it names no file")]
    Empty,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Json {
    Listing {
        #[serde(rename = "Contents")]
        contents: Vec<Object>,
    },
    Hashes(Manifest),
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Reads what `sha256sum` (or another of its family) prints, a JSON object of names and hashes, or what `aws s3api
/// list-objects-v2` prints.
///
/// # Errors
/// If it is none of them, or names nothing.
pub fn read(text: &str) -> Result<Manifest, InvalidManifest> {
    let text = text.trim_start_matches('\u{feff}');
    let manifest = match text.trim_start().starts_with('{') {
        true => of_json(text)?,
        false => of_lines(text)?,
    };
    match manifest.is_empty() {
        true => Err(InvalidManifest::Empty),
        false => Ok(manifest),
    }
}

fn of_json(text: &str) -> Result<Manifest, InvalidManifest> {
    let json = serde_json::from_str(text);
    let json = json.map_err(|error| InvalidManifest::Json(one_line(&error.to_string(), 200)))?;
    Ok(match json {
        Json::Listing { contents } => contents.into_iter().map(|it| (it.key, it.etag)).collect(),
        Json::Hashes(hashes) => hashes,
    })
}

fn of_lines(text: &str) -> Result<Manifest, InvalidManifest> {
    let mut manifest = Manifest::new();
    let mut problems = Problems::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match hash_and_name(line) {
            Some((hash, name)) => {
                manifest.insert(name.to_owned(), hash.to_ascii_lowercase());
            }
            None => problems.push(format!("line {number}: `{}`", one_line(line, 120))),
        }
    }
    match problems.is_empty() {
        true => Ok(manifest),
        false => Err(InvalidManifest::Lines(problems)),
    }
}

/// Behind the hash stand two spaces, or a space and a `*` for a file that was read as binary.
fn hash_and_name(line: &str) -> Option<(&str, &str)> {
    let (hash, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?;
    let name = name.strip_prefix("./").unwrap_or(name);
    let is_hash = hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && !name.is_empty()).then_some((hash, name))
}

/// What has changed from the old to the new: names with another hash, new ones, and those that are gone.
pub fn changes(old: &Manifest, new: &Manifest) -> Vec<(String, ChangeKind)> {
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), ChangeKind::Deleted));
    let differs = |(name, hash): &(&String, &String)| old.get(*name) != Some(*hash);
    let changed = new.iter().filter(differs);
    let changed = changed.map(|(name, _)| (name.clone(), ChangeKind::Created));
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn each_format_is_read() {
        let expected = Manifest::from([("a b.html".to_owned(), A.to_owned())]);
        for text in [
            format!("{A}  a b.html\n"),
            format!("\u{feff}# of the build\n\n{A} *./a b.html\r\n"),
            format!("{{\"a b.html\":\"{A}\"}}"),
            format!(
                "{{\"Contents\":[{{\"Key\":\"a b.html\",\"ETag\":\"{A}\",\"Size\":3}}],\"Name\":\"b\"}}"
            ),
        ] {
            assert_eq!(read(&text).as_ref(), Ok(&expected), "{text}");
        }
        for (text, expected) in [
            ("", "it names no file"),
            ("{}", "it names no file"),
            ("{\"a\":1}", "it is neither an object"),
            ("hello world\n", "line 1: `hello world`"),
            ("e3b0c442 \n", "line 1"),
        ] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn only_what_differs_has_changed() {
        let manifest = |pairs: &[(&str, &str)]| -> Manifest {
            let pairs = pairs.iter();
            pairs
                .map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned()))
                .collect()
        };
        let old = manifest(&[("same", "1"), ("other", "1"), ("gone", "1")]);
        let new = manifest(&[("same", "1"), ("other", "2"), ("new", "1")]);
        let changes = changes(&old, &new);
        let expected = [
            ("gone", ChangeKind::Deleted),
            ("new", ChangeKind::Created),
            ("other", ChangeKind::Created),
        ];
        assert_eq!(
            changes,
            expected.map(|(name, kind)| (name.to_owned(), kind))
        );
    }
}
