//! Any payload is read without a panic, and what is read are keys and buckets as S3 has them.
#![no_main]

use invalidator_core::event::{self, MAX_KEY_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &str| {
    let reading = event::read(payload);
    for change in &reading.changes {
        assert!((1..=MAX_KEY_BYTES).contains(&change.key.as_str().len()));
        assert!(!change.bucket.as_str().is_empty());
    }
    for problem in &reading.problems {
        assert!(!problem.to_string().is_empty());
    }
});
