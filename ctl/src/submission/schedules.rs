//! Sets that are submitted at a later time: each waits in a schedule of EventBridge Scheduler, which puts its message
//! into SubmitQueue when the time has come, and is then deleted.
//!
//! Scheduler's own target for a queue has no deduplication id, which SubmitQueue needs, so its target is the action
//! SendMessage itself ("universal target").

use anyhow::{Context, Result, bail};
use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::error::ProvideErrorMetadata;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode,
    RetryPolicy, Target,
};
use invalidator::aws::error::error_of;
use invalidator_core::caller_reference::SetId;
use invalidator_core::set::Set;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::Submission;
use crate::account::Account;
use crate::stack::Stack;

/// How many schedules a job may have.
pub const MOST: usize = 100;

/// How many bytes the input of a schedule may have. The limit is 256 KB (EventBridge Scheduler quotas), and a dead
/// letter holds the input beside its attributes.
const MAX_INPUT: usize = 240_000;

/// The longest and most that Scheduler tries.
const RETRY_SECONDS: i32 = 86_400;
const RETRIES: i32 = 185;

/// What Scheduler passes to SendMessage.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    pub group: &'a str,
    pub id: &'a str,
    pub body: &'a str,
}

/// The schedules of a stack.
pub struct Schedules<'a> {
    client: Client,
    /// The stack's own schedule group. It is deleted with the stack, and its schedules with it.
    group: &'a str,
    role: &'a str,
    queue: &'a str,
    dead_letters: &'a str,
}

impl<'a> Schedules<'a> {
    /// # Errors
    /// If the stack has no outputs for them.
    pub fn open(account: &Account, stack: &'a Stack) -> Result<Self> {
        Ok(Self {
            client: Client::new(&account.sdk),
            group: stack.output("ScheduleGroupName")?,
            role: stack.output("ScheduledJobRoleArn")?,
            queue: stack.output("SubmitQueueUrl")?,
            dead_letters: stack.output("FailedEventsQueueArn")?,
        })
    }

    /// Divides the sets of a target so that the message of each fits into a schedule.
    ///
    /// # Errors
    /// If not even one path fits, which is impossible.
    pub fn divide(&self, mut submission: Submission) -> Result<Submission> {
        let mut divided = Vec::new();
        submission.sets.reverse();
        while let Some((id, mut set)) = submission.sets.pop() {
            let body = set.to_json()?;
            let input = self.input(Send {
                group: submission.target.id(),
                id: id.as_str(),
                body: &body,
            });
            if input.len() < MAX_INPUT {
                divided.push((id, set));
                continue;
            }
            if set.paths.len() < 2 {
                bail!("a path is too long for a schedule");
            }
            let rest = set.paths.split_off(set.paths.len() / 2);
            for paths in [rest, set.paths.clone()] {
                let set: Set<'static> = Set {
                    paths,
                    ..set.clone()
                };
                let id: SetId = id.of_rest(&set.paths);
                submission.sets.push((id, set));
            }
        }
        submission.sets = divided;
        Ok(submission)
    }

    /// What SendMessage is called with. Scheduler puts values in the place of words in angle brackets, so there are none.
    fn input(&self, send: Send<'_>) -> String {
        let input = json!({
            "QueueUrl": self.queue,
            "MessageBody": send.body,
            "MessageGroupId": send.group,
            "MessageDeduplicationId": send.id,
        });
        input.to_string().replace('<', "\\u003c")
    }

    /// Makes a schedule, unless it is there already.
    ///
    /// # Errors
    /// If Scheduler refuses it, or has another of the same name.
    pub async fn create(&self, name: &str, due: OffsetDateTime, send: Send<'_>) -> Result<()> {
        let format = format_description!("at([year]-[month]-[day]T[hour]:[minute]:[second])");
        let expression = due.to_offset(time::UtcOffset::UTC).format(format)?;
        let input = self.input(send);
        let partition = self.role.split(':').nth(1).unwrap_or("aws");
        let retries = RetryPolicy::builder()
            .maximum_event_age_in_seconds(RETRY_SECONDS)
            .maximum_retry_attempts(RETRIES);
        let dead_letters = DeadLetterConfig::builder().arn(self.dead_letters);
        let target = Target::builder()
            .arn(format!(
                "arn:{partition}:scheduler:::aws-sdk:sqs:sendMessage"
            ))
            .role_arn(self.role)
            .input(&input)
            .retry_policy(retries.build())
            .dead_letter_config(dead_letters.build())
            .build()?;
        let exactly = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off);
        let call = self.client.create_schedule().name(name);
        let call = call.group_name(self.group).client_token(name);
        let call = call
            .description("A job of invalidatorctl invalidate --at")
            .schedule_expression(&expression)
            .schedule_expression_timezone("UTC")
            .flexible_time_window(exactly.build()?)
            .action_after_completion(ActionAfterCompletion::Delete)
            .target(target);
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ConflictException") => {
                self.check_is(name, &expression, &input).await
            }
            Err(error) => Err(error_of("Scheduler CreateSchedule", &error).into()),
        }
    }

    /// # Errors
    /// If the schedule of this name is another one.
    async fn check_is(&self, name: &str, expression: &str, input: &str) -> Result<()> {
        let call = self.client.get_schedule().name(name).group_name(self.group);
        let there = call.send().await;
        let there = there.map_err(|error| error_of("Scheduler GetSchedule", &error))?;
        let its_input = there.target().and_then(|it| it.input());
        if there.schedule_expression() != Some(expression) || its_input != Some(input) {
            bail!("there is another schedule {name} already");
        }
        Ok(())
    }

    /// Whether a schedule is there.
    ///
    /// # Errors
    /// If Scheduler does not say.
    pub async fn is_there(&self, name: &str) -> Result<bool> {
        let call = self.client.get_schedule().name(name).group_name(self.group);
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error_of("Scheduler GetSchedule", &error).into()),
        }
    }

    /// Deletes a schedule. Returns whether it was there.
    ///
    /// # Errors
    /// That of Scheduler.
    pub async fn delete(&self, name: &str) -> Result<bool> {
        let call = self.client.delete_schedule().name(name);
        match call.group_name(self.group).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => {
                let error = error_of("Scheduler DeleteSchedule", &error);
                Err(error).with_context(|| format!("failed to delete the schedule {name}"))
            }
        }
    }
}

fn is_missing(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("ResourceNotFoundException")
}

/// The name of the schedule of a set of a job.
pub fn name(job: &str, number: usize) -> String {
    format!("invalidator-{job}-{}", number + 1)
}
