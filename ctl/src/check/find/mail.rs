//! Whether somebody gets the mails.

use crate::check::facts::{Facts, Subscription};
use crate::check::finding::{Finding, Findings, Subject, count};
use crate::quote::command;

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(mail) = &facts.mail else {
        return;
    };
    let subject = Subject::Mail;
    let subscribe = |endpoint: &str| {
        command([
            "aws",
            "sns",
            "subscribe",
            "--topic-arn",
            &mail.topic,
            "--protocol",
            "email",
            "--notification-endpoint",
            endpoint,
        ])
    };
    let is_unconfirmed = |it: &&Subscription| !it.is_confirmed;
    for it in mail.subscriptions.iter().filter(is_unconfirmed) {
        found.add(
            Finding::problem(
                "mail-unconfirmed",
                &subject,
                format!("{} has not confirmed the subscription", it.endpoint),
                "AWS sends no mail before that: nobody is told of rejected paths or of alarms",
            )
            .fix(format!(
                "# click the link in the mail of AWS to {}; this sends it once more:",
                it.endpoint
            ))
            .fix(subscribe(&it.endpoint)),
        );
    }
    match (
        mail.subscriptions.as_slice(),
        facts.stack.parameter("AdminEmail"),
    ) {
        ([], "none") => found.add(
            Finding::note(
                "no-mails",
                &subject,
                "nobody gets mails: AdminEmail is none",
                "rejected paths are only in the error bucket, and alarms only in CloudWatch",
            )
            .fix(subscribe("you@example.org")),
        ),
        ([], _) => found.add(
            Finding::problem(
                "no-subscription",
                &subject,
                "the topic of mails has no subscription",
                "nobody is told of rejected paths or of alarms",
            )
            .fix(subscribe(match facts.stack.parameter("AdminEmail") {
                "" => "you@example.org",
                email => email,
            })),
        ),
        (all, _) if all.iter().any(|it| it.is_confirmed) => {
            let number = all.iter().filter(|it| it.is_confirmed).count();
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            let what = count(number, "confirmed subscription");
            found.well(&subject, format!("mails go to {what}"));
        }
        _ => {}
    }
    if mail.key.ends_with("alias/aws/sns") {
        found.add(
            Finding::problem(
                "alarms-cannot-publish",
                &subject,
                "the topic is encrypted with the key alias/aws/sns",
                "CloudWatch cannot use that key: no alarm arrives",
            )
            .fix(command([
                "aws",
                "sns",
                "set-topic-attributes",
                "--topic-arn",
                &mail.topic,
                "--attribute-name",
                "KmsMasterKeyId",
                "--attribute-value",
                "",
            ])),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn mails_that_reach_nobody_are_found() {
        let subscription = |is_confirmed| Subscription {
            protocol: "email".to_owned(),
            endpoint: "ada@example.org".to_owned(),
            is_confirmed,
            has_filter: false,
        };
        for (email, subscriptions, key, expected) in [
            ("ada@example.org", vec![subscription(true)], "", &[][..]),
            (
                "ada@example.org",
                vec![subscription(false)],
                "",
                &["mail-unconfirmed"],
            ),
            ("ada@example.org", vec![], "", &["no-subscription"]),
            ("none", vec![], "", &["no-mails"]),
            ("none", vec![subscription(true)], "", &[]),
            (
                "ada@example.org",
                vec![subscription(true)],
                "alias/aws/sns",
                &["alarms-cannot-publish"],
            ),
        ] {
            let mut facts = facts();
            let parameters = &mut facts.stack.parameters;
            parameters.insert("AdminEmail".to_owned(), email.to_owned());
            let mail = facts.mail.as_mut().unwrap();
            (mail.subscriptions, mail.key) = (subscriptions, key.to_owned());
            assert_eq!(rules(&facts, find), expected, "{email} {key}");
        }
    }
}
