//! Any tags are rules; a rule quotes its tag, and none exempts a deletion.
#![no_main]

use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut fields = text.split('\0');
    let Ok(key) = ObjectKey::new(fields.next().unwrap_or_default()) else {
        return;
    };
    let names = ["exceptionPaths", "indexDocument", "exceptionPaths2"];
    let mut tags: Vec<BucketTag> = fields
        .zip(names.iter().cycle())
        .map(|(value, name)| BucketTag {
            key: (*name).to_owned(),
            value: value.to_owned(),
        })
        .collect();
    let settings = BucketSettings::from_tags(&tags);
    let mut change = Change {
        bucket: BucketName::new("site"),
        key,
        kind: ChangeKind::Created,
        event_time: None,
        version_id: None,
    };
    if let Some(rule) = settings.exceptions.exempting(&change) {
        let quoted = |tag: &BucketTag| tag.key == rule.tag && tag.value.contains(&rule.entry);
        assert!(tags.iter().any(quoted), "{rule}");
        assert!(!rule.to_string().is_empty());
    }
    change.kind = ChangeKind::Deleted;
    assert!(settings.exceptions.exempting(&change).is_none());
    change.kind = ChangeKind::Created;
    tags.push(BucketTag {
        key: "exceptionPaths9".to_owned(),
        value: "*".to_owned(),
    });
    let settings = BucketSettings::from_tags(&tags);
    assert!(settings.exceptions.exempting(&change).is_some());
});
