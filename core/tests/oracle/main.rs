//! Compares the product with a second implementation that is too simple to be wrong, on random worlds.
//!
//! * `tape`: random choices that can be shrunk when a case fails
//! * `world`: distributions, policies, tags and changes made from them
//! * `model`: the expected result
//! * `product`: the actual result, and the difference
//! * `random`: the numbers and seeds of the cases
//!
//! `ORACLE_CASES` sets the number of cases and `ORACLE_SEED` repeats a run: `make oracle`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod model;
mod product;
mod random;
mod tape;
mod world;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use invalidator_core::path::ViewerPath;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{TestCaseError, TestError};

use random::{from_environment, random_seed, runner};
use tape::{Tape, Tapes};
use world::World;

/// How many cases run by default: they take a few seconds.
const CASES: u32 = 4_000;

const THREADS: u32 = 2;

fn check(tape: &[u8]) -> Result<(), String> {
    let world = World::from_tape(tape);
    product::disagreement(&world, &model::expected(&world))
}

/// Runs this share of the cases. Returns the case that failed, shrunk, and why it failed.
fn run(cases: u32, seed: u64, thread: u32, tell: &(dyn Fn() + Sync)) -> Result<(), String> {
    let failed = Cell::new(false);
    let result = runner(cases, seed, thread).run(&Tapes, |tape| {
        let checked = check(&tape);
        // After the first failure, all further cases are attempts to shrink it.
        if !failed.get() {
            tell();
        }
        failed.set(failed.get() || checked.is_err());
        checked.map_err(TestCaseError::fail)
    });
    result.map_err(|error| match error {
        TestError::Fail(why, tape) => format!("{why}\n{:#?}", World::from_tape(&tape)),
        TestError::Abort(why) => why.to_string(),
    })
}

#[test]
fn plans_agree_with_the_model() {
    let asked: Option<u32> = from_environment("ORACLE_CASES");
    let cases = asked.unwrap_or(CASES);
    let seed = from_environment("ORACLE_SEED").unwrap_or_else(random_seed);
    let threads = THREADS.min(cases);
    println!("oracle: {cases} cases on {threads} threads, ORACLE_SEED={seed}");
    let start = Instant::now();
    let done = AtomicU32::new(0);
    let tell = || {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(1_000_000) && done < cases {
            println!("oracle: {done} cases, {} s", start.elapsed().as_secs());
        }
    };
    let mismatches: Vec<String> = thread::scope(|scope| {
        let share = |thread| cases / threads + u32::from(thread < cases % threads);
        let tell = &tell;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || run(share(thread), seed, thread, tell)))
            .collect();
        let results = running.into_iter().map(|thread| thread.join().unwrap());
        results.filter_map(Result::err).collect()
    });
    for mismatch in &mismatches {
        println!("{mismatch}");
    }
    let summary = format!(
        "oracle: {} cases, {} mismatches, {} s",
        done.into_inner(),
        mismatches.len(),
        start.elapsed().as_secs()
    );
    println!("{summary}");
    if asked.is_some() {
        // Exit here, so that the test harness prints nothing after the summary.
        std::process::exit(i32::from(!mismatches.is_empty()));
    }
    assert!(mismatches.is_empty(), "{summary}, ORACLE_SEED={seed}");
}

/// Keys of S3 are always shorter than 4,000 characters when encoded. The paths would be right even if
/// S3 ever allowed longer keys.
#[test]
fn long_paths_agree_with_the_model() {
    let mut runner = runner(300, random_seed(), 0);
    runner
        .run(&Tapes, |tape| {
            let tape = &mut Tape::new(&tape);
            let character = tape.word(&["a", "é", "한", "🙂", " ", "/"]);
            let length = 4_000 / model::encoded(character).len() + tape.below(4) - 2;
            let begin = "b".repeat(tape.below(5));
            let end = tape.word(&["", "/", "~", "*", "~a", "aé", "한/"]);
            let path = format!("/{begin}{}{end}", character.repeat(length));
            let path = ViewerPath::of_whole_bucket(&path);
            for query_strings in [false, true] {
                let paths = path.invalidation_paths(query_strings);
                let paths: Vec<String> = paths.into_iter().map(String::from).collect();
                let expected = model::paths_for(path.as_str(), query_strings);
                proptest::prop_assert_eq!(paths, expected);
            }
            Ok(())
        })
        .unwrap();
}

/// Cases that reach no rule would agree with everything.
#[test]
fn the_cases_reach_every_rule() {
    let mut runner = runner(0, 1, 0);
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..CASES {
        let tape = Tapes.new_tree(&mut runner).unwrap().current();
        for rule in model::expected(&World::from_tape(&tape)).reached {
            *reached.entry(rule).or_default() += 1;
        }
    }
    for (rule, least) in [
        ("a behavior of its own", 250),
        ("a deletion where nothing is cached", 100),
        ("a key twice", 500),
        ("a placeholder nobody fills", 50),
        ("an old version", 50),
        ("below an origin path", 100),
        ("covered by a wildcard", 50),
        ("default root object", 100),
        ("disabled", 50),
        ("error page", 20),
        ("exempt", 100),
        ("folder with query strings", 25),
        ("group", 100),
        ("index document", 50),
        ("index document by its folder only", 5),
        ("no tenants", 25),
        ("not cached", 100),
        ("outside the origin path", 250),
        ("sent elsewhere", 250),
        ("tenant", 100),
        ("tilde", 50),
        ("unmatched", 500),
    ] {
        let reached = reached.remove(rule).unwrap_or(0) * 1_000 / CASES as usize;
        assert!(reached >= least, "{rule}: {reached} of 1,000 cases");
    }
    assert!(reached.is_empty(), "not listed here: {reached:?}");
}

/// The model on what is known.
#[test]
fn the_model_knows_the_basics() {
    for (path, expected) in [
        ("/", "/"),
        ("//", "/"),
        ("/a/./b/../c//d/", "/a/c/d/"),
        ("/a/..", "/"),
        ("/../../a", "/a"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a//../b", "/b"),
        ("/...", "/..."),
    ] {
        assert_eq!(model::normalized(path), expected, "{path}");
    }
    for (pattern, text, expected) in [
        ("/*.jpg", "/a/b.jpg", true),
        ("/a?c", "/a/c", true),
        ("/a*c", "/ab", false),
        ("/**", "/", true),
        ("/한?", "/한글", true),
    ] {
        assert_eq!(model::matches(pattern, text), expected, "{pattern} {text}");
    }
    assert_eq!(model::paths_for("/é+~a", true), ["/%C3%A9%2B*"]);
    assert_eq!(model::paths_for("/d/", true), ["/d/", "/d/?*"]);
    assert_eq!(model::viewer_path("a/a/b", "/a"), Some("/a/b".to_owned()));
    assert_eq!(model::viewer_path("ab/c", "/a"), None);
}
