//! Origins of which no event comes here: directory buckets, access points, buckets elsewhere.

use super::served::is_wanted;
use crate::check::facts::{Facts, Whereabouts};
use crate::check::finding::{Finding, Findings};
use crate::quote::set_parameter;
use invalidator_core::distributions::origin::OriginDomain;

pub fn find(facts: &Facts, found: &mut Findings) {
    for bucket in &facts.buckets {
        let subject = bucket.subject();
        match &bucket.whereabouts {
            Whereabouts::Here => {}
            Whereabouts::Region(region) => found.add(
                Finding::note(
                    "other-region",
                    &subject,
                    format!("it is in {region}"),
                    format!(
                        "S3 sends events only within a region: this stack, in {}, gets none of it",
                        facts.region
                    ),
                )
                .fix(format!("invalidatorctl check --region {region}"))
                .fix("# if there is no stack in that region: deploy one (docs/deploy.md)"),
            ),
            Whereabouts::NotOurs => found.add(Finding::warning(
                "not-our-bucket",
                &subject,
                "no bucket of this account has this name",
                "its changes are not invalidated; if an origin names a bucket that was deleted, somebody else can take \
                 its name and answer for your site",
            )),
        }
    }
    let aliases = facts.aliases();
    let summaries = facts.distributions.iter().flat_map(|it| &it.summaries);
    for summary in summaries.filter(|it| it.enabled && is_wanted(facts, &it.id)) {
        let subject = facts.subject_of(&summary.id);
        for origin in &summary.origins.items {
            let domain = origin.domain_name.to_ascii_lowercase();
            let named = OriginDomain::new(&domain).bucket(&aliases);
            let is_named = named.is_some_and(|it| !it.ends_with("-s3alias"));
            if domain.contains("--x-s3.") {
                found.add(
                    Finding::warning(
                        "directory-bucket",
                        &subject,
                        format!("its origin {domain} is a directory bucket"),
                        "S3 Express sends no events: its changes are never invalidated",
                    )
                    .fix("# invalidate after each upload, or give it a short TTL"),
                );
            } else if !is_named && is_access_point(&domain) {
                let known = facts.stack.parameter("OriginBuckets");
                let separator = if known.is_empty() { "" } else { "," };
                let alias = domain.split(".s3").next().unwrap_or(&domain);
                found.add(
                    Finding::warning(
                        "access-point-unknown",
                        &subject,
                        format!("its origin {domain} is an access point, and OriginBuckets does not name its bucket"),
                        "changes of that bucket are not invalidated there",
                    )
                    .fix(set_parameter(
                        &facts.stack.name,
                        &facts.stack.parameters,
                        "OriginBuckets",
                        &format!("{known}{separator}{alias}=BUCKET"),
                    )),
                );
            }
        }
    }
}

/// The alias of an access point, or a multi-region access point.
pub fn is_access_point(domain: &str) -> bool {
    domain.contains("-s3alias.s3.") || domain.contains(".accesspoint.s3-global.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::facts::Bucket;
    use crate::check::find::testing::{facts, rules, site, with};

    #[test]
    fn origins_without_events_are_found() {
        for (domain, expected) in [
            ("site.s3.eu-west-1.amazonaws.com", &[][..]),
            (
                "site--euw1-az1--x-s3.s3express-euw1-az1.eu-west-1.amazonaws.com",
                &["directory-bucket"],
            ),
            (
                "ap-abc-s3alias.s3.eu-west-1.amazonaws.com",
                &["access-point-unknown"],
            ),
            (
                "mabc.mrap.accesspoint.s3-global.amazonaws.com",
                &["access-point-unknown"],
            ),
            ("www.example.org", &[]),
        ] {
            let origins = json!({ "Items": [{ "Id": "o", "DomainName": domain }] });
            let facts = with(site(json!({ "Origins": origins })));
            assert_eq!(rules(&facts, find), expected, "{domain}");
        }
    }

    #[test]
    fn buckets_elsewhere_are_found() {
        for (whereabouts, expected) in [
            (Whereabouts::Region("us-east-1".to_owned()), "other-region"),
            (Whereabouts::NotOurs, "not-our-bucket"),
        ] {
            let mut facts = facts();
            facts.buckets.push(Bucket::new("far", whereabouts));
            assert_eq!(rules(&facts, find), [expected]);
        }
    }
}
