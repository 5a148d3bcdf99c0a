//! Who else gets the events that a bucket sends to EventBridge.

use crate::account::Account;
use crate::check::statements::event_rule;
use crate::output::warn;
use invalidator::aws::error::error_of;

/// Whether another rule than those of the function gets events of this bucket. If that cannot be seen, it may.
pub async fn others_use(account: &Account, function: &str, bucket: &str) -> bool {
    let client = aws_sdk_eventbridge::Client::new(&account.sdk);
    let own = client
        .list_rule_names_by_target()
        .target_arn(function)
        .send()
        .await;
    let own = match own {
        Ok(own) => own.rule_names.unwrap_or_default(),
        Err(error) => {
            warn(error_of("EventBridge ListRuleNamesByTarget", &error));
            return true;
        }
    };
    let mut token = None;
    loop {
        let answer = client
            .list_rules()
            .set_next_token(token.take())
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                warn(error_of("EventBridge ListRules", &error));
                return true;
            }
        };
        for rule in answer.rules.unwrap_or_default() {
            let name = rule.name.unwrap_or_default();
            if own.contains(&name) {
                continue;
            }
            let pattern = rule.event_pattern.unwrap_or_default();
            if event_rule(name, true, &pattern).is_some_and(|it| it.includes(bucket)) {
                return true;
            }
        }
        token = answer.next_token.filter(|it| !it.is_empty());
        if token.is_none() {
            return false;
        }
    }
}
