//! Reads policies of functions, and patterns of EventBridge's rules.

use serde_json::Value;

use super::facts::{EventRule, Permission};

/// The kinds of events that the function wants of EventBridge.
const KINDS: [&str; 2] = ["Object Created", "Object Deleted"];

/// The statements of a policy that let a service invoke the function.
pub fn statements(policy: &str) -> Vec<Permission> {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
    let allows = |it: &&Value| it["Effect"] == "Allow";
    statements
        .iter()
        .filter(allows)
        .map(|it| Permission {
            statement: it["Sid"].as_str().unwrap_or_default().to_owned(),
            service: match &it["Principal"] {
                Value::String(all) => all.clone(),
                principal => principal["Service"].as_str().unwrap_or_default().to_owned(),
            },
            source: condition(it, "aws:SourceArn"),
            account: condition(it, "aws:SourceAccount"),
        })
        .collect()
}

/// The value of a key in any condition. IAM does not look at the case of keys.
fn condition(statement: &Value, key: &str) -> String {
    let operators = statement["Condition"].as_object().into_iter();
    let keys = operators
        .flat_map(|it| it.values())
        .filter_map(Value::as_object);
    let mut values = keys
        .flatten()
        .filter(|(name, _)| name.eq_ignore_ascii_case(key));
    match values.next() {
        Some((_, Value::String(value))) => value.clone(),
        Some((_, Value::Array(values))) => match values.as_slice() {
            [Value::String(only)] => only.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// `None` if a rule is not for events of S3.
pub fn event_rule(name: String, is_enabled: bool, pattern: &str) -> Option<EventRule> {
    let pattern: Value = serde_json::from_str(pattern).ok()?;
    let is_of_s3 = |it: &Value| it == "aws.s3";
    if !pattern["source"].as_array()?.iter().any(is_of_s3) {
        return None;
    }
    let kinds = pattern["detail-type"].as_array();
    let names = pattern["detail"]["bucket"]["name"].as_array();
    let all = names.into_iter().flatten();
    let buckets = all.clone().filter_map(Value::as_str);
    let prefixes = all.filter_map(|it| it["prefix"].as_str());
    Some(EventRule {
        name,
        is_enabled,
        buckets: buckets.map(str::to_owned).collect(),
        prefixes: prefixes.map(str::to_owned).collect(),
        is_for_all: names.is_none(),
        misses: KINDS
            .into_iter()
            .filter(|kind| kinds.is_some_and(|kinds| !kinds.iter().any(|it| it == kind)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_as_lambda_writes_them() {
        let policy = r#"{"Version":"2012-10-17","Id":"default","Statement":[
            {"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction",
             "Resource":"arn:f","Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"},
             "ArnLike":{"AWS:SourceArn":"arn:aws:s3:::site-*"}}},
            {"Sid":"no","Effect":"Deny","Principal":"*","Action":"lambda:InvokeFunction"}]}"#;
        let expected = Permission {
            statement: "s3".to_owned(),
            service: "s3.amazonaws.com".to_owned(),
            source: "arn:aws:s3:::site-*".to_owned(),
            account: "123456789012".to_owned(),
        };
        assert_eq!(statements(policy), [expected]);
        assert_eq!(statements(""), []);
    }

    #[test]
    fn the_buckets_of_a_rule_are_read() {
        let rule = |pattern| event_rule("r".to_owned(), true, pattern);
        let named =
            r#"{"source":["aws.s3"],"detail":{"bucket":{"name":["site",{"prefix":"my-"}]}}}"#;
        let named = rule(named).unwrap();
        for (bucket, expected) in [("site", true), ("my-site", true), ("other", false)] {
            assert_eq!(named.includes(bucket), expected, "{bucket}");
        }
        assert!(rule(r#"{"source":["aws.s3"]}"#).unwrap().includes("any"));
        assert!(rule(r#"{"source":["aws.ec2"]}"#).is_none());
        for (kinds, misses) in [
            (r#"["Object Created","Object Deleted"]"#, &[][..]),
            (r#"["Object Created"]"#, &["Object Deleted"]),
            ("[]", &["Object Created", "Object Deleted"]),
        ] {
            let pattern = format!(r#"{{"source":["aws.s3"],"detail-type":{kinds}}}"#);
            let rule = event_rule("r".to_owned(), true, &pattern).unwrap();
            assert_eq!(rule.misses, misses, "{kinds}");
        }
    }
}
