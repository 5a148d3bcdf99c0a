//! The cheapest cover of many paths.

use anyhow::{Context, Result};
use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::cover::{Cover, cheapest_cover};
use invalidator_core::cost::folders::{Folders, Listed};
use invalidator_core::cost::limits::Limits;
use invalidator_core::path::InvalidationPath;
use serde_json::{Value, json};

use crate::{memory, timed};

/// A shop's images: eight renditions in the folder of each product, 1,000 products in a category. All
/// of some categories have changed, and half of the others.
fn paths(count: usize) -> Result<Vec<InvalidationPath<'static>>> {
    let path = |image: usize| {
        let product = image / 8;
        let category = product / 1_000;
        let number = if category.is_multiple_of(2) {
            product
        } else {
            product * 2
        };
        let text = format!(
            "/images/category-{category:03}/product-{number:07}/{}.jpg",
            image % 8
        );
        InvalidationPath::try_from(text).context("not a path")
    };
    (0..count).map(path).collect()
}

/// Finds the cover so often: the folders, what to list, and the choice, as if 10,000 keys were found in
/// each category.
pub fn measure(count: usize, repeats: usize) -> Result<Value> {
    let paths = paths(count)?;
    let before = memory::now()?;
    cover(&paths);
    let beyond_paths = memory::peak()?.saturating_sub(before);
    let (nanoseconds, cover) = timed(repeats, || Ok(cover(&paths)))?;
    Ok(json!({
        "paths": count,
        "wildcards": cover.wildcards.len(),
        "paths_after": cover.paths(),
        "nanoseconds": nanoseconds,
        "bytes_beyond_paths": beyond_paths,
    }))
}

fn cover<'p>(paths: &'p [InvalidationPath<'static>]) -> Cover<'p> {
    let limits = Limits::balanced();
    let mut folders = Folders::new(paths);
    folders.bar(|folder| folder == "/images/");
    let mut pages = 2_000;
    for listed in [Listed::Beginning, Listed::Everything] {
        for look in folders.looks(&limits, pages) {
            pages -= look.pages;
            folders.begin_look(look.folder);
            for key in 0..10 {
                let key = format!("{}other-{key}.jpg", look.path);
                folders.found(&key, NanoUsd::new(6_000));
            }
            folders.end_look(look.folder, listed);
        }
    }
    cheapest_cover(&folders, &limits)
}
