//! Reads the versions of a bucket, or its objects where there are no versions or they may not be listed.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;
use invalidator::aws::error::error_of;
use invalidator_core::cost::amount::Of;
use invalidator_core::cost::estimate::history::{History, NotTaken};
use invalidator_core::cost::skip::facts::{Listed, ListedObject, Listing, Versioning};
use invalidator_core::event::{BucketName, EventTime, ObjectKey};
use time::OffsetDateTime;

use super::basis::{Basis, WhyObjects};
use super::facts::is_denied;
use crate::progress::Progress;

/// The past of a bucket.
pub struct Past {
    pub history: History,
    pub basis: Basis,
}

/// Lists a bucket.
pub struct Lister<'a> {
    pub s3: &'a Client,
    pub bucket: &'a BucketName,
    /// Only keys that begin so.
    pub prefix: &'a str,
    /// From when until when changes count.
    pub span: (OffsetDateTime, OffsetDateTime),
    pub debounce: Duration,
    pub progress: &'a Progress,
}

impl Lister<'_> {
    /// Lists all versions, or else all objects.
    ///
    /// # Errors
    /// If neither can be listed, or if there are too many.
    pub async fn read(&self, versioning: Option<Versioning>) -> Result<Past> {
        let (history, basis) = match versioning {
            Some(Versioning::Never) => {
                let basis = Basis::Objects(WhyObjects::NotVersioned);
                (self.objects().await, basis)
            }
            _ => match self.versions().await {
                Err(Unlisted::Denied(error)) => {
                    let basis = Basis::Objects(WhyObjects::NotAllowed(error));
                    (self.objects().await, basis)
                }
                Err(Unlisted::Failed(error)) => (Err(error), Basis::Versions),
                // Without a status nobody knows whether it keeps versions, but their ids tell.
                Ok((history, false)) if versioning.is_none() => {
                    (Ok(history), Basis::Objects(WhyObjects::NotVersioned))
                }
                Ok((history, _)) => (Ok(history), Basis::Versions),
            },
        };
        let history = history.with_context(|| format!("failed to list the bucket {}", self.bucket));
        let mut history = history?;
        history.finish();
        Ok(Past { history, basis })
    }

    fn collector(&self) -> Collector {
        let milliseconds = |time: OffsetDateTime| EventTime(time.unix_timestamp() * 1_000);
        let (since, until) = self.span;
        Collector {
            history: History::new(milliseconds(since), milliseconds(until), self.debounce),
            key: String::new(),
            versions: Vec::new(),
            markers: Vec::new(),
            has_ids: false,
        }
    }

    /// All versions, and whether any has an id.
    async fn versions(&self) -> Result<(History, bool), Unlisted> {
        let mut collector = self.collector();
        self.progress.begin_unknown("pages of versions");
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let call = self.s3.list_object_versions();
            let call = call.bucket(self.bucket.as_str()).prefix(self.prefix);
            let call = call.encoding_type(EncodingType::Url);
            let call = call.set_key_marker(key_marker.take());
            let page = call.set_version_id_marker(version_marker.take());
            let page = page.send().await.map_err(|error| {
                let told = error_of("S3 ListObjectVersions", &error);
                match is_denied(&error) {
                    true => Unlisted::Denied(told.to_string()),
                    false => Unlisted::Failed(told.into()),
                }
            })?;
            collector.take_page(&page)?;
            self.note(&collector);
            if page.is_truncated != Some(true) {
                break;
            }
            let is_encoded = page.encoding_type == Some(EncodingType::Url);
            let Some(next) = page.next_key_marker else {
                return Err(cut_off().into());
            };
            // The marker is encoded like the keys, and has to be sent back as it is.
            key_marker = Some(key_of(&next, is_encoded)?.as_str().to_owned());
            version_marker = page.next_version_id_marker;
        }
        let has_ids = collector.has_ids;
        Ok((collector.finish()?, has_ids))
    }

    /// All objects.
    async fn objects(&self) -> Result<History> {
        let mut collector = self.collector();
        self.progress.begin_unknown("pages of objects");
        let mut token = None;
        loop {
            let call = self.s3.list_objects_v2();
            let call = call.bucket(self.bucket.as_str()).prefix(self.prefix);
            let call = call.encoding_type(EncodingType::Url);
            let page = call.set_continuation_token(token.take()).send().await;
            let page = page.map_err(|error| error_of("S3 ListObjectsV2", &error))?;
            let is_encoded = page.encoding_type == Some(EncodingType::Url);
            for object in page.contents() {
                let entry = Entry {
                    id: "null".to_owned(),
                    is_latest: true,
                    time: time(object.last_modified())?,
                    object: Some(Content {
                        etag: text(object.e_tag(), "ETag")?,
                        size: object.size().unwrap_or_default(),
                        class: None,
                    }),
                };
                let key = object.key().context("S3's list lacks a key")?;
                collector.take(&key_of(key, is_encoded)?, entry)?;
            }
            self.note(&collector);
            if page.is_truncated != Some(true) {
                return collector.finish();
            }
            token = Some(page.next_continuation_token.ok_or_else(cut_off)?);
        }
    }

    fn note(&self, collector: &Collector) {
        self.progress.step();
        let changes = Of(collector.history.len() as u64, "change");
        self.progress.say(changes.to_string());
    }
}

/// Why versions are not listed.
enum Unlisted {
    /// Somebody else has to.
    Denied(String),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Unlisted {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn cut_off() -> anyhow::Error {
    anyhow!("S3 cut its list off without saying where it goes on")
}

fn key_of(listed: &str, is_encoded: bool) -> Result<ObjectKey<'_>> {
    let key = match is_encoded {
        // S3 writes a space as `+`, and a plus as `%2B`.
        true => ObjectKey::from_form_encoded(listed),
        false => ObjectKey::new(listed),
    };
    key.context("S3's list has a key that cannot be read")
}

fn time(listed: Option<&DateTime>) -> Result<EventTime> {
    let time = listed.context("S3's list lacks a LastModified")?;
    Ok(EventTime(time.secs().saturating_mul(1_000)))
}

fn text(listed: Option<&str>, what: &str) -> Result<String> {
    let text = listed.with_context(|| format!("S3's list lacks an {what}"))?;
    Ok(text.to_owned())
}

/// A version or a delete marker.
struct Entry {
    id: String,
    is_latest: bool,
    time: EventTime,
    object: Option<Content>,
}

struct Content {
    etag: String,
    size: i64,
    /// None: Standard.
    class: Option<String>,
}

impl Entry {
    fn listed(&self) -> Listed<'_> {
        Listed {
            id: &self.id,
            is_latest: self.is_latest,
            last_modified: self.time,
            object: self.object.as_ref().map(|object| ListedObject {
                etag: &object.etag,
                size: object.size,
                storage_class: object.class.as_deref().unwrap_or("STANDARD"),
            }),
        }
    }
}

/// Puts the versions of each key together. They may be spread over pages.
struct Collector {
    history: History,
    /// The key that is open, with its versions and delete markers, each the newest first.
    key: String,
    versions: Vec<Entry>,
    markers: Vec<Entry>,
    has_ids: bool,
}

impl Collector {
    /// Takes a page. It has two lists, each in the order of the keys.
    fn take_page(&mut self, page: &ListObjectVersionsOutput) -> Result<()> {
        let is_encoded = page.encoding_type == Some(EncodingType::Url);
        let mut entries = Vec::new();
        for version in page.versions() {
            let key = version.key().context("S3's list lacks a key")?;
            let object = Content {
                etag: text(version.e_tag(), "ETag")?,
                size: version.size().unwrap_or_default(),
                class: version.storage_class().map(|it| it.as_str().to_owned()),
            };
            let entry = Entry {
                id: text(version.version_id(), "id of a version")?,
                is_latest: version.is_latest().unwrap_or_default(),
                time: time(version.last_modified())?,
                object: Some(object),
            };
            entries.push((key_of(key, is_encoded)?, entry));
        }
        for marker in page.delete_markers() {
            let key = marker.key().context("S3's list lacks a key")?;
            let entry = Entry {
                id: text(marker.version_id(), "id of a version")?,
                is_latest: marker.is_latest().unwrap_or_default(),
                time: time(marker.last_modified())?,
                object: None,
            };
            entries.push((key_of(key, is_encoded)?, entry));
        }
        entries.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        for (key, entry) in entries {
            self.take(&key, entry)?;
        }
        Ok(())
    }

    fn take(&mut self, key: &ObjectKey<'_>, entry: Entry) -> Result<()> {
        if self.key != key.as_str() {
            self.close()?;
            key.as_str().clone_into(&mut self.key);
        }
        self.has_ids |= entry.listed().is_identified();
        match entry.object {
            Some(_) => self.versions.push(entry),
            None => self.markers.push(entry),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if self.versions.is_empty() && self.markers.is_empty() {
            return Ok(());
        }
        let versions: Vec<_> = self.versions.iter().map(Entry::listed).collect();
        let markers: Vec<_> = self.markers.iter().map(Entry::listed).collect();
        let listing = Listing::new(&versions, &markers, true);
        let key = ObjectKey::new(self.key.as_str())?;
        match self.history.add(&key, &listing) {
            Ok(()) => {}
            Err(error @ NotTaken::TooMany) => {
                bail!("{error}; choose fewer --days, or a part of the bucket with --prefix")
            }
            Err(error) => return Err(error.into()),
        }
        self.versions.clear();
        self.markers.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<History> {
        self.close()?;
        Ok(self.history)
    }
}
