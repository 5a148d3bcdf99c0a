//! Reads how the function is configured, and what invokes it.

use aws_sdk_lambda::types::FunctionResponseType;
use invalidator::config::Config;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::looking::Looking;
use crate::check::facts::{EventRule, FailedEvents, Function, Mapping, Permission};
use crate::check::finding::Subject;
use crate::check::statements::{event_rule, statements};

const SUBJECT: Subject = Subject::Function;

fn client(looking: &Looking<'_>) -> aws_sdk_lambda::Client {
    aws_sdk_lambda::Client::new(looking.sdk())
}

pub async fn configuration(looking: &Looking<'_>, name: &str) -> Option<Function> {
    if name.is_empty() {
        looking.no_output(&SUBJECT, "FunctionName");
        return None;
    }
    let client = client(looking);
    let call = client
        .get_function_configuration()
        .function_name(name)
        .send();
    let concurrency = client.get_function_concurrency().function_name(name).send();
    let (answer, concurrency) = tokio::join!(call, concurrency);
    let what = "its concurrency";
    let concurrency = looking.keep(&SUBJECT, what, "Lambda GetFunctionConcurrency", concurrency);
    let action = "Lambda GetFunctionConfiguration";
    let answer = looking.keep(&SUBJECT, "its configuration", action, answer)?;
    let variables = answer.environment.and_then(|it| it.variables);
    let variables = variables.unwrap_or_default();
    let region = looking.account.region();
    let config = Config::from_variables(|key| match key {
        "AWS_REGION" => Some(region.to_owned()),
        "AWS_LAMBDA_FUNCTION_NAME" => Some(name.to_owned()),
        key => variables.get(key).cloned(),
    });
    let logging = answer.logging_config;
    let level = logging
        .as_ref()
        .and_then(|it| it.application_log_level.as_ref());
    let format = logging.as_ref().and_then(|it| it.log_format.as_ref());
    Some(Function {
        name: name.to_owned(),
        arn: answer.function_arn.unwrap_or_default(),
        role: answer.role.unwrap_or_default(),
        state: answer
            .state
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default(),
        last_update: answer
            .last_update_status
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default(),
        timeout: i64::from(answer.timeout.unwrap_or(0)),
        memory: i64::from(answer.memory_size.unwrap_or(0)),
        last_modified: answer.last_modified.as_deref().and_then(modified),
        log_format: format.map(|it| it.as_str().to_owned()).unwrap_or_default(),
        log_level: level.map(|it| it.as_str().to_owned()).unwrap_or_default(),
        config: config.map_err(|error| error.to_string()),
        concurrency: concurrency
            .and_then(|it| it.reserved_concurrent_executions)
            .map(i64::from),
    })
}

/// Lambda writes `2026-11-21T02:03:04.567+0000`, which lacks a colon.
fn modified(text: &str) -> Option<OffsetDateTime> {
    let text = match text.split_at_checked(text.len().checked_sub(2)?)? {
        (start, minutes)
            if start.ends_with(['0', '1']) && start.contains('+') && !start.ends_with(':') =>
        {
            format!("{start}:{minutes}")
        }
        _ => text.to_owned(),
    };
    OffsetDateTime::parse(&text, &Rfc3339).ok()
}

pub async fn failed_events(looking: &Looking<'_>, name: &str) -> Option<FailedEvents> {
    if name.is_empty() {
        return None;
    }
    let call = client(looking)
        .get_function_event_invoke_config()
        .function_name(name);
    let answer = looking.keep_or(
        &SUBJECT,
        "what becomes of events that fail",
        "Lambda GetFunctionEventInvokeConfig",
        call.send().await,
        &["ResourceNotFoundException"],
    )?;
    let Some(answer) = answer else {
        return Some(FailedEvents::default());
    };
    let destination = answer.destination_config.and_then(|it| it.on_failure);
    Some(FailedEvents {
        destination: destination.and_then(|it| it.destination),
    })
}

pub async fn permissions(looking: &Looking<'_>, name: &str) -> Option<Vec<Permission>> {
    if name.is_empty() {
        return None;
    }
    let answer = looking.keep_or(
        &SUBJECT,
        "who may invoke it",
        "Lambda GetPolicy",
        client(looking)
            .get_policy()
            .function_name(name)
            .send()
            .await,
        &["ResourceNotFoundException"],
    )?;
    let policy = answer.and_then(|it| it.policy).unwrap_or_default();
    Some(statements(&policy))
}

pub async fn mappings(looking: &Looking<'_>, name: &str) -> Option<Vec<Mapping>> {
    if name.is_empty() {
        return None;
    }
    let client = client(looking);
    let mut all = Vec::new();
    let mut marker = None;
    loop {
        let call = client.list_event_source_mappings().function_name(name);
        let answer = call.set_marker(marker.take()).send().await;
        let action = "Lambda ListEventSourceMappings";
        let answer = looking.keep(&SUBJECT, "its event sources", action, answer)?;
        all.extend(answer.event_source_mappings.unwrap_or_default());
        marker = answer.next_marker.filter(|it| !it.is_empty());
        if marker.is_none() {
            break;
        }
    }
    let mappings = all.into_iter().map(|it| Mapping {
        id: it.uuid.clone().unwrap_or_default(),
        source: it.event_source_arn.clone().unwrap_or_default(),
        state: it.state.clone().unwrap_or_default(),
        reports_items: it
            .function_response_types()
            .contains(&FunctionResponseType::ReportBatchItemFailures),
        has_filter: it
            .filter_criteria
            .is_some_and(|it| !it.filters().is_empty()),
    });
    Some(mappings.collect())
}

pub async fn event_rules(looking: &Looking<'_>, function: &str) -> Option<Vec<EventRule>> {
    if function.is_empty() {
        return None;
    }
    let client = aws_sdk_eventbridge::Client::new(looking.sdk());
    let what = "EventBridge's rules for it";
    let names = client
        .list_rule_names_by_target()
        .target_arn(function)
        .send()
        .await;
    let action = "EventBridge ListRuleNamesByTarget";
    let names = looking.keep(&SUBJECT, what, action, names)?;
    let mut rules = Vec::new();
    for name in names.rule_names.unwrap_or_default() {
        let answer = client.describe_rule().name(&name).send().await;
        let answer = looking.keep(&SUBJECT, what, "EventBridge DescribeRule", answer)?;
        let is_enabled = answer.state.is_none_or(|it| it.as_str() != "DISABLED");
        let pattern = answer.event_pattern.unwrap_or_default();
        rules.extend(event_rule(name, is_enabled, &pattern));
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_time_of_the_last_change_is_read() {
        let expected = Some(datetime!(2026-11-21 02:03:04.567 UTC));
        for (text, expected) in [
            ("2026-11-21T02:03:04.567+0000", expected),
            ("2026-11-21T02:03:04.567Z", expected),
            ("2026-11-21T02:03:04.567+00:00", expected),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(modified(text), expected, "{text}");
        }
    }
}
