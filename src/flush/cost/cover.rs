//! Lists what else is below a folder, before a wildcard over it is decided on.

use aws_sdk_s3::types::Object;
use futures_util::stream::{self, StreamExt};
use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::folders::{Folders, Listed, Look};
use invalidator_core::cost::limits::Limits;
use invalidator_core::cost::price::{OriginReads, StorageClass};
use invalidator_core::cost::sources::{Source, sources};
use invalidator_core::distributions::Distribution;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use crate::app::App;
use crate::aws::error::service_error;

/// A flush lists at most so many pages: as much as a fifth of a path costs.
const MOST_PAGES: u64 = 200;

/// How many folders are listed at once.
const AT_ONCE: usize = 4;

/// The looks of one flush.
pub struct Looks<'a> {
    app: &'a App,
    until: Instant,
    left: u64,
    /// How many calls were made.
    pub calls: usize,
}

/// What was found in a folder.
struct Found {
    /// The path of each key, and what it costs to fetch it again.
    keys: Vec<(String, NanoUsd)>,
    listed: Listed,
    calls: u64,
}

impl<'a> Looks<'a> {
    pub fn new(app: &'a App, until: Instant) -> Self {
        Self {
            app,
            until,
            left: MOST_PAGES,
            calls: 0,
        }
    }

    /// Looks where that is worth its price. What cannot be listed in time stays an estimate.
    pub async fn look(
        &mut self,
        distribution: &Distribution,
        folders: &mut Folders<'_>,
        limits: &Limits,
    ) {
        loop {
            let looks = folders.looks(limits, self.left);
            if looks.is_empty() {
                return;
            }
            let (app, until) = (self.app, self.until);
            let found: Vec<_> = stream::iter(looks)
                .map(
                    |look| async move { (look.folder, list(app, distribution, look, until).await) },
                )
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            for (folder, found) in found {
                // What was found in it before stays, if it cannot be listed now.
                if found.listed != Listed::Refused {
                    folders.begin_look(folder);
                    for (path, refetch) in &found.keys {
                        folders.found(path, *refetch);
                    }
                }
                folders.end_look(folder, found.listed);
                self.left = self.left.saturating_sub(found.calls);
                self.calls += usize::try_from(found.calls).unwrap_or(usize::MAX);
            }
        }
    }
}

/// Lists the objects behind a folder, as far as is worth it.
async fn list(app: &App, distribution: &Distribution, look: Look<'_>, until: Instant) -> Found {
    let mut found = Found {
        keys: Vec::new(),
        listed: Listed::Everything,
        calls: 0,
    };
    let aliases = &app.config.origin_buckets;
    let sources =
        sources(distribution, aliases, look.path).filter(|_| app.config.look_before_paying);
    let Some(sources) = sources else {
        found.listed = Listed::Refused;
        return found;
    };
    for source in sources {
        match timeout_at(until, found.list(app, &source, look.pages)).await {
            Ok(Some(listed @ Listed::Everything)) => found.listed = listed,
            Ok(Some(listed)) => {
                found.listed = listed;
                return found;
            }
            // What was listed in part is worth nothing: the rest may be any number.
            Ok(None) | Err(_) => {
                found.listed = Listed::Refused;
                found.keys.clear();
                return found;
            }
        }
    }
    found
}

impl Found {
    /// Lists a source. Returns how far, or `None` if it cannot be listed.
    async fn list(&mut self, app: &App, source: &Source, pages: u64) -> Option<Listed> {
        let mut token = None;
        loop {
            if self.calls >= pages {
                return Some(Listed::Beginning);
            }
            self.calls += 1;
            let call = app.clients.s3().list_objects_v2();
            let call = call.bucket(source.bucket.as_str()).prefix(&source.prefix);
            let page = match call.set_continuation_token(token.take()).send().await {
                Ok(page) => page,
                Err(error) => {
                    let error = service_error(&error);
                    info!(stage = "flush", bucket = %source.bucket, %error, "a bucket cannot be listed, so what a wildcard clears is estimated");
                    return None;
                }
            };
            let objects = page.contents.unwrap_or_default();
            self.keys
                .extend(objects.iter().filter_map(|it| refetch(source, it)));
            match page.next_continuation_token {
                Some(next) if page.is_truncated == Some(true) => token = Some(next),
                _ if page.is_truncated == Some(true) => return Some(Listed::Beginning),
                _ => return Some(Listed::Everything),
            }
        }
    }
}

/// The path of an object, and what it costs to fetch it again.
fn refetch(source: &Source, object: &Object) -> Option<(String, NanoUsd)> {
    let path = source.path_of(object.key.as_deref()?)?;
    let class = object.storage_class.as_ref().map(|class| class.as_str());
    let bytes = object.size.and_then(|size| u64::try_from(size).ok());
    let refetch = OriginReads::default().refetch(StorageClass::of(class), bytes.unwrap_or(0));
    Some((path, refetch))
}
