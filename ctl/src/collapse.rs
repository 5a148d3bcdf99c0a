//! Wildcards in the place of many paths, where somebody asks for that.

use std::cell::RefCell;

use invalidator_core::cost::bars::barring;
use invalidator_core::cost::cover::cheapest_cover;
use invalidator_core::cost::folders::Folders;
use invalidator_core::cost::limits::Limits;
use invalidator_core::distributions::Distribution;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::path::{InvalidationPath, coverage};

/// So many folders are named over which no wildcard may stand.
const MOST_NAMED: usize = 3;

/// The cheapest cover of these paths at a distribution, and what its wildcards clear, or why there are none. No wildcard
/// clears what the distribution caches of other origins than S3.
pub fn collapse_at(
    distribution: &Distribution,
    aliases: &OriginBuckets,
    paths: Vec<InvalidationPath<'static>>,
    limits: &Limits,
) -> (Vec<InvalidationPath<'static>>, Vec<String>) {
    let barred = RefCell::new(Vec::new());
    let is_barred = |folder: &str| {
        let behavior = barring(distribution, aliases, folder);
        if let Some(behavior) = behavior {
            barred.borrow_mut().push(format!(
                "no wildcard {folder}*: {behavior} caches what does not come from S3"
            ));
        }
        behavior.is_some()
    };
    let (paths, mut notes) = collapse(paths, limits, is_barred);
    let barred = barred.into_inner();
    let more = barred.len().saturating_sub(MOST_NAMED);
    notes.extend(barred.into_iter().take(MOST_NAMED));
    if more > 0 {
        notes.push(format!("and over {more} more folders"));
    }
    (paths, notes)
}

/// The cheapest cover of these paths, and what its wildcards clear. No bucket is listed, so what else they clear is
/// estimated. No wildcard stands over a folder that `is_barred`.
fn collapse(
    paths: Vec<InvalidationPath<'static>>,
    limits: &Limits,
    is_barred: impl FnMut(&str) -> bool,
) -> (Vec<InvalidationPath<'static>>, Vec<String>) {
    let all: Vec<&InvalidationPath<'_>> = paths.iter().collect();
    let covering = coverage(&all);
    let places = (0..paths.len()).filter(|place| covering[*place] == *place);
    let mut different: Vec<&InvalidationPath<'_>> = places.map(|place| &paths[place]).collect();
    different.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut folders = Folders::new(different.iter().copied());
    folders.bar(is_barred);
    let cover = cheapest_cover(&folders, limits);
    let wildcards = cover.wildcards.iter();
    let notes = wildcards.clone().map(ToString::to_string).collect();
    let wildcards = wildcards.map(|wildcard| wildcard.path());
    let kept = cover.kept().map(|place| different[place].clone());
    (wildcards.chain(kept).collect(), notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_paths_of_a_folder_become_one_wildcard_where_none_is_barred() {
        let path = |text: String| InvalidationPath::try_from(text).unwrap();
        let paths = (0..4_000).map(|n| path(format!("/news/{n}.html")));
        let paths: Vec<_> = paths.chain([path("/a".to_owned())]).collect();
        let twice: Vec<_> = paths.iter().chain(&paths).cloned().collect();
        let limits = Limits::frugal();
        let (collapsed, notes) = collapse(twice.clone(), &limits, |_| false);
        assert!(collapsed.len() <= 2, "{collapsed:?}");
        let covers = |path| collapsed.iter().any(|it| it.clears(path));
        assert!(paths.iter().all(covers));
        assert_eq!(notes.len(), 1, "{notes:?}");
        let (exact, notes) = collapse(twice, &limits, |_| true);
        assert_eq!((exact.len(), notes.len()), (4_001, 0));
    }
}
