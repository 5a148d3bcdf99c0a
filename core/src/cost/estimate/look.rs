//! What listing a bucket would have told, from keys that are in memory.

use crate::cost::folders::{Folders, Listed, Look};
use crate::cost::limits::Limits;
use crate::cost::price::KEYS_PER_LIST;

/// Looks wherever that is worth its price, for at most so many pages. `keys` are those of a folder in their
/// order: the paths at which they are cached, encoded, or `None` if the folder cannot be listed. Returns how
/// many pages were listed.
pub fn look<'p, T: AsRef<str>, I: Iterator<Item = T>>(
    folders: &mut Folders<'p>,
    limits: &Limits,
    most_pages: u64,
    keys: impl Fn(&'p str) -> Option<I>,
) -> u64 {
    let mut pages = 0;
    loop {
        let looks = folders.looks(limits, most_pages.saturating_sub(pages));
        if looks.is_empty() {
            return pages;
        }
        for look in looks {
            folders.begin_look(look.folder);
            let listed = match keys(look.path) {
                Some(keys) => {
                    let (listed, taken) = list(folders, &look, limits, keys);
                    pages += taken;
                    listed
                }
                None => Listed::Refused,
            };
            folders.end_look(look.folder, listed);
        }
    }
}

fn list<T: AsRef<str>>(
    folders: &mut Folders<'_>,
    look: &Look<'_>,
    limits: &Limits,
    mut keys: impl Iterator<Item = T>,
) -> (Listed, u64) {
    let most = look.pages.saturating_mul(KEYS_PER_LIST);
    let mut found = 0_u64;
    while found < most {
        let Some(key) = keys.next() else {
            return (Listed::Everything, found.div_ceil(KEYS_PER_LIST).max(1));
        };
        folders.found(key.as_ref(), limits.refetch);
        found += 1;
    }
    let listed = match keys.next() {
        Some(_) => Listed::Beginning,
        None => Listed::Everything,
    };
    (listed, look.pages)
}
