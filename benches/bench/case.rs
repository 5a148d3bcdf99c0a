//! The generated case of the planning comparison: one bucket, many distributions on it, each with its
//! own behaviors. Always the same.

use std::fs;
use std::path::PathBuf;

use fastrand::Rng;
use serde_json::{Value, json};
use strict_cloudfront::{CACHING_DISABLED, CACHING_OPTIMIZED};

use crate::programs::{BUCKET, out};

const SEED: u64 = 20_261_121;
const SECTIONS: [&str; 8] = [
    "img",
    "css",
    "js",
    "blog",
    "docs",
    "assets",
    "media",
    "downloads",
];
const WORDS: [&str; 7] = [
    "index",
    "photo",
    "thumb",
    "app",
    "page",
    "report",
    "My holiday",
];
const COMMON: [&str; 5] = ["jpg", "html", "png", "css", "js"];
const RARE: [&str; 8] = ["svg", "map", "woff2", "json", "xml", "webp", "txt", "pdf"];
/// Behaviors at the end of a list that match much.
const BROAD: usize = 4;
/// Messages come in any order, the changes in one in that of a sync.
const CHANGES_A_MESSAGE: usize = 100;

/// Two files: what `aws cloudfront list-distributions` prints, and keys, one a line.
pub struct Case {
    distributions: PathBuf,
    keys: PathBuf,
}

impl Case {
    /// Writes a case. `shared`: all distributions have the behaviors of the first.
    pub fn write(changes: usize, distributions: usize, behaviors: usize, shared: bool) -> Self {
        let mut rng = Rng::with_seed(SEED);
        let kind = if shared { "-shared" } else { "" };
        let case = Self {
            distributions: out().join(format!("distributions-{distributions}{kind}.json")),
            keys: out().join(format!("keys-{changes}.txt")),
        };
        let mut list = behavior_list(&mut rng, behaviors);
        let items = (0..distributions).map(|number| {
            if !shared && number > 0 {
                list = behavior_list(&mut rng, behaviors);
            }
            distribution(number, &list)
        });
        let items: Vec<_> = items.collect();
        let listing = json!({ "DistributionList": { "Items": items } });
        fs::write(&case.distributions, listing.to_string()).unwrap();
        let keys = keys(&mut Rng::with_seed(SEED), changes);
        fs::write(&case.keys, keys.join("\n") + "\n").unwrap();
        case
    }

    pub fn distributions(&self) -> String {
        self.distributions.display().to_string()
    }

    pub fn keys(&self) -> String {
        self.keys.display().to_string()
    }
}

/// Keys, in the order in which they come out of the buffer.
fn keys(rng: &mut Rng, count: usize) -> Vec<String> {
    let mut keys: Vec<_> = (0..count).map(|number| key(rng, number)).collect();
    keys.sort();
    let mut messages: Vec<_> = keys.chunks(CHANGES_A_MESSAGE).collect();
    rng.shuffle(&mut messages);
    messages.concat()
}

fn one_of<'a>(rng: &mut Rng, all: &[&'a str]) -> &'a str {
    all[rng.usize(..all.len())]
}

/// A section, a year and a month.
fn folder(rng: &mut Rng) -> (&'static str, u32, u32) {
    (one_of(rng, &SECTIONS), rng.u32(2019..2027), rng.u32(1..13))
}

/// A key of a site: nine in ten with a common extension.
fn key(rng: &mut Rng, number: usize) -> String {
    let is_common = rng.u32(..10) < 9;
    let extension = one_of(rng, if is_common { &COMMON } else { &RARE });
    let (section, year, month) = folder(rng);
    let word = one_of(rng, &WORDS);
    format!("{section}/{year}/{month:02}/{word}-{number:07}.{extension}")
}

/// As people order them, narrow ones first and a few broad ones at the end: most keys match late, or
/// none.
fn behavior_list(rng: &mut Rng, count: usize) -> Vec<Value> {
    let mut list = Vec::new();
    for number in 0..count {
        let pattern = match number < count - BROAD {
            true => narrow_pattern(rng),
            false if rng.bool() => format!("/{}/*", one_of(rng, &SECTIONS)),
            false => format!("*.{}", one_of(rng, &COMMON)),
        };
        list.push(behavior(rng, &pattern));
    }
    list
}

/// Few keys match it.
fn narrow_pattern(rng: &mut Rng) -> String {
    let (section, year, month) = folder(rng);
    let (common, rare) = (one_of(rng, &COMMON), one_of(rng, &RARE));
    let word = one_of(rng, &WORDS[..6]);
    match rng.u32(..100) {
        0..25 => format!("/{section}/{year}/{month:02}/*"),
        25..35 => format!("*.{rare}"),
        35..45 => format!("*-{:02}.{common}", rng.u32(..100)),
        45..60 => format!(
            "/{section}/{year}/{month:02}/index-{:07}.html",
            rng.u32(..10_000)
        ),
        60..80 => format!("/{section}/*/{month:02}/{word}-*.{common}"),
        80..90 => format!("{section}/{year}/??/report-*.pdf"),
        _ => format!("/{section}/*/b{}.js", rng.u32(..100)),
    }
}

/// Two in ten go to another origin, two in ten do not cache.
fn behavior(rng: &mut Rng, pattern: &str) -> Value {
    let origin = if rng.u32(..10) < 2 { "api" } else { "s3" };
    let policy = if rng.u32(..10) < 2 {
        CACHING_DISABLED
    } else {
        CACHING_OPTIMIZED
    };
    json!({ "PathPattern": pattern, "TargetOriginId": origin, "CachePolicyId": policy })
}

/// Without what no planner reads.
fn distribution(number: usize, behaviors: &[Value]) -> Value {
    json!({
        "Id": format!("E{number:013}"),
        "Enabled": true,
        "Origins": { "Items": [
            { "Id": "s3", "DomainName": format!("{BUCKET}.s3.us-east-1.amazonaws.com"), "OriginPath": "" },
            { "Id": "api", "DomainName": "api.example.com", "OriginPath": "" },
        ] },
        "DefaultCacheBehavior": { "TargetOriginId": "s3", "CachePolicyId": CACHING_OPTIMIZED },
        "CacheBehaviors": { "Items": behaviors },
    })
}
