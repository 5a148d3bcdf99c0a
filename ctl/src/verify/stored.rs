//! Which objects are looked at, and what S3 says of them.

use std::collections::BinaryHeap;

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use futures_util::stream::{self, StreamExt};
use invalidator::aws::error::error_of;
use invalidator_core::distributions::address::Address;
use invalidator_core::event::{BucketName, ObjectKey};
use time::OffsetDateTime;

use super::compare::Stored;
use super::item::{Found, State, hash};
use super::urls::Urls;
use crate::asked::Asked;
use crate::progress::Progress;

/// So many calls run at once.
const CONCURRENCY: usize = 8;

/// So many objects are looked at together.
const BATCH: usize = 1_000;

/// Where objects come from.
pub struct Source<'a> {
    pub s3: &'a Client,
    /// The bucket that is listed, if one is.
    pub bucket: Option<&'a BucketName>,
    pub since: Option<OffsetDateTime>,
    /// At most so many objects of the list; none for all.
    pub sample: Option<Sample>,
}

/// A sample of a list.
#[derive(Clone, Copy)]
pub struct Sample {
    pub most: usize,
    /// Another one chooses other objects.
    pub seed: u64,
}

/// Objects, some at a time.
pub struct Batches<'a> {
    source: Source<'a>,
    urls: &'a Urls<'a>,
    asked: Vec<Asked>,
    /// Whether the list of the bucket is at its end.
    is_over: bool,
    next: Option<String>,
    left_out: u64,
}

/// One of a sample: the objects with the smallest hashes.
struct Chosen(u64, Found);

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Chosen {}

impl PartialOrd for Chosen {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Chosen {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<'a> Source<'a> {
    /// The objects that were asked for, or those of the bucket.
    pub fn batches(self, asked: Vec<Asked>, urls: &'a Urls<'a>) -> Batches<'a> {
        Batches {
            is_over: self.bucket.is_none(),
            source: self,
            urls,
            asked,
            next: None,
            left_out: 0,
        }
    }
}

impl Batches<'_> {
    /// How many listed objects are not in the sample.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The next objects; `None` after the last.
    ///
    /// # Errors
    /// If the bucket cannot be listed.
    pub async fn next(&mut self, progress: &Progress) -> Result<Option<Vec<Found>>> {
        if !self.asked.is_empty() {
            let rest = self.asked.split_off(self.asked.len().min(BATCH));
            let asked = std::mem::replace(&mut self.asked, rest);
            return Ok(Some(self.look_up(asked).await));
        }
        if self.is_over {
            return Ok(None);
        }
        let Some(sample) = self.source.sample else {
            return self.page(progress).await.map(Some);
        };
        let mut chosen = BinaryHeap::new();
        while !self.is_over {
            for found in self.page(progress).await? {
                let State::There(stored) = &found.state else {
                    continue;
                };
                let rank = hash(&(sample.seed, found.key.as_str(), &stored.e_tag));
                chosen.push(Chosen(rank, found));
                if chosen.len() > sample.most {
                    chosen.pop();
                    self.left_out += 1;
                }
            }
        }
        Ok(Some(chosen.into_iter().map(|it| it.1).collect()))
    }

    /// A page of the list of the bucket, less what is too old.
    async fn page(&mut self, progress: &Progress) -> Result<Vec<Found>> {
        let Some(bucket) = self.source.bucket else {
            self.is_over = true;
            return Ok(Vec::new());
        };
        let call = self.source.s3.list_objects_v2().bucket(bucket.as_str());
        let page = call.set_continuation_token(self.next.take()).send().await;
        let page = page.map_err(|error| error_of("S3 ListObjectsV2", &error));
        let page = page.with_context(|| format!("failed to list s3://{bucket}"))?;
        self.next = page.next_continuation_token;
        self.is_over = self.next.is_none();
        let mut found = Vec::new();
        for object in page.contents.unwrap_or_default() {
            let modified = object.last_modified.map(|it| it.secs());
            let since = self.source.since.map(OffsetDateTime::unix_timestamp);
            if since.is_some_and(|since| modified.is_none_or(|modified| modified < since)) {
                continue;
            }
            let Some(Ok(key)) = object.key.map(ObjectKey::new) else {
                continue;
            };
            found.push(Found {
                bucket: bucket.clone(),
                key,
                state: State::There(Stored {
                    e_tag: object.e_tag,
                    length: object.size.and_then(|it| it.try_into().ok()),
                    modified,
                }),
                page: None,
                is_listed: true,
                ignored: None,
            });
        }
        progress.say(format!("(listing s3://{bucket})"));
        Ok(found)
    }

    /// What S3 says of objects and pages.
    async fn look_up(&self, asked: Vec<Asked>) -> Vec<Found> {
        let found = stream::iter(asked).map(|asked| async move {
            match asked {
                Asked::Object(bucket, key) => {
                    let state = self.head(&bucket, &key).await;
                    vec![found(bucket, key, state, None)]
                }
                Asked::Page(page) => self.page_of(page).await,
            }
        });
        let found = found.buffered(CONCURRENCY);
        let found: Vec<Vec<Found>> = found.collect().await;
        found.into_iter().flatten().collect()
    }

    /// The object of a page: the first that is there, else the first that could be.
    async fn page_of(&self, page: Address) -> Vec<Found> {
        let mut first = None;
        for (bucket, key) in self.urls.objects_of(&page) {
            let state = self.head(&bucket, &key).await;
            let is_there = matches!(state, State::There(_));
            let candidate = found(bucket, key, state, Some(page.clone()));
            if is_there {
                return vec![candidate];
            }
            first = first.or(Some(candidate));
        }
        first.into_iter().collect()
    }

    async fn head(&self, bucket: &BucketName, key: &ObjectKey<'_>) -> State {
        head(self.source.s3, bucket, key).await
    }
}

/// What S3 says of an object now.
pub async fn head(s3: &Client, bucket: &BucketName, key: &ObjectKey<'_>) -> State {
    let call = s3.head_object().bucket(bucket.as_str());
    match call.key(key.as_str()).send().await {
        Ok(object) => State::There(Stored {
            e_tag: object.e_tag,
            length: object.content_length.and_then(|it| it.try_into().ok()),
            modified: object.last_modified.map(|it| it.secs()),
        }),
        Err(error) if matches!(error.code(), Some("NotFound" | "NoSuchKey")) => State::Missing,
        Err(error) => State::Unknown(error_of("S3 HeadObject", &error).to_string()),
    }
}

fn found(
    bucket: BucketName,
    key: ObjectKey<'static>,
    state: State,
    page: Option<Address>,
) -> Found {
    Found {
        bucket,
        key,
        state,
        page,
        is_listed: false,
        ignored: None,
    }
}
