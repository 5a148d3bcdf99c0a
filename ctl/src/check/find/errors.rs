//! Errors that are cached for longer than the debounce, and pages that are shown instead of them.

use std::time::Duration;

use invalidator_core::bucket_tags::BucketSettings;
use invalidator_core::distributions::Distribution;

use super::caching::of_buckets;
use super::served::{buckets_of, serving};
use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings, Severity};
use crate::quote::quoted;

/// How long CloudFront caches an error if nothing else is set.
const DEFAULT_TTL: Duration = Duration::from_secs(10);

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(config) = facts.config() else {
        return;
    };
    for distribution in serving(facts) {
        if buckets_of(facts, distribution).next().is_none() {
            continue;
        }
        let before = found.all.len();
        cached_long(facts, distribution, config.debounce, found);
        pages(
            facts,
            distribution,
            config.debounce,
            config.min_wildcard_depth,
            found,
        );
        if found.all.len() == before {
            let subject = facts.subject_of(distribution.id.as_str());
            found.well(&subject, "errors are not cached for long");
        }
    }
}

/// Where creations are ignored, a cached error hides a new object for as long as it is cached.
fn cached_long(facts: &Facts, it: &Distribution, debounce: Duration, found: &mut Findings) {
    let ttl = it.error_caching.missing_object_ttl();
    // That of CloudFront's default is nobody's fault.
    if ttl <= debounce.max(DEFAULT_TTL) {
        return;
    }
    let has_exceptions = buckets_of(facts, it).any(|bucket| {
        let tags = bucket.tags.as_deref().unwrap_or_default();
        let settings = BucketSettings::from_tags(tags);
        settings.only_changed || settings.exceptions.iter().next().is_some()
    });
    let is_uncached = of_buckets(facts, it).iter().any(|it| !it.caching.caches());
    let subject = facts.subject_of(it.id.as_str());
    let what = format!(
        "it caches 403 or 404 for {} s, longer than the debounce",
        ttl.as_secs()
    );
    let why = "where uploads are ignored (exception paths, behaviors that cache nothing), a new object stays hidden \
               for that long; and no first upload is skipped";
    let mut finding = Finding::note("error-cached-long", &subject, what, why).fix(set_error_ttl(
        it.id.as_str(),
        ".ErrorCode == 403 or .ErrorCode == 404",
        debounce,
    ));
    if has_exceptions || is_uncached {
        finding.severity = Severity::Warning;
    }
    found.add(finding);
}

/// A page that is shown for missing objects may be cached under any path: a single-page app.
fn pages(
    facts: &Facts,
    it: &Distribution,
    debounce: Duration,
    min_wildcard_depth: usize,
    found: &mut Findings,
) {
    let subject = facts.subject_of(it.id.as_str());
    for page in it.error_caching.pages_cached_longer_than(debounce) {
        let what = format!(
            "it shows {} instead of an error, and caches that for {} s under each path that was asked for",
            page.path,
            page.ttl.as_secs()
        );
        let finding = match min_wildcard_depth {
            0 => Finding::warning(
                "error-page-clears-all",
                &subject,
                what,
                "each upload of this page clears `/*`: one path, but visitors fetch everything again",
            ),
            depth => Finding::problem(
                "error-page-rejected",
                &subject,
                what,
                format!(
                    "each upload of this page needs `/*`, which MinWildcardDepth {depth} rejects: the old page stays"
                ),
            ),
        };
        let select = format!(
            ".ResponsePagePath == {}",
            serde_json::Value::from(page.path.as_str())
        );
        found.add(finding.fix(set_error_ttl(it.id.as_str(), &select, debounce)));
    }
}

fn set_error_ttl(id: &str, select: &str, debounce: Duration) -> String {
    let seconds = debounce.as_secs();
    let filter = format!(
        ".DistributionConfig | (.CustomErrorResponses.Items[]? | select({select}) | .ErrorCachingMinTTL) = {seconds}"
    );
    format!(
        "aws cloudfront get-distribution-config --id {id} --output json > distribution.json && jq {} \
         distribution.json > config.json && aws cloudfront update-distribution --id {id} --if-match \"$(jq -r .ETag \
         distribution.json)\" --distribution-config file://config.json",
        quoted(&filter)
    )
}

#[cfg(test)]
mod tests {
    use invalidator_core::bucket_tags::BucketTag;
    use serde_json::json;

    use super::*;
    use crate::check::find::testing::{rules, site, with, with_setting};

    #[test]
    fn errors_and_their_pages_that_are_cached_for_long_are_found() {
        for (code, page, ttl, depth, expected) in [
            (404, "", 10, "0", &[][..]),
            (404, "", 300, "0", &["error-cached-long"]),
            (500, "", 300, "0", &[]),
            (404, "/index.html", 10, "0", &[]),
            (
                404,
                "/index.html",
                300,
                "0",
                &["error-cached-long", "error-page-clears-all"],
            ),
            (500, "/oops.html", 300, "0", &["error-page-clears-all"]),
            (
                404,
                "/index.html",
                300,
                "1",
                &["error-cached-long", "error-page-rejected"],
            ),
        ] {
            let mut facts = with(site(json!({ "CustomErrorResponses": { "Items": [
                { "ErrorCode": code, "ResponsePagePath": page, "ErrorCachingMinTTL": ttl },
            ] } })));
            with_setting(&mut facts, "MIN_WILDCARD_DEPTH", depth);
            let mut found = rules(&facts, find);
            found.sort_unstable();
            assert_eq!(found, expected, "{code} {page} {ttl} {depth}");
        }
    }

    #[test]
    fn a_cached_error_matters_where_uploads_are_ignored() {
        let responses = json!({ "Items": [{ "ErrorCode": 404, "ErrorCachingMinTTL": 300 }] });
        let mut facts = with(site(json!({ "CustomErrorResponses": responses })));
        let severity = |facts: &Facts| {
            let mut found = Findings::default();
            find(facts, &mut found);
            found.all[0].severity
        };
        assert_eq!(severity(&facts), Severity::Note);
        facts.buckets[0].tags = Some(vec![BucketTag {
            key: "exceptionPaths".to_owned(),
            value: "tmp".to_owned(),
        }]);
        assert_eq!(severity(&facts), Severity::Warning);
    }
}
