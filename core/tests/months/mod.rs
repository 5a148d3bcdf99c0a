//! What typical sites do in a month, and what that costs: a slow and simple bill, flush by flush.

use invalidator_core::cost::account::Account;
use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::collapse::{CostRules, SpendingLimits, admit, decide};
use invalidator_core::cost::cover::cheapest_cover;
use invalidator_core::cost::estimate::look::look;
use invalidator_core::cost::folders::Folders;
use invalidator_core::cost::limits::Limits;
use invalidator_core::cost::mode::CostMode;
use invalidator_core::cost::price::PATH;
use invalidator_core::path::InvalidationPath;
use proptest::prelude::*;

/// A site, and what happens to it in a month.
#[derive(Debug)]
pub struct Case {
    /// Its keys as viewers know them, in order.
    pub keys: Vec<String>,
    /// What bars a wildcard: folders of an application whose answers are cached.
    pub barred: Vec<String>,
    /// The paths of each flush, and when it comes: as a part of the month.
    pub flushes: Vec<(f64, Vec<String>)>,
}

/// What a month cost.
#[derive(Debug, Default)]
pub struct Bill {
    pub paths: u64,
    pub refetches: NanoUsd,
    pub pages: u64,
    pub waiting: u64,
}

impl Bill {
    /// Paths beyond the free ones, and what was fetched again.
    pub fn price(&self) -> NanoUsd {
        PATH.amount * self.paths.saturating_sub(1_000) + self.refetches
    }
}

/// The shell lists at most so many pages for a flush.
const MOST_PAGES: u64 = 2_000;

/// The shop's owner has raised the limit of the month: a product that changes is a path.
pub fn rules(mode: CostMode) -> CostRules {
    CostRules {
        mode,
        limits: SpendingLimits {
            month: NanoUsd::usd(1_000),
            ..SpendingLimits::default()
        },
        ..CostRules::default()
    }
}

impl Case {
    pub fn bill(&self, mode: CostMode) -> Bill {
        let rules = rules(mode);
        let mut bill = Bill::default();
        for (elapsed, texts) in &self.flushes {
            let account = Account {
                this_month: bill.paths,
                elapsed: *elapsed,
                ..Account::default()
            };
            let paths = set(texts);
            let want = paths.len() as u64;
            let decision = decide(&rules, Some(&account), &[want.into()])[0];
            let cost = match decision.cover_limits(mode) {
                None => (want, NanoUsd::ZERO),
                Some(limits) => self.cover(&paths, &limits, &mut bill.pages),
            };
            let admitted = admit(&rules, Some(&account), &[cost.0.into()])[0];
            bill.waiting += cost.0 - admitted.paths;
            bill.paths += admitted.paths;
            bill.refetches += cost.1;
        }
        bill
    }

    /// How many paths the cheapest cover has, and what is fetched again.
    fn cover(
        &self,
        paths: &[InvalidationPath<'_>],
        limits: &Limits,
        pages: &mut u64,
    ) -> (u64, NanoUsd) {
        let mut folders = Folders::new(paths);
        folders.bar(|folder| self.barred.iter().any(|barred| barred.starts_with(folder)));
        self.look(&mut folders, limits, pages);
        let cover = cheapest_cover(&folders, limits);
        for (place, path) in paths.iter().enumerate() {
            let wildcard = cover.replaced_by(place);
            assert!(wildcard.is_none_or(|wildcard| wildcard.path().clears(path)));
        }
        let kept = cover.kept().count() as u64;
        assert_eq!(cover.paths(), kept + cover.wildcards.len() as u64);
        (cover.paths(), cover.refetches())
    }

    fn look(&self, folders: &mut Folders<'_>, limits: &Limits, pages: &mut u64) {
        *pages += look(folders, limits, MOST_PAGES, |folder| {
            let first = self.keys.partition_point(|key| **key < *folder);
            let below = self.keys[first..].iter();
            Some(below.take_while(move |key| key.starts_with(folder)))
        });
    }

    /// One `/*` for each flush.
    pub fn habit(&self) -> Bill {
        let keys = self.keys.len() as u64;
        let refetches = self.flushes.iter().map(|(_, paths)| {
            let others = keys.saturating_sub(paths.len() as u64);
            Limits::frugal().refetch * others
        });
        Bill {
            paths: self.flushes.len() as u64,
            refetches: refetches.sum(),
            ..Bill::default()
        }
    }
}

fn set(texts: &[String]) -> Vec<InvalidationPath<'static>> {
    let paths = texts.iter().cloned();
    let mut paths: Vec<_> = paths
        .map(|it| InvalidationPath::try_from(it).unwrap())
        .collect();
    paths.sort_by(|a, b| a.order().cmp(&b.order()));
    paths.dedup_by(|next, last| last.clears(next));
    paths
}

/// Posts in folders of ten, and assets at the root.
pub fn pages(number: usize) -> Vec<String> {
    let page = |page: usize| match page % 10 {
        0 => format!("/asset-{page:06}.css"),
        _ => format!("/posts/{:05}/{page:06}.html", page / 10),
    };
    let mut pages: Vec<String> = (0..number).map(page).collect();
    pages.sort();
    pages
}

/// Deployments spread evenly over the month, each in so many flushes a few seconds apart.
pub fn deployments(
    number: usize,
    flushes: usize,
    changed: impl Fn(usize) -> Vec<String>,
) -> Vec<(f64, Vec<String>)> {
    let mut all = Vec::new();
    for deployment in 0..number {
        let changed = changed(deployment);
        let each = changed.len().div_ceil(flushes);
        for (flush, part) in changed.chunks(each).enumerate() {
            let minutes = (deployment as f64 + 0.3) * 43_200.0 / number as f64;
            let elapsed = (minutes + flush as f64 / 5.0) / 43_200.0;
            all.push((elapsed, part.to_vec()));
        }
    }
    all
}

/// Every n-th page, another one each time.
pub fn some(pages: &[String], number: usize, deployment: usize) -> Vec<String> {
    let step = pages.len() / number;
    let first = deployment % step;
    pages
        .iter()
        .skip(first)
        .step_by(step)
        .take(number)
        .cloned()
        .collect()
}

/// A blog of 200 files: 30 deployments, and so many of the files really changed.
pub fn blog(changed: usize) -> Case {
    let keys = pages(200);
    let flushes = deployments(30, 1, |deployment| some(&keys, changed, deployment));
    Case {
        keys,
        barred: Vec::new(),
        flushes,
    }
}

/// A site of 500 files: 60 deployments, three flushes each, 50 files really changed.
pub fn docs_site() -> Case {
    let keys = pages(500);
    let flushes = deployments(60, 3, |deployment| some(&keys, 50, deployment));
    Case {
        keys,
        barred: Vec::new(),
        flushes,
    }
}

/// An application's site: 50 files at the root, all changed by 60 deployments.
pub fn app(api_is_cached: bool) -> Case {
    let keys: Vec<String> = (0..50).map(|file| format!("/chunk-{file:02}.js")).collect();
    let flushes = deployments(60, 1, |_| keys.clone());
    Case {
        keys,
        barred: api_is_cached
            .then(|| "/api/".to_owned())
            .into_iter()
            .collect(),
        flushes,
    }
}

/// The images of a shop: products in categories of a thousand, with eight renditions each.
fn image(product: usize, rendition: usize) -> String {
    let category = product / 1_000;
    format!("/images/{category:03}/product-{product:06}/{rendition}.jpg")
}

fn shop(products: usize) -> Vec<String> {
    let products = 0..products;
    let images =
        products.flat_map(|product| (0..8).map(move |rendition| image(product, rendition)));
    images.collect()
}

/// All images change, product by product, spread evenly over the month.
pub fn shop_evenly(products: usize) -> Case {
    let flush = |product: usize| {
        let images = (0..8).map(|rendition| image(product * 7_919 % products, rendition));
        (product as f64 / products as f64, images.collect())
    };
    Case {
        keys: shop(products),
        barred: Vec::new(),
        flushes: (0..products).map(flush).collect(),
    }
}

/// One export of all images at once; every twentieth image really changed. A flush takes up to 200,000
/// changes.
pub fn shop_export(products: usize) -> Case {
    let keys = shop(products);
    let changed: Vec<String> = keys.iter().step_by(20).cloned().collect();
    let flushes = changed.chunks(10_000).enumerate();
    let flush =
        |(flush, paths): (usize, &[String])| (0.5 + flush as f64 / 100_000.0, paths.to_vec());
    Case {
        flushes: flushes.map(flush).collect(),
        keys,
        barred: Vec::new(),
    }
}

impl Case {
    pub fn bill_of_exact(&self) -> NanoUsd {
        let paths: usize = self.flushes.iter().map(|(_, paths)| paths.len()).sum();
        PATH.amount * (paths as u64).saturating_sub(1_000)
    }
}

/// A month of a small site, where everything is fetched again for less than the price of a path.
pub fn month() -> impl Strategy<Value = Case> {
    let flush = (0.0..1.0_f64, 1..300_usize, any::<usize>());
    let flushes = prop::collection::vec(flush, 1..120);
    (300..500_usize, flushes).prop_map(|(size, mut flushes)| {
        let keys = pages(size);
        flushes.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        let flushes = flushes.into_iter();
        let flushes = flushes.map(|(time, number, first)| (time, some(&keys, number, first)));
        Case {
            flushes: flushes.collect(),
            keys,
            barred: Vec::new(),
        }
    })
}
