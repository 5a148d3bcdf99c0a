//! A store in a file: one `URL [EXPIRY]` a line. The expiry is a time, or seconds since 1970; without one, a URL stays
//! until it was invalidated.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use invalidator_core::text::one_line;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::usage::Usage;

/// A longer file is refused.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// A file of requested URLs.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
    /// The file as it was read.
    text: String,
}

impl fmt::Display for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// A line, without its end.
struct Line<'t> {
    /// None of an empty line or a comment, which stays.
    url: Option<&'t str>,
    /// In seconds since 1970.
    expiry: Option<i64>,
}

impl<'t> Line<'t> {
    fn read(line: &'t str) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let url = words.next().filter(|it| !it.starts_with('#'));
        let word = url.and_then(|_| words.next());
        let expiry = word.map(|word| expiry(word).ok_or_else(|| word.to_owned()));
        match (expiry.transpose()?, url.and_then(|_| words.next())) {
            (expiry, None) => Ok(Self { url, expiry }),
            (_, Some(more)) => Err(more.to_owned()),
        }
    }

    fn is_expired(&self, now: i64) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }
}

fn expiry(word: &str) -> Option<i64> {
    let time = || OffsetDateTime::parse(word, &Rfc3339).ok();
    let seconds = word.parse().ok();
    seconds.or_else(|| time().map(OffsetDateTime::unix_timestamp))
}

impl FileStore {
    pub fn new(path: &str) -> Self {
        Self {
            path: PathBuf::from(path),
            text: String::new(),
        }
    }

    /// # Errors
    /// If it cannot be read, or a line is none of a store.
    pub fn read(&mut self, most: usize) -> Result<Vec<String>> {
        let mut file = open(&self.path)?;
        self.text = text_of(&mut file, &self.path)?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let (mut urls, mut known) = (Vec::new(), HashSet::new());
        for (number, line) in (1..).zip(self.text.trim_start_matches('\u{feff}').lines()) {
            let line = Line::read(line).map_err(|word| {
                let word = one_line(&word, 100);
                Usage(format!(
                    "{self}, line {number}: `{word}` is no time, and a line is `URL [EXPIRY]`"
                ))
            })?;
            let Some(url) = line.url.filter(|_| !line.is_expired(now)) else {
                continue;
            };
            if urls.len() < most && known.insert(url) {
                urls.push(url.to_owned());
            }
        }
        Ok(urls)
    }

    /// Whoever writes may lock the file (`flock`), and need not: what is appended while it is rewritten goes into the
    /// new one.
    ///
    /// # Errors
    /// If it cannot be written, or does not begin any more with what was read.
    pub fn remove(&mut self, urls: &HashSet<String>) -> Result<usize> {
        // The file itself, and not a link to it, is replaced.
        let path = fs::canonicalize(&self.path);
        let path = path.with_context(|| format!("failed to find {self}"))?;
        let mut file = open(&path)?;
        let failed = || format!("nothing was removed from {self}");
        file.lock().with_context(failed)?;
        let text = text_of(&mut file, &path)?;
        let Some(added) = text.strip_prefix(self.text.as_str()) else {
            bail!("nothing was removed from {self}: somebody has rewritten it meanwhile");
        };
        let (left, removed) = self.left(urls, added);
        replace(&path, &file, &left).with_context(failed)?;
        // By somebody who opened the file before it was replaced.
        let mut late = Vec::new();
        file.read_to_end(&mut late)?;
        if !late.is_empty() {
            let written = OpenOptions::new().append(true).open(&path);
            written
                .and_then(|mut it| it.write_all(&late))
                .with_context(|| {
                    format!("{} bytes that were added to {self} are lost", late.len())
                })?;
        }
        self.text = left;
        Ok(removed)
    }

    /// What stays, and how many URLs were removed.
    fn left(&self, urls: &HashSet<String>, added: &str) -> (String, usize) {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut removed = HashSet::new();
        let mut left = String::with_capacity(self.text.len());
        for line in self.text.split_inclusive('\n') {
            // A line that went on after it was read is another line.
            let is_whole = line.ends_with('\n') || added.is_empty();
            let parsed = Line::read(line.trim_start_matches('\u{feff}'));
            match parsed {
                Ok(line) if is_whole && line.is_expired(now) => {}
                Ok(Line { url: Some(url), .. }) if is_whole && urls.contains(url) => {
                    removed.insert(url.to_owned());
                }
                _ => left.push_str(line),
            }
        }
        left.push_str(added);
        (left, removed.len())
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("failed to open the store {}", path.display()))
}

fn text_of(file: &mut File, path: &Path) -> Result<String> {
    let mut text = Vec::new();
    let read = Read::by_ref(file)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut text);
    read.with_context(|| format!("failed to read the store {}", path.display()))?;
    if text.len() as u64 > MAX_BYTES {
        bail!("the store {} is larger than 512 MiB", path.display());
    }
    let text = String::from_utf8(text);
    text.with_context(|| format!("the store {} is not UTF-8", path.display()))
}

/// Puts another file in the place of this one, whole or not at all.
fn replace(path: &Path, old: &File, text: &str) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file = File::create_new(&new)?;
        file.set_permissions(old.metadata()?.permissions())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| format!("failed to write {}", new.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str, text: &str) -> FileStore {
        let path = std::env::temp_dir().join(format!("store-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        FileStore::new(path.to_str().unwrap())
    }

    fn urls(urls: &[&str]) -> HashSet<String> {
        urls.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn what_is_expired_is_dropped_and_all_else_stays_as_it_is() {
        let text = "# urls\r\n\nhttps://a/1\nhttps://a/2 1000\nhttps://a/3 99999999999\nhttps://a/4 2020-01-01T00:00:00Z\n\
                    \u{20} https://a/5 2120-01-01T00:00:00Z\nhttps://a/1 99999999999\nhttps://a/6";
        let mut store = store("expired", text);
        let read = store.read(10).unwrap();
        assert_eq!(
            read,
            ["https://a/1", "https://a/3", "https://a/5", "https://a/6"]
        );
        let removed = store.remove(&urls(&["https://a/1", "https://a/6", "https://a/9"]));
        assert_eq!(removed.unwrap(), 2);
        let left = fs::read_to_string(&store.path).unwrap();
        assert_eq!(
            left,
            "# urls\r\n\nhttps://a/3 99999999999\n  https://a/5 2120-01-01T00:00:00Z\n"
        );
        fs::remove_file(&store.path).unwrap();
    }

    #[test]
    fn what_is_added_meanwhile_stays() {
        for (name, before, added, expected) in [
            (
                "line",
                "https://a/1\n",
                "https://a/1\nhttps://a/2\n",
                "https://a/1\nhttps://a/2\n",
            ),
            (
                "end",
                "https://a/2\nhttps://a/1",
                "0\nhttps://a/3\n",
                "https://a/2\nhttps://a/10\nhttps://a/3\n",
            ),
        ] {
            let mut store = store(name, before);
            store.read(10).unwrap();
            let mut file = OpenOptions::new().append(true).open(&store.path).unwrap();
            file.write_all(added.as_bytes()).unwrap();
            store.remove(&urls(&["https://a/1"])).unwrap();
            // This writer has the old file open.
            file.write_all(b"https://a/lost\n").unwrap();
            assert_eq!(fs::read_to_string(&store.path).unwrap(), expected);
            fs::remove_file(&store.path).unwrap();
        }
    }

    #[test]
    fn a_file_that_somebody_rewrote_or_that_is_no_store_is_told_and_stays() {
        let mut rewritten = store("rewritten", "https://a/1\nhttps://a/2\n");
        rewritten.read(10).unwrap();
        fs::write(&rewritten.path, "https://a/2\n").unwrap();
        let error = rewritten.remove(&urls(&["https://a/2"])).unwrap_err();
        assert!(
            error.to_string().contains("somebody has rewritten it"),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(&rewritten.path).unwrap(),
            "https://a/2\n"
        );
        for (text, expected) in [
            ("https://a/1 tomorrow\n", "line 1: `tomorrow` is no time"),
            ("\nhttps://a/1 1 2\n", "line 2: `2` is no time"),
        ] {
            fs::write(&rewritten.path, text).unwrap();
            let error = rewritten.read(10).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        fs::remove_file(&rewritten.path).unwrap();
    }
}
