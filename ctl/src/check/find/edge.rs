//! Functions at the edge that may rewrite paths.

use std::collections::BTreeMap;

use super::caching::{of_buckets, some_of};
use super::served::serving;
use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings};
use crate::quote::set_parameter;

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(config) = facts.config() else {
        return;
    };
    for distribution in serving(facts) {
        let mut functions: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        for behavior in of_buckets(facts, distribution) {
            for arn in behavior.rewriting_functions() {
                let behaviors = functions.entry(arn).or_default();
                behaviors.push(behavior.to_string());
            }
        }
        let subject = facts.subject_of(distribution.id.as_str());
        for (arn, behaviors) in functions {
            if config.harmless_functions.contains(arn) {
                found.well(&subject, format!("{arn} is known to be harmless"));
                continue;
            }
            let known = facts.stack.parameter("HarmlessFunctions");
            let separator = if known.is_empty() { "" } else { "," };
            found.add(
                Finding::warning(
                    "function-may-rewrite",
                    &subject,
                    format!("the function {arn} runs at {}", some_of(&behaviors)),
                    "it may rewrite paths: the path that visitors ask for, which is cached, is then another than that \
                     of the object, and is not invalidated",
                )
                .fix("# if it rewrites paths, invalidate their pattern yourself; if it does not:")
                .fix(set_parameter(
                    &facts.stack.name,
                    &facts.stack.parameters,
                    "HarmlessFunctions",
                    &format!("{known}{separator}{arn}"),
                )),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::find::testing::{rules, site, with, with_setting};

    const ARN: &str = "arn:aws:cloudfront::123456789012:function/rewrite";

    #[test]
    fn a_function_before_the_cache_is_found_unless_it_is_harmless() {
        for (event, harmless, expected) in [
            ("viewer-request", "", &["function-may-rewrite"][..]),
            ("origin-request", "", &["function-may-rewrite"]),
            ("viewer-response", "", &[]),
            ("viewer-request", "rewrite", &[]),
        ] {
            let functions = json!({ "Items": [{ "FunctionARN": ARN, "EventType": event }] });
            let mut facts = with(site(json!({ "DefaultCacheBehavior": {
                "TargetOriginId": "site",
                "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
                "FunctionAssociations": functions,
            } })));
            with_setting(&mut facts, "HARMLESS_FUNCTIONS", harmless);
            assert_eq!(rules(&facts, find), expected, "{event} {harmless}");
        }
    }
}
