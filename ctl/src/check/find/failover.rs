//! Origin groups that answer for an object that the first origin does not have.

use invalidator_core::distributions::listing::{DistributionSummary, Origin};
use invalidator_core::distributions::origin::OriginDomain;

use super::routes::routes;
use super::served::is_wanted;
use crate::check::facts::{Facts, Whereabouts};
use crate::check::finding::{Finding, Findings, Severity};

/// The answers of an origin that does not have an object.
const MISSING: [i32; 2] = [403, 404];

pub fn find(facts: &Facts, found: &mut Findings) {
    let summaries = facts.distributions.iter().flat_map(|it| &it.summaries);
    for summary in summaries.filter(|it| it.enabled && is_wanted(facts, &it.id)) {
        groups(facts, summary, found);
    }
}

fn groups(facts: &Facts, summary: &DistributionSummary, found: &mut Findings) {
    let groups = summary.origin_groups.iter().flat_map(|it| &it.items);
    for group in groups {
        let codes = &group.failover_criteria.status_codes.items;
        let codes: Vec<String> = codes
            .iter()
            .filter(|code| MISSING.contains(code))
            .map(ToString::to_string)
            .collect();
        let members = summary.origins_behind(&group.id);
        let members = summary
            .origins
            .items
            .iter()
            .filter(|origin| members.contains(&origin.id));
        let (here, elsewhere): (Vec<&Origin>, Vec<&Origin>) =
            members.partition(|origin| is_connected(facts, origin));
        if codes.is_empty() || here.is_empty() {
            continue;
        }
        let elsewhere: Vec<&str> = elsewhere.iter().map(|it| it.domain_name.as_str()).collect();
        let mut finding = Finding::note(
            "failover-on-missing",
            &facts.subject_of(&summary.id),
            format!(
                "the origin group {} asks its second origin on {}",
                group.id,
                codes.join(" and ")
            ),
            "what the second origin answers for a missing object is cached like an object: under exception paths it \
             hides a new object until its TTL is over, and nothing is skipped there",
        );
        if !elsewhere.is_empty() {
            finding.severity = Severity::Warning;
            finding.why = format!(
                "changes in {} are not invalidated, as it is no bucket that is connected here",
                elsewhere.join(", ")
            );
            finding = finding.fix(
                "# connect it, with a stack in its region; or let the group fail over on 5xx only",
            );
        }
        found.add(finding);
    }
}

/// Whether an origin is a bucket whose events come here.
fn is_connected(facts: &Facts, origin: &Origin) -> bool {
    let aliases = facts.aliases();
    let domain = OriginDomain::new(&origin.domain_name);
    facts.buckets.iter().any(|bucket| {
        bucket.whereabouts == Whereabouts::Here
            && domain.endpoint_of(&bucket.name, &aliases).is_some()
            && !routes(facts, bucket).is_empty()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::find::testing::{site, with};

    #[test]
    fn a_failover_on_missing_objects_is_found() {
        for (codes, second, expected) in [
            (json!([500, 503]), "other.s3.eu-west-1.amazonaws.com", None),
            (
                json!([404]),
                "other.s3.eu-west-1.amazonaws.com",
                Some(Severity::Warning),
            ),
            (
                json!([403, 404, 500]),
                "www.example.org",
                Some(Severity::Warning),
            ),
            (
                json!([403]),
                "site.s3.eu-west-1.amazonaws.com",
                Some(Severity::Note),
            ),
        ] {
            let facts = with(site(json!({
                "Origins": { "Items": [
                    { "Id": "site", "DomainName": "site.s3.eu-west-1.amazonaws.com" },
                    { "Id": "second", "DomainName": second },
                ] },
                "OriginGroups": { "Items": [{
                    "Id": "group",
                    "FailoverCriteria": { "StatusCodes": { "Items": codes } },
                    "Members": { "Items": [{ "OriginId": "site" }, { "OriginId": "second" }] },
                }] },
            })));
            let mut found = Findings::default();
            find(&facts, &mut found);
            let severity = found.all.first().map(|it| it.severity);
            assert_eq!(severity, expected, "{second}");
        }
    }
}
