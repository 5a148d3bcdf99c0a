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
use crate::support::large;
use crate::table::{Figure, Row, Unit, at_most, cheaper, shown, steady};

const ROUNDS: usize = 3;
const ROUNDS_AGAINST_BOTO3: usize = 9;
pub const CHANGES: usize = 5_000;
const MANY_CHANGES: usize = 100_000;
const MANY_LATENCY: Duration = Duration::from_millis(10);
const SMALL_CHANGES: usize = 3;
const SMALL_LATENCY: Duration = Duration::from_millis(50);
const CHANGES_A_MESSAGE: usize = 100;
/// How many distributions the large account has.
const LARGE_ACCOUNT: f64 = 500.0;

pub async fn measure(programs: &Programs) -> Vec<Row> {
    let mut rows = against_boto3(programs).await;
    rows.extend(many(&programs.ours).await.into_iter().map(Row::settled));
    rows.extend(many_messages(&programs.ours).await);
    rows.extend(small(&programs.ours).await);
    rows.extend(large(&programs.ours).await);
    rows
}

/// The processor time of a change, in a process that has flushed before: with one change in each message, as
/// S3 sends them, and with as many as our ingest packs into one when it gets many at once.
async fn against_boto3(programs: &Programs) -> Vec<Row> {
    let (mut single, mut many, mut boto3) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS_AGAINST_BOTO3 {
        let run = programs.ours.start().await;
        single.push(a_change(&run, |changes| packed(changes, 1)).await);
        let run = programs.ours.start().await;
        many.push(a_change(&run, |changes| packed(changes, CHANGES_A_MESSAGE)).await);
        let run = programs.boto3_flush.start().await;
        boto3.push(a_change(&run, |changes| keys(changes).map(alone).collect()).await);
    }
    let boto3 = Figure::seconds(boto3);
    let what = format!("flush of {CHANGES} changes, one in each message: CPU a change");
    let of_many = format!("  {CHANGES_A_MESSAGE} in each message, where the peer has one");
    vec![
        cheaper(&what, &Figure::seconds(single), "boto3", &boto3, 40.0),
        cheaper(&of_many, &Figure::seconds(many), "boto3", &boto3, 100.0),
    ]
}

pub async fn a_change(run: &Run, bodies: impl Fn(usize) -> Vec<String>) -> f64 {
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
        shown(
            "  until CloudFront has accepted all",
            &Figure::seconds(taken),
        ),
        steady(
            "  peak memory, of twice as many changes",
            &twice,
            "once",
            &once,
            1.25,
        ),
    ]
}

/// How many calls a flush makes at once.
const CALLS_AT_ONCE: f64 = 32.0;

/// How long it takes until all is deleted where each change has a message of its own. Ideally there are always as many
/// calls under way as the function makes at once.
async fn many_messages(ours: &Program) -> Vec<Row> {
    let (mut deleted, mut peak) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let run = ours.start().await;
        run.aws.account().latency = MANY_LATENCY;
        let (begun, _) = flush(&run, &packed(MANY_CHANGES, 1), MANY_CHANGES).await;
        peak.push(run.function.peak_bytes() as f64);
        deleted.push((run.aws.account().last_deleted - begun).as_secs_f64());
    }
    let calls = 2.0 * MANY_CHANGES as f64 / 10.0;
    let ideal = calls / CALLS_AT_ONCE * MANY_LATENCY.as_secs_f64();
    vec![
        steady(
            &format!(
                "flush of {MANY_CHANGES} messages of one change, 10 ms a call: until all is deleted"
            ),
            &Figure::seconds(deleted),
            "the ideal",
            &Figure::seconds(vec![ideal]),
            1.3,
        ),
        shown("  peak memory", &Figure::new(Unit::Memory, peak)),
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
    let mut billed = Vec::new();
    for _ in 0..ROUNDS {
        let run = ours.start().await;
        for round in 1..=2 {
            let keys = keys(round).skip(round - 1);
            keys.for_each(|key| run.aws.buffer(&body(&[key])));
            let begun = run.aws.now();
            run.flush_alone().await;
            if round == 2 {
                billed.push((run.aws.now() - begun).as_secs_f64());
            }
        }
    }
    vec![
        at_most(
            "flush of one change, in a warm process, calls that take no time: billed",
            &Figure::seconds(billed),
            1.1,
        ),
        shown(&format!("first flush {what}"), &Figure::seconds(first)),
        shown(&format!("warm flush {what}"), &Figure::seconds(warm)),
    ]
}

/// How long a change waits in a large account, and what reading the account's configuration takes.
async fn large(ours: &Program) -> Vec<Row> {
    let mut reads = Vec::new();
    // Of the first flush, and of a warm one.
    let (mut times, mut processors) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        let run = ours.start().await;
        run.aws
            .account()
            .cloudfront
            .remove_distribution(DISTRIBUTION);
        large::add_account(&run.aws, BUCKET);
        run.aws.account().latency = SMALL_LATENCY;
        let mut spent = 0.0;
        let figures = times.iter_mut().zip(&mut processors);
        for (round, (times, processors)) in figures.enumerate() {
            run.aws.account().timings.clear();
            run.aws.buffer(&body(&[format!("images/{round}.jpg")]));
            let begun = run.aws.now();
            let now = run.flush().await;
            if round == 0 {
                reads.push(large::reads_of_configuration(&run.aws).len() as f64);
            }
            processors.push((now - spent) / LARGE_ACCOUNT);
            spent = now;
            let account = run.aws.account();
            let (_, start, _) = account.timings.iter().find(is_invalidation).unwrap();
            times.push((*start - begun).as_secs_f64());
        }
    }
    let [first, warm] = times.map(Figure::seconds);
    let [cold_processor, warm_processor] = processors.map(Figure::seconds);
    let what = "500 distributions, 75 behaviors each, 500 policies";
    vec![
        at_most(
            &format!(
                "{what}: from the tick of a first flush to the first CreateInvalidation, 50 ms a call"
            ),
            &first,
            1.8,
        ),
        at_most(
            "  reads of the configuration",
            &Figure::new(Unit::Count, reads),
            12.0,
        ),
        shown(
            "  CPU, for each distribution that is invalidated",
            &cold_processor,
        ),
        shown("  warm flush: to the first CreateInvalidation", &warm),
        shown(
            "  CPU, for each distribution that is invalidated",
            &warm_processor,
        ),
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

pub fn keys(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("images/2026/{:06}/photo-{n:08}.jpg", n / 1_000))
}

/// Bodies as our ingest writes them, so many changes to each.
pub fn packed(changes: usize, a_message: usize) -> Vec<String> {
    let keys: Vec<_> = keys(changes).collect();
    keys.chunks(a_message).map(body).collect()
}

/// The body of a message with these keys.
pub fn body(keys: &[String]) -> String {
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
pub fn alone(key: String) -> String {
    json!({ "bucket": BUCKET, "key": key, "deleted": false, "time": "" }).to_string()
}
