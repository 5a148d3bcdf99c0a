//! Paths by target and top folder.

use std::collections::{BTreeMap, HashMap};

use crate::path::InvalidationPath;

/// The top folders of paths, each with a small index: `/img/` for `/img/a/b.jpg`, and `/` for what is in no
/// folder, or in all.
#[derive(Debug)]
pub(super) struct TopFolders {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

/// So many are told apart. The first one stands for all others.
const MOST: usize = 10_000;

/// The name of all others.
const OTHERS: &str = "(other folders)";

impl Default for TopFolders {
    fn default() -> Self {
        Self {
            names: vec![OTHERS.to_owned()],
            places: HashMap::new(),
        }
    }
}

impl TopFolders {
    /// The folders by their indices.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn place(&mut self, path: &InvalidationPath<'_>) -> usize {
        let name = top_folder(path.as_str());
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        if self.names.len() > MOST {
            return 0;
        }
        let place = self.names.len();
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), place);
        place
    }
}

fn top_folder(path: &str) -> &str {
    let end = path.match_indices('/').nth(1);
    end.map_or("/", |(at, _)| &path[..=at])
}

/// Numbers of paths, by the index of the target and that of the top folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cells(BTreeMap<(usize, usize), u64>);

impl Cells {
    pub fn add(&mut self, target: usize, folder: usize, paths: u64) {
        if paths > 0 {
            *self.0.entry((target, folder)).or_default() += paths;
        }
    }

    pub fn add_all(&mut self, other: &Self) {
        for ((target, folder), paths) in &other.0 {
            self.add(*target, *folder, *paths);
        }
    }

    pub fn paths(&self) -> u64 {
        self.0.values().sum()
    }

    /// Takes at most so many paths out.
    pub fn take(&mut self, most: u64) -> Self {
        let mut taken = Self::default();
        let mut left = most;
        self.0.retain(|(target, folder), paths| {
            let part = left.min(*paths);
            taken.add(*target, *folder, part);
            *paths -= part;
            left -= part;
            *paths > 0
        });
        taken
    }

    /// Each with its target, folder and number.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        let cells = self.0.iter();
        cells.map(|((target, folder), paths)| (*target, *folder, *paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_in_its_first_folder() {
        for (path, expected) in [
            ("/index.html", "/"),
            ("/", "/"),
            ("/*", "/"),
            ("/img*", "/"),
            ("/img/", "/img/"),
            ("/img/*", "/img/"),
            ("/img/a/b.jpg", "/img/"),
            ("//a", "//"),
        ] {
            assert_eq!(top_folder(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_taken_out_is_no_longer_there() {
        let mut cells = Cells::default();
        for (target, folder, paths) in [(1, 1, 3), (0, 2, 4), (1, 1, 2), (2, 0, 0)] {
            cells.add(target, folder, paths);
        }
        let taken = cells.take(6);
        assert_eq!(taken.iter().collect::<Vec<_>>(), [(0, 2, 4), (1, 1, 2)]);
        assert_eq!(cells.iter().collect::<Vec<_>>(), [(1, 1, 3)]);
        assert_eq!((cells.take(9).paths(), cells.paths()), (3, 0));
    }

    #[test]
    fn of_too_many_folders_the_others_are_added_up() {
        let mut folders = TopFolders::default();
        let mut place = |n: usize| {
            let path = InvalidationPath::try_from(format!("/{n}/a")).unwrap();
            folders.place(&path)
        };
        assert_eq!(place(0), 1);
        let places: Vec<usize> = (0..MOST + 5).map(&mut place).collect();
        assert_eq!(places[MOST - 1], MOST);
        assert_eq!(places[MOST..], [0; 5]);
        assert_eq!(place(3), 4);
        assert_eq!(folders.names()[..2], [OTHERS, "/0/"]);
    }
}
