//! The error files of what was rejected since a time.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use invalidator::aws::error::service_error;
use invalidator_core::error_file::{FOLDER, Unreadable, error_key};
use time::OffsetDateTime;

use crate::account::Account;

/// The keys of the error files of these targets, and of messages that nobody could read.
///
/// # Errors
/// If the error bucket cannot be listed.
pub async fn files(
    account: &Account,
    bucket: &str,
    since: OffsetDateTime,
    targets: &BTreeSet<String>,
) -> Result<Vec<String>> {
    // The keys begin with their time.
    let first = error_key(since, "", "")?;
    let first = first.trim_end_matches("_.txt");
    let mut files = Vec::new();
    let mut next = None;
    loop {
        let call = account.clients.s3().list_objects_v2().bucket(bucket);
        let call = call.prefix(FOLDER).start_after(first);
        let page = call.set_continuation_token(next).send().await;
        let page = page.map_err(|error| service_error(&error));
        let page = page.with_context(|| format!("failed to list s3://{bucket}/{FOLDER}"))?;
        let keys = page.contents().iter().filter_map(|object| object.key());
        files.extend(keys.filter(|key| is_of(key, targets)).map(str::to_owned));
        next = page.next_continuation_token;
        if next.is_none() {
            return Ok(files);
        }
    }
}

fn is_of(key: &str, targets: &BTreeSet<String>) -> bool {
    let name = key
        .strip_prefix(FOLDER)
        .and_then(|name| name.strip_suffix(".txt"));
    let id = name.and_then(|name| name.split_once('_')).map(|(_, id)| id);
    id.is_some_and(|id| id == Unreadable::ID || targets.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_targets_count_and_of_what_nobody_could_read() {
        let targets = BTreeSet::from(["E1".to_owned(), "dt_1".to_owned()]);
        for (name, expected) in [
            ("20261121020304567891abcde01234_E1.txt", true),
            ("20261121020304567891abcde01234_dt_1.txt", true),
            ("20261121020304567891abcde01234_unreadable.txt", true),
            ("20261121020304567891abcde01234_E2.txt", false),
            ("notes.txt", false),
        ] {
            assert_eq!(
                is_of(&format!("{FOLDER}{name}"), &targets),
                expected,
                "{name}"
            );
        }
    }
}
