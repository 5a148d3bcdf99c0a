//! Keeps the state of incidents in the error bucket, and sends the mails about them. What is due, and
//! when, is decided in [`invalidator_core::incident`].
//!
//! A state that cannot be read or written never keeps a mail back: then the mail is sent at once.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use invalidator_core::incident::{Claim, Incidents, News, Rejection, STATE_KEY};
use invalidator_core::incident_mail::{Mail, mail};
use invalidator_core::state::{Beginning, SharedState};
use tracing::{error, warn};

use crate::app::App;
use crate::aws::error::service_error;
use crate::incident_memory::Memory;
use crate::metrics::milliseconds;

/// How long an environment relies on what it knows of the open incidents. So often, at most, it reads
/// them while nothing is rejected: 8,640 GET requests a month cost less than a cent.
const KEEP_FOR: Duration = Duration::from_secs(300);

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
        let mut alone = Incidents::begin(Beginning::Unreadable);
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
    let call = app.clients.sns().publish().topic_arn(topic.as_str());
    let sent = call.subject(subject).message(text).send().await;
    if let Err(error) = &sent {
        error!(error = %service_error(error), %topic, "the mail about rejected paths could not be sent");
    }
    sent.is_ok()
}

/// Changes the state, if `change` says that it did, and remembers it.
async fn change(app: &App, change: impl FnMut(&mut Incidents) -> bool) -> Result<()> {
    let state = app.state().change(STATE_KEY, change).await?;
    remember(app, &state);
    Ok(())
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
