//! What the function's role may not do.

use std::collections::BTreeMap;

use super::caching::some_of;
use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings, Subject};

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(denied) = &facts.denied else {
        return;
    };
    let subject = Subject::Role;
    if denied.is_empty() {
        found.well(
            &subject,
            "IAM's policy simulation allows each call of the function",
        );
    }
    let mut by_action: BTreeMap<(&str, bool), Vec<String>> = BTreeMap::new();
    for it in denied {
        let resources = by_action.entry((&it.action, it.is_explicit)).or_default();
        resources.push(it.resource.clone());
    }
    for ((action, is_explicit), resources) in by_action {
        let how = match is_explicit {
            true => "a policy denies it",
            false => "no policy allows it",
        };
        found.add(
            Finding::problem(
                "not-permitted",
                &subject,
                format!("it may not call {action} on {}: {how}", some_of(&resources)),
                "the function needs this call",
            )
            .fix("sam deploy")
            .fix("# if the template's policy is unchanged: look for a permissions boundary, or a policy of the organization"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::facts::Denied;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn each_call_that_is_denied_is_found() {
        let mut facts = facts();
        assert!(rules(&facts, find).is_empty());
        let denied = |resource: &str, is_explicit| Denied {
            action: "cloudfront:CreateInvalidation".to_owned(),
            resource: resource.to_owned(),
            is_explicit,
        };
        facts.denied = Some(vec![
            denied("E1", true),
            denied("E2", true),
            denied("E3", false),
        ]);
        assert_eq!(rules(&facts, find), ["not-permitted", "not-permitted"]);
        let mut found = Findings::default();
        find(&facts, &mut found);
        let expected =
            "it may not call cloudfront:CreateInvalidation on E1, E2: a policy denies it";
        assert!(found.all.iter().any(|it| it.what == expected), "{found:?}");
        facts.denied = None;
        assert!(
            rules(&facts, find).is_empty(),
            "what was not simulated is told elsewhere"
        );
    }
}
