//! The cheapest cover, compared with the best of all covers there are; and what it promises.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::cover::{Cover, cheapest_cover};
use invalidator_core::cost::folders::{Folders, Known, Listed};
use invalidator_core::cost::limits::{Limits, depth};
use invalidator_core::cost::price::{KEYS_PER_LIST, PATH};
use invalidator_core::path::InvalidationPath;
use proptest::prelude::*;

fn path(text: &str) -> InvalidationPath<'static> {
    InvalidationPath::try_from(text.to_owned()).unwrap()
}

/// Paths in their order, each once and none covered by another.
fn set(texts: impl IntoIterator<Item = String>) -> Vec<InvalidationPath<'static>> {
    let mut paths: Vec<_> = texts.into_iter().map(|text| path(&text)).collect();
    paths.sort_by(|a, b| a.order().cmp(&b.order()));
    paths.dedup_by(|next, last| last.clears(next));
    paths
}

/// A bucket: its keys as viewers know them, with the price of fetching each again.
struct Bucket(Vec<(String, NanoUsd)>);

impl Bucket {
    fn new(keys: impl IntoIterator<Item = (String, NanoUsd)>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort();
        Self(keys)
    }

    /// Lists what is worth it, as the shell does. Returns how many pages that took.
    fn look(&self, folders: &mut Folders<'_>, limits: &Limits, most_pages: u64) -> u64 {
        let mut pages = 0;
        loop {
            let looks = folders.looks(limits, most_pages - pages);
            if looks.is_empty() {
                return pages;
            }
            for look in looks {
                folders.begin_look(look.folder);
                let below = self.0.iter().filter(|(key, _)| key.starts_with(look.path));
                let most = look.pages * KEYS_PER_LIST;
                let mut listed = 0;
                for (key, price) in below.clone().take(most as usize) {
                    folders.found(key, *price);
                    listed += 1;
                }
                pages += u64::div_ceil(listed, KEYS_PER_LIST).max(1);
                let is_all = below.count() as u64 == listed;
                folders.end_look(
                    look.folder,
                    match is_all {
                        true => Listed::Everything,
                        false => Listed::Beginning,
                    },
                );
            }
        }
    }
}

/// A random set of paths and what surrounds it.
#[derive(Clone, Debug)]
struct World {
    paths: Vec<InvalidationPath<'static>>,
    others: Vec<(String, NanoUsd)>,
    barred: Vec<String>,
    limits: Limits,
}

/// What a folder holds: plain paths and wildcards of the set, and other keys with their price.
type Holds = (usize, usize, usize, u64, bool);

fn world() -> impl Strategy<Value = World> {
    let plain = prop_oneof![4 => 0..4_usize, 1 => 140..160_usize, 1 => 300..310_usize];
    let wildcards = prop_oneof![4 => Just(0_usize), 1 => 0..4_usize];
    let others = prop_oneof![3 => Just(0_usize), 3 => 0..6_usize, 1 => 20..40_usize];
    let price = 100_000..12_000_000_u64;
    let holds = (plain, wildcards, others, price, prop::bool::weighted(0.05));
    let folder = (any::<prop::sample::Index>(), holds);
    let most = prop_oneof![Just(None), (0..30_u64).prop_map(Some)];
    let waiting = prop_oneof![3 => Just(0_u64), 2 => 0..12_u64, 1 => 55..70_u64];
    let depth = prop_oneof![4 => Just(0_usize), 1 => 0..4_usize];
    (prop::collection::vec(folder, 1..20), most, waiting, depth).prop_map(
        |(folders, others, waiting, least_depth)| {
            world_of(
                &folders,
                Limits {
                    others,
                    least_depth,
                    waiting,
                    refetch: NanoUsd::new(100_000),
                },
            )
        },
    )
}

fn world_of(folders: &[(prop::sample::Index, Holds)], limits: Limits) -> World {
    let mut names = vec!["/".to_owned()];
    let (mut texts, mut others, mut barred) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (parent, holds)) in folders.iter().enumerate() {
        if place > 0 {
            names.push(format!("{}{place}/", parent.get(&names)));
        }
        let name = &names[place];
        let (plain, wildcards, keys, price, is_barred) = *holds;
        texts.extend((0..plain).map(|number| format!("{name}p{number}")));
        texts.extend((0..wildcards).map(|number| format!("{name}w{number}.jpg*")));
        others.extend((0..keys).map(|key| (format!("{name}o{key}"), NanoUsd::new(price))));
        // What the set clears anyway is no other key.
        others.extend((0..plain).map(|number| (format!("{name}p{number}"), NanoUsd::new(1))));
        others.extend((0..wildcards).map(|n| (format!("{name}w{n}.jpg?a"), NanoUsd::new(1))));
        barred.extend(is_barred.then(|| name.clone()));
    }
    World {
        paths: set(texts),
        others,
        barred,
        limits,
    }
}

impl World {
    fn is_barred(&self, folder: &str) -> bool {
        self.barred.iter().any(|barred| barred.starts_with(folder))
    }

    fn folders(&self) -> Folders<'_> {
        let mut folders = Folders::new(&self.paths);
        folders.bar(|folder| self.is_barred(folder));
        folders
    }

    fn is_cleared(&self, key: &str) -> bool {
        let key = path(key);
        self.paths.iter().any(|path| path.clears(&key))
    }
}

/// A folder, as the slow model sees it.
struct KnownFolder {
    name: String,
    plain: u64,
    wildcards: u64,
    price: NanoUsd,
    is_allowed: bool,
}

/// The least price of all covers that keep to the limits, found by trying them all.
struct BruteForce<'w> {
    world: &'w World,
    folders: Vec<KnownFolder>,
    least: NanoUsd,
}

impl<'w> BruteForce<'w> {
    fn least_price(world: &'w World) -> NanoUsd {
        let mut names = BTreeSet::new();
        for path in &world.paths {
            let text = path.wildcard_prefix().unwrap_or(path.as_str());
            let slashes = text.match_indices('/');
            names.extend(slashes.map(|(place, _)| text[..=place].to_owned()));
        }
        let folders = names.into_iter().map(|name| Self::folder(world, name));
        let mut search = Self {
            world,
            folders: folders.collect(),
            least: NanoUsd::new(u64::MAX),
        };
        search.try_all(0, &mut Vec::new());
        search.least
    }

    fn folder(world: &World, name: String) -> KnownFolder {
        let below = world
            .paths
            .iter()
            .filter(|it| it.as_str().starts_with(&name));
        let (wildcards, plain): (Vec<_>, Vec<_>) =
            below.partition(|path| path.wildcard_prefix().is_some());
        let others = world.others.iter();
        let others: Vec<_> = others
            .filter(|(key, _)| key.starts_with(&name) && !world.is_cleared(key))
            .collect();
        let is_sparing = world
            .limits
            .others
            .is_none_or(|most| others.len() as u64 <= most);
        let is_deep = depth(&name) >= world.limits.least_depth;
        KnownFolder {
            plain: plain.len() as u64,
            wildcards: wildcards.len() as u64,
            price: others.into_iter().map(|(_, price)| *price).sum(),
            is_allowed: is_sparing && is_deep && !world.is_barred(&name),
            name,
        }
    }

    /// Tries all choices of the folders from this one on, none below a chosen one.
    fn try_all(&mut self, next: usize, chosen: &mut Vec<usize>) {
        let Some(folder) = self.folders.get(next) else {
            if self.is_in_time(chosen) {
                self.least = self.least.min(self.price(chosen));
            }
            return;
        };
        let is_below = |chosen: &usize| folder.name.starts_with(&self.folders[*chosen].name);
        if folder.is_allowed && !chosen.last().is_some_and(is_below) {
            chosen.push(next);
            self.try_all(next + 1, chosen);
            chosen.pop();
        }
        self.try_all(next + 1, chosen);
    }

    fn price(&self, chosen: &[usize]) -> NanoUsd {
        let replaced: u64 = self.of(chosen).map(|it| it.plain + it.wildcards).sum();
        let paths = (self.world.paths.len() + chosen.len()) as u64 - replaced;
        PATH.amount * paths + self.of(chosen).map(|it| it.price).sum()
    }

    fn of(&self, chosen: &[usize]) -> impl Iterator<Item = &KnownFolder> {
        chosen.iter().map(|place| &self.folders[*place])
    }

    fn is_in_time(&self, chosen: &[usize]) -> bool {
        let waiting = self.world.limits.waiting;
        let new = chosen.len() as u64;
        let wildcards = self.world.paths.iter();
        let wildcards = wildcards.filter(|path| path.wildcard_prefix().is_some());
        let kept = wildcards.count() as u64 - self.of(chosen).map(|it| it.wildcards).sum::<u64>();
        let is_alone = new <= 1 && waiting < 60;
        let are_few = waiting + new + kept <= 10;
        let are_large = self
            .of(chosen)
            .all(|it| it.plain >= 150 || it.wildcards >= 1);
        let only_wildcards = self.of(chosen).all(|it| it.plain == 0);
        let fit = waiting + new <= 60 || waiting >= 60 && new <= 60 && only_wildcards;
        new == 0 || is_alone || are_few || are_large && fit
    }
}

/// When each path of the set is invalidated, in hundredths of a second, if each lane goes at its quota.
fn times(world: &World, cover: &Cover<'_>) -> Vec<u64> {
    let mut times = vec![0; world.paths.len()];
    let mut wildcards = world.limits.waiting;
    for wildcard in &cover.wildcards {
        wildcards += 1;
        times[wildcard.replaces.clone()].fill(wildcards * 100);
    }
    let mut plain = 0;
    for kept in cover.kept() {
        times[kept] = match world.paths[kept].wildcard_prefix() {
            Some(_) => {
                wildcards += 1;
                wildcards * 100
            }
            None => {
                plain += 1;
                plain * 100 / 150
            }
        };
    }
    times
}

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig::with_cases(cases.map_or(default, |cases| cases.parse().unwrap()))
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_cover_is_cheaper(world in world()) {
        let mut folders = world.folders();
        Bucket::new(world.others.clone()).look(&mut folders, &world.limits, u64::MAX);
        let cover = cheapest_cover(&folders, &world.limits);
        prop_assert_eq!(cover.price(), BruteForce::least_price(&world));
    }

    #[test]
    fn a_cover_clears_every_path_and_keeps_its_promises(world in world()) {
        let mut folders = world.folders();
        Bucket::new(world.others.clone()).look(&mut folders, &world.limits, u64::MAX);
        let cover = cheapest_cover(&folders, &world.limits);
        let of_itself = Cover::of_itself(world.paths.len());

        let kept: BTreeSet<usize> = cover.kept().collect();
        for (place, path) in world.paths.iter().enumerate() {
            let replaced = cover.replaced_by(place);
            prop_assert_eq!(replaced.is_none(), kept.contains(&place));
            if let Some(wildcard) = replaced {
                prop_assert!(wildcard.path().clears(path), "{} {path}", wildcard.path());
            }
        }
        let billed = kept.len() + cover.wildcards.len();
        prop_assert_eq!(cover.paths(), billed as u64);
        prop_assert!(cover.paths() <= of_itself.paths());
        prop_assert!(cover.price() <= of_itself.price());

        let whole = BruteForce::folder(&world, "/".to_owned());
        if whole.is_allowed && world.limits.waiting < 60 && !world.paths.is_empty() {
            let price = PATH.amount + whole.price;
            prop_assert!(cover.price() <= price, "{} {price}", cover.price());
            prop_assert!(whole.price >= PATH.amount || cover.paths() == 1);
        }

        let (on_their_own, with_cover) = (times(&world, &of_itself), times(&world, &cover));
        for (own, covered) in on_their_own.into_iter().zip(with_cover) {
            prop_assert!(covered <= own + 6_000, "{covered} {own}");
        }
    }
}

fn keys(folder: &str, numbers: std::ops::Range<usize>, price: u64) -> Vec<(String, NanoUsd)> {
    let key = |number| (format!("{folder}{number:06}"), NanoUsd::new(price));
    numbers.map(key).collect()
}

/// The paths of these keys.
fn changed(folder: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    let keys = keys(folder, numbers, 0);
    keys.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn a_wildcard_is_decided_on_after_few_pages() {
    for (name, others, limits, pages, expected) in [
        ("all is known", 310, Limits::balanced(), 2, "/img/*"),
        (
            "as many as it may be",
            10_000,
            Limits::balanced(),
            12,
            "/img/*",
        ),
        ("one too many", 10_001, Limits::balanced(), 12, ""),
        ("far too many", 300_000, Limits::balanced(), 12, ""),
        (
            "only the price counts",
            300_000,
            Limits::frugal(),
            302,
            "/img/*",
        ),
        ("too dear", 2_000_000, Limits::frugal(), 1_004, ""),
    ] {
        let paths = set(changed("/img/", 0..1_204));
        let mut folders = Folders::new(&paths);
        let all = keys("/img/", 0..1_204 + others, 6_000);
        let looked = Bucket::new(all).look(&mut folders, &limits, u64::MAX);
        let cover = cheapest_cover(&folders, &limits);
        let wildcards: Vec<_> = cover.wildcards.iter().map(|it| it.path().into()).collect();
        let wildcards: Vec<String> = wildcards;
        assert_eq!((looked, &*wildcards.concat()), (pages, expected), "{name}");
    }
}

/// The wildcards and the paths that stay, as text.
fn shown(paths: &[InvalidationPath<'_>], cover: &Cover<'_>) -> Vec<String> {
    let wildcards = cover.wildcards.iter().map(|it| it.path().into());
    let kept = cover.kept().map(|place| paths[place].to_string());
    wildcards.chain(kept).collect()
}

#[test]
fn where_nobody_may_look_a_wildcard_has_to_replace_more_than_a_few_paths() {
    let of_folders = |folders: usize, each: usize| {
        let folders = 0..folders;
        folders.flat_map(move |folder| changed(&format!("/{folder:02}/"), 0..each))
    };
    for (folders, each, expected) in [
        (1, 7, 7),
        (1, 8, 1),
        (1, 200, 1),
        (7, 1, 7),
        (8, 1, 1),
        // For each folder more: 0.006 USD.
        (2, 12, 1),
        (30, 2, 1),
        (30, 7, 1),
    ] {
        let paths = set(of_folders(folders, each));
        let mut folders = Folders::new(&paths);
        for limits in [Limits::balanced(), Limits::frugal()] {
            for look in folders.looks(&limits, 1_000) {
                folders.end_look(look.folder, Listed::Refused);
            }
            assert_eq!(folders.looks(&limits, 1_000), []);
            let cover = cheapest_cover(&folders, &limits);
            assert_eq!(
                cover.paths(),
                expected,
                "{} folders of {each}",
                folders.len()
            );
            let known = cover.wildcards.iter().map(|it| it.others.known);
            assert!({ known }.all(|known| known == Known::Estimated));
        }
    }
}

#[test]
fn many_small_wildcards_would_be_late() {
    // Twenty products with eight renditions each, and many others. A wildcard for each product would clear
    // nothing else, but take a second.
    let product = |number: usize| changed(&format!("/p/{number:06}/"), 0..8);
    let bucket =
        || Bucket::new((0..100_000).flat_map(|n| keys(&format!("/p/{n:06}/"), 0..1, 6_000)));
    for (products, waiting, expected) in [
        (10, 0, 10),
        (10, 1, 17),
        (11, 0, 18),
        (20, 0, 90),
        (20, 8, 146),
        (1, 59, 1),
        (1, 60, 8),
    ] {
        let paths = set((0..products).flat_map(product));
        let mut folders = Folders::new(&paths);
        let limits = Limits {
            waiting,
            ..Limits::balanced()
        };
        bucket().look(&mut folders, &limits, u64::MAX);
        let cover = cheapest_cover(&folders, &limits);
        assert_eq!(cover.paths(), expected, "{products} {waiting}");
    }
}

#[test]
fn what_shares_no_folder_stays_as_it_is() {
    for (texts, expected) in [
        (&[][..], &[][..]),
        (&["/a"], &["/a"]),
        // `/a/*` clears neither `/a` nor `/a.jpg`.
        (&["/a", "/a/", "/a/1", "/a/2"], &["/a/*", "/a"]),
        (&["/a*", "/b"], &["/*"]),
        (&["/d/", "/d/?*"], &["/d/*"]),
        (&["/d/x.jpg*", "/d/y.jpg*"], &["/d/*"]),
    ] {
        let paths = set(texts.iter().map(|text| (*text).to_owned()));
        let mut folders = Folders::new(&paths);
        folders.bar(|folder| folder == "/" && texts.contains(&"/a"));
        Bucket::new([]).look(&mut folders, &Limits::balanced(), 100);
        let cover = cheapest_cover(&folders, &Limits::balanced());
        assert_eq!(shown(&paths, &cover), expected, "{texts:?}");
    }
}

#[test]
fn a_wildcard_says_what_it_saves_and_what_else_it_clears() {
    let texts = |folder: &str| set(changed(folder, 0..1_204));
    for (folder, others, listed, expected) in [
        (
            "/img/",
            310,
            Listed::Everything,
            "collapsed 1,204 paths into /img/*: saves 6.015 USD, 310 other keys are fetched again (0.002 USD)",
        ),
        (
            "/",
            1,
            Listed::Everything,
            "collapsed 1,204 paths into /* (the whole distribution): saves 6.015 USD, 1 other key is fetched again (0.000006 USD)",
        ),
        (
            "/a%20b/",
            0,
            Listed::Everything,
            "collapsed 1,204 paths into /a%20b/*: saves 6.015 USD, no other key is fetched again",
        ),
        (
            "/img/",
            20_000,
            Listed::Beginning,
            "collapsed 1,204 paths into /img/*: saves 6.015 USD, at least 20,000 other keys are fetched again (0.12 USD)",
        ),
        (
            "/img/",
            0,
            Listed::Refused,
            "collapsed 1,204 paths into /img/*: saves 6.015 USD, an estimated 13,040 other keys are fetched again (0.078 USD)",
        ),
    ] {
        let paths = texts(folder);
        let mut folders = Folders::new(&paths);
        let look = folders.looks(&Limits::frugal(), 10_000)[0];
        for (key, price) in keys(folder, 5_000..5_000 + others, 6_000) {
            folders.found(&key, price);
        }
        folders.end_look(look.folder, listed);
        let cover = cheapest_cover(&folders, &Limits::frugal());
        assert_eq!(cover.wildcards[0].to_string(), expected);
    }
}

#[test]
#[should_panic(expected = "/a does not belong behind /b")]
fn paths_out_of_order_are_no_set() {
    Folders::new(&[path("/b"), path("/a")]);
}
