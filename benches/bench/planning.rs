//! From changes to paths, and from message bodies to the bodies of `CreateInvalidation`.

use serde_json::Value;

use crate::case::Case;
use crate::programs::{BUCKET, Program, Programs};
use crate::table::{Figure, Row, Unit, at_most, cheaper, shown, steady};

const ROUNDS: usize = 3;
const REPEATS: &str = "3";
const CHANGES: usize = 10_000;
const DISTRIBUTIONS: usize = 100;
const BEHAVIORS: usize = 25;
const MANY_CHANGES: usize = 1_000_000;

/// The fields of what bench-core prints.
const WITH_SETS: &str = "with_sets_nanoseconds";
const ALONE: &str = "plan_nanoseconds";

pub fn measure(programs: &Programs) -> Vec<Row> {
    let mut rows = against_peers(programs);
    rows.extend(at_scale(&programs.core));
    rows.extend(cover(&programs.core));
    let mut rows: Vec<Row> = rows.into_iter().map(Row::settled).collect();
    rows.extend(others(&programs.core));
    rows
}

/// The same case, planned by all three.
fn against_peers(programs: &Programs) -> Vec<Row> {
    let case = Case::write(CHANGES, DISTRIBUTIONS, BEHAVIORS, false);
    let [distributions, keys] = [case.distributions(), case.keys()];
    let case = [distributions.as_str(), keys.as_str(), BUCKET];
    let (mut ours, mut python, mut node, mut alone) = (vec![], vec![], vec![], vec![]);
    let mut pairs = 0;
    for _ in 0..ROUNDS {
        let of_ours = printed(
            &programs.core,
            &["plan", case[0], case[1], case[2], REPEATS],
        );
        let of_python = printed(&programs.boto3_plan, &case);
        let of_node = printed(&programs.node_plan, &case);
        for result in [&of_python, &of_node] {
            assert_eq!(
                of_ours["pairs"], result["pairs"],
                "the planners do not agree"
            );
        }
        pairs = of_ours["pairs"].as_u64().unwrap();
        ours.extend(seconds(&of_ours, WITH_SETS, 1.0));
        alone.extend(seconds(&of_ours, ALONE, 1.0));
        python.extend(seconds(&of_python, "nanoseconds", 1.0));
        node.extend(seconds(&of_node, "nanoseconds", 1.0));
    }
    let what = format!(
        "plan of {CHANGES} changes x {DISTRIBUTIONS} distributions x {BEHAVIORS} behaviors, {pairs} paths"
    );
    let ours = Figure::seconds(ours);
    vec![
        cheaper(&what, &ours, "Python", &Figure::seconds(python), 70.0),
        cheaper(&what, &ours, "Node", &Figure::seconds(node), 15.0),
        shown(
            "  the plan alone, before its paths are written",
            &Figure::seconds(alone),
        ),
    ]
}

/// A million changes, and how the plan grows.
fn at_scale(core: &Program) -> Vec<Row> {
    let plan = |changes, distributions, shared| {
        let case = Case::write(changes, distributions, BEHAVIORS, shared);
        let arguments = [
            "plan",
            &case.distributions(),
            &case.keys(),
            BUCKET,
            REPEATS,
            "alone",
        ];
        printed(core, &arguments)
    };
    let different = plan(MANY_CHANGES, DISTRIBUTIONS, false);
    let shared = plan(MANY_CHANGES, DISTRIBUTIONS, true);
    let single = plan(MANY_CHANGES, 1, true);
    let tenth = plan(MANY_CHANGES / 10, DISTRIBUTIONS, true);
    let of_shared = a_change(&shared, ALONE);
    let memory = "  memory a change, beyond the keys' own bytes";
    let many = format!("plan of {MANY_CHANGES} x {DISTRIBUTIONS}");
    vec![
        at_most(
            &format!("{many}, one behavior list: a change"),
            &of_shared,
            1.2e-6,
        ),
        at_most(memory, &beyond_keys(&shared), 32.0),
        steady(
            "  100 distributions instead of 1, all with the same behaviors",
            &of_shared,
            "1 distribution",
            &a_change(&single, ALONE),
            1.1,
        ),
        steady(
            "  1,000,000 changes instead of 100,000",
            &of_shared,
            "a tenth of them",
            &a_change(&tenth, ALONE),
            1.25,
        ),
        at_most(
            &format!("{many}, different behavior lists: a change"),
            &a_change(&different, ALONE),
            1.2e-6,
        ),
        at_most(memory, &beyond_keys(&different), 32.0),
    ]
}

/// The cheapest cover of many paths.
fn cover(core: &Program) -> Vec<Row> {
    let result = printed(core, &["cover", &MANY_CHANGES.to_string(), REPEATS]);
    let time = Figure::seconds(seconds(&result, "nanoseconds", 1.0));
    let [bytes, paths] = ["bytes_beyond_paths", "paths"].map(|name| result[name].as_f64().unwrap());
    let memory = Figure::new(Unit::Bytes, vec![bytes / paths]);
    vec![
        at_most(
            &format!("cheapest cover of {MANY_CHANGES} paths"),
            &time,
            0.5,
        ),
        at_most(
            "  memory a path, beyond the paths' own bytes",
            &memory,
            64.0,
        ),
    ]
}

/// What comes before and after planning.
fn others(core: &Program) -> Vec<Row> {
    let of = |arguments: [&str; 3]| a_change(&printed(core, &arguments), "nanoseconds");
    vec![
        at_most(
            "message bodies to CreateInvalidation XML: a change",
            &of(["body-to-xml", "100000", "5"]),
            0.5e-6,
        ),
        shown(
            "S3 event to changes: a change",
            &of(["read-event", "1000", "20"]),
        ),
        shown(
            "changes to message bodies: a change",
            &of(["pack", "10000", "20"]),
        ),
        shown(
            "message bodies to changes: a change",
            &of(["unpack", "10000", "20"]),
        ),
    ]
}

fn a_change(result: &Value, field: &str) -> Figure {
    Figure::seconds(seconds(result, field, result["changes"].as_f64().unwrap()))
}

fn beyond_keys(result: &Value) -> Figure {
    let [bytes, changes] =
        ["bytes_beyond_keys", "changes"].map(|name| result[name].as_f64().unwrap());
    Figure::new(Unit::Bytes, vec![bytes / changes])
}

/// What took so many nanoseconds, in seconds of a part.
fn seconds(result: &Value, field: &str, parts: f64) -> Vec<f64> {
    let values = result[field].as_array().unwrap().iter();
    values
        .map(|nanoseconds| nanoseconds.as_f64().unwrap() / 1e9 / parts)
        .collect()
}

/// The JSON a program prints.
fn printed(program: &Program, arguments: &[&str]) -> Value {
    let done = program.command().args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{} {arguments:?}: {said}",
        program.name
    );
    serde_json::from_slice(&done.stdout).unwrap()
}
