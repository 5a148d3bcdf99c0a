//! What typical sites pay in a month: each case at its full size, flush by flush, through the decision, the
//! listing of the bucket and the cheapest cover. After each flush all changed paths must be cleared.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // The tests of the estimate use the rest.
mod months;

use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::mode::CostMode;
use proptest::prelude::*;

use months::{Case, app, blog, docs_site, month, shop_evenly, shop_export};

/// The products of the shop. Each has eight images.
const PRODUCTS: usize = 125_000;

/// A case, its mode, and the most that it may bill.
fn check(name: &str, case: &Case, mode: CostMode, most: u64) {
    let bill = case.bill(mode);
    println!(
        "| {name}, {mode}, full size | {}, {} | at most {most} | exact {} | `/*` {} | {} pages listed |",
        bill.paths,
        bill.price(),
        case.bill_of_exact(),
        case.habit().price(),
        bill.pages,
    );
    assert!(bill.paths <= most, "{name}: {bill:?}");
    assert_eq!(bill.waiting, 0, "{name}");
}

#[test]
fn typical_sites_pay_no_more_than_promised() {
    use CostMode::{Balanced, Frugal};
    check("blog, versioned", &blog(20), Balanced, 650);
    check("blog, not versioned", &blog(200), Balanced, 1_050);
    check("docs site, versioned", &docs_site(), Balanced, 1_200);
    check("app, /api/* not cached", &app(false), Balanced, 1_100);
    check("shop, one export", &shop_export(PRODUCTS), Frugal, 1_010);
}

#[test]
fn a_shop_whose_images_change_evenly_pays_one_path_for_each_product() {
    check(
        "shop, evenly",
        &shop_evenly(PRODUCTS),
        CostMode::Balanced,
        126_000,
    );
}

#[test]
fn a_blog_that_fits_into_the_budget_stays_exact() {
    let bill = blog(20).bill(CostMode::Balanced);
    assert_eq!(
        (bill.paths, bill.refetches, bill.pages),
        (600, NanoUsd::ZERO, 0)
    );
}

#[test]
fn where_wildcards_are_barred_paths_stay_exact() {
    let bill = app(true).bill(CostMode::Balanced);
    assert_eq!((bill.paths, bill.refetches), (3_000, NanoUsd::ZERO));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_month_bills_more_than_exact_paths_or_a_wildcard_for_each_flush(case in month()) {
        let flushes = case.flushes.len() as u64;
        let exact: usize = case.flushes.iter().map(|(_, paths)| paths.len()).sum();
        let frugal = case.bill(CostMode::Frugal).paths;
        let balanced = case.bill(CostMode::Balanced).paths;
        prop_assert!(frugal <= flushes, "{frugal} {flushes}");
        prop_assert!(balanced <= exact as u64, "{balanced} {exact}");
        // What fits into the budget is free.
        prop_assert!(balanced <= 1_000 + flushes, "{balanced} {flushes}");
    }
}
