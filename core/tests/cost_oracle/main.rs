//! Compares the product that skips what did not change with one that invalidates every path, on random
//! histories: nobody may ever get a stale answer from the first that he would not get from the second.
//!
//! * `tape`: random choices that can be shrunk when a case fails
//! * `random`: the numbers and seeds of the cases
//! * `world`: S3, and CloudFront's caches
//! * `product`: what is decided, from what AWS would tell; and the facts that can be hidden from it
//! * `run`: a history of the world, and what both products make of it
//! * `holes`: the histories in which a rule that is too simple serves something stale
//!
//! `ORACLE_CASES` sets the number of cases and `ORACLE_SEED` repeats a run: `make oracle`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod holes;
mod product;
#[path = "../oracle/random.rs"]
mod random;
mod run;
#[allow(dead_code)] // The other oracle uses the rest.
#[path = "../oracle/tape.rs"]
mod tape;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use invalidator_core::cost::skip::{Decision, Finding, WhyNot};
use proptest::strategy::Strategy;
use proptest::test_runner::{TestCaseError, TestError};

use product::{LIES, Lie};
use random::{from_environment, random_seed, runner};
use tape::{Tape, Tapes};

/// How many cases run by default: they take a few seconds.
const CASES: u32 = 40_000;

const THREADS: u32 = 2;

/// How many cases at most it takes to notice that a fact is hidden.
const CASES_OF_A_LIE: u32 = 100_000;

/// What the decisions of many cases were.
type Counts = BTreeMap<&'static str, usize>;

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Skip { because, .. } => match because {
            Finding::Unchanged { .. } => "unchanged",
            Finding::FirstUpload => "first upload",
        },
        Decision::Invalidate(why) => match why {
            WhyNot::NotOptedIn => "not opted in",
            WhyNot::NotVersioned(_) => "not versioned",
            WhyNot::Acls => "ACLs",
            WhyNot::NotTrusted(_) => "not trusted",
            WhyNot::OriginGroup => "origin group",
            WhyNot::LongErrors { .. } => "long errors",
            WhyNot::Website => "website",
            WhyNot::Function => "function",
            WhyNot::OtherPaths => "other paths",
            WhyNot::Deleted => "deleted",
            WhyNot::NoVersionId => "no version id",
            WhyNot::LateEvent => "late event",
            WhyNot::NotWorthLooking => "not worth looking",
            WhyNot::VersionGone => "version gone",
            WhyNot::NoCurrentVersion => "no current version",
            WhyNot::DeleteMarker => "delete marker",
            WhyNot::NullVersion => "null version",
            WhyNot::NoOldVersion => "no old version",
            WhyNot::ManyVersions => "many versions",
            WhyNot::OtherContent => "other content",
            WhyNot::Multipart => "multipart",
            WhyNot::Encrypted => "encrypted",
            WhyNot::Replica => "replica",
            WhyNot::OtherStorageClass => "other storage class",
            WhyNot::ArchivedStorageClass => "archived storage class",
            WhyNot::OtherHeader(_) => "other header",
            WhyNot::OtherMetadata => "other metadata",
            WhyNot::OtherTags => "other tags",
            WhyNot::Unknown(_) => "unknown",
        },
    }
}

/// Runs cases. Returns what was decided how often; or the case that failed, shrunk, with its story.
fn run(cases: u32, seed: u64, thread: u32, lie: Option<Lie>) -> Result<Counts, String> {
    let (failed, counts) = (Cell::new(false), RefCell::new(Counts::new()));
    let result = runner(cases, seed, thread).run(&Tapes, |tape| {
        let run = run::random(Tape::new(&tape), lie, false);
        if !failed.get() {
            for decision in &run.decisions {
                *counts.borrow_mut().entry(name(decision)).or_default() += 1;
            }
        }
        failed.set(failed.get() || run.violation.is_some());
        run.violation
            .map_or(Ok(()), |why| Err(TestCaseError::fail(why)))
    });
    match result {
        Ok(()) => Ok(counts.into_inner()),
        Err(TestError::Fail(why, tape)) => {
            let story = run::random(Tape::new(&tape), lie, true).story();
            Err(format!("{why}\n{story}"))
        }
        Err(TestError::Abort(why)) => Err(why.to_string()),
    }
}

#[test]
fn no_skip_leaves_anything_stale() {
    let asked: Option<u32> = from_environment("ORACLE_CASES");
    let cases = asked.unwrap_or(CASES);
    let seed = from_environment("ORACLE_SEED").unwrap_or_else(random_seed);
    let threads = THREADS.min(cases);
    println!("cost oracle: {cases} cases on {threads} threads, ORACLE_SEED={seed}");
    let start = Instant::now();
    let results: Vec<_> = thread::scope(|scope| {
        let share = |thread| cases / threads + u32::from(thread < cases % threads);
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || run(share(thread), seed, thread, None)))
            .collect();
        let results = running.into_iter().map(|thread| thread.join().unwrap());
        results.collect()
    });
    let mut counts = Counts::new();
    let mut wrong = 0;
    for result in results {
        match result {
            Ok(of_thread) => {
                for (name, count) in of_thread {
                    *counts.entry(name).or_default() += count;
                }
            }
            Err(story) => {
                println!("{story}");
                wrong += 1;
            }
        }
    }
    let skips = |name| counts.get(name).copied().unwrap_or(0);
    let summary = format!(
        "cost oracle: {cases} cases, {wrong} wrong skips, {} unchanged and {} first uploads of {} decisions, {} s",
        skips("unchanged"),
        skips("first upload"),
        counts.values().sum::<usize>(),
        start.elapsed().as_secs()
    );
    println!("{summary}");
    if asked.is_some() {
        // Exit here, so that the test harness prints nothing after the summary.
        std::process::exit(i32::from(wrong > 0));
    }
    assert!(wrong == 0, "{summary}, ORACLE_SEED={seed}");
}

/// Cases that reach no rule would agree with everything.
#[test]
fn the_cases_reach_every_rule() {
    let mut counts = run(CASES / 4, 1, 0, None).unwrap();
    println!("{counts:?}");
    for (rule, least) in [
        ("unchanged", 1_000),
        ("first upload", 200),
        ("not versioned", 200),
        ("ACLs", 100),
        ("not trusted", 1_000),
        ("origin group", 100),
        ("long errors", 200),
        ("website", 10),
        ("function", 10),
        ("other paths", 30),
        ("deleted", 1_000),
        ("late event", 200),
        ("version gone", 50),
        ("delete marker", 200),
        ("no old version", 200),
        ("many versions", 50),
        ("other content", 500),
        ("multipart", 100),
        ("encrypted", 30),
        ("replica", 20),
        ("other storage class", 50),
        ("archived storage class", 100),
        ("other header", 50),
        ("other tags", 50),
        ("unknown", 30),
    ] {
        let reached = counts.remove(rule).unwrap_or(0);
        assert!(reached >= least, "{rule}: {reached}");
    }
    // Where versioning was suspended, the target is not trusted anyway, for as long as that matters.
    counts.remove("no version id");
    counts.remove("null version");
    assert!(counts.is_empty(), "not listed here: {counts:?}");
}

/// A rule that did not look at a fact would be noticed.
#[test]
fn each_fact_that_is_hidden_is_noticed() {
    let next = std::sync::Mutex::new(LIES.iter());
    let unnoticed = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(lie) = next.lock().unwrap().next() else {
                        break;
                    };
                    match noticed_after(*lie) {
                        Some(cases) => println!("{lie:?}: noticed after {cases} cases"),
                        None => unnoticed.lock().unwrap().push(*lie),
                    }
                }
            });
        }
    });
    let unnoticed = unnoticed.into_inner().unwrap();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

/// After how many cases a lie is noticed.
fn noticed_after(lie: Lie) -> Option<u32> {
    let mut runner = runner(0, 1, 0);
    (1..=CASES_OF_A_LIE).find(|_| {
        let tape = Tapes.new_tree(&mut runner).unwrap();
        let tape = proptest::strategy::ValueTree::current(&tape);
        run::random(Tape::new(&tape), Some(lie), false)
            .violation
            .is_some()
    })
}
