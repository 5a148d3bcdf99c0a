//! The metric of a verification that is made again and again, for an alarm.

use anyhow::{Context, Result};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use invalidator::aws::error::error_of;
use invalidator::metrics::NAMESPACE;

use crate::account::Account;
use crate::output::tell;
use crate::stack::Stack;

const METRIC: &str = "StaleObjects";

/// Writes how many objects are stale. It has the dimension of all metrics of the function.
///
/// # Errors
/// If it cannot be written.
pub async fn put(account: &Account, stack: &Stack, stale: u64) -> Result<()> {
    let function = stack.output("FunctionName")?;
    let dimension = Dimension::builder().name("FunctionName").value(function);
    let datum = MetricDatum::builder()
        .metric_name(METRIC)
        .dimensions(dimension.build())
        .unit(StandardUnit::Count)
        .value(stale as f64);
    let call = Client::new(&account.sdk).put_metric_data();
    let call = call.namespace(NAMESPACE).metric_data(datum.build());
    let answer = call.send().await;
    let answer = answer.map_err(|error| error_of("CloudWatch PutMetricData", &error));
    answer.with_context(|| format!("the metric {METRIC} was not written"))?;
    tell(format_args!("{METRIC} of {function} is {stale}"));
    Ok(())
}
