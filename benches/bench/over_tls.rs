//! The first event of a process, and a flush of messages of one change, with and without TLS, in one run.
//!
//! Each program trusts the authority of the tests' account as its users would make it: ours and boto3 by
//! `AWS_CA_BUNDLE`, Node by `NODE_EXTRA_CA_CERTS`. That variable takes the place of boto3's own roots, which it reads
//! from a file for each client, so its file has all of these as well.

use std::fs;
use std::path::PathBuf;

use crate::events::{check_calls, event};
use crate::flushes::{CHANGES, a_change, alone, keys, packed};
use crate::instructions;
use crate::programs::{Program, Programs, out, root};
use crate::support::tls;
use crate::table::{Figure, Row, Unit, cheaper, compared, shown};

const ROUNDS: usize = 15;
const ROUNDS_OF_FLUSHES: usize = 5;
/// How much less than boto3 the first event is to take.
const GOAL: f64 = 150.0;

/// A program without TLS and with it.
struct Pair {
    plain: Program,
    tls: Program,
}

impl Pair {
    fn new(program: &Program, variable: &'static str, roots: PathBuf) -> Self {
        Self {
            plain: program.clone(),
            tls: program.clone().over_tls(variable, roots),
        }
    }
}

pub async fn measure(programs: &Programs) -> Vec<Row> {
    let boto3_roots = with_those_of_boto3();
    let bundle = "AWS_CA_BUNDLE";
    let ours = Pair::new(&programs.ours, bundle, tls::roots());
    let boto3 = Pair::new(&programs.boto3, bundle, boto3_roots.clone());
    let roots_alone = programs.boto3.clone().over_tls(bundle, tls::roots());
    let node = Pair::new(&programs.node, "NODE_EXTRA_CA_CERTS", tls::roots());
    let flush = Pair::new(&programs.boto3_flush, bundle, boto3_roots);
    let mut rows = first_events(&ours, &boto3, &roots_alone, &node).await;
    rows.extend(flushes(&ours, &flush).await);
    rows
}

/// boto3's own roots, and the tests'.
fn with_those_of_boto3() -> PathBuf {
    let packages = root().join(".venv/peers/lib");
    let versions = fs::read_dir(packages).unwrap();
    let files = versions.map(|version| {
        let packages = version.unwrap().path().join("site-packages");
        packages.join("botocore/cacert.pem")
    });
    let own = files.into_iter().find(|file| file.is_file()).unwrap();
    let all = fs::read_to_string(own).unwrap() + &fs::read_to_string(tls::roots()).unwrap();
    let file = out().join("boto3-roots.pem");
    fs::write(&file, all).unwrap();
    file
}

async fn first_events(ours: &Pair, boto3: &Pair, roots_alone: &Program, node: &Pair) -> Vec<Row> {
    let all = [
        &ours.plain,
        &ours.tls,
        &boto3.plain,
        &boto3.tls,
        roots_alone,
        &node.plain,
        &node.tls,
    ];
    let mut times: [Vec<f64>; 7] = Default::default();
    // The first round brings the programs' files into memory.
    for round in 0..=ROUNDS {
        for (program, times) in all.iter().zip(&mut times) {
            let run = program.start().await;
            let time = run.invoke(&event(), 1).await;
            check_calls(program, &run, 1);
            if round > 0 {
                times.push(time);
            }
        }
    }
    let [
        plain,
        over_tls,
        boto3_plain,
        boto3_tls,
        boto3_alone,
        node_plain,
        node_tls,
    ] = times.map(Figure::seconds);
    let mut counts = Vec::new();
    for program in [&ours.plain, &ours.tls, &boto3.tls] {
        let count = instructions::of_events(program, &event(), 1).await;
        counts.push(Figure::new(Unit::Count, vec![count as f64]));
    }
    let what = "first event over TLS: CPU from the start of the process";
    let of_peers = "  the same over plain HTTP";
    vec![
        cheaper(what, &over_tls, "boto3, bytecode at hand", &boto3_tls, GOAL),
        compared(of_peers, &plain, "boto3", &boto3_plain),
        compared(
            "  if boto3 reads these roots alone",
            &over_tls,
            "boto3",
            &boto3_alone,
        ),
        compared(
            "  beside Node, bundled and minified",
            &over_tls,
            "Node",
            &node_tls,
        ),
        compared(of_peers, &plain, "Node", &node_plain),
        compared(
            "first event over TLS: instructions from the start of the process",
            &counts[1],
            "boto3",
            &counts[2],
        ),
        shown(of_peers, &counts[0]),
    ]
}

async fn flushes(ours: &Pair, boto3: &Pair) -> Vec<Row> {
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS_OF_FLUSHES {
        for (program, times) in [&ours.plain, &ours.tls].into_iter().zip(&mut times) {
            let run = program.start().await;
            times.push(a_change(&run, |changes| packed(changes, 1)).await);
        }
        for (program, times) in [&boto3.plain, &boto3.tls].into_iter().zip(&mut times[2..]) {
            let run = program.start().await;
            times.push(a_change(&run, |changes| keys(changes).map(alone).collect()).await);
        }
    }
    let [plain, over_tls, boto3_plain, boto3_tls] = times.map(Figure::seconds);
    let what = format!("flush of {CHANGES} changes over TLS, one in each message: CPU a change");
    let same = "  the same over plain HTTP";
    vec![
        cheaper(&what, &over_tls, "boto3", &boto3_tls, 40.0),
        compared(same, &plain, "boto3", &boto3_plain),
    ]
}
