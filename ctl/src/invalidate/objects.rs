//! Objects that somebody chooses, and their paths: those that the function would invalidate if they changed.

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use globset::{GlobBuilder, GlobMatcher};
use invalidator::aws::error::service_error;
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::plan::{Adjustment, Changes, KeyChanges, MessageIndex, Rules, plan};
use regex_lite::Regex;

use super::given::Paths;
use super::manifest;
use crate::account::Account;
use crate::function::Function;
use crate::local_file::read_local;
use crate::progress::Progress;
use crate::site::Settings;
use crate::site::live::Live;
use crate::usage::Usage;

/// Which objects of a bucket.
#[derive(Debug)]
pub struct Choice {
    pub bucket: BucketName,
    /// Keys that begin with this.
    pub prefix: String,
    pub which: Which,
}

/// Which of those with the prefix.
#[derive(Debug)]
pub enum Which {
    All,
    Glob(GlobMatcher),
    Regex(Regex),
    /// Names with the changes from one manifest to another. Their keys are the prefix and the name.
    Changed(Vec<(String, ChangeKind)>),
}

impl Which {
    /// A pattern over whole keys, in which `*` and `?` stop at `/`, and `**` does not.
    ///
    /// # Errors
    /// If it is none.
    pub fn glob(pattern: &str) -> Result<Self, Usage> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob.map_err(|error| Usage(format!("--glob: {error}")))?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    /// An expression that a key must contain.
    ///
    /// # Errors
    /// If it is none.
    pub fn regex(expression: &str) -> Result<Self, Usage> {
        let regex = Regex::new(expression);
        let regex = regex.map_err(|error| Usage(format!("--regex {expression}: {error}")))?;
        Ok(Self::Regex(regex))
    }

    /// What changed from one manifest to the next.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn changed(old: &str, new: &str) -> Result<Self> {
        let [old, new] = [old, new].map(|file| -> Result<manifest::Manifest> {
            let text = String::from_utf8(read_local(file)?);
            let text = text.with_context(|| format!("{file} is not UTF-8"))?;
            manifest::read(&text).with_context(|| format!("{file} is no manifest"))
        });
        Ok(Self::Changed(manifest::changes(&old?, &new?)))
    }

    fn has(&self, key: &str) -> bool {
        match self {
            Self::All | Self::Changed(_) => true,
            Self::Glob(glob) => glob.is_match(key),
            Self::Regex(regex) => regex.is_match(key),
        }
    }
}

/// The paths of the chosen objects at each target that serves them, and how many objects there are. Exception
/// paths do not count: whoever chooses an object means it.
///
/// # Errors
/// If the bucket cannot be listed, or the distributions cannot be read.
pub async fn paths(
    account: &Account,
    choice: &Choice,
    live: &Live<'_>,
    function: &Function,
    progress: &Progress,
) -> Result<(Paths, usize)> {
    let changes = changes(account.clients.s3(), choice, progress).await?;
    let number = changes.len();
    let bucket = std::slice::from_ref(&choice.bucket);
    let aliases = &function.origin_buckets;
    let site = live
        .read(bucket, aliases, Settings::default(), |_| true)
        .await?;
    let distributions = site.serving(bucket, aliases);
    let index_documents = site.index_documents(bucket);
    let rules = Rules {
        distributions: &distributions,
        origin_buckets: aliases,
        index_documents: &index_documents,
        debounce: function.debounce,
        limits: function.limits,
        // Whoever types a command may submit any wildcard.
        min_wildcard_depth: 0,
    };
    let keys = KeyChanges::from(changes);
    let plan = plan(&keys, &rules);
    let mut paths = Paths::new();
    let nothing = Adjustment::NOTHING;
    for of_target in plan.targets() {
        if !function.may_touch(&of_target.target.distribution) {
            continue;
        }
        let needed = of_target.paths(&nothing);
        let needed = needed.into_iter().map(|it| it.path.into_owned());
        let needed: Vec<_> = needed.collect();
        if !needed.is_empty() {
            paths
                .entry(of_target.target.clone())
                .or_default()
                .extend(needed);
        }
    }
    Ok((paths, number))
}

async fn changes(s3: &Client, choice: &Choice, progress: &Progress) -> Result<Changes> {
    let mut changes = Changes::default();
    let mut add = |key: String, kind: ChangeKind| -> Result<()> {
        let change = Change {
            bucket: choice.bucket.clone(),
            key: ObjectKey::new(key)?,
            kind,
            event_time: None,
            version_id: None,
        };
        changes.add(&change, MessageIndex::new(0))?;
        Ok(())
    };
    if let Which::Changed(named) = &choice.which {
        for (name, kind) in named {
            add(format!("{}{name}", choice.prefix), *kind)?;
        }
        return Ok(changes);
    }
    progress.begin_unknown("objects");
    let mut token = None;
    loop {
        let call = s3.list_objects_v2().bucket(choice.bucket.as_str());
        let call = call.prefix(&choice.prefix).set_continuation_token(token);
        let page = call.send().await.map_err(|error| service_error(&error));
        let page = page.with_context(|| format!("failed to list {}", choice.bucket))?;
        let keys = page.contents.unwrap_or_default().into_iter();
        for key in keys.filter_map(|it| it.key) {
            progress.step();
            if choice.which.has(&key) {
                add(key, ChangeKind::Created)?;
            }
        }
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
        if page.is_truncated != Some(true) {
            bail!("S3 ListObjectsV2 answered with a token for more, and that there is no more");
        }
    }
    progress.finish();
    Ok(changes)
}
