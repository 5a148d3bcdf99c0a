//! Disables the event source mappings through which the function gets ticks and sets, and enables them again.
//!
//! Before that they are noted in the error bucket, so that whoever comes after a program that was killed knows that
//! they were enabled.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_lambda::Client;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::{error_of, service_error};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};

use crate::account::Account;
use crate::output::{error, tell, warn};
use crate::quote::command;
use crate::stack::Stack;
use crate::stored_object::find;

/// Where they are noted.
const KEY: &str = "state/drain.json";

const VERSION: u32 = 1;

/// The outputs with their ids.
const OUTPUTS: [&str; 2] = ["FlushMappingId", "SubmitMappingId"];

/// How long a mapping may take to change, and how often it is looked at.
const TIME_TO_CHANGE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_secs(1);

/// What was disabled.
#[derive(Debug, Deserialize, Serialize)]
struct Note {
    v: u32,
    since: String,
    by: String,
    mappings: Vec<String>,
}

pub struct Mappings<'a> {
    account: &'a Account,
    error_bucket: &'a str,
    client: Client,
    /// Those that are enabled, or were before an earlier drain that was killed.
    ids: Vec<String>,
    /// What an earlier one has left.
    left: Option<Note>,
}

impl<'a> Mappings<'a> {
    /// Looks which are enabled.
    ///
    /// # Errors
    /// If Lambda or S3 does not say.
    pub async fn open(account: &'a Account, stack: &'a Stack) -> Result<Self> {
        let error_bucket = stack.error_bucket.as_str();
        let mut mappings = Self {
            account,
            error_bucket,
            client: Client::new(&account.sdk),
            ids: Vec::new(),
            left: left(account, error_bucket).await?,
        };
        for output in OUTPUTS {
            let id = stack.output(output)?.to_owned();
            let state = mappings.state(&id).await?;
            let is_disabled = matches!(state.as_str(), "Disabled" | "Disabling");
            let was_enabled = mappings.left.iter().any(|it| it.mappings.contains(&id));
            match is_disabled && !was_enabled {
                true => tell(format_args!("the mapping {id} is disabled, and stays so")),
                false => mappings.ids.push(id),
            }
        }
        Ok(mappings)
    }

    /// Whether an earlier drain was killed before it could enable them.
    pub fn were_left(&self) -> bool {
        self.left.is_some()
    }

    /// Says what is disabled, and what enables it again.
    pub fn explain(&self) {
        if let Some(Note { since, by, .. }) = &self.left {
            warn(format_args!(
                "a drain that {by} began at {since} has not ended: if it does not run any more, this one takes its place"
            ));
        }
        tell(
            "The function's event source mappings are disabled meanwhile, and enabled again at the end. If this program is \
             killed, run it again, or:",
        );
        self.tell_commands();
    }

    /// Says that they are still disabled.
    pub fn explain_again(&self, why: &anyhow::Error) {
        error(format_args!(
            "the function's event source mappings may still be disabled: {why:#}. Enable them:"
        ));
        self.tell_commands();
    }

    fn tell_commands(&self) {
        let here = self.account.here();
        for id in &self.ids {
            let words = ["aws", "lambda", "update-event-source-mapping"];
            let words = words.into_iter().chain(["--uuid", id, "--enabled"]);
            tell(format_args!("  {}", here.complete(&command(words))));
        }
    }

    /// Notes them, disables them, and waits until they are disabled.
    ///
    /// # Errors
    /// If that fails. They are to be enabled in any case.
    pub async fn disable(&self) -> Result<()> {
        let note = Note {
            v: VERSION,
            since: OffsetDateTime::now_utc().format(&Rfc3339)?,
            by: self.account.caller.clone(),
            mappings: self.ids.clone(),
        };
        let call = self.account.clients.s3().put_object();
        let call = call.bucket(self.error_bucket).key(KEY);
        let call = call.body(serde_json::to_vec(&note)?.into());
        let written = call.send().await.map_err(|error| service_error(&error));
        let place = || {
            format!(
                "nothing was done: failed to write s3://{}/{KEY}",
                self.error_bucket
            )
        };
        written.with_context(place)?;
        for id in &self.ids {
            self.set(id, false).await?;
        }
        let until = Instant::now() + TIME_TO_CHANGE;
        for id in &self.ids {
            while self.state(id).await? != "Disabled" {
                if Instant::now() > until {
                    bail!("the event source mapping {id} does not become disabled");
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Enables them, and removes the note.
    ///
    /// # Errors
    /// If one may still be disabled.
    pub async fn enable(&self) -> Result<()> {
        let mut failed = None;
        for id in &self.ids {
            let set = self.set(id, true).await;
            // It may not have been disabled at all.
            if let Err(error) = set
                && self.state(id).await.ok().as_deref() != Some("Enabled")
            {
                // The other one is enabled in any case.
                failed = failed.or(Some(error));
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let call = self.account.clients.s3().delete_object();
        let deleted = call.bucket(self.error_bucket).key(KEY).send().await;
        if let Err(error) = deleted {
            let error = error_of("S3 DeleteObject", &error);
            warn(format_args!(
                "failed to delete s3://{}/{KEY}: {error}",
                self.error_bucket
            ));
        }
        Ok(())
    }

    async fn state(&self, id: &str) -> Result<String> {
        let answer = self.client.get_event_source_mapping().uuid(id).send().await;
        let answer = answer.map_err(|error| error_of("Lambda GetEventSourceMapping", &error));
        let answer = answer.with_context(|| format!("failed to look at the mapping {id}"))?;
        answer.state.context("Lambda says no state of a mapping")
    }

    /// A mapping that is just changing cannot be changed.
    async fn set(&self, id: &str, enabled: bool) -> Result<()> {
        let until = Instant::now() + TIME_TO_CHANGE;
        loop {
            let call = self.client.update_event_source_mapping();
            let Err(error) = call.uuid(id).enabled(enabled).send().await else {
                return Ok(());
            };
            let is_changing = error.code() == Some("ResourceInUseException");
            if !is_changing || Instant::now() > until {
                let error = error_of("Lambda UpdateEventSourceMapping", &error);
                return Err(error).with_context(|| format!("failed to change the mapping {id}"));
            }
            sleep(PAUSE).await;
        }
    }
}

/// What a drain has left that was killed.
async fn left(account: &Account, bucket: &str) -> Result<Option<Note>> {
    let Some(object) = find(account.clients.s3(), bucket, KEY).await? else {
        return Ok(None);
    };
    let note: Note = serde_json::from_slice(&object.text).with_context(|| {
        format!(
            "s3://{bucket}/{KEY} is no note of a drain: enable the mappings by hand, and delete it"
        )
    })?;
    Ok(Some(note))
}
