//! Measures the parts of the function that need no AWS. Each command prints one JSON object.
//!
//! ```text
//! bench-core plan <distributions.json> <keys.txt> <bucket> <repeats> [alone]
//! bench-core cover <paths> <repeats>
//! bench-core body-to-xml <changes> <repeats>
//! bench-core read-event | pack | unpack <changes> <repeats>
//! ```
//!
//! Times are processor time of this process, in nanoseconds, a number for each repeat.

mod cloudfront;
mod cover;
mod memory;
mod messages;
mod planning;

use std::path::Path;

use anyhow::{Context, Result, bail};
use cpu_time::ProcessTime;
use invalidator_core::event::{BucketName, Change, ChangeKind, EventTime, ObjectKey};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["plan", distributions, keys, bucket, repeats, ref alone @ ..] => planning::Case {
            distributions: Path::new(distributions),
            keys: Path::new(keys),
            bucket: BucketName::new(bucket),
            with_sets: alone.is_empty(),
        }
        .measure(number(repeats)?)?,
        ["cover", paths, repeats] => cover::measure(number(paths)?, number(repeats)?)?,
        ["body-to-xml", count, repeats] => messages::body_to_xml(number(count)?, number(repeats)?)?,
        ["read-event", count, repeats] => messages::read_event(number(count)?, number(repeats)?)?,
        ["pack", count, repeats] => messages::pack(number(count)?, number(repeats)?)?,
        ["unpack", count, repeats] => messages::unpack(number(count)?, number(repeats)?)?,
        _ => bail!("bench-core: unknown command, see benches/core/src/main.rs"),
    };
    println!("{result}");
    Ok(())
}

fn number(argument: &str) -> Result<usize> {
    argument
        .parse()
        .with_context(|| format!("`{argument}` is not a number"))
}

/// Runs `work` so often, and returns how long each time took, and what came of the last.
fn timed<T>(repeats: usize, mut work: impl FnMut() -> Result<T>) -> Result<(Vec<u128>, T)> {
    let mut nanoseconds = Vec::with_capacity(repeats);
    let mut last = None;
    for _ in 0..repeats {
        drop(last.take());
        let start = ProcessTime::now();
        last = Some(work()?);
        nanoseconds.push(start.elapsed().as_nanos());
    }
    Ok((nanoseconds, last.context("at least one repeat is needed")?))
}

const BUCKET: &str = "example-site";

/// Uploads of photos, as many as asked for, in the order in which a sync sends them.
fn changes(count: usize) -> Result<Vec<Change<'static>>> {
    let change = |n: usize| {
        let key = format!("images/2026/{:06}/photo-{n:08}.jpg", n / 1_000);
        Ok(Change {
            bucket: BucketName::new(BUCKET),
            key: ObjectKey::new(key)?,
            kind: ChangeKind::Created,
            event_time: Some(EventTime(1_795_226_584_567)),
            version_id: None,
        })
    };
    (0..count).map(change).collect()
}
