//! Reads and changes the objects under `state/` of the error bucket. What they may hold, and what is safe
//! where one is missing, is decided in [`invalidator_core::state`].
//!
//! An object that was deleted or cannot be read is reported here: with an error in the log, and with the
//! metric `StateUnreadable`, for which there is an alarm.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator_core::retry;
use invalidator_core::service_error::Meaning;
use invalidator_core::state::{
    Beginning, Reading, SharedState, StateObject, UnreadableState, from_bytes,
};
use tokio::time::{sleep, timeout};
use tracing::error;

use crate::aws::error::{meaning, service_error};
use crate::clock::Clock;
use crate::metrics::{Metric, Metrics};

/// How long a change may take. It is short, because messages are deleted after the mail, and a stage stops
/// twenty seconds before its end.
const TIME_FOR_A_CHANGE: Duration = Duration::from_secs(4);

/// How often a write is tried again when another environment was faster.
const MAX_ATTEMPTS: u32 = 6;

/// An object that stays unreadable is logged again after this time.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// The objects under `state/`, for the function.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    pub s3: &'a Client,
    /// The error bucket.
    pub bucket: &'a str,
    pub clock: &'a Clock,
    pub metrics: &'a Metrics,
    pub reported: &'a Reported,
}

/// Which unreadable objects were logged, by key: their version, and when.
#[derive(Debug, Default)]
pub struct Reported(Mutex<BTreeMap<String, (Option<String>, SystemTime)>>);

impl State<'_> {
    /// Looks for an object. What was deleted or cannot be read is reported.
    ///
    /// # Errors
    /// If the call failed: nobody knows whether there is one.
    pub async fn read<T: StateObject>(&self, key: &str) -> Result<Reading<T>> {
        let reading = read(self.s3, self.bucket, key).await?;
        match &reading {
            Reading::Found(..) => self.reported.forget(key),
            Reading::Absent => {}
            Reading::Deleted => self.report::<T>(key, None, "it was deleted"),
            Reading::Unreadable(why, e_tag) => {
                self.report::<T>(key, e_tag.as_ref(), &why.to_string());
            }
        }
        Ok(reading)
    }

    /// The same, for so long at most: a body that stays away has no time limit of its own.
    ///
    /// # Errors
    /// If the call failed, or S3 did not answer in time.
    pub async fn read_within<T: StateObject>(
        &self,
        time: Duration,
        key: &str,
    ) -> Result<Reading<T>> {
        let reading = timeout(time, self.read(key)).await;
        reading.map_err(|_| anyhow!("S3 did not answer in time"))?
    }

    /// Changes an object, if `change` says that it did, and returns it. `change` is called again on the new
    /// state whenever another environment was faster.
    ///
    /// A state that begins in place of one that was deleted or cannot be read is written in any case, so
    /// this is reported once. The bucket's versions keep what was there.
    ///
    /// # Errors
    /// If it could not be read or written in time. A write whose answer was lost may still have taken effect.
    pub async fn change<T: SharedState>(
        &self,
        key: &str,
        change: impl FnMut(&mut T) -> bool,
    ) -> Result<T> {
        Ok(self.change_known(key, None, change).await?.state)
    }

    /// The same, beginning with what was read a moment ago. If that is no longer so, or `change` leaves it as it is,
    /// the object is read as by [`State::change`].
    ///
    /// # Errors
    /// The same.
    pub async fn change_known<T: SharedState>(
        &self,
        key: &str,
        known: Option<Version<T>>,
        change: impl FnMut(&mut T) -> bool,
    ) -> Result<Version<T>> {
        let place = (self.s3, self.bucket, key);
        let changed = change_now(place, known, async || self.read(key).await, change);
        match timeout(TIME_FOR_A_CHANGE, changed).await {
            Ok(result) => result,
            Err(_) => bail!("S3 did not answer within {} s", TIME_FOR_A_CHANGE.as_secs()),
        }
    }

    /// Counts an object that is deleted or unreadable, and logs it when that is new.
    pub fn report<T: StateObject>(&self, key: &str, e_tag: Option<&String>, why: &str) {
        let now = self.clock.now();
        let unreadable = Metric::Count("StateUnreadable", 1);
        self.metrics.emit(now, &[unreadable]);
        if self.reported.is_new(key, e_tag, now) {
            let (bucket, remedy) = (self.bucket, T::REMEDY);
            let error = format!("s3://{bucket}/{key}: {why}. What to do: {remedy}.");
            error!(error, "{} cannot be read", T::NAME);
        }
    }
}

/// Changes an object, as [`State::change`] does, without a limit of time and a report.
///
/// # Errors
/// If it could not be read or written. A write whose answer was lost may still have taken effect.
pub async fn change<T: SharedState>(
    s3: &Client,
    bucket: &str,
    key: &str,
    change: impl FnMut(&mut T) -> bool,
) -> Result<T> {
    let read = async || read(s3, bucket, key).await;
    let changed = change_now((s3, bucket, key), None, read, change);
    Ok(changed.await?.state)
}

/// A state, and the ETag of its object.
#[derive(Clone, Debug)]
pub struct Version<T> {
    pub state: T,
    /// `None` if there is none yet: then it is written only if there still is none.
    pub e_tag: Option<String>,
}

async fn change_now<T: SharedState>(
    (s3, bucket, key): (&Client, &str, &str),
    known: Option<Version<T>>,
    read: impl AsyncFn() -> Result<Reading<T>>,
    mut change: impl FnMut(&mut T) -> bool,
) -> Result<Version<T>> {
    let mut own_writes: Vec<String> = Vec::new();
    if let Some(Version { mut state, e_tag }) = known
        && change(&mut state)
    {
        let write = new_write();
        state.writes().push(&write);
        own_writes.push(write);
        if let Put::Written(e_tag) = put(s3, bucket, key, &state, e_tag).await? {
            return Ok(Version { state, e_tag });
        }
    }
    for attempt in 1..=MAX_ATTEMPTS {
        let (mut state, e_tag, begins_again) = match read().await? {
            Reading::Found(state, e_tag) => (state, e_tag, false),
            Reading::Absent => (T::begin(Beginning::First), None, false),
            Reading::Deleted => (T::begin(Beginning::Deleted), None, true),
            Reading::Unreadable(_, e_tag) => (T::begin(Beginning::Unreadable), e_tag, true),
        };
        if own_writes.iter().any(|own| state.writes().contains(own)) {
            // The answer to the write was lost, but it took effect.
            return Ok(Version { state, e_tag });
        }
        if !change(&mut state) && !begins_again {
            return Ok(Version { state, e_tag });
        }
        let write = new_write();
        state.writes().push(&write);
        own_writes.push(write);
        match put(s3, bucket, key, &state, e_tag).await? {
            Put::Written(e_tag) => return Ok(Version { state, e_tag }),
            Put::Unclear => sleep(retry::wait(1, fastrand::f64()) / 4 * attempt).await,
        }
    }
    bail!("s3://{bucket}/{key} was changed by others in each of {MAX_ATTEMPTS} attempts")
}

async fn put<T: SharedState>(
    s3: &Client,
    bucket: &str,
    key: &str,
    state: &T,
    e_tag: Option<String>,
) -> Result<Put> {
    let place = || format!("failed to write s3://{bucket}/{key}");
    let body = state.to_json()?;
    ensure!(
        body.len() <= T::MAX_BYTES,
        "{}: it would have {} bytes, more than can be read again",
        place(),
        body.len()
    );
    let if_none_match = e_tag.is_none().then(|| "*".to_owned());
    let call = s3.put_object().bucket(bucket).key(key);
    let call = call.set_if_match(e_tag).set_if_none_match(if_none_match);
    let body = ByteStream::from(body.into_bytes());
    let call = call.content_type("application/json").body(body);
    let error = match call.send().await {
        Ok(answer) => return Ok(Put::Written(answer.e_tag)),
        Err(error) => error,
    };
    let meaning = meaning(&error);
    let error = service_error(&error);
    // S3 User Guide, "Conditional writes": 412, or 409 while another write is in progress.
    let was_changed = matches!(
        error.code.as_str(),
        "PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchKey"
    );
    match was_changed || meaning != Meaning::Permanent {
        true => Ok(Put::Unclear),
        false => Err(error).with_context(place),
    }
}

/// The id of a write.
fn new_write() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// What came of a conditional write.
enum Put {
    /// With the ETag of what was written.
    Written(Option<String>),
    /// Another environment was faster, or the answer was lost.
    Unclear,
}

impl Reported {
    fn is_new(&self, key: &str, e_tag: Option<&String>, now: SystemTime) -> bool {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = reported.get(key).is_some_and(|(known, at)| {
            let is_fresh = now
                .duration_since(*at)
                .is_ok_and(|age| age < LOG_AGAIN_AFTER);
            known.as_ref() == e_tag && is_fresh
        });
        if !is_known {
            reported.insert(key.to_owned(), (e_tag.cloned(), now));
        }
        !is_known
    }

    fn forget(&self, key: &str) {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reported.remove(key);
    }
}

/// Looks for an object.
///
/// # Errors
/// If the call failed: nobody knows whether there is one.
pub async fn read<T: StateObject>(s3: &Client, bucket: &str, key: &str) -> Result<Reading<T>> {
    let place = || format!("failed to read s3://{bucket}/{key}");
    let mut object = match s3.get_object().bucket(bucket).key(key).send().await {
        Ok(object) => object,
        // Without the permission to list the bucket, S3 would answer AccessDenied.
        Err(error) if error.code() == Some("NoSuchKey") => {
            return Ok(match is_delete_marker(&error) {
                true => Reading::Deleted,
                false => Reading::Absent,
            });
        }
        Err(error) => return Err(service_error(&error)).with_context(place),
    };
    let e_tag = object.e_tag;
    let mut bytes = Vec::new();
    while let Some(part) = object.body.next().await {
        bytes.extend_from_slice(&part.with_context(place)?);
        if bytes.len() > T::MAX_BYTES {
            let too_large = UnreadableState::TooLarge(T::MAX_BYTES);
            return Ok(Reading::Unreadable(too_large, e_tag));
        }
    }
    Ok(match from_bytes(&bytes) {
        Ok(object) => Reading::Found(object, e_tag),
        Err(why) => Reading::Unreadable(why, e_tag),
    })
}

/// Whether the object's latest version says that it was deleted (S3 API Reference, "GetObject").
fn is_delete_marker(error: &SdkError<GetObjectError, HttpResponse>) -> bool {
    let answer = error.raw_response();
    answer.and_then(|it| it.headers().get("x-amz-delete-marker")) == Some("true")
}
