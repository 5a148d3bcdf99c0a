//! Which distributions serve a bucket, and which of them are left out.

use invalidator_core::distributions::Distribution;

use super::routes::routes;
use crate::check::facts::{Bucket, Facts, Whereabouts};
use crate::check::finding::{Finding, Findings, Subject};
use crate::quote::set_parameter;

/// The ids of the distributions in service that serve a bucket and may be invalidated.
pub fn served_by(facts: &Facts, bucket: &Bucket) -> Vec<String> {
    let mut ids: Vec<String> = serving(facts)
        .filter(|it| has(facts, it, bucket))
        .map(|it| it.id.to_string())
        .collect();
    ids.dedup();
    ids
}

/// The distributions in service that may be invalidated.
pub fn serving(facts: &Facts) -> impl Iterator<Item = &Distribution> {
    all(facts).filter(|it| it.is_in_service() && is_wanted(facts, it.id.as_str()))
}

/// The buckets here that a distribution serves.
pub fn buckets_of<'f>(
    facts: &'f Facts,
    distribution: &'f Distribution,
) -> impl Iterator<Item = &'f Bucket> {
    let here = facts.buckets.iter();
    let here = here.filter(|it| it.whereabouts == Whereabouts::Here);
    here.filter(move |it| has(facts, distribution, it))
}

/// Whether `DISTRIBUTION_IDS` does not leave out a distribution.
pub fn is_wanted(facts: &Facts, id: &str) -> bool {
    facts.config().is_none_or(|config| {
        let ids = &config.distribution_ids;
        ids.is_empty() || ids.iter().any(|it| it.as_str() == id)
    })
}

fn all(facts: &Facts) -> impl Iterator<Item = &Distribution> {
    facts.distributions.iter().flat_map(|it| &it.serving)
}

fn has(facts: &Facts, distribution: &Distribution, bucket: &Bucket) -> bool {
    let aliases = facts.aliases();
    distribution
        .origins_of(&bucket.name, &aliases)
        .next()
        .is_some()
}

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(distributions) = &facts.distributions else {
        return;
    };
    for bucket in &facts.buckets {
        if bucket.whereabouts != Whereabouts::Here {
            continue;
        }
        let subject = bucket.subject();
        let served = served_by(facts, bucket);
        if !served.is_empty() {
            found.well(&subject, format!("served by {}", served.join(", ")));
        } else if !routes(facts, bucket).is_empty() {
            found.add(
                Finding::warning(
                    "served-by-none",
                    &subject,
                    "it is connected, and no distribution in service has it as an origin",
                    "its events cost, and nothing is invalidated",
                )
                .fix(format!("invalidatorctl disconnect {}", bucket.name))
                .fix("# or, if its distribution names an access point: add it to OriginBuckets"),
            );
        }
        for it in all(facts).filter(|it| has(facts, it, bucket)) {
            let id = it.id.as_str();
            let subject = facts.subject_of(id);
            let finding = match () {
                () if !it.enabled => Finding::note(
                    "distribution-disabled",
                    &subject,
                    format!("it serves {}, and is disabled", bucket.name),
                    "nothing is invalidated there",
                ),
                () if !is_wanted(facts, id) => {
                    let ids = facts.stack.parameter("DistributionIds");
                    Finding::note(
                        "distribution-left-out",
                        &subject,
                        format!(
                            "it serves {}, and DistributionIds leaves it out",
                            bucket.name
                        ),
                        "nothing is invalidated there",
                    )
                    .fix(set_parameter(
                        &facts.stack.name,
                        &facts.stack.parameters,
                        "DistributionIds",
                        &format!("{ids},{id}"),
                    ))
                }
                () => continue,
            };
            if !found.has(&subject, &[finding.rule]) {
                found.add(finding);
            }
        }
    }
    let Some(config) = facts.config() else {
        return;
    };
    for id in &config.distribution_ids {
        if !distributions.ids.contains(id.as_str()) {
            let others = config.distribution_ids.iter().filter(|it| *it != id);
            let others: Vec<&str> = others.map(|it| it.as_str()).collect();
            found.add(
                Finding::warning(
                    "no-such-distribution",
                    &Subject::Stack,
                    format!("DistributionIds names {id}, and there is no such distribution"),
                    "if it is misspelt, the right one is left out",
                )
                .fix(set_parameter(
                    &facts.stack.name,
                    &facts.stack.parameters,
                    "DistributionIds",
                    &others.join(","),
                )),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::find::testing::{facts, rules, site, with, with_ids};

    #[test]
    fn distributions_that_are_left_out_are_found() {
        for (ids, expected) in [
            ("", &[][..]),
            ("E1", &[]),
            (
                "E2",
                &[
                    "no-such-distribution",
                    "served-by-none",
                    "distribution-left-out",
                ],
            ),
            ("E1,E9", &["no-such-distribution"]),
        ] {
            assert_eq!(rules(&with_ids(ids), find), expected, "{ids}");
        }
    }

    #[test]
    fn a_bucket_that_nothing_serves_is_found() {
        let disabled = site(serde_json::json!({ "Enabled": false }));
        assert_eq!(
            rules(&with(disabled), find),
            ["served-by-none", "distribution-disabled"]
        );
        let mut facts = facts();
        facts.distributions.as_mut().unwrap().serving.clear();
        assert_eq!(rules(&facts, find), ["served-by-none"]);
    }
}
