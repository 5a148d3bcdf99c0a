//! Another tool that invalidates the same distribution: changes are paid twice.

use super::served::{buckets_of, serving};
use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings, Subject, count};

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(distributions) = &facts.distributions else {
        return;
    };
    for (id, others) in &distributions.others {
        let subject = facts.subject_of(id);
        let mut of_buckets = serving(facts).filter(|it| it.id.as_str() == id);
        let is_ours = of_buckets.any(|it| buckets_of(facts, it).next().is_some());
        if !is_ours {
            continue;
        }
        if others.by_cause.is_empty() {
            found.well(
                &subject,
                format!(
                    "nobody else among {} of the last week",
                    count(
                        i64::try_from(others.looked_at).unwrap_or(i64::MAX),
                        "invalidation"
                    )
                ),
            );
            continue;
        }
        let causes = others.by_cause.iter();
        let causes =
            causes.map(|(cause, (number, paths))| format!("{number} by {cause} ({paths} paths)"));
        let causes: Vec<String> = causes.collect();
        found.add(
            Finding::warning(
                "another-tool",
                &subject,
                format!(
                    "others invalidate it too: of the {} of the last week that were looked at, {}",
                    count(
                        i64::try_from(others.looked_at).unwrap_or(i64::MAX),
                        "invalidation"
                    ),
                    causes.join(", ")
                ),
                "what both invalidate is paid twice, and the account's free paths are shared",
            )
            .fix("invalidatorctl bill")
            .fix("# then remove the invalidation from that tool or script"),
        );
    }
    if distributions.not_asked > 0 {
        found.add(Finding::note(
            "others-not-asked",
            &Subject::Stack,
            format!(
                "{} further distributions were not asked who else invalidates them",
                distributions.not_asked
            ),
            "CloudFront answers such questions slowly; `invalidatorctl bill` asks all",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::facts::Others;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn another_tool_is_found() {
        let mut facts = facts();
        let all = facts.distributions.as_mut().unwrap();
        all.others.insert("E1".to_owned(), Others::default());
        all.not_asked = 3;
        assert_eq!(rules(&facts, find), ["others-not-asked"]);
        let all = facts.distributions.as_mut().unwrap();
        let others = all.others.get_mut("E1").unwrap();
        others.by_cause.insert("AWS CLI".to_owned(), (2, 40));
        assert_eq!(rules(&facts, find), ["others-not-asked", "another-tool"]);
    }
}
