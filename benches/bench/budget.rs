//! Fails when a change adds more than a tenth to a size or a number of instructions. What is allowed
//! stands in budget.json.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::events::event;
use crate::flushes::packed;
use crate::instructions;
use crate::programs::{BUCKET, core, function, ours, out, processor, root};

const TOLERANCE: f64 = 0.10;
const WARM_EVENTS: usize = 100;
const SINGLE_MESSAGES: usize = 1_000;

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
    let figures = [
        ("bytes: binary", size(&function())),
        ("bytes: zip", size(&function().with_extension("zip"))),
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
