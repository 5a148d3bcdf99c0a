//! Puts back what ended in a queue: failed events and dead letters. Each message is deleted only after it was
//! accepted where it belongs, so an interruption repeats a message and loses none.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use invalidator::aws::error::error_of;
use invalidator::config::QueueUrl;
use invalidator::queue::{Entry, delete, hide, send};
use invalidator::ticker::TICK_GROUP;
use invalidator_core::text::{Lines, one_line};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::account::Account;
use crate::confirm::confirm;
use crate::jobs::record;
use crate::output::{Format, error, show, show_json, show_line, tell};
use crate::progress::Progress;
use crate::queue_numbers::numbers;
use crate::stack::Stack;
use crate::submission::summary::count;

/// How long a message is hidden while it is put back, and while it is only looked at.
const HIDDEN_SECONDS: i32 = 120;
const PEEK_SECONDS: i32 = 1;

/// A look that finds nothing is repeated: SQS may overlook what is there.
const EMPTY_LOOKS: usize = 2;

/// How much of a message is shown.
const MAX_SHOWN: usize = 200;

/// The version of the JSON.
const VERSION: u32 = 1;

/// A queue whose messages are put back.
struct Source {
    /// Its name in the template.
    name: &'static str,
    queue: QueueUrl,
    to: Destination,
}

/// Where messages are put back.
enum Destination {
    /// The function, as asynchronous events. Sets of jobs that Scheduler could not send go into this queue.
    Function(String, QueueUrl),
    /// The queue that they came from.
    Queue(&'static str, QueueUrl),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Function(name, _) => write!(f, "the function {name}"),
            Self::Queue(name, _) => f.write_str(name),
        }
    }
}

/// What was done with a queue.
#[derive(Debug, Default, Serialize)]
struct Done {
    queue: &'static str,
    /// Messages that were accepted where they belong.
    put_back: usize,
    /// Sweeps, which are obsolete. They were deleted.
    obsolete: usize,
    /// Messages that are still there, because they were not accepted.
    left: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    v: u32,
    /// Messages that others had received when this began. They are visible again within minutes.
    hidden: usize,
    queues: Vec<Done>,
}

/// What the operator says.
pub struct Choices {
    pub yes: bool,
    pub output: Format,
}

/// Invokes the function with the events that failed, and with those that nothing takes out of IntakeQueue, as
/// `EventSource` is not SQS any more.
pub async fn replay_events(account: &Account, stack: &Stack, choices: Choices) -> Result<ExitCode> {
    let of = |name: &'static str, output: &str| -> Result<Source> {
        Ok(Source {
            name,
            queue: stack.queue(output)?,
            to: Destination::Function(
                stack.output("FunctionName")?.to_owned(),
                stack.queue("SubmitQueueUrl")?,
            ),
        })
    };
    let mut sources = vec![of("FailedEventsQueue", "FailedEventsQueueUrl")?];
    if !stack.uses_sqs() && stack.output("IntakeQueueUrl").is_ok() {
        sources.push(of("IntakeQueue", "IntakeQueueUrl")?);
    }
    let (status, _) = replay(account, sources, choices).await?;
    Ok(status)
}

/// Puts dead letters back into the queues they came from. A tick lets a flush begin.
pub async fn replay_dead_letters(
    account: &Account,
    stack: &Stack,
    choices: Choices,
) -> Result<ExitCode> {
    let of = |name: &'static str, from: &str, to: &'static str, url: &str| -> Result<Source> {
        Ok(Source {
            name,
            queue: stack.queue(from)?,
            to: Destination::Queue(to, stack.queue(url)?),
        })
    };
    let sources = vec![
        of(
            "BufferDeadLetterQueue",
            "BufferDeadLetterQueueUrl",
            "BufferQueue",
            "BufferQueueUrl",
        )?,
        of(
            "SubmitDeadLetterQueue",
            "SubmitDeadLetterQueueUrl",
            "SubmitQueue",
            "SubmitQueueUrl",
        )?,
    ];
    let (status, are_put_back) = replay(account, sources, choices).await?;
    if !are_put_back {
        return Ok(status);
    }
    let ticks = stack.queue("TickQueueUrl")?;
    let id = format!(
        "replay-{}",
        OffsetDateTime::now_utc().unix_timestamp_nanos()
    );
    let tick = Entry {
        body: id.clone(),
        fifo: Some((TICK_GROUP.to_owned(), id)),
        delay: Duration::ZERO,
    };
    let sent = send(account.clients.lean_sqs(), &ticks, [tick]).await;
    sent.context("no tick could be sent, so the flush begins with the next one")?;
    Ok(status)
}

/// Also tells whether anything was put back.
async fn replay(
    account: &Account,
    sources: Vec<Source>,
    choices: Choices,
) -> Result<(ExitCode, bool)> {
    let mut lines = Lines::new();
    let (mut all, mut hidden) = (0, 0);
    for source in &sources {
        let depth = describe(account, source, &mut lines).await?;
        all += depth.visible;
        hidden += depth.hidden;
    }
    if let Format::Text = choices.output {
        show(&lines);
    }
    if all > 0 && !choices.yes && !confirm("put them back?")? {
        tell("nothing was changed");
        return Ok((ExitCode::FAILURE, false));
    }
    let progress = Progress::new("messages");
    progress.begin("messages", all as u64);
    let mut report = Report {
        v: VERSION,
        hidden,
        queues: Vec::new(),
    };
    for source in &sources {
        let done = match all {
            0 => Done::of(source),
            _ => put_back(account, source, &progress).await?,
        };
        report.queues.push(done);
    }
    progress.finish();
    let are_put_back = report.queues.iter().any(|it| it.put_back > 0);
    Ok((finish(choices.output, report)?, are_put_back))
}

impl Done {
    fn of(source: &Source) -> Self {
        Self {
            queue: source.name,
            ..Self::default()
        }
    }
}

fn finish(output: Format, report: Report) -> Result<ExitCode> {
    let are_left = report.hidden > 0 || report.queues.iter().any(|it| it.left > 0);
    match output {
        Format::Json => show_json(&report)?,
        Format::Text => report.queues.iter().for_each(|done| {
            let Done {
                queue,
                put_back,
                obsolete,
                left,
            } = done;
            show_line(format_args!(
                "{queue}: {} put back, {} deleted, {left} left",
                count(*put_back, "message"),
                count(*obsolete, "obsolete sweep"),
            ));
        }),
    }
    Ok(match are_left {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// How many messages are in a queue, about.
#[derive(Clone, Copy)]
struct Depth {
    visible: usize,
    /// Somebody has received them. They come back unless they are deleted.
    hidden: usize,
}

async fn depth(account: &Account, queue: &QueueUrl) -> Result<Depth> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let [visible, hidden] = numbers(account, queue, names).await?;
    Ok(Depth { visible, hidden })
}

/// Says how many messages there are, about, and shows some.
async fn describe(account: &Account, source: &Source, lines: &mut Lines) -> Result<Depth> {
    let depth = depth(account, &source.queue).await?;
    let Source { name, to, .. } = source;
    lines.line(format_args!(
        "{name}: {}, to be put back into {to}",
        count(depth.visible, "message")
    ));
    if depth.hidden > 0 {
        lines.line(format_args!(
            "  and {} that somebody else has received, such as a run of this command that was interrupted: \
             they are visible again within minutes",
            depth.hidden
        ));
    }
    let some = receive(account, &source.queue, PEEK_SECONDS).await?;
    for message in &some {
        let body = message.body().unwrap_or_default();
        let body = serde_json::from_str(body).map_or_else(|_| body.to_owned(), |it| shown(&it));
        lines.line(format_args!("  {}", one_line(&body, MAX_SHOWN)));
    }
    Ok(Depth {
        visible: depth.visible.max(some.len()),
        ..depth
    })
}

/// What a message is, for a person: why it failed and what it holds.
fn shown(body: &Value) -> String {
    let error = &body["responsePayload"]["errorMessage"];
    let event = body.get("requestPayload").unwrap_or(body);
    match error.as_str() {
        Some(error) => format!("{error}: {event}"),
        None => event.to_string(),
    }
}

async fn receive(account: &Account, queue: &QueueUrl, seconds: i32) -> Result<Vec<Message>> {
    let call = account.clients.sqs().receive_message();
    let call = call.queue_url(queue.as_str()).max_number_of_messages(10);
    let call = call.wait_time_seconds(1).visibility_timeout(seconds);
    let call = call.message_system_attribute_names(MessageSystemAttributeName::All);
    let answer = call
        .send()
        .await
        .map_err(|error| error_of("SQS ReceiveMessage", &error))?;
    Ok(answer.messages.unwrap_or_default())
}

/// Puts back what was in the queue when this began. What fails again comes back as a new message, and is not
/// touched twice.
async fn put_back(account: &Account, source: &Source, progress: &Progress) -> Result<Done> {
    let began = OffsetDateTime::now_utc();
    let mut done = Done::of(source);
    let mut refused = HashSet::new();
    let mut empty = 0;
    while empty < EMPTY_LOOKS {
        let messages = receive(account, &source.queue, HIDDEN_SECONDS).await?;
        let (messages, newer): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|it| is_from_before(it, began));
        let id = |it: &Message| it.message_id.clone().unwrap_or_default();
        let (again, messages): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|it| refused.contains(&id(it)));
        if messages.is_empty() {
            empty += 1;
        }
        give_back(account, source, newer.into_iter().chain(again)).await;
        for message in messages {
            match accept(account, source, &message).await {
                Ok(Accepted::PutBack) => done.put_back += 1,
                Ok(Accepted::Obsolete) => done.obsolete += 1,
                Err(why) => {
                    error(format_args!("{}: a message is left: {why:#}", source.name));
                    refused.insert(id(&message));
                    done.left += 1;
                    give_back(account, source, [message]).await;
                    continue;
                }
            }
            let handle = message.receipt_handle.into_iter().collect();
            if delete(account.clients.lean_sqs(), &source.queue, handle).await > 0 {
                bail!(
                    "a message of {} was put back, but cannot be deleted there; run this again",
                    source.name
                );
            }
            progress.step();
        }
    }
    Ok(done)
}

fn is_from_before(message: &Message, began: OffsetDateTime) -> bool {
    let attributes = message.attributes.as_ref();
    let sent = attributes.and_then(|it| it.get(&MessageSystemAttributeName::SentTimestamp));
    let sent: Option<i128> = sent.and_then(|it| it.parse().ok());
    // A message without a time is handled as one of those that were there.
    sent.is_none_or(|sent| sent * 1_000_000 <= began.unix_timestamp_nanos() + 2_000_000_000)
}

async fn give_back(
    account: &Account,
    source: &Source,
    messages: impl IntoIterator<Item = Message>,
) {
    let handles: Vec<String> = messages
        .into_iter()
        .filter_map(|it| it.receipt_handle)
        .collect();
    if !handles.is_empty() {
        let a_second = Duration::from_secs(1);
        hide(account.clients.lean_sqs(), &source.queue, handles, a_second).await;
    }
}

enum Accepted {
    PutBack,
    Obsolete,
}

async fn accept(account: &Account, source: &Source, message: &Message) -> Result<Accepted> {
    let body = message.body().context("it has no body")?;
    match &source.to {
        Destination::Function(name, submit_queue) => {
            invoke(account, name, submit_queue, body).await
        }
        Destination::Queue(_, queue) => {
            let entry = Entry {
                body: body.to_owned(),
                fifo: fifo_of(message),
                delay: Duration::ZERO,
            };
            send(account.clients.lean_sqs(), queue, [entry]).await?;
            Ok(Accepted::PutBack)
        }
    }
}

/// The message group and deduplication id of a message of a FIFO queue.
fn fifo_of(message: &Message) -> Option<(String, String)> {
    let attributes = message.attributes.as_ref()?;
    let group = attributes.get(&MessageSystemAttributeName::MessageGroupId)?;
    let id = attributes.get(&MessageSystemAttributeName::MessageDeduplicationId)?;
    Some((group.clone(), id.clone()))
}

/// What Scheduler should have sent to SubmitQueue for a job (`invalidatorctl invalidate --at`).
#[derive(Deserialize)]
struct Scheduled {
    #[serde(rename = "MessageBody")]
    body: String,
    #[serde(rename = "MessageDeduplicationId")]
    id: String,
}

/// Invokes the function with the event of a message: Lambda wraps it, EventBridge does not.
async fn invoke(
    account: &Account,
    function: &str,
    submit_queue: &QueueUrl,
    body: &str,
) -> Result<Accepted> {
    let body: Value =
        serde_json::from_str(body).map_err(|error| anyhow!("it is no JSON: {error}"))?;
    if body.get("MessageDeduplicationId").is_some() {
        let scheduled: Scheduled = serde_json::from_value(body)?;
        let entry = record::Message::checked(&scheduled.id, &scheduled.body)?.entry();
        send(account.clients.lean_sqs(), submit_queue, [entry]).await?;
        return Ok(Accepted::PutBack);
    }
    let event = body.get("requestPayload").unwrap_or(&body);
    if event.get("sweep").is_some() {
        return Ok(Accepted::Obsolete);
    }
    let client = aws_sdk_lambda::Client::new(&account.sdk);
    let call = client.invoke().function_name(function);
    let call = call.invocation_type(InvocationType::Event);
    let answer = call.payload(Blob::new(event.to_string())).send().await;
    answer.map_err(|error| error_of("Lambda Invoke", &error))?;
    Ok(Accepted::PutBack)
}
