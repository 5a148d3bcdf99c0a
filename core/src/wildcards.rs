//! Limits of wildcards: how wide they may be, and how many are submitted at once.
//!
//! CloudFront accepts one wildcard per second and account, and 15 in progress at a distribution
//! (CloudFront Developer Guide, "Quotas"). So a thousand keys with a `~` must not become a thousand
//! wildcards: those of one folder become one for the folder.

use crate::path::{InvalidationPath, Reach, WildcardCause};

/// How many wildcards the names of one bucket may need at a target at once. If they need more, wider ones
/// take their place.
pub const AT_ONCE: usize = 15;

/// Whether a path is a wildcard that needs more width than the setting allows: `min_depth` is how many
/// folders deep a wildcard must be.
pub fn is_too_wide(
    path: &InvalidationPath<'_>,
    cause: Option<WildcardCause>,
    min_depth: usize,
) -> bool {
    cause.is_some_and(WildcardCause::is_wide)
        && path.reach().is_some_and(|reach| reach.depth() < min_depth)
}

/// For each wildcard the one that takes its place, so that there are at most `most` different ones: the
/// wildcard itself if there are few. Otherwise all are widened to whole folders, as deep as possible, but
/// not less than `min_depth` folders deep, even if there are more than `most` of them then.
pub fn widened<'a>(
    wildcards: &[InvalidationPath<'a>],
    most: usize,
    min_depth: usize,
) -> Vec<InvalidationPath<'a>> {
    let prefix = |wildcard: &'_ InvalidationPath<'a>| wildcard.wildcard_prefix().map(str::to_owned);
    let mut prefixes: Vec<String> = wildcards.iter().filter_map(prefix).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let deepest = wildcards.iter().filter_map(InvalidationPath::reach);
    let deepest = deepest.map(Reach::depth).max().unwrap_or(0);
    // One more folder than there are: nothing is cut.
    let Some(folders) = deepest_that_is_few(&prefixes, most, min_depth, deepest + 1) else {
        return wildcards.to_vec();
    };
    let widen = |wildcard: &InvalidationPath<'a>| match wildcard.wildcard_prefix() {
        Some(prefix) => InvalidationPath::beginning_with(cut(prefix, folders)),
        None => wildcard.clone(),
    };
    wildcards.iter().map(widen).collect()
}

/// How many folders to keep of each prefix, so that at most `most` are left; `None` if nothing need be
/// cut. The fewer folders are kept, the fewer prefixes are left.
fn deepest_that_is_few(
    prefixes: &[String],
    most: usize,
    min_depth: usize,
    all: usize,
) -> Option<usize> {
    let is_few = |folders: usize| different(prefixes, folders) <= most;
    if min_depth >= all || is_few(all) {
        return None;
    }
    let (mut few, mut many) = (min_depth, all);
    while many - few > 1 {
        let between = few + (many - few) / 2;
        match is_few(between) {
            true => few = between,
            false => many = between,
        }
    }
    Some(few)
}

/// How many prefixes are left if so many folders of each are kept, not counting those that begin with
/// another one. The prefixes are in order, and cutting them keeps them in order.
fn different(prefixes: &[String], folders: usize) -> usize {
    let mut last: Option<&str> = None;
    let mut count = 0;
    for prefix in prefixes {
        let cut = cut(prefix, folders);
        if last.is_none_or(|last| !cut.starts_with(last)) {
            last = Some(cut);
            count += 1;
        }
    }
    count
}

/// The first folders of a prefix; all of it if it is in fewer folders.
fn cut(prefix: &str, folders: usize) -> &str {
    match prefix.match_indices('/').nth(folders) {
        Some((at, _)) => &prefix[..=at],
        None => prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::coverage;
    use proptest::prelude::*;

    fn wildcards(texts: &[&str]) -> Vec<InvalidationPath<'static>> {
        let path = |text: &&str| InvalidationPath::try_from((*text).to_owned()).unwrap();
        texts.iter().map(path).collect()
    }

    /// The different wildcards that are left.
    fn left(wildcards: &[InvalidationPath<'_>]) -> Vec<String> {
        let all: Vec<_> = wildcards.iter().collect();
        let coverage = coverage(&all);
        let kept = (0..).zip(&coverage).filter(|(index, by)| index == *by);
        let mut kept: Vec<_> = kept.map(|(index, _)| all[index].to_string()).collect();
        kept.sort();
        kept
    }

    #[test]
    fn few_wildcards_stay_as_they_are_and_many_become_those_of_their_folders() {
        let all = ["/a/1*", "/a/2*", "/b/x/1*", "/b/x/2*", "/b/y/1*", "/c*"];
        for (most, min_depth, expected) in [
            (6, 0, &all[..]),
            (5, 0, &["/a/1*", "/a/2*", "/b/x/*", "/b/y/*", "/c*"]),
            (4, 0, &["/a/*", "/b/*", "/c*"]),
            (2, 0, &["/*"]),
            (2, 1, &["/a/*", "/b/*", "/c*"]),
            (1, 2, &["/a/1*", "/a/2*", "/b/x/*", "/b/y/*", "/c*"]),
            (1, 9, &all),
        ] {
            let found = widened(&wildcards(&all), most, min_depth);
            let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
            expected.sort();
            assert_eq!(left(&found), expected, "{most} {min_depth}");
        }
        assert_eq!(left(&widened(&wildcards(&["/a*", "/a/b*"]), 1, 0)), ["/a*"]);
        assert!(widened(&[], 1, 0).is_empty());
    }

    #[test]
    fn a_limit_is_set_to_the_width_of_all_wildcards_but_those_for_query_strings() {
        use WildcardCause::{Asterisk, ErrorPage, QueryStrings, Tilde};
        for (path, cause, min_depth, expected) in [
            ("/*", Some(Tilde), 0, false),
            ("/*", Some(Tilde), 1, true),
            ("/*", Some(ErrorPage), 1, true),
            ("/a*", Some(Asterisk), 1, true),
            ("/a*", Some(QueryStrings), 1, false),
            ("/a/*", Some(Tilde), 1, false),
            ("/a/b*", Some(Tilde), 1, false),
            ("/a/b*", Some(Tilde), 2, true),
            ("/a", None, 1, false),
        ] {
            let path = &wildcards(&[path])[0];
            assert_eq!(is_too_wide(path, cause, min_depth), expected, "{path}");
        }
    }

    proptest! {
        /// Compared with trying every depth.
        #[test]
        fn all_stay_covered_by_the_narrowest_folders_that_are_few(
            prefixes in proptest::collection::vec("/[ab/]{0,6}", 1..30),
            most in 1_usize..8,
            min_depth in 0_usize..4,
        ) {
            let texts: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}*")).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let before = wildcards(&texts);
            let after = widened(&before, most, min_depth);
            prop_assert_eq!(before.len(), after.len());
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(after.clears(before), "{after} does not clear {before}");
                let depth = |path: &InvalidationPath<'_>| path.reach().unwrap().depth();
                prop_assert!(depth(after) >= depth(before).min(min_depth));
            }
            let at = |folders: usize| {
                let cut = prefixes.iter().map(|prefix| {
                    let kept: Vec<&str> = prefix.split('/').take(folders + 1).collect();
                    let is_whole = prefix.matches('/').count() <= folders;
                    if is_whole { format!("{prefix}*") } else { format!("{}/*", kept.join("/")) }
                });
                let cut: Vec<String> = cut.collect();
                left(&wildcards(&cut.iter().map(String::as_str).collect::<Vec<_>>()))
            };
            let mut tried = (min_depth..10).rev();
            let narrowest = tried.find(|folders| at(*folders).len() <= most).unwrap_or(min_depth);
            prop_assert_eq!(left(&after), at(narrowest));
        }
    }
}
