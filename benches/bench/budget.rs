//! Fails when a change adds more than a tenth to a size, a peak of memory, a number of calls or one of instructions. What is allowed
//! stands in budget.json.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use strict_cloudfront::{Behavior, CachePolicy, Distribution, Origin, QueryStrings};

use crate::case::Case;
use crate::events::event;
use crate::flushes::{body, packed};
use crate::instructions;
use crate::programs::{BUCKET, DISTRIBUTION, core, function, ours, out, processor, root};

const TOLERANCE: f64 = 0.10;
const WARM_EVENTS: usize = 100;
const SINGLE_MESSAGES: usize = 1_000;
/// More than a round, which holds 5,300 of them.
const LONG_KEYS: usize = 12_000;

pub async fn run(updates: bool) {
    let file = root().join("benches/budget.json");
    let figures = measure().await;
    if updates {
        fs::write(&file, format!("{:#}\n", Value::Object(figures.clone()))).unwrap();
    }
    let allowed: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let exceeded = judge(&figures, &allowed);
    if allowed["processor"] != figures["processor"] {
        println!(
            "budget: not compared, {} is of another processor",
            file.display()
        );
    } else if exceeded {
        eprintln!(
            "\nbudget: exceeded. `callgrind_annotate {}/callgrind.*` shows where the instructions of the last run \
             went; with `--config profile.release.strip=false` cargo keeps the names of functions. If it is worth it: \
             `make budget UPDATE=1`, and commit benches/budget.json with the reason.",
            out().display()
        );
        std::process::exit(1);
    }
}

async fn measure() -> Map<String, Value> {
    let size = |file: &Path| fs::metadata(file).unwrap().len();
    let first = instructions::of_events(&ours(), &event(), 1).await;
    let all = instructions::of_events(&ours(), &event(), 1 + WARM_EVENTS).await;
    let case = Case::write(5_000, 20, 25, false);
    let [distributions, keys] = [case.distributions(), case.keys()];
    let of_core = |arguments: &[&str]| instructions::of_core(&core(), arguments);
    let single = instructions::of_flush(&ours(), &packed(1, 1)).await;
    let singles = instructions::of_flush(&ours(), &packed(1 + SINGLE_MESSAGES, 1)).await;
    let long_keys = peak_of_the_longest_keys().await;
    let reads = reads_of_500_distributions().await;
    let figures = [
        ("bytes: binary", size(&function())),
        ("bytes: zip", size(&function().with_extension("zip"))),
        (
            "bytes: peak memory, flush of 12,000 of the longest keys",
            long_keys,
        ),
        ("calls: cold flush, reads of 500 distributions", reads),
        ("instructions: first event", first),
        ("instructions: 100 warm events", all - first),
        (
            "instructions: plan, 5,000 changes x 20 distributions",
            of_core(&["plan", &distributions, &keys, BUCKET]),
        ),
        ("instructions: flush of one change", single),
        (
            "instructions: 1,000 more messages of one change",
            singles - single,
        ),
        (
            "instructions: body-to-xml, 10,000 changes",
            of_core(&["body-to-xml", "10000"]),
        ),
        (
            "instructions: read-event, 1,000 records",
            of_core(&["read-event", "1000"]),
        ),
        (
            "instructions: pack, 10,000 changes",
            of_core(&["pack", "10000"]),
        ),
        (
            "instructions: unpack, 10,000 changes",
            of_core(&["unpack", "10000"]),
        ),
    ];
    let figures = figures
        .into_iter()
        .map(|(name, count)| (name.to_owned(), json!(count)));
    [("processor".to_owned(), json!(processor()))]
        .into_iter()
        .chain(figures)
        .collect()
}

/// The most memory of a flush of more than a round of the longest keys, each in a message of its own. They have query
/// strings in the cache key, and each byte is encoded as three.
async fn peak_of_the_longest_keys() -> u64 {
    let run = ours().start().await;
    let policy = CachePolicy::new("queries", 0, 60, 60).query_strings(QueryStrings::All);
    let all = Behavior::default_for("s3").policy("queries");
    let site = Distribution::new(DISTRIBUTION, Origin::s3("s3", BUCKET)).default_behavior(all);
    {
        let mut account = run.aws.account();
        account.cloudfront.put_cache_policy(policy);
        account.cloudfront.put_distribution(site);
    }
    let key = |n: usize| format!("{n:07}{}", "한".repeat(339));
    (0..LONG_KEYS).for_each(|n| run.aws.buffer(&body(&[key(n)])));
    run.flush_alone().await;
    run.function.peak_bytes() as u64
}

/// How often CloudFront is asked when a new process flushes one change in an account with 500 distributions, each with
/// as many behaviors as it may have by default.
async fn reads_of_500_distributions() -> u64 {
    let run = ours().start().await;
    for d in 0..500 {
        let id = format!("E{d:03}");
        let site = Distribution::new(&id, Origin::s3("s3", BUCKET));
        let site = site.default_root_object("index.html");
        let behaviors = (0..74).map(|b| Behavior::new(&format!("/{d}/{b}/*"), "s3"));
        let site = behaviors.fold(site, Distribution::behavior);
        run.aws.account().cloudfront.put_distribution(site);
    }
    run.aws.buffer(&body(&["a.html".to_owned()]));
    run.flush_alone().await;
    let account = run.aws.account();
    let calls = account.timings.iter().map(|(name, ..)| name);
    // What others have ordered is counted after the flush, and no change waits for it.
    let reads =
        calls.filter(|it| it.starts_with("GET /2020-05-31/") && !it.ends_with("/invalidation"));
    reads.count() as u64
}

/// Prints each figure. Returns whether one exceeds the budget, or has none.
fn judge(figures: &Map<String, Value>, allowed: &Value) -> bool {
    let mut exceeded = false;
    for (name, new) in figures
        .iter()
        .filter_map(|(name, new)| Some((name, new.as_u64()?)))
    {
        let old = allowed[name].as_u64().unwrap_or(0);
        let grown = new as f64 / old as f64 - 1.0;
        let is_too_much = grown > TOLERANCE;
        let remark = if is_too_much { "  TOO MUCH" } else { "" };
        println!(
            "{name:<55} {old:>12} -> {new:>12} {:>+7.1}%{remark}",
            grown * 100.0
        );
        exceeded |= is_too_much;
    }
    exceeded
}
