//! Any body of BufferQueue or SubmitQueue is read or refused, and what is written is read. What is read has
//! legal ids only; why a body is refused is told briefly, on one line, without a character that a program may
//! obey.
#![no_main]

use invalidator_core::buffered::{Buffered, MAX_BODY_BYTES, pack, unpack};
use invalidator_core::event::{Change, ChangeKind, EventTime, ObjectKey, VersionId};
use invalidator_core::set::Set;
use invalidator_core::text::one_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match unpack(text) {
        Ok(Buffered::Changes { changes, scope }) => {
            for target in scope.into_iter().flat_map(|scope| scope.targets) {
                assert_legal(target.distribution().as_str());
            }
            round_trip(changes);
        }
        Ok(Buffered::Set(set)) => drop(set.to_json().expect("a set is written")),
        Err(error) => assert_brief(&error.to_string()),
    }
    match Set::from_json(text) {
        Ok(set) => {
            assert_legal(set.target.distribution.as_str());
            assert_legal(set.target.id());
            for path in &set.paths {
                let text = path.as_str();
                assert!(text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()));
            }
            assert_brief(&set.reason);
            assert_brief(&set.by);
            let body = set.to_json().expect("a set is written");
            assert_eq!(
                Set::from_json(&body).expect("what was written is read"),
                set
            );
        }
        Err(error) => assert_brief(&error.to_string()),
    }
    // Fields of three: bucket, key, and a third that makes kind, time and version.
    let mut fields = text.split('\0');
    let mut changes = Vec::new();
    while let (Some(bucket), Some(key), Some(rest)) = (fields.next(), fields.next(), fields.next())
    {
        let (Ok(bucket), Ok(key)) = (bucket.parse(), ObjectKey::new(key)) else {
            continue;
        };
        changes.push(Change {
            bucket,
            key,
            kind: match rest.len() % 2 {
                0 => ChangeKind::Created,
                _ => ChangeKind::Deleted,
            },
            event_time: rest
                .bytes()
                .next()
                .map(|byte| EventTime(i64::from(byte) << (rest.len() % 56))),
            version_id: VersionId::new(rest),
        });
    }
    round_trip(changes);
});

fn assert_legal(id: &str) {
    let is_legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    assert!(
        (1..=64).contains(&id.len()) && id.bytes().all(is_legal),
        "{id:?}"
    );
}

fn assert_brief(text: &str) {
    assert!(text.len() < 3_000, "{} bytes", text.len());
    assert_eq!(one_line(text, usize::MAX), text);
}

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
            change.version_id.clone().map(VersionId::into_owned),
        )
    };
    changes.sort_by_key(order);
    unpacked.sort_by_key(order);
    assert_eq!(unpacked, changes);
}
