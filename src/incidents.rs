//! Keeps the state of incidents in the error bucket, and sends the mails about them. What is due, and
//! when, is decided in [`invalidator_core::incident`].
//!
//! A state that cannot be read or written never keeps a mail back: then the mail is sent at once.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::primitives::ByteStream;
use invalidator_core::incident::{Claim, Incidents, News, Rejection, STATE_KEY};
use invalidator_core::incident_mail::{Mail, mail};
use invalidator_core::retry;
use invalidator_core::service_error::{Meaning, ServiceError};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::app::App;
use crate::aws::error::{meaning, service_error};
use crate::incident_memory::Memory;
use crate::metrics::milliseconds;

/// How long an environment relies on what it knows of the open incidents. So often, at most, it reads
/// them while nothing is rejected: 8,640 GET requests a month cost less than a cent.
const KEEP_FOR: Duration = Duration::from_secs(300);

/// How long reading and writing the state may take. It is short, because messages are deleted after the
/// mail, and a stage stops twenty seconds before its end.
const TIME_FOR_STATE: Duration = Duration::from_secs(4);

/// How often a write is tried again when another environment was faster.
const MAX_ATTEMPTS: u32 = 6;

/// Mails that were sent, or not.
#[derive(Debug)]
pub struct Sent {
    mails: Vec<(Vec<Claim>, bool)>,
}

impl Sent {
    /// How many could not be sent.
    pub fn failed(&self) -> usize {
        self.mails.iter().filter(|(_, is_sent)| !is_sent).count()
    }

    /// Notes in the state what was sent. An environment that dies before leaves mails to be sent again.
    pub async fn note(self, app: &App) {
        for (claims, is_sent) in self.mails {
            let now = seconds(app);
            let noted = change(app, |state| {
                state.sent(now, &claims, is_sent);
                true
            });
            if let Err(error) = noted.await {
                warn_about(&error, "so a mail may be sent again");
            }
        }
    }
}

/// Records rejected paths, and sends the mails that are due.
pub async fn report(app: &App, rejections: &[Rejection]) -> Sent {
    let now = seconds(app);
    let mut claims = Vec::new();
    let kept = change(app, |state| {
        state.record(now, rejections);
        claims = state.claim(now);
        true
    });
    if let Err(error) = kept.await {
        warn_about(&error, "so a mail is sent at once");
        let mut alone = Incidents::default();
        alone.record(now, rejections);
        claims = alone.claim(now);
    }
    send(app, claims).await
}

/// Sends digests, and tells that incidents are over. At most once in five minutes for an environment; the
/// sweep sees to it that some flush does. Returns how many mails could not be sent.
pub async fn check(app: &App) -> usize {
    let now = app.clock.now();
    {
        let mut memory = memory(app);
        if memory.checked.is_some_and(|at| is_fresh(at, now)) {
            return 0;
        }
        memory.checked = Some(now);
    }
    let now = seconds(app);
    let mut claims = Vec::new();
    let claimed = change(app, |state| {
        claims = state.claim(now);
        !claims.is_empty()
    });
    if let Err(error) = claimed.await {
        warn_about(&error, "so a later flush looks for mails that are due");
        return 0;
    }
    let sent = send(app, claims).await;
    let failed = sent.failed();
    sent.note(app).await;
    failed
}

/// Notes that CloudFront has accepted paths of these targets since `began`.
pub async fn accepted(app: &App, began: SystemTime, targets: Vec<String>) {
    {
        let memory = memory(app);
        let is_known = memory.read.is_some_and(|at| is_fresh(at, app.clock.now()));
        let is_failing = targets.iter().any(|target| memory.failing.contains(target));
        if targets.is_empty() || (is_known && !is_failing) {
            return;
        }
    }
    let began = milliseconds(began) / 1_000;
    if let Err(error) = change(app, |state| state.accepted(began, &targets)).await {
        warn_about(&error, "so an incident may seem to go on for longer");
    }
}

fn warn_about(error: &anyhow::Error, consequence: &str) {
    let error = format!("{error:#}");
    warn!(
        error,
        "the state of the incidents cannot be kept, {consequence}"
    );
}

/// Sends the mails: one for what goes on, and one for what is over.
async fn send(app: &App, claims: Vec<Claim>) -> Sent {
    let (over, going_on): (Vec<Claim>, Vec<Claim>) = claims
        .into_iter()
        .partition(|claim| claim.news == News::Over);
    let mut mails = Vec::new();
    for claims in [going_on, over].into_iter().filter(|it| !it.is_empty()) {
        let is_sent = publish(app, mail(&app.config.place(), &claims)).await;
        mails.push((claims, is_sent));
    }
    Sent { mails }
}

/// Sends one mail. If that fails, it is logged and counted; the files have all the data.
async fn publish(app: &App, Mail { subject, text }: Mail) -> bool {
    let topic = &app.config.topic_arn;
    let call = app.clients.sns().publish().topic_arn(topic);
    let sent = call.subject(subject).message(text).send().await;
    if let Err(error) = &sent {
        error!(error = %service_error(error), topic, "the mail about rejected paths could not be sent");
    }
    sent.is_ok()
}

/// Changes the state, if `change` says that it did. It is called again on the new state whenever another
/// environment was faster.
async fn change(app: &App, change: impl FnMut(&mut Incidents) -> bool) -> Result<()> {
    match timeout(TIME_FOR_STATE, change_now(app, change)).await {
        Ok(result) => result,
        Err(_) => bail!("S3 did not answer within {} s", TIME_FOR_STATE.as_secs()),
    }
}

async fn change_now(app: &App, mut change: impl FnMut(&mut Incidents) -> bool) -> Result<()> {
    let mut last_write = None;
    for attempt in 1..=MAX_ATTEMPTS {
        let (mut state, e_tag) = read(app).await?;
        let is_written = |write: &String| state.writes.contains(write);
        if last_write.as_ref().is_some_and(is_written) {
            // The answer to the write was lost, but it took effect.
            remember(app, &state);
            return Ok(());
        }
        if !change(&mut state) {
            remember(app, &state);
            return Ok(());
        }
        let write = format!("{:016x}", fastrand::u64(..));
        let state = state.signed(&write);
        last_write = Some(write);
        match put(app, &state, e_tag).await? {
            Put::Written => {
                remember(app, &state);
                return Ok(());
            }
            Put::Unclear => sleep(retry::wait(1, fastrand::f64()) / 4 * attempt).await,
        }
    }
    bail!(
        "s3://{}/{STATE_KEY} was changed by others in each of {MAX_ATTEMPTS} attempts",
        app.config.error_bucket
    )
}

/// What came of a conditional write.
enum Put {
    Written,
    /// Another environment was faster, or the answer was lost.
    Unclear,
}

/// The state and its version; `None` if there is none yet.
async fn read(app: &App) -> Result<(Incidents, Option<String>)> {
    let bucket = &app.config.error_bucket;
    let place = || format!("failed to read s3://{bucket}/{STATE_KEY}");
    let call = app.clients.s3().get_object().bucket(bucket).key(STATE_KEY);
    let object = match call.send().await.map_err(|error| service_error(&error)) {
        Ok(object) => object,
        // Who may not list a bucket is told AccessDenied, not NoSuchKey, about an object that is not there.
        // If it is there, the conditional write fails.
        Err(ServiceError { code, .. }) if code == "NoSuchKey" || code == "AccessDenied" => {
            return Ok(Default::default());
        }
        Err(error) => return Err(error).with_context(place),
    };
    let e_tag = object.e_tag;
    let bytes = object.body.collect().await.with_context(place)?;
    let text = String::from_utf8_lossy(&bytes.into_bytes()).into_owned();
    let state = Incidents::from_json(&text).unwrap_or_else(|error| {
        // Somebody wrote something else there. Left as it is, it would make a mail of every rejection.
        warn!(%error, bucket, key = STATE_KEY, "the state of the incidents is not JSON of ours, so it is begun anew");
        Incidents::default()
    });
    Ok((state, e_tag))
}

async fn put(app: &App, state: &Incidents, e_tag: Option<String>) -> Result<Put> {
    let bucket = &app.config.error_bucket;
    let if_none_match = e_tag.is_none().then(|| "*".to_owned());
    let call = app.clients.s3().put_object().bucket(bucket).key(STATE_KEY);
    let call = call.set_if_match(e_tag).set_if_none_match(if_none_match);
    let body = ByteStream::from(state.to_json()?.into_bytes());
    let call = call.content_type("application/json").body(body);
    let Err(error) = call.send().await else {
        return Ok(Put::Written);
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
        false => Err(error).with_context(|| format!("failed to write s3://{bucket}/{STATE_KEY}")),
    }
}

fn remember(app: &App, state: &Incidents) {
    let mut memory = memory(app);
    memory.read = Some(app.clock.now());
    let targets = state.open.values().flat_map(|incident| &incident.targets);
    let failing = targets.filter(|(_, target)| !target.accepted);
    memory.failing = failing.map(|(id, _)| id.clone()).collect();
}

fn memory(app: &App) -> MutexGuard<'_, Memory> {
    let lock = app.incidents.0.lock();
    lock.unwrap_or_else(PoisonError::into_inner)
}

fn is_fresh(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|age| age < KEEP_FOR)
}

fn seconds(app: &App) -> u64 {
    milliseconds(app.clock.now()) / 1_000
}
