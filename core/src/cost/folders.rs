//! The folders of a set of paths: where a wildcard could replace some of them, and what else it would
//! clear.
//!
//! A folder counts if at least two paths branch in it. Any other folder has the same paths as one below
//! it, whose wildcard clears less. So there are fewer folders than paths, and usually far fewer.
//!
//! What else is below a folder is found by listing the bucket. [`Folders::looks`] says where that is
//! worth its price, and how far; [`Folders::found`] takes each key that was listed. Where nobody looked
//! there is an estimate, see [`Folders::others`].

use std::fmt;
use std::iter;
use std::ops::Range;

use super::amount::{NanoUsd, Of};
use super::limits::{FEW_WILDCARDS, Limits, PATHS_PER_WILDCARD};
use super::price::{KEYS_PER_LIST, PATH};
use crate::index::index;
use crate::path::InvalidationPath;

index! {
    /// The place of a folder in [`Folders`].
    FolderIndex
}

/// The folders of a set of paths.
#[derive(Debug)]
pub struct Folders<'p> {
    paths: Vec<&'p str>,
    /// For each path, how many of those before it are wildcards; and then how many there are at all.
    wildcards_before: Vec<u32>,
    /// For each path, the deepest folder that holds it. Empty if there are no folders.
    folder_of: Vec<u32>,
    /// Each folder stands after those below it, so the last one holds all paths.
    folders: Vec<Folder>,
    /// For each folder but the last, the one that holds it.
    parents: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Folder {
    /// The paths in it, at any depth.
    first: u32,
    end: u32,
    /// The first of the folders below it; the last of them stands right before it.
    first_below: u32,
    /// How long its own path is, with the trailing slash.
    length: u32,
    is_barred: bool,
    listed: Listed,
    /// The other keys that were found in it, but not in a folder below it.
    keys: u64,
    price: NanoUsd,
}

/// How much of a folder was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Nothing, and nobody tried.
    Nothing,
    /// Nothing: a bucket behind it cannot be listed.
    Refused,
    /// The beginning: there are more keys.
    Beginning,
    /// Everything.
    Everything,
}

/// The other keys that a wildcard clears: they have not changed, and viewers may fetch them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Others {
    /// How many there are.
    pub keys: u64,
    /// What it costs at most to fetch them all again.
    pub price: NanoUsd,
    /// How this is known.
    pub known: Known,
}

/// How a number of keys is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// All were listed.
    Listed,
    /// So many were listed, and there are more.
    AtLeast,
    /// It is an estimate.
    Estimated,
}

/// `310 other keys are fetched again (0.002 USD)`
impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys == 0 {
            return f.write_str("no other key is fetched again");
        }
        f.write_str(match self.known {
            Known::Listed => "",
            Known::AtLeast => "at least ",
            Known::Estimated => "an estimated ",
        })?;
        let verb = if self.keys == 1 { "is" } else { "are" };
        let keys = Of(self.keys, "other key");
        write!(f, "{keys} {verb} fetched again ({})", self.price)
    }
}

/// A folder that is worth listing before a wildcard is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look<'p> {
    /// Which folder.
    pub folder: FolderIndex,
    /// Its path, encoded as in an invalidation, with the trailing slash.
    pub path: &'p str,
    /// How many pages to list at most, of all buckets behind the folder together.
    pub pages: u64,
}

/// Of the folders whose wildcards would each replace fewer than [`PATHS_PER_WILDCARD`] paths, only the
/// largest are worth a look, because at most [`FEW_WILDCARDS`] of them can be used. Twice as many, as some
/// hold too many other keys.
const SMALL_LOOKS: usize = 2 * FEW_WILDCARDS as usize;

/// Where nobody looked: so many other keys are assumed for each path of the set that is right in a
/// folder, so many in each folder, and never fewer below one wildcard.
const OTHERS_PER_PATH: u64 = 10;
const OTHERS_PER_FOLDER: u64 = 1_000;
const LEAST_OTHERS: u64 = 5_000;

impl<'p> Folders<'p> {
    /// Finds the folders of these paths.
    ///
    /// # Panics
    /// If the paths are not in their [order](InvalidationPath::order), each once and none covered by
    /// another: a wildcard would replace other paths than it says.
    pub fn new(paths: impl IntoIterator<Item = &'p InvalidationPath<'p>>) -> Self {
        let mut last: Option<&InvalidationPath<'_>> = None;
        let paths = paths.into_iter().map(|path| {
            if let Some(last) = last {
                let is_next = last.order() < path.order() && !last.clears(path);
                assert!(is_next, "{path} does not belong behind {last}");
            }
            last = Some(path);
            path.as_str()
        });
        Self::of_texts(paths.collect())
    }

    fn of_texts(paths: Vec<&'p str>) -> Self {
        let mut folders = Self {
            folders: folders_of(&paths),
            wildcards_before: running_count(paths.iter().map(|path| path.ends_with('*'))),
            folder_of: vec![0; paths.len()],
            parents: Vec::new(),
            paths,
        };
        folders.parents = vec![0; folders.len().saturating_sub(1)];
        for place in 0..folders.len() {
            folders.connect(place);
        }
        folders
    }

    /// Tells the folders and paths right in this folder that they are.
    fn connect(&mut self, place: usize) {
        let Folder { first, end, .. } = self.folders[place];
        let mut rest = end;
        for child in self.children(place).collect::<Vec<_>>() {
            let below = self.folders[child];
            self.parents[child] = place as u32;
            self.folder_of[below.end as usize..rest as usize].fill(place as u32);
            rest = below.first;
        }
        self.folder_of[first as usize..rest as usize].fill(place as u32);
    }

    /// How many folders there are.
    pub fn len(&self) -> usize {
        self.folders.len()
    }

    /// Whether there are none: there are fewer than two paths.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// How many paths there are.
    pub fn paths(&self) -> usize {
        self.paths.len()
    }

    /// The path of a folder, encoded, with its trailing slash: `/img/`.
    pub fn path(&self, folder: FolderIndex) -> &'p str {
        self.text(folder.get())
    }

    /// Which of the paths are in a folder, at any depth.
    pub fn range(&self, folder: FolderIndex) -> Range<usize> {
        let Folder { first, end, .. } = self.folders[folder.get()];
        first as usize..end as usize
    }

    fn text(&self, folder: usize) -> &'p str {
        let Folder { first, length, .. } = self.folders[folder];
        &self.paths[first as usize][..length as usize]
    }

    /// How many paths a wildcard here would replace.
    pub(super) fn count(&self, folder: usize) -> u64 {
        let Folder { first, end, .. } = self.folders[folder];
        u64::from(end - first)
    }

    /// How many of them are wildcards.
    pub(super) fn wildcards(&self, folder: usize) -> u64 {
        let Folder { first, end, .. } = self.folders[folder];
        let before = &self.wildcards_before;
        u64::from(before[end as usize] - before[first as usize])
    }

    /// Whether a wildcard here takes no longer than what it replaces.
    pub(super) fn is_large(&self, folder: usize) -> bool {
        self.count(folder) >= PATHS_PER_WILDCARD || self.wildcards(folder) > 0
    }

    /// The folders right below a folder, the last one first.
    pub(super) fn children(&self, folder: usize) -> impl Iterator<Item = usize> {
        let first = self.folders[folder].first_below as usize;
        let before = move |place: usize| place.checked_sub(1).filter(|it| *it >= first);
        iter::successors(before(folder), move |child| {
            before(self.folders[*child].first_below as usize)
        })
    }

    /// Asks for each folder whether a wildcard there is barred. A folder that holds a barred one is
    /// barred as well, so those below a folder that is not barred are not asked for.
    pub fn bar(&mut self, mut is_barred: impl FnMut(&str) -> bool) {
        for place in (0..self.len()).rev() {
            let parent = self.parents.get(place).map(|parent| *parent as usize);
            let may_be = parent.is_none_or(|parent| self.folders[parent].is_barred);
            self.folders[place].is_barred = may_be && is_barred(self.text(place));
        }
    }

    /// Whether a wildcard may stand here.
    pub(super) fn is_allowed(&self, folder: usize, limits: &Limits) -> bool {
        !self.folders[folder].is_barred && limits.allow_depth(self.text(folder))
    }
}

/// Which other keys there are.
impl<'p> Folders<'p> {
    /// The folders to list now, the one with the most paths first, for at most so many pages. They are
    /// not below each other. What was found in them may make others worth a look, so ask again.
    pub fn looks(&self, limits: &Limits, most_pages: u64) -> Vec<Look<'p>> {
        let mut folders = self.unknown(limits);
        folders.sort_by_key(|folder| std::cmp::Reverse(self.count(*folder)));
        let mut small = 0;
        folders.retain(|folder| {
            small += usize::from(!self.is_large(*folder));
            self.is_large(*folder) || small <= SMALL_LOOKS
        });
        let mut left = most_pages;
        let looks = folders.into_iter().map(|folder| Look {
            folder: FolderIndex::new(folder),
            path: self.text(folder),
            pages: self.pages(folder, limits),
        });
        looks
            .filter(|look| {
                let fits = look.pages <= left;
                left -= if fits { look.pages } else { 0 };
                fits
            })
            .collect()
    }

    /// The widest folders that may have a wildcard, of which nothing is known.
    fn unknown(&self, limits: &Limits) -> Vec<usize> {
        let mut unknown = Vec::new();
        let mut open: Vec<usize> = self.len().checked_sub(1).into_iter().collect();
        while let Some(folder) = open.pop() {
            match self.folders[folder].listed {
                Listed::Everything | Listed::Refused => {}
                Listed::Nothing if self.is_allowed(folder, limits) => unknown.push(folder),
                // It is barred, or it holds too much: a wildcard may stand deeper.
                Listed::Nothing | Listed::Beginning => open.extend(self.children(folder)),
            }
        }
        unknown
    }

    /// How many pages of a folder may tell whether a wildcard is worth it.
    ///
    /// With more other keys than these pages hold, the wildcard would cost more than the paths that it
    /// replaces, or clear more than it may. And a look costs at most a thousandth of what it may save: a
    /// page costs as much as a thousandth of a path.
    fn pages(&self, folder: usize, limits: &Limits) -> u64 {
        let count = self.count(folder);
        let saved = count - 1;
        let worth = (PATH.amount * saved).get() / limits.refetch.get().max(1);
        let tolerable = limits.others.map_or(worth, |most| most.min(worth));
        let keys = count.saturating_add(tolerable).saturating_add(1);
        keys.div_ceil(KEYS_PER_LIST).min(saved)
    }

    /// Forgets what was found in a folder, because it is listed from its beginning.
    pub fn begin_look(&mut self, folder: FolderIndex) {
        let all = self.with_those_below(folder);
        for folder in &mut self.folders[all] {
            (folder.keys, folder.price) = (0, NanoUsd::ZERO);
        }
    }

    /// Takes a key that was listed: the path at which it is cached, encoded, and what it costs to fetch
    /// it again. Keys that the set clears anyway do not count.
    pub fn found(&mut self, path: &str, refetch: NanoUsd) {
        let place = self
            .paths
            .partition_point(|other| order(other) < (path, true));
        let before = place.checked_sub(1);
        let is_cleared = before.is_some_and(|before| clears(self.paths[before], path))
            || self.paths.get(place).is_some_and(|next| *next == path);
        if is_cleared {
            return;
        }
        let next = (place < self.paths.len()).then_some(place);
        let neighbors = before.into_iter().chain(next);
        let folders = neighbors.filter_map(|neighbor| self.deepest_with(neighbor, path));
        if let Some(folder) = folders.max_by_key(|folder| self.folders[*folder].length) {
            let folder = &mut self.folders[folder];
            folder.keys += 1;
            folder.price += refetch;
        }
    }

    /// The deepest folder that holds both a path of the set and another path.
    fn deepest_with(&self, place: usize, other: &str) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let deepest = Some(self.folder_of[place] as usize);
        let mut upwards = iter::successors(deepest, |folder| {
            self.parents.get(*folder).map(|parent| *parent as usize)
        });
        upwards.find(|folder| other.starts_with(self.text(*folder)))
    }

    /// Notes how much of a folder was listed.
    pub fn end_look(&mut self, folder: FolderIndex, listed: Listed) {
        let all = match listed {
            // What is true of the folder is true of those below it.
            Listed::Everything | Listed::Refused => self.with_those_below(folder),
            Listed::Nothing | Listed::Beginning => folder.get()..folder.get() + 1,
        };
        for folder in &mut self.folders[all] {
            folder.listed = listed;
        }
    }

    fn with_those_below(&self, folder: FolderIndex) -> Range<usize> {
        let folder = folder.get();
        self.folders[folder].first_below as usize..folder + 1
    }

    /// For each folder the other keys that a wildcard would clear, and how many of them were found.
    ///
    /// Where not all was listed we assume 1,000 keys in each folder and ten for each path in it, and never
    /// fewer than 5,000 for a wildcard. That is 0.03 USD without Origin Shield, so a wildcard that nobody
    /// could look at has to replace eight paths. As a rule that is more than is fetched again: exact paths
    /// have the benefit of the doubt. But such a number only has its price, and bars nothing: otherwise
    /// large sets would be paid for path by path for ever, where buckets may not be listed.
    pub(super) fn others(&self, refetch: NanoUsd) -> Vec<(Others, u64)> {
        let mut all: Vec<Below> = Vec::with_capacity(self.len());
        for folder in 0..self.len() {
            let own = self.own(folder, refetch);
            let below = self.children(folder).map(|child| all[child]);
            all.push(below.fold(own, Below::with));
        }
        let all = all.into_iter().zip(&self.folders);
        all.map(|(below, folder)| (below.others(folder.listed, refetch), below.found))
            .collect()
    }

    /// What is right in a folder.
    fn own(&self, folder: usize, refetch: NanoUsd) -> Below {
        let Folder {
            listed,
            keys,
            price,
            ..
        } = self.folders[folder];
        let below: u64 = self.children(folder).map(|child| self.count(child)).sum();
        let paths = self.count(folder) - below;
        let assumed = match listed {
            Listed::Everything => 0,
            _ => OTHERS_PER_FOLDER + OTHERS_PER_PATH * paths,
        };
        Below {
            found: keys,
            keys: keys.max(assumed),
            price: price.max(refetch * assumed),
        }
    }
}

/// The other keys below a folder.
#[derive(Clone, Copy)]
struct Below {
    found: u64,
    /// Those that were found, and those that are assumed beside them.
    keys: u64,
    price: NanoUsd,
}

impl Below {
    fn with(self, other: Self) -> Self {
        Self {
            found: self.found + other.found,
            keys: self.keys + other.keys,
            price: self.price + other.price,
        }
    }

    fn others(self, listed: Listed, refetch: NanoUsd) -> Others {
        let Self { found, keys, price } = self;
        if listed == Listed::Everything {
            let known = Known::Listed;
            return Others { keys, price, known };
        }
        let keys = keys.max(LEAST_OTHERS);
        Others {
            keys,
            price: price.max(refetch * LEAST_OTHERS),
            known: match found == keys {
                true => Known::AtLeast,
                false => Known::Estimated,
            },
        }
    }
}

/// See [`InvalidationPath::order`].
fn order(path: &str) -> (&str, bool) {
    match path.strip_suffix('*') {
        Some(prefix) => (prefix, false),
        None => (path, true),
    }
}

/// Whether a path of the set clears an exact path.
fn clears(path: &str, exact: &str) -> bool {
    match path.strip_suffix('*') {
        Some(prefix) => exact.starts_with(prefix),
        None => path == exact,
    }
}

/// For each place how many of the values before it are true; and then how many are at all.
fn running_count(values: impl Iterator<Item = bool>) -> Vec<u32> {
    let mut count = 0;
    let counts = values.map(|value| {
        count += u32::from(value);
        count
    });
    iter::once(0).chain(counts).collect()
}

/// A place in four bytes, as there may be millions.
fn narrow(place: usize) -> u32 {
    FolderIndex::new(place).0
}

/// The folders in which paths branch, each after those below it.
fn folders_of(paths: &[&str]) -> Vec<Folder> {
    let mut builder = Builder::default();
    for (place, pair) in paths.windows(2).enumerate() {
        builder.branch(place, shared_folder(pair[0], pair[1]));
    }
    builder.close_down_to(0, paths.len());
    builder.folders
}

/// How long the path of the deepest folder is that holds both of two paths.
fn shared_folder(a: &str, b: &str) -> usize {
    let (a, b) = (order(a).0.as_bytes(), order(b).0.as_bytes());
    let pairs = a.iter().zip(b);
    let shared = pairs.take_while(|(a, b)| a == b).count();
    let last_slash = a[..shared].iter().rposition(|byte| *byte == b'/');
    last_slash.map_or(0, |place| place + 1)
}

/// Builds the folders from paths in order. Those that hold the last path are open, each deeper than the
/// one before it.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    folders: Vec<Folder>,
}

#[derive(Clone, Copy)]
struct Open {
    length: usize,
    first: usize,
    first_below: usize,
}

impl Builder {
    /// The path at `place` and the next one share a folder of this length, and none deeper.
    fn branch(&mut self, place: usize, length: usize) {
        let closed = self.close_down_to(length, place + 1);
        if self.open.last().is_none_or(|last| last.length < length) {
            let begin = closed.unwrap_or(Open {
                length,
                first: place,
                first_below: self.folders.len(),
            });
            self.open.push(Open { length, ..begin });
        }
    }

    /// Closes what is open and longer than this. Returns the widest that was closed.
    fn close_down_to(&mut self, length: usize, end: usize) -> Option<Open> {
        let mut closed = None;
        while let Some(last) = self.open.pop_if(|last| last.length > length) {
            self.folders.push(Folder {
                first: narrow(last.first),
                end: narrow(end),
                first_below: narrow(last.first_below),
                length: narrow(last.length),
                is_barred: false,
                listed: Listed::Nothing,
                keys: 0,
                price: NanoUsd::ZERO,
            });
            closed = Some(last);
        }
        closed
    }
}
