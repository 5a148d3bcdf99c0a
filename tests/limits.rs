//! Limits that a review found in the release binary, one test each ("Before" is what it
//! measured). They run the function's own binary under Lambda's limits, with queues that behave as SQS
//! does and a strict CloudFront.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/stand_ins.rs"]
mod stand_ins;
mod support;

use std::time::Duration;

use invalidator_core::buffered::pack;
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use serde_json::json;
use strict_cloudfront::rate::TokenBucket;
use strict_cloudfront::{Behavior, CachePolicy, Distribution, Operation, Origin, QueryStrings};
use support::aws::Aws;
use support::function::{Function, WallClock, processor_time};
use support::large::{self, reads_of_configuration};

const TIMEOUT: Duration = Duration::from_secs(150);

fn change(key: String) -> Change<'static> {
    Change {
        bucket: BucketName::new("site"),
        key: ObjectKey::new(key).unwrap(),
        kind: ChangeKind::Created,
        event_time: None,
        version_id: None,
    }
}

/// Buffers changes, as many in a message as fit.
fn buffer_packed(aws: &Aws, keys: impl Iterator<Item = String>) {
    let changes: Vec<_> = keys.map(change).collect();
    for body in pack(&changes).unwrap() {
        aws.buffer(&body);
    }
}

/// Buffers changes one per message, as S3 sends them.
fn buffer_singly(aws: &Aws, keys: impl Iterator<Item = String>) {
    for key in keys {
        aws.buffer(&pack(&[change(key)]).unwrap()[0]);
    }
}

fn add(aws: &Aws, distributions: impl IntoIterator<Item = Distribution>) {
    let mut account = aws.account();
    for distribution in distributions {
        account.cloudfront.put_distribution(distribution);
    }
}

fn site(id: &str) -> Distribution {
    Distribution::new(id, Origin::s3("site", "site"))
}

/// All of the account's paths have query strings in their cache key, so each becomes a wildcard.
fn with_query_strings(aws: &Aws, id: &str) -> Distribution {
    let policy = CachePolicy::new("queries", 0, 60, 60).query_strings(QueryStrings::All);
    aws.account().cloudfront.put_cache_policy(policy);
    site(id).default_behavior(Behavior::default_for("site").policy("queries"))
}

/// Flushes until the tick is done; returns how many flushes it took.
async fn flush_all(aws: &Aws) -> usize {
    for flushes in 1..30 {
        let comes_back = aws.flush(TIMEOUT).await.unwrap();
        if !comes_back && aws.depth("buffer") == 0 {
            return flushes;
        }
        // On a busy machine a receive is answered too late, and what it brought stays hidden.
        aws.something_visible("buffer").await;
    }
    panic!("the buffer is not drained");
}

/// Before: 18 invalidations.
#[tokio::test]
async fn receives_that_bring_few_messages_make_one_invalidation() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    aws.account()
        .queues
        .get_mut("buffer")
        .unwrap()
        .moods
        .brings_few = 1.0;
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_singly(&aws, (0..100).map(|n| format!("{n}")));
    flush_all(&aws).await;
    aws.submit(TIMEOUT).await.unwrap();
    let invalidations = aws.account().cloudfront.invalidations("E1", Duration::ZERO);
    assert_eq!(invalidations.len(), 1);
    assert_eq!(invalidations[0].paths.len(), 100);
}

/// Before: 87 paths.
#[tokio::test]
async fn a_key_that_is_written_often_is_billed_once() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    aws.account()
        .queues
        .get_mut("buffer")
        .unwrap()
        .moods
        .brings_few = 1.0;
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_singly(&aws, (0..100).map(|n| format!("{}", n % 20)));
    flush_all(&aws).await;
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E1").len(), 20);
}

/// Before: 1,221 paths billed for 206, in six flushes.
#[tokio::test]
async fn what_one_target_accepted_is_not_paid_again_when_another_cannot_be_filed() {
    let aws = Aws::start().await;
    add(&aws, [site("E1"), site("E2")]);
    let denied = strict_cloudfront::Fault::AccessDenied.always();
    let denied = denied.of("E2").on(Operation::CreateInvalidation);
    aws.account().cloudfront.faults.add(denied);
    aws.account().is_bucket_writable = false;
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_packed(&aws, (0..206).map(|n| format!("{n}")));
    for _ in 0..6 {
        aws.flush(TIMEOUT).await.unwrap();
        aws.submit(TIMEOUT).await.unwrap();
    }
    assert_eq!(aws.account().paths("E1").len(), 206);
    assert_eq!(aws.depth("submit.fifo"), 1, "that of E2");
}

/// Before: 100 receives were used up in 2 to 14 hours.
#[tokio::test]
async fn an_outage_of_cloudfront_uses_up_no_receive() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let denied = strict_cloudfront::Fault::AccessDenied.always();
    aws.account()
        .cloudfront
        .faults
        .add(denied.on(Operation::ListDistributions));
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_singly(&aws, ["a".to_owned()].into_iter());
    for _ in 0..3 {
        assert!(aws.flush(TIMEOUT).await.unwrap(), "the tick comes back");
    }
    let receives = aws.account().queues["buffer"]
        .messages()
        .map(|it| it.receives)
        .max();
    assert_eq!(receives, Some(0));
    aws.account().cloudfront.faults.clear();
    flush_all(&aws).await;
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E1"), ["/a"]);
}

/// Distributions with as many buckets each as CloudFront allows: `bucket-0` to `bucket-24` are behind the first.
fn of_many_buckets(distributions: usize) -> impl Iterator<Item = Distribution> {
    let origin = |n: usize| Origin::s3(&format!("o{n}"), &format!("bucket-{n}"));
    (0..distributions).map(move |d| {
        let first = Distribution::new(&format!("E{d:03}"), origin(25 * d));
        (25 * d + 1..25 * (d + 1)).fold(first, |it, n| it.origin(origin(n)))
    })
}

/// The processor time of a flush of a change in each of so many buckets, all of them served.
async fn time_of_buckets(buckets: usize) -> Duration {
    let aws = Aws::start().await;
    add(&aws, of_many_buckets(100));
    let function = Function::start(&aws, 1_024, &[]);
    for n in 0..buckets {
        let change = Change {
            bucket: BucketName::new(format!("bucket-{n}")),
            ..change("a".to_owned())
        };
        aws.buffer(&pack(&[change]).unwrap()[0]);
    }
    flush_all(&aws).await;
    assert_eq!(aws.account().calls["GetBucketTagging"], buckets);
    assert!(
        aws.depth("submit.fifo") >= buckets / 25,
        "each distribution"
    );
    processor_time(function.id())
}

/// Before: at each receive that brought a new bucket, all buckets were compared with all origins.
#[tokio::test]
async fn the_time_of_a_flush_grows_with_its_buckets_and_not_with_their_square() {
    let few = time_of_buckets(625).await;
    let many = time_of_buckets(2_500).await;
    let grown = many.as_secs_f64() / few.as_secs_f64();
    assert!(
        grown < 6.0,
        "four times the buckets take {grown:.1} times {few:?}"
    );
}

/// Before: the tags of 8,986 of 10,000 buckets could not be read for lack of file descriptors, and all
/// messages were deleted anyway.
#[tokio::test]
async fn tags_of_many_buckets_are_read_with_few_connections() {
    let aws = Aws::start().await;
    add(&aws, of_many_buckets(80));
    let _function = Function::start(&aws, 100, &[]);
    // Nobody needs the tags of buckets that no distribution serves.
    let changes = (0..3_000).map(|n| Change {
        bucket: BucketName::new(format!("bucket-{n}")),
        ..change("a".to_owned())
    });
    for body in pack(&changes.collect::<Vec<_>>()).unwrap() {
        aws.buffer(&body);
    }
    flush_all(&aws).await;
    assert_eq!(aws.account().calls["GetBucketTagging"], 2_000);
}

/// Before: killed at 256 MB, and again at every retry.
#[tokio::test]
async fn long_paths_for_several_distributions_stay_within_the_memory() {
    let aws = Aws::start().await;
    let distributions: Vec<_> = (1..=4)
        .map(|n| with_query_strings(&aws, &format!("E{n}")))
        .collect();
    add(&aws, distributions);
    let mut function = Function::start(&aws, 1_024, &[]);
    let keys = (0..100_000).map(|n| format!("{n:06}{}", "한".repeat(60)));
    buffer_packed(&aws, keys);
    flush_all(&aws).await;
    assert!(function.is_alive());
    assert!(function.peak() <= 128, "{} MiB", function.peak());
    let sets = aws.account().queues["submit.fifo"].messages().len();
    // A hundred wildcards of each set are what one invocation submits at the documented quota.
    assert!((4_000..4_100).contains(&sets), "{sets} sets");
}

/// Before: 1,210 MiB for 50,000 keys of 1,000 bytes.
#[tokio::test]
async fn two_hundred_thousand_of_the_longest_keys_stay_within_the_memory() {
    // `한` has three bytes, each encoded as three characters; in the other key each byte is encoded as three.
    for (alphabet, one) in [("'", 1), ("한", 3)] {
        let aws = Aws::start().await;
        add(&aws, [with_query_strings(&aws, "E1"), site("E2")]);
        let mut function = Function::start(&aws, 1_024, &[]);
        let keys = (0..200_000).map(|n| {
            let number = format!("{n:06}");
            let rest = (1_024 - number.len()) / one;
            format!("{number}{}", alphabet.repeat(rest))
        });
        buffer_packed(&aws, keys);
        flush_all(&aws).await;
        assert!(function.is_alive());
        assert!(
            function.peak() <= 128,
            "{} MiB of `{alphabet}`",
            function.peak()
        );
    }
}

/// Flushes until the buffer is empty, and forgets what is in SubmitQueue beside it: a test holds no gigabytes.
/// Returns how many sets there were.
async fn flush_and_forget(aws: &Aws) -> usize {
    let mut sets = 0;
    let forget = || {
        aws.account()
            .queues
            .get_mut("submit.fifo")
            .unwrap()
            .forget()
    };
    let flushes = flush_all(aws);
    tokio::pin!(flushes);
    loop {
        let short = Duration::from_millis(20);
        let is_over = tokio::time::timeout(short, &mut flushes).await.is_ok();
        sets += forget();
        if is_over {
            return sets;
        }
    }
}

/// 500 distributions that serve the same bucket, each with as many behaviors as CloudFront allows by default. Paths that
/// none of these takes are served from elsewhere.
fn large_account(behavior: impl Fn(usize, usize) -> Behavior) -> Vec<Distribution> {
    let distribution = |d: usize| {
        let elsewhere = Origin::new("api", "api.example.com");
        let behaviors = (0..74).map(|b| behavior(d, b).policy("queries"));
        let all = site(&format!("E{d:03}")).origin(elsewhere);
        let all = all.default_behavior(Behavior::default_for("api"));
        behaviors.fold(all, Distribution::behavior)
    };
    (0..500).map(distribution).collect()
}

/// The behavior lists of all distributions differ. Each key is served by one of them, and some by all.
#[tokio::test]
async fn the_longest_keys_for_500_distributions_stay_within_the_memory() {
    for (alphabet, one) in [("'", 1), ("한", 3)] {
        let aws = Aws::start().await;
        with_query_strings(&aws, "E1");
        add(
            &aws,
            large_account(|d, b| match b {
                0 => Behavior::new("/all/*", "site"),
                _ => Behavior::new(&format!("/{d}/{b}/*"), "site"),
            }),
        );
        let mut function = Function::start(&aws, 1_024, &[]);
        // More than a round.
        let keys = (0..8_000).map(|n| {
            let folder = match n % 400 {
                0 => "all".to_owned(),
                _ => format!("{}/{}", n % 500, 1 + n % 73),
            };
            let name = format!("{folder}/{n:06}");
            let rest = (1_024 - name.len()) / one;
            format!("{name}{}", alphabet.repeat(rest))
        });
        buffer_packed(&aws, keys);
        let sets = flush_and_forget(&aws).await;
        assert!(sets >= 500 * 2, "{sets} sets");
        assert!(function.is_alive());
        assert!(
            function.peak() <= 128,
            "{} MiB of `{alphabet}`",
            function.peak()
        );
    }
}

/// Each key is matched by patterns of its own. Before: 195 MiB, because what each of the 500 lists said was kept for each
/// combination of patterns.
#[tokio::test]
async fn keys_that_all_match_otherwise_stay_within_the_memory() {
    let aws = Aws::start().await;
    with_query_strings(&aws, "E1");
    add(
        &aws,
        large_account(|d, b| {
            // A few of them have much to invalidate.
            let origin = if d < 10 { "site" } else { "api" };
            Behavior::new(&format!("*{:03x}*", (74 * d + b) % 4_096), origin)
        }),
    );
    let mut function = Function::start(&aws, 1_024, &[]);
    let keys = (0..20_000_u64).map(|n| {
        let digits = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        format!("{digits:010x}/{n}")
    });
    buffer_packed(&aws, keys);
    let sets = flush_and_forget(&aws).await;
    assert!(sets > 10, "{sets} sets");
    assert!(function.is_alive());
    assert!(function.peak() <= 128, "{} MiB", function.peak());
}

/// A flush holds each of them until submit has it, and submit until it is in a file.
#[tokio::test]
async fn a_flood_of_large_messages_that_cannot_be_read_stays_within_the_memory() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let mut function = Function::start(&aws, 1_024, &[]);
    for n in 0..60 {
        aws.buffer(&format!("{n:02}{}", "x".repeat(1_000_000)));
    }
    buffer_singly(&aws, std::iter::once("a".to_owned()));
    flush_all(&aws).await;
    assert_eq!(aws.submit(TIMEOUT).await.unwrap(), 0);
    assert!(function.is_alive());
    assert!(function.peak() <= 128, "{} MiB", function.peak());
    assert_eq!(aws.account().paths("E1"), ["/a"]);
    assert_eq!(aws.account().files.len(), 60);
}

/// Before: the same 569 calls in each of three flushes, and no message deleted. (30,000 changes for 100
/// distributions at 0.2 s a call, all scaled down by nine.)
#[tokio::test]
async fn a_flush_that_runs_out_of_time_keeps_its_progress() {
    let aws = Aws::start().await;
    add(&aws, (0..100).map(|n| site(&format!("E{n:03}"))));
    aws.account().latency = Duration::from_millis(200);
    let _function = Function::start(&aws, 1_024, &[("MAX_PATHS_PER_INVALIDATION", "333")]);
    buffer_packed(&aws, (0..3_333).map(|n| format!("{n:05}")));
    // Time for some of the 1,100 sets, beside the twenty seconds at the end.
    let timeout = Duration::from_secs(20 + 15);
    let mut flushes = 0;
    while aws.depth("buffer") > 0 {
        aws.flush(timeout).await.unwrap();
        // Changes that were planned without default root objects come back a little later.
        aws.end_delays("buffer");
        flushes += 1;
        assert!(flushes < 10, "no progress");
    }
    let sets = aws.account().queues["submit.fifo"].messages().len();
    assert_eq!(sets, 100 * 11, "each set once, in {flushes} flushes");
}

/// Before: 22,000 of 60,000 changes were submitted, and the rest only after the sweep.
#[tokio::test]
async fn a_receive_that_fails_brings_the_tick_back() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    aws.account().receives_until_one_fails = Some(3);
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_singly(&aws, (0..100).map(|n| format!("{n}")));
    assert!(aws.flush(TIMEOUT).await.unwrap(), "the tick comes back");
    let hidden = aws.depth("buffer");
    assert!(
        (1..=10).contains(&hidden),
        "{hidden} messages are hidden, the others are done"
    );
}

/// A flush that is killed repeats at most the round it was in.
#[tokio::test]
async fn a_flush_that_is_killed_enqueues_nothing_that_it_had_acknowledged() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    aws.account().latency = Duration::from_millis(20);
    let function = Function::start(&aws, 1_024, &[]);
    // Several rounds of long keys.
    buffer_packed(
        &aws,
        (0..30_000).map(|n| format!("{n:05}{}", "x".repeat(900))),
    );
    let flush = aws.flush(TIMEOUT);
    let kill = async {
        while aws.depth("submit.fifo") < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        function.kill(&aws);
    };
    let (result, ()) = tokio::join!(flush, kill);
    assert!(result.is_err());
    let enqueued = aws.depth("submit.fifo");
    let deleted = 30_000 * 928 / (64 * 1024) - aws.depth("buffer");
    assert!(deleted > 0, "rounds that were done are acknowledged");
    assert!(enqueued >= 20);
}

/// When each call of an operation of SQS began and was answered.
fn times(aws: &Aws, operation: &str) -> Vec<(Duration, Duration)> {
    let account = aws.account();
    let timings = account.timings.iter();
    let of_operation = timings.filter(|(name, ..)| name.ends_with(operation));
    of_operation.map(|(_, start, end)| (*start, *end)).collect()
}

/// Before: all calls of a round were answered before the next round was received.
#[tokio::test]
async fn a_round_is_deleted_while_the_next_one_is_received() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    aws.account().latency = Duration::from_millis(20);
    let _function = Function::start(&aws, 1_024, &[]);
    // Two rounds of long keys.
    let keys = |n| format!("{n:05}{}", "x".repeat(1_000));
    buffer_singly(&aws, (0..9_000).map(keys));
    flush_all(&aws).await;
    let [receives, deletes] = ["ReceiveMessage", "DeleteMessageBatch"].map(|it| times(&aws, it));
    let last_receive = receives.iter().map(|(start, _)| *start).max().unwrap();
    let meets = |(start, end): &(Duration, Duration)| {
        let mut receives = receives.iter();
        receives.any(|(other, other_end)| start < other_end && other < end)
    };
    let beside = deletes.iter().filter(|it| meets(it)).count();
    assert!(beside > 10, "{beside} of {} deletes", deletes.len());
    assert!(deletes.iter().any(|(start, _)| *start > last_receive));
    assert_eq!(aws.account().paths("E1").len(), 0, "not submitted yet");
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E1").len(), 9_000);
}

/// Before: Lambda billed two seconds, as two long polls returned nothing.
#[tokio::test]
async fn one_long_poll_confirms_that_the_buffer_is_empty() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let _function = Function::start(&aws, 1_024, &[]);
    for (changes, polls) in [(0, 1), (1, 2), (10, 2)] {
        aws.account().calls.clear();
        buffer_singly(&aws, (0..changes).map(|n| format!("{changes}-{n}")));
        assert!(!aws.flush(TIMEOUT).await.unwrap());
        let account = aws.account();
        assert_eq!(account.calls["ReceiveMessage buffer"], polls, "{changes}");
    }
}

/// How many calls flushes of so long make, and how many flushes.
async fn calls_of_flushes(timeout: Duration) -> (usize, usize) {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    aws.account().latency = Duration::from_millis(200);
    let _function = Function::start(&aws, 1_024, &[("DRAIN_CONCURRENCY", "4")]);
    buffer_singly(&aws, (0..2_000).map(|n| format!("{n}")));
    let mut flushes = 0;
    while aws.depth("buffer") > 0 {
        aws.flush(timeout).await.unwrap();
        flushes += 1;
        assert!(flushes < 20, "no progress");
    }
    let calls = aws.account().timings.len();
    aws.account().latency = Duration::ZERO;
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E1").len(), 2_000, "each once");
    (calls, flushes)
}

/// What a flush has enqueued is done, so the next one has only the rest.
#[tokio::test]
async fn flushes_that_are_cut_off_make_hardly_more_calls_than_one() {
    let ((calls_of_one, one), (calls_of_many, many)) = tokio::join!(
        calls_of_flushes(TIMEOUT),
        // Time for a part, beside the twenty seconds at the end.
        calls_of_flushes(Duration::from_secs(20 + 13)),
    );
    assert!(one == 1 && many > 2, "{one} and {many} flushes");
    let most = calls_of_one as f64 * 1.1;
    assert!((calls_of_many as f64) < most, "{calls_of_many} for {most}");
}

/// The messages of one round, of one of the longest keys each: 24 MiB of what `src/flush/room.rs` counts for them.
const LONGEST_OF_A_ROUND: usize = 5_300;

/// How many calls it takes to flush messages of one change each, if the function is killed whenever so many more were
/// deleted.
async fn calls_until_done(messages: usize, kills: &[usize]) -> usize {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    buffer_singly(
        &aws,
        (0..messages).map(|n| format!("{n:06}{}", "x".repeat(1_018))),
    );
    let mut left = messages;
    for more in kills {
        let function = Function::start(&aws, 1_024, &[]);
        left -= more;
        let kill = async {
            while aws.depth("buffer") > left {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            function.kill(&aws);
        };
        let (result, ()) = tokio::join!(aws.flush(TIMEOUT), kill);
        assert!(result.is_err(), "it was killed");
        left = aws.depth("buffer");
        let buffer = &mut aws.account();
        buffer.queues.get_mut("buffer").unwrap().show();
    }
    let _function = Function::start(&aws, 1_024, &[]);
    flush_all(&aws).await;
    let calls = aws.account().timings.len();
    aws.submit(TIMEOUT).await.unwrap();
    let mut paths = aws.account().paths("E1");
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), messages, "nothing is lost");
    calls
}

/// A flush that is killed repeats the receives of what it had in hand: the messages of the round, and those of the
/// last one that were not deleted yet.
#[tokio::test]
async fn a_killed_flush_repeats_the_receives_of_what_it_had_in_hand() {
    let messages = 8 * LONGEST_OF_A_ROUND;
    let once = calls_until_done(messages, &[]).await;
    for kills in [
        // While the first round is deleted, and in the middle of a later one.
        &[1_000][..],
        &[3 * LONGEST_OF_A_ROUND + 2_000],
        // As often as every other round.
        &[2 * LONGEST_OF_A_ROUND, 2 * LONGEST_OF_A_ROUND + 700, 9_000],
    ] {
        let killed = calls_until_done(messages, kills).await;
        let repeated = killed.saturating_sub(once) as f64 / kills.len() as f64;
        let of_a_round = LONGEST_OF_A_ROUND as f64 / 10.0;
        println!("{kills:?}: {killed} calls, {once} without kills");
        assert!(
            repeated < 1.5 * of_a_round,
            "{repeated} calls for each of {kills:?}"
        );
        if kills.len() == 1 {
            assert!(killed as f64 <= 1.1 * once as f64, "{killed} for {once}");
        }
    }
}

/// How often each of these was read with success.
fn reads(aws: &Aws, operation: Operation) -> usize {
    let account = aws.account();
    let calls = account.cloudfront.calls.iter();
    let calls = calls.filter(|call| call.operation == operation && call.status == Some(200));
    calls.count()
}

/// Before: three flushes read 178, 161 and 217 of 500 configurations, kept none and invalidated nothing.
#[tokio::test]
async fn what_was_read_of_the_distributions_is_kept_when_reading_is_throttled() {
    let aws = Aws::start().await;
    add(&aws, (0..150).map(|n| site(&format!("E{n:03}"))));
    let reads_per_second = TokenBucket::new(8.0, 8.0);
    aws.account().cloudfront.rates.reads = Some(reads_per_second);
    let _function = Function::start(&aws, 1_024, &[]);
    // Each flush may read for 7.5 s.
    let timeout = Duration::from_secs(35);
    let mut flushes = 0;
    while reads(&aws, Operation::GetDistributionConfig) < 150 {
        buffer_singly(&aws, [format!("index.{flushes}")].into_iter());
        aws.flush(timeout).await.unwrap();
        flushes += 1;
        assert!(flushes < 6, "no progress");
    }
    assert!(flushes > 1, "the rate is too high to show anything");
    // Each once, but for those that were under way when the time was over.
    let reads = reads(&aws, Operation::GetDistributionConfig);
    assert!((150..=150 + 4 * flushes).contains(&reads), "{reads} reads");
    assert_ne!(aws.depth("submit.fifo"), 0);
}

/// Before: four calls at once each waited for 1, 2, 4, 8, 16 s, which used a small part of the rate.
#[tokio::test]
async fn reading_uses_the_rate_that_cloudfront_allows() {
    let aws = Aws::start().await;
    add(&aws, (0..120).map(|n| site(&format!("E{n:03}"))));
    aws.account().cloudfront.rates.reads = Some(TokenBucket::new(20.0, 20.0));
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_singly(&aws, std::iter::once("index.html".to_owned()));
    // It may read for 7.5 s. At this rate 122 reads take five.
    aws.flush(Duration::from_secs(35)).await.unwrap();
    // Each once, but for those that were under way when the two seconds for all were over.
    let reads = reads(&aws, Operation::GetDistributionConfig);
    assert!((120..=120 + 4).contains(&reads), "{reads} reads");
    assert_eq!(aws.depth("buffer"), 0, "none is left for another flush");
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E119"), ["/index.html"]);
}

/// Before: 1,006 reads, 132 in a row, and the first invalidation after 8.9 s.
#[tokio::test]
async fn a_large_account_takes_few_reads() {
    let aws = Aws::start().await;
    large::add_account(&aws, "site");
    aws.account().latency = Duration::from_millis(50);
    let function = Function::start(&aws, 1_024, &[]);
    buffer_singly(&aws, std::iter::once("images/a.jpg".to_owned()));
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    // Five pages of distributions, and six of policies: CloudFront has its own, too.
    let reads = reads_of_configuration(&aws);
    assert_eq!(reads.len(), 5 + 6, "{reads:?}");
    assert_eq!(aws.depth("submit.fifo"), 500);
    let [lists, policies] = ["/distribution", "/cache-policy"].map(|it| times(&aws, it));
    assert_eq!((lists.len(), policies.len()), (5, 6));
    // The policies are read beside the list, and not after it.
    let first_policies = policies.iter().map(|(start, _)| *start).min();
    assert!(first_policies < lists.iter().map(|(_, end)| *end).max());
    aws.account().latency = Duration::ZERO;
    assert_eq!(aws.submit(TIMEOUT).await.unwrap(), 0);
    assert_eq!(aws.account().paths("E123"), ["/images/a.jpg"]);

    // The change may still be that of a default root object, so it is looked at once more, when these are known.
    assert_eq!(aws.depth("buffer"), 1);
    aws.end_delays("buffer");
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    assert_eq!(aws.depth("buffer"), 0);
    assert_eq!(aws.depth("submit.fifo"), 0, "it is not");
    assert_eq!(self::reads(&aws, Operation::GetDistributionConfig), 500);

    // From now on, every environment knows them.
    aws.somebody_waits().await;
    function.kill(&aws);
    aws.nobody_waits().await;
    let _function = Function::start(&aws, 1_024, &[]);
    aws.account().cloudfront.calls.clear();
    buffer_singly(&aws, std::iter::once("home/start.html".to_owned()));
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    assert_eq!(reads_of_configuration(&aws).len(), 5 + 6);
    assert_eq!(aws.depth("buffer"), 0);
    assert_eq!(aws.submit(TIMEOUT).await.unwrap(), 0);
    let paths = aws.account().paths("E123");
    assert_eq!(paths, ["/images/a.jpg", "/", "/home/start.html"]);
}

/// The first change of all may be that of a default root object with an unusual name.
#[tokio::test]
async fn a_default_root_object_that_was_not_known_is_not_forgotten() {
    let aws = Aws::start().await;
    let home = |n: usize| site(&format!("E{n}")).default_root_object("pages/hello");
    add(&aws, (10..30).map(home));
    add(&aws, [site("E30").default_root_object("start.html")]);
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_singly(
        &aws,
        ["pages/hello", "other"].map(str::to_owned).into_iter(),
    );
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    assert_eq!(reads(&aws, Operation::GetDistributionConfig), 0);
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E17"), ["/other", "/pages/hello"]);
    // No other change may come for minutes.
    assert_eq!(aws.depth("tick.fifo"), 1, "a flush follows by itself");
    buffer_singly(&aws, std::iter::once("third".to_owned()));
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.depth("tick.fifo"), 1, "that flush is for both");

    // CloudFront does not answer at first. Those that were read are done.
    let denied = strict_cloudfront::Fault::AccessDenied.always().of("E17");
    let denied = denied.on(Operation::GetDistributionConfig);
    aws.account().cloudfront.faults.add(denied);
    // Nor can they be kept.
    aws.account().is_bucket_writable = false;
    aws.end_delays("buffer");
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    aws.submit(TIMEOUT).await.unwrap();
    let paths = |id: &str| aws.account().paths(id).split_off(3);
    assert_eq!(paths("E18"), ["/", "/pages/hello"]);
    assert_eq!(paths("E17"), [""; 0]);
    assert_eq!(paths("E30"), [""; 0], "its root object is another one");
    assert_eq!(aws.depth("buffer"), 1, "it waits for E17 alone");

    aws.account().cloudfront.faults.clear();
    aws.end_delays("buffer");
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(paths("E17"), ["/", "/pages/hello"]);
    assert_eq!(paths("E18"), ["/", "/pages/hello"], "once");
    assert_eq!(aws.depth("buffer"), 0);
}

/// Before: reading 400 tenants took 30.6 s of a flush that had 25.
#[tokio::test]
async fn reading_many_tenants_keeps_to_its_time() {
    let aws = Aws::start().await;
    let folder = Origin::s3("folder", "site").path("/{{customer}}");
    add(
        &aws,
        [Distribution::new("E1", folder).tenant_only(), site("E2")],
    );
    for n in 0..400 {
        let parameters = vec![("customer".to_owned(), format!("c{n}"))];
        let id = format!("dt_{n}");
        aws.account()
            .cloudfront
            .put_tenant("E1", &id, true, parameters);
    }
    aws.account().latency = Duration::from_millis(200);
    let _function = Function::start(&aws, 1_024, &[]);
    let timeout = Duration::from_secs(35);
    let mut flushes = 0;
    while reads(&aws, Operation::GetDistributionTenant) < 400 {
        buffer_singly(&aws, [format!("c7/{flushes}")].into_iter());
        aws.flush(timeout).await.unwrap();
        flushes += 1;
        assert!(flushes < 8, "no progress");
    }
    assert!(flushes > 1, "the answers are too fast to show anything");
    // The other distribution was invalidated in every flush.
    aws.account().latency = Duration::ZERO;
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E2").len(), flushes);
}

/// From the tick to `CreateInvalidation`: first with a new environment for each stage, then with one that
/// has done it before. Each has one more poll, which confirms that the buffer is empty.
#[tokio::test]
async fn few_calls_are_made_in_a_row() {
    let aws = Aws::start().await;
    add(&aws, [site("E1"), site("E2")]);
    aws.account().latency = Duration::from_millis(50);
    let mut function = Function::start(&aws, 1_024, &[]);
    // One call is for the ledger: paths are reserved before they are sent; the tags and the ledger are read beside the
    // last poll. In the cold flush two more may follow, when it notes what others have ordered. The second environment
    // has not flushed before, so it does not know yet what is paused.
    for (is_cold, most) in [(true, 9 + 2 + 1), (false, 4 + 1 + 1)] {
        aws.account().timings.clear();
        buffer_singly(&aws, std::iter::once("a.html".to_owned()));
        assert!(!aws.flush(TIMEOUT).await.unwrap());
        if is_cold {
            // It may still be about to ask for the next, which would be given to a dead process.
            aws.somebody_waits().await;
            function.kill(&aws);
            aws.nobody_waits().await;
            function = Function::start(&aws, 1_024, &[]);
        }
        assert_eq!(aws.submit(TIMEOUT).await.unwrap(), 0);
        let account = aws.account();
        let row = account.calls_in_a_row();
        assert!(row.len() <= most, "{:#?}", account.calls_in_a_row());
        assert!(row.iter().any(|call| call.ends_with("/invalidation")));
    }
}

/// Before: four events in a row failed on 16 dead connections, and a distribution that was added
/// meanwhile was missed, although the change was acknowledged.
#[tokio::test]
async fn after_an_hour_in_the_freezer_everything_works_at_the_first_attempt() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let clock = WallClock::new("freezer");
    let function = Function::start_with_clock(&aws, &clock);
    // Many messages, so that many connections are open.
    buffer_singly(&aws, (0..400).map(|n| format!("before-{n}")));
    flush_all(&aws).await;
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E1").len(), 400);

    aws.somebody_waits().await;
    function.freeze();
    let hour = Duration::from_secs(3_600);
    clock.put_forward(hour);
    {
        let mut account = aws.account();
        account.ahead = hour;
        account.lose_connections();
    }
    add(&aws, [site("E2")]);
    function.thaw();

    aws.invoke(s3_event("after"), TIMEOUT).await.unwrap();
    assert!(!aws.flush(TIMEOUT).await.unwrap(), "the tick is done");
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E2"), ["/after"]);
    assert_eq!(aws.account().paths("E1").len(), 401);
    assert_eq!(aws.account().requests_on_dead_connections, 0);
}

fn s3_event(key: &str) -> String {
    let record = json!({
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": "site" }, "object": { "key": key } },
    });
    json!({ "Records": [record] }).to_string()
}

/// Before: the event failed, and Lambda repeated it, although its changes were safe.
#[tokio::test]
async fn a_throttled_tick_does_not_fail_the_event() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let _function = Function::start(&aws, 1_024, &[]);
    // More than the SDK's own attempts.
    let refuse = |aws: &Aws, queue, times, code| {
        aws.account().refused.insert(queue, (times, code));
    };
    refuse(&aws, "tick.fifo", 5, "RequestThrottled");
    aws.invoke(s3_event("a"), TIMEOUT).await.unwrap();
    assert_eq!(aws.depth("tick.fifo"), 1, "it was sent in the end");

    let aws = Aws::start().await;
    let _function = Function::start(&aws, 1_024, &[]);
    refuse(&aws, "tick.fifo", usize::MAX, "RequestThrottled");
    aws.invoke(s3_event("a"), TIMEOUT).await.unwrap();
    assert_eq!((aws.depth("tick.fifo"), aws.depth("buffer")), (0, 1));

    // Another error fails the event, and so does a buffer that is throttled for good.
    refuse(&aws, "tick.fifo", usize::MAX, "AccessDenied");
    aws.invoke(s3_event("b"), TIMEOUT).await.unwrap_err();
    refuse(&aws, "tick.fifo", 0, "");
    refuse(&aws, "buffer", usize::MAX, "RequestThrottled");
    aws.invoke(s3_event("c"), TIMEOUT).await.unwrap_err();
}

/// Before: each attempt met another of the dead connections, until all attempts were used up.
#[tokio::test]
async fn one_attempt_without_an_answer_gives_up_all_old_connections() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let _function = Function::start(&aws, 1_024, &[]);
    buffer_singly(&aws, (0..400).map(|n| format!("before-{n}")));
    flush_all(&aws).await;
    aws.account().lose_connections();
    aws.invoke(s3_event("after"), TIMEOUT).await.unwrap();
    assert_eq!(aws.depth("buffer"), 1);
    assert_eq!(aws.account().requests_on_dead_connections, 1);
}

/// XML forbids some characters that a key may have, and SQS refuses them.
#[tokio::test]
async fn a_key_that_sqs_would_refuse_arrives() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let _function = Function::start(&aws, 1_024, &[]);
    aws.invoke(s3_event("%01%EF%BF%BF"), TIMEOUT).await.unwrap();
    flush_all(&aws).await;
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E1"), ["/%01%EF%BF%BF"]);
}

#[tokio::test]
async fn an_entry_that_fails_in_a_call_that_succeeds_is_sent_again() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let _function = Function::start(&aws, 1_024, &[]);
    // Before: Lambda repeated the event a minute later, and targets lost their trust.
    aws.account().entries_to_fail = 2;
    aws.invoke(s3_event("a"), TIMEOUT).await.unwrap();
    assert_eq!(aws.account().entries_to_fail, 0);
    aws.account().entries_to_fail = usize::MAX;
    aws.invoke(s3_event("b"), TIMEOUT).await.unwrap_err();
    aws.account().entries_to_fail = 1;
    flush_all(&aws).await;
    assert_eq!(aws.account().entries_to_fail, 0);
    aws.submit(TIMEOUT).await.unwrap();
    assert_eq!(aws.account().paths("E1"), ["/a"]);
}

/// Lambda stops a function that invokes itself for ever, but only if its calls say where they come from.
#[tokio::test]
async fn calls_of_queues_say_which_invocation_they_come_from() {
    let aws = Aws::start().await;
    add(&aws, [site("E1")]);
    let _function = Function::start(&aws, 1_024, &[]);
    aws.invoke(s3_event("a"), TIMEOUT).await.unwrap();
    let first = std::mem::take(&mut aws.account().traces);
    aws.flush(TIMEOUT).await.unwrap();
    let second = std::mem::take(&mut aws.account().traces);
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
    assert!(first.is_disjoint(&second));
    let is_trace = |it: &String| it.starts_with("Root=1-");
    assert!(
        first.iter().chain(&second).all(is_trace),
        "{first:?} {second:?}"
    );
}

/// Before: 636 MB of memory, and an error text of 103 MB.
#[tokio::test]
async fn an_event_of_millions_of_records_stays_within_the_memory() {
    let aws = Aws::start().await;
    let function = Function::start(&aws, 1_024, &[]);
    // Lambda delivers at most six megabytes.
    let empty = vec!["{}"; 2_000_000].join(",");
    let records = |text: &str| format!("{{\"Records\":[{text}]}}");
    let small =
        r#"{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"bkt"},"object":{"key":"k"}}}"#;
    let changes = vec![small; 6_000_000 / (small.len() + 1)].join(",");
    let error = aws.invoke(records(&empty), TIMEOUT).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("2000000 of the event's records"), "{error}");
    assert!(error.len() < 10_000, "{} bytes", error.len());
    aws.invoke(records(&changes), TIMEOUT).await.unwrap();
    assert!(aws.depth("buffer") > 0);
    assert!(function.peak() <= 128, "{} MiB", function.peak());
}

/// What Lambda delivers at most.
const LARGEST_EVENT: usize = 6 * 1024 * 1024;

/// As many of a text, with commas, as fit into an event beside what is around them.
fn as_many(text: impl Fn(usize) -> String, around: &str) -> String {
    let room = LARGEST_EVENT - around.len();
    let mut all = String::with_capacity(room);
    for n in 0.. {
        let next = text(n);
        if all.len() + next.len() + 1 > room {
            break;
        }
        all.push_str(if n == 0 { "" } else { "," });
        all.push_str(&next);
    }
    around.replacen("ALL", &all, 1)
}

/// Events that somebody thought of who may send any: what each is, and what is answered.
fn ill_willed_events() -> Vec<(&'static str, String, Result<(), &'static str>)> {
    const RECORDS: &str = r#"{"Records":[ALL]}"#;
    let half = LARGEST_EVENT / 2 - 100;
    let filled = |part: &str, around: &str| {
        let room = LARGEST_EVENT - around.len() - 10;
        around.replacen("ALL", &part.repeat(room / part.len()), 1)
    };
    let of_key = r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"site"},"object":{"key":"ALL"}}}]}"#;
    let record =
        |key: &str| of_key.replacen("ALL", key, 1)[12..of_key.len() + key.len() - 5].to_owned();
    let long = |c: char, n: usize| format!("{n:06}{}", c.to_string().repeat(1_018));
    let wrapped = |inner: &str, field: &str| json!({ field: inner }).to_string();
    // Each level of text doubles the backslashes, so that a quote takes seven characters at last.
    let mut in_both = as_many(|_| record("k"), RECORDS);
    in_both.truncate(in_both.len() / 4);
    in_both.truncate(in_both.rfind(",{").unwrap());
    in_both.push_str("]}");
    let in_both = wrapped(&wrapped(&in_both, "Message"), "body");
    assert!(in_both.len() > LARGEST_EVENT / 4, "{}", in_both.len());
    let of_tick = |n: usize| {
        let queue = "arn:aws:sqs:us-east-1:123456789012:tick.fifo";
        format!(r#"{{"eventSourceARN":"{queue}","messageId":"{n}"}}"#)
    };
    let not_read = Err("cannot be read");
    vec![
        (
            "nested arrays",
            format!("{{\"Records\":{}{}}}", "[".repeat(half), "]".repeat(half)),
            not_read,
        ),
        (
            "nested objects",
            {
                let depth = (LARGEST_EVENT - 100) / r#"{"s3":}"#.len();
                let (begin, end) = (r#"{"s3":"#.repeat(depth), "}".repeat(depth));
                format!("{{\"Records\":[{begin}1{end}]}}")
            },
            not_read,
        ),
        (
            "nested arrays without an end, in a message",
            filled("[", r#"{"Records":[{"body":"ALL","messageId":"1"}]}"#),
            Ok(()),
        ),
        (
            "a nested field that nobody reads",
            format!(
                "{{\"Records\":[{{\"x\":{}{}}}]}}",
                "[".repeat(half),
                "]".repeat(half)
            ),
            not_read,
        ),
        (
            "one key",
            filled("k", of_key),
            Err("bytes long, S3 allows 1024"),
        ),
        (
            "one key of escapes",
            filled("%6B", of_key),
            Err("bytes long, S3 allows 1024"),
        ),
        (
            "one key that is no text",
            filled("%ff", of_key),
            Err("does not decode to UTF-8"),
        ),
        (
            "one key of spaces",
            filled("+", of_key),
            Err("bytes long, S3 allows 1024"),
        ),
        (
            "one key of JSON's escapes",
            filled(r"\u0001", of_key),
            Err("bytes long, S3 allows 1024"),
        ),
        (
            "one event name",
            filled("n", r#"{"Records":[{"eventName":"ALL","s3":{}}]}"#),
            Ok(()),
        ),
        (
            "one event source",
            filled(
                "n",
                r#"{"Records":[{"eventSource":"ALL","eventName":"ObjectCreated:Put"}]}"#,
            ),
            not_read,
        ),
        (
            "one message id",
            filled("i", r#"{"Records":[{"body":"","messageId":"ALL"}]}"#),
            Ok(()),
        ),
        (
            "one name of a field",
            filled("n", r#"{"Records":[{"ALL":1}]}"#),
            not_read,
        ),
        (
            "one body",
            filled("b", r#"{"Records":[{"body":"ALL","messageId":"1"}]}"#),
            Ok(()),
        ),
        (
            "one body of JSON's escapes",
            filled(r"\u005b", r#"{"Records":[{"body":"ALL","messageId":"1"}]}"#),
            Ok(()),
        ),
        (
            "records in SNS in SQS",
            format!("{{\"Records\":[{in_both}]}}"),
            Ok(()),
        ),
        (
            "records in SNS in SQS, many times",
            as_many(
                |_| wrapped(&wrapped(r#"{"Records":[{}]}"#, "Message"), "body"),
                RECORDS,
            ),
            not_read,
        ),
        (
            "empty messages",
            as_many(|n| format!(r#"{{"body":"","messageId":"{n}"}}"#), RECORDS),
            Ok(()),
        ),
        (
            "messages without an id",
            as_many(|_| r#"{"body":""}"#.to_owned(), RECORDS),
            not_read,
        ),
        (
            "records without a bucket",
            as_many(
                |_| r#"{"eventName":"ObjectCreated:Put"}"#.to_owned(),
                RECORDS,
            ),
            not_read,
        ),
        (
            "names of events",
            as_many(|n| format!(r#"{{"eventName":"{n}"}}"#), RECORDS),
            Ok(()),
        ),
        (
            "long keys",
            as_many(|n| record(&long('k', n)), RECORDS),
            Ok(()),
        ),
        (
            "long keys that are encoded for the buffer",
            as_many(|n| record(&long('\'', n)), RECORDS),
            Ok(()),
        ),
        (
            "long keys in events of JSON's escapes",
            as_many(
                |n| record(&format!("{n:06}{}", r"\u0001".repeat(1_018))),
                RECORDS,
            ),
            Ok(()),
        ),
        (
            "records of the tick queue",
            as_many(of_tick, RECORDS),
            Err("a batch of a FIFO queue has at most 10"),
        ),
    ]
}

/// Before: 636 MB of memory for one of them.
#[tokio::test]
async fn no_event_that_lambda_delivers_takes_more_than_its_share_of_memory() {
    let aws = Aws::start().await;
    let mut function = Function::start(&aws, 1_024, &[]);
    let mut peak = 0;
    for (what, event, expected) in ill_willed_events() {
        assert!(
            event.len() <= LARGEST_EVENT,
            "{what}: {} bytes",
            event.len()
        );
        let answer = aws.invoke(event, TIMEOUT).await;
        assert!(function.is_alive(), "{what}");
        match (answer, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(expected)) => {
                assert!(error.contains(expected), "{what}: {error}");
                assert!(error.len() < 10_000, "{what}: {} bytes", error.len());
            }
            (answer, _) => panic!("{what}: {answer:?}"),
        }
        peak = function.peak();
        assert!(peak <= 128, "{what}: {peak} MiB");
    }
    assert!(peak > 6, "nothing was measured");
}
