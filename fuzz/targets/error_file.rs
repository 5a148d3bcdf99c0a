//! Any object of the error bucket is read or refused, with a bounded error that commands no terminal; and
//! what is read is written and read alike.
#![no_main]

use invalidator_core::error_file::{ErrorFile, Section};
use invalidator_core::replay::read;
use invalidator_core::target::TargetId;
use libfuzzer_sys::fuzz_target;

const KEY: &str = "invalidation_error/20261121020304567891abcde01234_E1.txt";

fuzz_target!(|object: &[u8]| {
    // The object begins with its key, or it has a good one.
    let mut parts = object.splitn(2, |byte| *byte == 0);
    let (key, object) = match (parts.next(), parts.next()) {
        (Some(key), Some(object)) => (String::from_utf8_lossy(key), object),
        _ => (KEY.into(), object),
    };
    match read(&key, object) {
        Ok(Section { file, .. }) => {
            let again = ErrorFile::from_text(&file.to_text()).expect("what was written is read");
            assert_eq!(again, file);
            assert!(file.id.as_str().parse::<TargetId>().is_ok());
            for path in file.sets.iter().flatten() {
                assert!(path.as_str().starts_with('/'));
                assert!(path.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(!error.chars().any(char::is_control), "{error:?}");
            assert!(error.len() < 10_000, "{} bytes", error.len());
        }
    }
});
