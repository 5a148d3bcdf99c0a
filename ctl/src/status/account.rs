//! The mode, the spending, the alarms, and the invalidations in progress.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use aws_sdk_cloudwatch::types::StateValue;
use aws_smithy_types::date_time::Format;
use invalidator::aws::error::error_of;
use invalidator::mode::read_mode;
use invalidator::state;
use invalidator_core::cost::account::Account as Spending;
use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::ledger::{LEDGER_KEY, Ledger, Spending as Ordered};
use invalidator_core::cost::month::Month;
use invalidator_core::mode::ChosenMode;
use invalidator_core::state::Reading;
use invalidator_core::target::TargetId;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::account::Account;
use crate::invalidations;
use crate::stack::Stack;

/// At most so many targets are asked for their invalidations.
const MOST_TARGETS: usize = 20;

/// The mode.
#[derive(Debug, Serialize)]
pub struct ModeNow {
    pub mode: String,
    /// Since when, by whom and why, as text.
    #[serde(skip)]
    pub shown: String,
    pub is_chosen: bool,
}

/// An invalidation in progress.
#[derive(Debug, Serialize)]
pub struct InProgress {
    pub target: String,
    pub id: String,
    pub since: String,
}

/// What was ordered.
#[derive(Debug, Serialize)]
pub struct Spent {
    pub month: String,
    /// Paths of the account this month that are known.
    pub paths: u64,
    pub free_left: u64,
    pub usd: f64,
    pub paths_this_hour: u64,
    pub forecast_usd: f64,
    /// Whether an earlier ledger was lost, so that more may have been ordered.
    pub is_too_low: bool,
    #[serde(skip)]
    pub cost: NanoUsd,
    #[serde(skip)]
    pub forecast: NanoUsd,
}

/// An alarm that is raised.
#[derive(Debug, Serialize)]
pub struct Alarm {
    pub name: String,
    pub since: String,
}

/// # Errors
/// If it cannot be read.
pub async fn mode(account: &Account, stack: &Stack) -> Result<ModeNow> {
    let chosen = read_mode(account.clients.s3(), &stack.error_bucket).await?;
    let is_chosen = chosen.is_some();
    let Some(mode) = chosen.or(stack.initial_mode.map(ChosenMode::initial)) else {
        bail!("nobody has chosen one, and the stack has no parameter InitialMode");
    };
    Ok(ModeNow {
        mode: mode.mode.to_string(),
        shown: mode.to_string(),
        is_chosen,
    })
}

/// # Errors
/// If the ledger cannot be read.
pub async fn spending(account: &Account, stack: &Stack, now: OffsetDateTime) -> Result<Spent> {
    let bucket = &stack.error_bucket;
    let read = state::read::<Ledger>(account.clients.s3(), bucket, LEDGER_KEY).await?;
    let (month, spent) = match read {
        Reading::Found(ledger, _) => (ledger.month(), ledger.spending(now)),
        // Nothing was ordered yet.
        Reading::Absent => (Month::at(now), Ordered::default()),
        Reading::Deleted => bail!("s3://{bucket}/{LEDGER_KEY} was deleted"),
        Reading::Unreadable(why, _) => bail!("s3://{bucket}/{LEDGER_KEY}: {why}"),
    };
    let of_account = Spending::at(now, &spent, 0);
    Ok(Spent {
        month: month.to_string(),
        paths: of_account.this_month,
        free_left: of_account.free(),
        usd: of_account.spent_this_month().to_usd(),
        paths_this_hour: of_account.this_hour,
        forecast_usd: of_account.forecast_cost().to_usd(),
        is_too_low: spent.is_lost,
        cost: of_account.spent_this_month(),
        forecast: of_account.forecast_cost(),
    })
}

/// # Errors
/// If CloudWatch cannot be asked.
pub async fn alarms(account: &Account, stack: &Stack) -> Result<Vec<Alarm>> {
    let client = aws_sdk_cloudwatch::Client::new(&account.sdk);
    let prefix = format!("{}-", stack.name().unwrap_or_default());
    let mut alarms = Vec::new();
    let mut next = None;
    loop {
        let call = client.describe_alarms().state_value(StateValue::Alarm);
        let call = call.alarm_name_prefix(&prefix);
        let page = call.set_next_token(next).send().await;
        let page = page.map_err(|error| error_of("CloudWatch DescribeAlarms", &error));
        let page = page.context("failed to ask for alarms")?;
        alarms.extend(page.metric_alarms().iter().map(|alarm| Alarm {
            name: alarm.alarm_name().unwrap_or_default().to_owned(),
            since: shown(alarm.state_updated_timestamp()),
        }));
        next = page.next_token;
        if next.is_none() {
            return Ok(alarms);
        }
    }
}

/// The invalidations in progress of targets that have accepted some of late.
///
/// # Errors
/// If CloudFront cannot be asked.
pub async fn in_progress(account: &Account, targets: &BTreeSet<String>) -> Result<Vec<InProgress>> {
    let mut all = Vec::new();
    for target in targets.iter().take(MOST_TARGETS) {
        let id: TargetId = target.parse()?;
        let listed = invalidations::in_progress(account.clients.cloudfront(), &id);
        let listed = listed.await?.into_iter();
        all.extend(listed.map(|(id, since)| InProgress {
            target: target.clone(),
            since: since.format(&Rfc3339).unwrap_or_default(),
            id,
        }));
    }
    Ok(all)
}

fn shown(time: Option<&aws_smithy_types::DateTime>) -> String {
    let text = time.and_then(|time| time.fmt(Format::DateTime).ok());
    text.unwrap_or_default()
}
