//! Any body of BufferQueue or SubmitQueue is read or refused, and what is written is read.
#![no_main]

use invalidator_core::buffered::{Buffered, MAX_BODY_BYTES, pack, unpack};
use invalidator_core::event::{BucketName, Change, ChangeKind, EventTime, ObjectKey};
use invalidator_core::set::Set;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match unpack(text) {
        Ok(Buffered::Changes { changes, .. }) => round_trip(changes),
        Ok(Buffered::Set(set)) => drop(set.to_json().expect("a set is written")),
        Err(_) => {}
    }
    if let Ok(set) = Set::from_json(text) {
        let body = set.to_json().expect("a set is written");
        assert_eq!(
            Set::from_json(&body).expect("what was written is read"),
            set
        );
    }
    // Fields of three: bucket, key, and a third that makes kind and time.
    let mut fields = text.split('\0');
    let mut changes = Vec::new();
    while let (Some(bucket), Some(key), Some(rest)) = (fields.next(), fields.next(), fields.next())
    {
        let Ok(key) = ObjectKey::new(key) else {
            continue;
        };
        changes.push(Change {
            bucket: BucketName::new(bucket),
            key,
            kind: match rest.len() % 2 {
                0 => ChangeKind::Created,
                _ => ChangeKind::Deleted,
            },
            event_time: rest
                .bytes()
                .next()
                .map(|byte| EventTime(i64::from(byte) << (rest.len() % 56))),
        });
    }
    round_trip(changes);
});

fn round_trip(mut changes: Vec<Change<'_>>) {
    let bodies = pack(&changes).expect("changes are packed");
    let mut unpacked = Vec::new();
    for body in &bodies {
        assert!(body.len() <= MAX_BODY_BYTES, "{} bytes", body.len());
        let Ok(Buffered::Changes { changes, .. }) = unpack(body) else {
            panic!("what was packed is read");
        };
        unpacked.extend(changes);
    }
    let order = |change: &Change<'_>| {
        (
            change.bucket.clone(),
            change.key.clone().into_owned(),
            change.kind,
            change.event_time,
        )
    };
    changes.sort_by_key(order);
    unpacked.sort_by_key(order);
    assert_eq!(unpacked, changes);
}
