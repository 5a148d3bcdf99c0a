//! Sends fences behind the changes, and reads what they have met.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aws_sdk_sqs::types::QueueAttributeName;
use invalidator::aws::error::{error_of, service_error};
use invalidator::config::QueueUrl;
use invalidator::queue::{Entry, send};
use invalidator::ticker::Ticker;
use invalidator_core::event::BucketName;
use invalidator_core::fence::waiter::{Depth, Round, Verdict, observe, verdict};
use invalidator_core::fence::{FOLDER, Fence, FlushSays};

use crate::account::Account;
use crate::output::warn;
use crate::queue_numbers::numbers;
use crate::stack::Stack;

/// What a flush says has at most so many bytes: a thousand targets.
const MAX_BYTES: i64 = 1_000_000;

pub struct Fences<'a> {
    account: &'a Account,
    bucket: &'a str,
    buckets: Vec<BucketName>,
    buffer: QueueUrl,
    ticks: QueueUrl,
    debounce: Duration,
    ticker: Ticker,
    rounds: Vec<Round>,
    /// The version of what a flush said last, by the fence's id.
    read: BTreeMap<String, String>,
}

impl<'a> Fences<'a> {
    /// # Errors
    /// If the stack's outputs do not name its queues, or the debounce cannot be read.
    pub async fn new(
        account: &'a Account,
        stack: &'a Stack,
        buckets: Vec<BucketName>,
    ) -> Result<Self> {
        let buffer = stack.queue("BufferQueueUrl")?;
        let ticks = stack.queue("TickQueueUrl")?;
        let [seconds] = numbers(account, &ticks, [QueueAttributeName::DelaySeconds]).await?;
        Ok(Self {
            account,
            bucket: &stack.error_bucket,
            buckets,
            buffer,
            ticks,
            debounce: Duration::from_secs(seconds as u64),
            ticker: Ticker::default(),
            rounds: Vec::new(),
            read: BTreeMap::new(),
        })
    }

    /// Sends a fence.
    ///
    /// # Errors
    /// If SQS does not accept it.
    pub async fn send(&mut self) -> Result<()> {
        let fence = Fence::new(fastrand::u128(..), self.buckets.clone());
        let sent = now();
        let sqs = self.account.clients.lean_sqs();
        let entry = Entry::of_body(fence.to_json()?);
        let done = send(sqs, &self.buffer, [entry]).await;
        done.context("failed to send a fence to BufferQueue")?;
        self.rounds.push(Round::new(fence.id, sent));
        Ok(())
    }

    /// Requests a flush, as ingest does: one for each window, whoever requests it.
    ///
    /// # Errors
    /// If SQS refuses it for another reason than throttling.
    pub async fn tick(&self) -> Result<()> {
        let sqs = self.account.clients.lean_sqs();
        let now = SystemTime::now();
        self.ticker
            .tick(sqs, &self.ticks, now, self.debounce)
            .await?;
        Ok(())
    }

    /// Looks what the fences have met, and decides.
    ///
    /// # Errors
    /// If the error bucket or BufferQueue cannot be read.
    pub async fn look(&mut self) -> Result<Verdict> {
        for index in 0..self.rounds.len() {
            self.look_at(index).await?;
        }
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let [visible, in_flight, delayed] = numbers(self.account, &self.buffer, names).await?;
        let depth = Depth {
            visible,
            in_flight,
            delayed,
        };
        let now = now();
        observe(&mut self.rounds, depth, now);
        Ok(verdict(&self.rounds, depth, now))
    }

    async fn look_at(&mut self, index: usize) -> Result<()> {
        let id = self.rounds[index].id.clone();
        let folder = format!("{FOLDER}{id}/");
        for (key, e_tag) in self.objects(&folder).await? {
            let name = key.trim_start_matches(&folder);
            if name != "flush" {
                self.rounds[index].passed.insert(name.to_owned());
            } else if self.read.get(&id) != Some(&e_tag) {
                self.rounds[index].says = self.says(&key).await?;
                self.read.insert(id.clone(), e_tag);
            }
        }
        Ok(())
    }

    /// The objects of a folder, each with its version.
    async fn objects(&self, folder: &str) -> Result<Vec<(String, String)>> {
        let mut objects = Vec::new();
        let mut next = None;
        loop {
            let call = self.account.clients.s3().list_objects_v2();
            let call = call.bucket(self.bucket).prefix(folder);
            let page = call.set_continuation_token(next).send().await;
            let page = page.map_err(|error| service_error(&error));
            let page =
                page.with_context(|| format!("failed to list s3://{}/{folder}", self.bucket))?;
            objects.extend(page.contents().iter().filter_map(|object| {
                let e_tag = object.e_tag().unwrap_or_default();
                Some((object.key()?.to_owned(), e_tag.to_owned()))
            }));
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(objects);
            }
        }
    }

    async fn says(&self, key: &str) -> Result<Option<FlushSays>> {
        let place = || format!("failed to read s3://{}/{key}", self.bucket);
        let call = self.account.clients.s3().get_object();
        let object = call.bucket(self.bucket).key(key).send().await;
        let object = object
            .map_err(|error| service_error(&error))
            .with_context(place)?;
        if object.content_length().unwrap_or_default() > MAX_BYTES {
            return Ok(None);
        }
        let bytes = object.body.collect().await.with_context(place)?.to_vec();
        Ok(FlushSays::from_json(&String::from_utf8_lossy(&bytes)))
    }

    /// The ids of the targets in whose groups the last fence was.
    pub fn targets(&self) -> BTreeSet<String> {
        let groups = self.rounds.iter().filter_map(|round| match &round.says {
            Some(FlushSays::Passed { groups, .. }) => Some(groups),
            _ => None,
        });
        let ids = groups.flatten().filter_map(|group| group.split_once('/'));
        ids.map(|(id, _)| id.to_owned()).collect()
    }

    /// How many messages flushes could not read.
    pub fn unreadable(&self) -> usize {
        let says = self.rounds.iter().filter_map(|round| round.says.as_ref());
        let unreadable = says.map(|says| match says {
            FlushSays::Passed { unreadable, .. } => *unreadable,
            FlushSays::Waits { .. } => 0,
        });
        unreadable.sum()
    }

    /// Removes what was said about these fences. Where that is not allowed, the bucket's lifecycle does it.
    pub async fn remove(&self) {
        for round in &self.rounds {
            let folder = format!("{FOLDER}{}/", round.id);
            for (key, _) in self.objects(&folder).await.unwrap_or_default() {
                let call = self.account.clients.s3().delete_object();
                let removed = call.bucket(self.bucket).key(&key).send().await;
                if let Err(error) = removed {
                    let error = error_of("S3 DeleteObject", &error);
                    warn(format_args!(
                        "s3://{}/{key} stays for a day: {error}",
                        self.bucket
                    ));
                    return;
                }
            }
        }
    }
}

/// In milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default().as_millis();
    u64::try_from(since).unwrap_or(u64::MAX)
}
