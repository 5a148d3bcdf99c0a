//! Which error files: keys of the bucket, files of this machine, standard input, or all there are.

use std::path::Path;

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use invalidator::aws::error::service_error;
use invalidator_core::error_file::FOLDER;
use invalidator_core::replay::id_in_key;

/// Where paths come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// An object of the error bucket.
    Key(String),
    /// A file of this machine; `-` is standard input.
    Local(String),
}

impl Input {
    /// What an argument names. A key begins with the folder of the error files; whatever else it is, a file of
    /// this machine with this name is meant, if there is one.
    pub fn of_argument(argument: &str, bucket: &str) -> Self {
        let key = argument.strip_prefix(&format!("s3://{bucket}/"));
        match key {
            Some(key) => Self::Key(key.to_owned()),
            None if argument == "-" => Self::Local(argument.to_owned()),
            None if argument.starts_with(FOLDER) => Self::Key(argument.to_owned()),
            None if Path::new(argument).is_file() => Self::Local(argument.to_owned()),
            None => Self::Key(argument.to_owned()),
        }
    }
}

/// The keys of all error files with paths, oldest first, and how many files hold a message that could not be
/// read, or are none of the function's.
///
/// # Errors
/// If the bucket cannot be listed.
pub async fn all(s3: &Client, bucket: &str) -> Result<(Vec<String>, usize)> {
    let (mut keys, mut others) = (Vec::new(), 0);
    let mut token = None;
    loop {
        let call = s3.list_objects_v2().bucket(bucket).prefix(FOLDER);
        let page = call.set_continuation_token(token).send().await;
        let page = page.map_err(|error| service_error(&error));
        let page = page.with_context(|| format!("failed to list s3://{bucket}/{FOLDER}"))?;
        for key in page
            .contents
            .unwrap_or_default()
            .into_iter()
            .filter_map(|it| it.key)
        {
            match id_in_key(&key) {
                Ok(_) => keys.push(key),
                Err(_) => others += 1,
            }
        }
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok((keys, others));
        }
    }
}
