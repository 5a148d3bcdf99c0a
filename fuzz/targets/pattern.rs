//! Any text is a pattern; it matches itself, with its end cut for a `*`, and in question marks.
#![no_main]

use invalidator_core::path::ViewerPath;
use invalidator_core::pattern::{PathPattern, Wildcards};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (pattern, text) = text.split_once('\0').unwrap_or((text, text));
    let wildcards = Wildcards::new(pattern);
    wildcards.match_text(text);
    if !pattern.contains(['*', '?']) {
        assert_eq!(wildcards.match_text(text), pattern == text);
    }
    assert!(wildcards.match_text(pattern));
    assert!(Wildcards::new(&format!("{pattern}*")).match_text(&format!("{pattern}{text}")));
    assert!(Wildcards::new(&format!("*{pattern}")).match_text(&format!("{text}{pattern}")));
    let any: String = text.chars().map(|_| '?').collect();
    assert!(Wildcards::new(&any).match_text(text));
    assert!(!Wildcards::new(&format!("?{any}")).match_text(text));

    let path = format!("/{text}");
    let normalized = ViewerPath::of_whole_bucket(&path).normalized();
    let compiled = PathPattern::new(pattern);
    let spelled_out = PathPattern::new(&format!("/{pattern}"));
    if !pattern.starts_with('/') {
        assert_eq!(
            compiled.matches(&normalized),
            spelled_out.matches(&normalized)
        );
    }
    assert!(PathPattern::new("*").matches(&normalized));
    assert_eq!(compiled.to_string(), pattern);
});
