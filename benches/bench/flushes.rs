//! A flush of much, and how soon a flush of little reaches CloudFront.
//!
//! Ours ends in SubmitQueue, and what it has put there is handed to the function again, as Lambda
//! does. That is part of the flush: the peer's invalidates by itself.

use std::collections::HashSet;
use std::time::Duration;

use invalidator_core::buffered::pack;
use invalidator_core::event::{BucketName, Change, ChangeKind, EventTime, ObjectKey};
use serde_json::json;

use crate::programs::{BUCKET, DISTRIBUTION, Program, Programs, Run};
use crate::table::{Figure, Row, Unit, at_most, cheaper, shown, steady};

const ROUNDS: usize = 3;
const ROUNDS_AGAINST_BOTO3: usize = 9;
const CHANGES: usize = 5_000;
const MANY_CHANGES: usize = 100_000;
const MANY_LATENCY: Duration = Duration::from_millis(10);
const SMALL_CHANGES: usize = 3;
const SMALL_LATENCY: Duration = Duration::from_millis(50);
const CHANGES_A_MESSAGE: usize = 100;

pub async fn measure(programs: &Programs) -> Vec<Row> {
    let mut rows = vec![against_boto3(programs).await];
    rows.extend(many(&programs.ours).await);
    rows.extend(small(&programs.ours).await);
    rows
}

/// The processor time of a change, in a process that has flushed before.
async fn against_boto3(programs: &Programs) -> Row {
    let (mut ours, mut boto3) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS_AGAINST_BOTO3 {
        let run = programs.ours.start().await;
        ours.push(a_change(&run, |changes| packed(changes, CHANGES_A_MESSAGE)).await);
        let run = programs.boto3_flush.start().await;
        boto3.push(a_change(&run, |changes| keys(changes).map(alone).collect()).await);
    }
    let what = format!("flush of {CHANGES} changes: CPU a change");
    cheaper(
        &what,
        &Figure::seconds(ours),
        "boto3",
        &Figure::seconds(boto3),
        100.0,
    )
}

async fn a_change(run: &Run, bodies: impl Fn(usize) -> Vec<String>) -> f64 {
    let (_, begun) = flush(run, &bodies(1), 1).await;
    let (_, ended) = flush(run, &bodies(CHANGES), CHANGES).await;
    (ended - begun) / CHANGES as f64
}

/// How long it takes when each call takes a while, and the memory it needs.
async fn many(ours: &Program) -> Vec<Row> {
    let (mut received, mut taken) = (Vec::new(), Vec::new());
    let mut peaks = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (changes, peak) in [MANY_CHANGES, 2 * MANY_CHANGES].into_iter().zip(&mut peaks) {
            let run = ours.start().await;
            run.aws.account().latency = MANY_LATENCY;
            let bodies = packed(changes, CHANGES_A_MESSAGE);
            let (begun, _) = flush(&run, &bodies, changes).await;
            peak.push(run.function.peak_bytes() as f64);
            if changes == MANY_CHANGES {
                let account = run.aws.account();
                received.push((account.last_received - begun).as_secs_f64());
                let (_, _, end) = account.timings.iter().rfind(is_invalidation).unwrap();
                taken.push((*end - begun).as_secs_f64());
            }
        }
    }
    let what = format!("flush of {MANY_CHANGES} changes, 10 ms a call");
    let [once, twice] = peaks.map(|peak| Figure::new(Unit::Memory, peak));
    vec![
        at_most(
            &format!("{what}: until all is received"),
            &Figure::seconds(received),
            0.5,
        ),
        shown("  until CloudFront has taken all", &Figure::seconds(taken)),
        steady(
            "  peak memory, of twice as many changes",
            &twice,
            "once",
            &once,
            1.25,
        ),
    ]
}

/// How long a change waits. `tests/limits.rs` says how many calls that may be.
async fn small(ours: &Program) -> Vec<Row> {
    let (mut first, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let run = ours.start().await;
        run.aws.account().latency = SMALL_LATENCY;
        for (round, seconds) in [&mut first, &mut warm].into_iter().enumerate() {
            let keys = keys((round + 1) * SMALL_CHANGES).skip(round * SMALL_CHANGES);
            let bodies: Vec<_> = keys.map(|key| body(&[key])).collect();
            let (begun, _) = flush(&run, &bodies, (round + 1) * SMALL_CHANGES).await;
            let account = run.aws.account();
            let (_, start, _) = account.timings.iter().rfind(is_invalidation).unwrap();
            seconds.push((*start - begun).as_secs_f64());
        }
    }
    let what = "of a process: from the tick to CreateInvalidation, 50 ms a call";
    vec![
        shown(&format!("first flush {what}"), &Figure::seconds(first)),
        shown(&format!("warm flush {what}"), &Figure::seconds(warm)),
    ]
}

fn is_invalidation(timing: &&(String, Duration, Duration)) -> bool {
    timing.0.ends_with("/invalidation")
}

/// Lets a process flush these messages, and sees that all paths were accepted, each once. Returns when
/// it began, and the processor time of the process when it was done.
async fn flush(run: &Run, bodies: &[String], paths: usize) -> (Duration, f64) {
    for body in bodies {
        run.aws.buffer(body);
    }
    let begun = run.aws.now();
    let processor = run.flush().await;
    let accepted = run.aws.account().paths(DISTRIBUTION);
    let different: HashSet<_> = accepted.iter().collect();
    assert_eq!(different.len(), paths);
    assert_eq!(run.aws.depth("buffer"), 0);
    (begun, processor)
}

fn keys(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("images/2026/{:06}/photo-{n:08}.jpg", n / 1_000))
}

/// Bodies as our ingest writes them, so many changes to each.
fn packed(changes: usize, a_message: usize) -> Vec<String> {
    let keys: Vec<_> = keys(changes).collect();
    keys.chunks(a_message).map(body).collect()
}

fn body(keys: &[String]) -> String {
    let change = |key: &String| Change {
        bucket: BucketName::new(BUCKET),
        key: ObjectKey::new(key.clone()).unwrap(),
        kind: ChangeKind::Created,
        event_time: Some(EventTime(1_795_226_584_567)),
        version_id: None,
    };
    let changes: Vec<_> = keys.iter().map(change).collect();
    pack(&changes).unwrap().remove(0)
}

/// A body as the peer's ingest writes it.
fn alone(key: String) -> String {
    json!({ "bucket": BUCKET, "key": key, "deleted": false, "time": "" }).to_string()
}
