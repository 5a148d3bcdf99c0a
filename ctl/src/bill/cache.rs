//! What was read of CloudFront, kept on this machine: reading is slow, and an invalidation does not change.
//!
//! There is a file for each target, in `$XDG_CACHE_HOME/invalidator/bill/ACCOUNT/` (without the variable, in
//! `~/.cache`). It is only appended to, a whole line at a time, so an interrupted run leaves at most one
//! torn line, which the next run reads over. CloudFront may forget an invalidation, or its distribution may
//! be deleted; the file still has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use invalidator_core::cost::month::Month;
use invalidator_core::target::{DistributionId, TenantId};
use serde::{Deserialize, Serialize};

use super::invalidation::Invalidation;

/// The version of the files' format.
const FORMAT: u32 = 1;

const EXTENSION: &str = "jsonl";

/// A line of a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// The first line.
    Format(u32),
    Invalidation(Invalidation),
    /// Every invalidation of this month is in the file.
    Listed(String),
}

/// The cache of an account.
#[derive(Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

/// What is known of a target.
#[derive(Debug, Default)]
pub struct Known {
    file: Option<PathBuf>,
    invalidations: BTreeMap<String, Invalidation>,
    listed: BTreeSet<String>,
}

impl Cache {
    /// The cache of an account in a user's folder of caches.
    pub fn new(caches: Option<PathBuf>, account: &str, endpoint: Option<&str>) -> Self {
        // An emulator may give the same ids again for other invalidations.
        let name = match endpoint {
            None => account.to_owned(),
            Some(url) => format!(
                "{account}@{}",
                url.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            ),
        };
        let folder = caches.map(|caches| caches.join("invalidator/bill").join(name));
        Self { folder }
    }

    /// A cache that keeps nothing.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// What is known of a target.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub fn open(&self, target: &str) -> io::Result<Known> {
        let is_name = DistributionId::try_from(target.to_owned()).is_ok()
            || TenantId::try_from(target.to_owned()).is_ok();
        match self.folder.as_ref().filter(|_| is_name) {
            None => Ok(Known::default()),
            Some(folder) => Known::read(folder.join(target).with_extension(EXTENSION)),
        }
    }

    /// All targets that something is known of.
    pub fn targets(&self) -> BTreeSet<String> {
        let files = self
            .folder
            .as_ref()
            .and_then(|folder| fs::read_dir(folder).ok());
        let names = files.into_iter().flatten().filter_map(|file| {
            let path = file.ok()?.path();
            let is_ours = path.extension().is_some_and(|it| it == EXTENSION);
            let name = path.file_stem()?.to_str()?.to_owned();
            is_ours.then_some(name)
        });
        names.collect()
    }
}

/// The user's folder of caches (XDG Base Directory Specification).
pub fn user_caches(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

impl Known {
    fn read(file: PathBuf) -> io::Result<Self> {
        let mut known = Self {
            file: Some(file),
            ..Self::default()
        };
        let text = match known.file.as_ref().map(fs::read) {
            Some(Ok(text)) => text,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(known),
        };
        // A line that was torn may not even be UTF-8.
        for line in text.split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Line::Format(FORMAT)) | Err(_) => {}
                // Of another version: read it all again.
                Ok(Line::Format(_)) => {
                    known.invalidations.clear();
                    known.listed.clear();
                    known.file = None;
                    return Ok(known);
                }
                Ok(Line::Invalidation(invalidation)) => {
                    known
                        .invalidations
                        .insert(invalidation.id.clone(), invalidation);
                }
                Ok(Line::Listed(month)) => {
                    known.listed.insert(month);
                }
            }
        }
        Ok(known)
    }

    /// The invalidation of this id that was created at this time.
    pub fn get(&self, id: &str, time: i64) -> Option<&Invalidation> {
        self.invalidations
            .get(id)
            .filter(|known| known.time == time)
    }

    /// All invalidations of a month.
    pub fn of_month(&self, month: Month) -> impl Iterator<Item = &Invalidation> {
        let all = self.invalidations.values();
        all.filter(move |it| month.contains(it.created()))
    }

    /// Whether nothing of this month is missing.
    pub fn is_listed(&self, month: Month) -> bool {
        self.listed.contains(&month.to_string())
    }

    /// Keeps an invalidation.
    ///
    /// # Errors
    /// If it cannot be written. It is kept in memory all the same.
    pub fn keep(&mut self, invalidation: Invalidation) -> io::Result<()> {
        let result = self.append(&Line::Invalidation(invalidation.clone()));
        self.invalidations
            .insert(invalidation.id.clone(), invalidation);
        result
    }

    /// Notes that nothing of this month is missing.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_listed(&mut self, month: Month) -> io::Result<()> {
        let month = month.to_string();
        let result = self.append(&Line::Listed(month.clone()));
        self.listed.insert(month);
        result
    }

    fn append(&self, line: &Line) -> io::Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let mut file = open(path)?;
        let mut text = Vec::new();
        match last_byte(&mut file)? {
            None => {
                serde_json::to_writer(&mut text, &Line::Format(FORMAT))?;
                text.push(b'\n');
            }
            Some(b'\n') => {}
            // The line of a run that was interrupted.
            Some(_) => text.push(b'\n'),
        }
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
        file.write_all(&text)
    }
}

/// Opens a file to append to. Paths may be private, so nobody else may read it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    let mut folder = DirBuilder::new();
    folder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        options.mode(0o600);
        folder.mode(0o700);
    }
    if let Some(parent) = path.parent() {
        folder.create(parent)?;
    }
    options.open(path)
}

fn last_byte(file: &mut File) -> io::Result<Option<u8>> {
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(Some(byte[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("invalidator-cache-{}-{name}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            let _ = fs::remove_dir_all(&folder.0);
            folder
        }

        fn cache(&self) -> Cache {
            Cache::new(Some(self.0.clone()), "123456789012", None)
        }

        fn file(&self) -> PathBuf {
            self.0.join("invalidator/bill/123456789012/E1.jsonl")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Of 2026-11-01, a day later each.
    fn invalidation(n: i64) -> Invalidation {
        Invalidation {
            id: format!("I{n}"),
            time: 1_793_491_200_000 + n * 86_400_000,
            paths: 2,
            wildcards: 1,
            reference: "r".to_owned(),
            first: "/a\n*".to_owned(),
        }
    }

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_kept_is_known_in_the_next_run() {
        let folder = Folder::new("kept");
        let mut known = folder.cache().open("E1").unwrap();
        for n in [0, 1, 40] {
            known.keep(invalidation(n)).unwrap();
        }
        known.keep_listed(month("2026-11")).unwrap();
        let known = folder.cache().open("E1").unwrap();
        let found: Vec<_> = known.of_month(month("2026-11")).collect();
        assert_eq!(found, [&invalidation(0), &invalidation(1)]);
        assert!(known.is_listed(month("2026-11")));
        assert!(!known.is_listed(month("2026-12")));
        assert_eq!(
            known.get("I1", invalidation(1).time),
            Some(&invalidation(1))
        );
        assert_eq!(known.get("I1", 5), None, "another one with the same id");
        assert_eq!(folder.cache().targets(), BTreeSet::from(["E1".to_owned()]));
        let other = folder.cache().open("E2").unwrap();
        assert_eq!(other.of_month(month("2026-11")).count(), 0);
    }

    #[test]
    fn a_run_that_is_killed_at_any_byte_loses_only_its_last_line() {
        let folder = Folder::new("torn");
        let mut known = folder.cache().open("E1").unwrap();
        known.keep(invalidation(0)).unwrap();
        let first = fs::read(folder.file()).unwrap();
        known.keep(invalidation(1)).unwrap();
        let whole = fs::read(folder.file()).unwrap();
        for length in 0..whole.len() {
            fs::write(folder.file(), &whole[..length]).unwrap();
            let mut known = folder.cache().open("E1").unwrap();
            let before = known.of_month(month("2026-11")).count();
            assert!(before >= 1 || length < first.len(), "{length}");
            known.keep(invalidation(2)).unwrap();
            let known = folder.cache().open("E1").unwrap();
            assert_eq!(
                known.of_month(month("2026-11")).count(),
                before + 1,
                "{length}"
            );
        }
    }

    #[test]
    fn nothing_is_read_or_written_elsewhere() {
        let folder = Folder::new("elsewhere");
        for name in ["../E1", "", "a/b", "E1\n"] {
            let mut known = folder.cache().open(name).unwrap();
            known.keep(invalidation(0)).unwrap();
        }
        assert!(!folder.0.exists());
        let emulator = Cache::new(
            Some(folder.0.clone()),
            "1",
            Some("http://127.0.0.1:4566/../x"),
        );
        emulator.open("E1").unwrap().keep(invalidation(0)).unwrap();
        let file = "invalidator/bill/1@http___127_0_0_1_4566____x/E1.jsonl";
        assert!(folder.0.join(file).exists());
    }

    #[test]
    fn a_file_of_another_version_is_left_alone() {
        let folder = Folder::new("version");
        folder
            .cache()
            .open("E1")
            .unwrap()
            .keep(invalidation(0))
            .unwrap();
        let text = fs::read_to_string(folder.file()).unwrap();
        let other = text.replace("{\"format\":1}", "{\"format\":2}");
        fs::write(folder.file(), &other).unwrap();
        let mut known = folder.cache().open("E1").unwrap();
        assert_eq!(known.of_month(month("2026-11")).count(), 0);
        known.keep(invalidation(1)).unwrap();
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), other);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("private");
        folder
            .cache()
            .open("E1")
            .unwrap()
            .keep(invalidation(0))
            .unwrap();
        let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[test]
    fn caches_are_where_the_xdg_specification_says() {
        let caches = |variables: &[(&str, &str)]| {
            let variables: BTreeMap<_, _> = variables.iter().copied().collect();
            user_caches(|name| variables.get(name).map(ToString::to_string))
        };
        let home = ("HOME", "/home/a");
        assert_eq!(caches(&[home]), Some("/home/a/.cache".into()));
        assert_eq!(caches(&[home, ("XDG_CACHE_HOME", "/c")]), Some("/c".into()));
        let relative = caches(&[home, ("XDG_CACHE_HOME", "c")]);
        assert_eq!(relative, Some("/home/a/.cache".into()));
        assert_eq!(caches(&[]), None);
    }
}
