//! Any key becomes paths that CloudFront takes.
#![no_main]

use invalidator_core::path::{InvalidationPath, MAX_PATH_CHARACTERS, OriginPath, ViewerPath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (origin_path, key) = text.split_once('\0').unwrap_or(("", text));
    // A key of thousands of characters takes as long as hundreds of short ones: only few are made.
    let key = match key.split_once("\u{c}\u{c}") {
        Some((begin, end)) if end.len() < 8 => {
            format!("{begin}{}", end.repeat(1_400 / end.len().max(1)))
        }
        _ => key.to_owned(),
    };
    let whole = format!("/{key}");
    let whole = ViewerPath::of_whole_bucket(&whole);
    let Some(path) = whole.below(&OriginPath::new(origin_path)) else {
        return;
    };
    assert!(path.as_str().starts_with('/') && path.as_str().len() <= key.len() + 1);
    assert!(
        path.as_str()
            .strip_prefix('/')
            .is_some_and(|rest| key.ends_with(rest))
    );

    let normalized = path.normalized();
    let decoded = normalized.decoded();
    assert!(
        decoded.starts_with('/') && !decoded.contains("//"),
        "{decoded}"
    );
    let mut segments = decoded.split('/');
    assert!(
        !segments.any(|segment| segment == "." || segment == ".."),
        "{decoded}"
    );

    for query_strings in [false, true] {
        let paths: Vec<_> = path.invalidation_paths(query_strings).into_iter().collect();
        assert!((1..=2).contains(&paths.len()));
        for path in paths {
            let text = path.as_str();
            assert!(
                text.starts_with('/') && text.len() <= MAX_PATH_CHARACTERS,
                "{text}"
            );
            assert!(
                text.bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'~'),
                "{text}"
            );
            for escape in text.split('%').skip(1) {
                let digits = escape.as_bytes().get(..2);
                assert!(
                    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
                    "{text}"
                );
            }
            assert!(InvalidationPath::try_from(text.to_owned()).is_ok_and(|same| same == path));
        }
    }
    if let Some(folder) = path.folder_of("index.html") {
        assert!(folder.as_str().ends_with('/') && path.as_str().starts_with(folder.as_str()));
    }
});
