//! Tags of a bucket that do not do what they were meant for.

use invalidator_core::bucket_tags::{BucketSettings, Misfit, ineffective};

use crate::check::facts::{Bucket, Facts, Whereabouts};
use crate::check::finding::{Finding, Findings};
use crate::quote::{command, set_parameter};

pub fn find(facts: &Facts, found: &mut Findings) {
    for bucket in &facts.buckets {
        if bucket.whereabouts != Whereabouts::Here {
            continue;
        }
        let Some(tags) = &bucket.tags else { continue };
        let before = found.all.len();
        let settings = BucketSettings::from_tags(tags);
        entries(bucket, found);
        if settings.only_changed {
            only_changed(facts, bucket, found);
        }
        if found.all.len() > before {
            continue;
        }
        let rules: Vec<&str> = settings
            .exceptions
            .iter()
            .map(|rule| rule.entry.as_str())
            .collect();
        let what = match rules.as_slice() {
            [] => "no tag exempts uploads".to_owned(),
            rules => format!("uploads are ignored under {}", rules.join(" ")),
        };
        found.well(&bucket.subject(), what);
    }
}

fn entries(bucket: &Bucket, found: &mut Findings) {
    let subject = bucket.subject();
    let tags = bucket.tags.as_deref().unwrap_or_default();
    let bad = ineffective(tags);
    let settings = BucketSettings::from_tags(tags);
    let good: Vec<&str> = settings
        .exceptions
        .iter()
        .filter(|rule| {
            !bad.iter()
                .any(|it| it.tag == rule.tag && it.entry == rule.entry)
        })
        .map(|rule| rule.entry.as_str())
        .collect();
    for it in &bad {
        let what = format!("the tag {} has `{}`: {}", it.tag, it.entry, it.why);
        let finding = match &it.why {
            Misfit::CoveredBy(_) => {
                Finding::note("tag-entry-redundant", &subject, what, "it does no harm")
            }
            Misfit::Illegal(_) => Finding::warning(
                "tag-illegal",
                &subject,
                what,
                "it cannot be saved again with the other tags",
            ),
            Misfit::Everything => Finding::warning(
                "tag-ignores-all",
                &subject,
                what,
                "no upload to this bucket is invalidated",
            ),
            _ => Finding::warning(
                "tag-ineffective",
                &subject,
                what,
                "it changes nothing: uploads there cost, or folders stay old",
            ),
        };
        let fix = match &it.why {
            Misfit::Misspelt("exceptionPaths") => {
                let all = [good.as_slice(), &[it.entry.as_str()]].concat().join(" ");
                command([
                    "invalidatorctl",
                    "connect",
                    &bucket.name,
                    "--exception-paths",
                    &all,
                ])
            }
            Misfit::Misspelt("indexDocument") => command([
                "invalidatorctl",
                "connect",
                &bucket.name,
                "--index-document",
                &it.entry,
            ]),
            Misfit::NotAName => command([
                "invalidatorctl",
                "connect",
                &bucket.name,
                "--index-document",
                "index.html",
            ]),
            Misfit::Misspelt(_) | Misfit::UnknownValue => command([
                "invalidatorctl",
                "connect",
                &bucket.name,
                "--only-changed",
                "true",
            ]),
            _ => command([
                "invalidatorctl",
                "connect",
                &bucket.name,
                "--exception-paths",
                &good.join(" "),
            ]),
        };
        let mut finding = finding.fix(fix);
        if let Misfit::Misspelt(_) = it.why {
            finding = finding.fix(format!("# then remove the tag {}: docs/tag.md", it.tag));
        }
        found.add(finding);
    }
    for path in &bucket.empty_paths {
        found.add(Finding::note(
            "exception-path-empty",
            &subject,
            format!("no object is under the exception path `{path}`"),
            "if it is misspelt, uploads that should be ignored are paid for",
        ));
    }
}

/// What keeps a bucket with `invalidate=changed` from skipping anything.
fn only_changed(facts: &Facts, bucket: &Bucket, found: &mut Findings) {
    let subject = bucket.subject();
    let nothing = |what: &str| {
        Finding::warning(
            "nothing-is-skipped",
            &subject,
            format!("it is tagged invalidate=changed, and {what}"),
            "nothing is skipped: each upload is paid for as without the tag",
        )
    };
    if bucket.is_versioned == Some(false) {
        found.add(nothing("its versioning is not enabled").fix(command([
            "aws",
            "s3api",
            "put-bucket-versioning",
            "--bucket",
            &bucket.name,
            "--versioning-configuration",
            "Status=Enabled",
        ])));
    }
    if bucket.owns_all == Some(false) {
        let finding = nothing("its ACLs are not disabled")
            .fix("# uploads that set an ACL, such as `aws s3 cp --acl public-read`, fail from then on; if there are none:")
            .fix(command([
                "aws",
                "s3api",
                "put-bucket-ownership-controls",
                "--bucket",
                &bucket.name,
                "--ownership-controls",
                "Rules=[{ObjectOwnership=BucketOwnerEnforced}]",
            ]))
            .fix("# otherwise do without the tag:")
            .fix(command([
                "invalidatorctl",
                "connect",
                &bucket.name,
                "--only-changed",
                "false",
            ]));
        found.add(finding);
    }
    let Some(config) = facts.config() else {
        return;
    };
    let set = |name: &str, value: &str| {
        set_parameter(&facts.stack.name, &facts.stack.parameters, name, value)
    };
    if !config.look_before_paying {
        let fix = set("LookBeforePaying", "true");
        found.add(nothing("LookBeforePaying is false").fix(fix));
    }
    if config.min_wildcard_depth > 0 {
        let what = "MinWildcardDepth is above 0, so no distribution is ever trusted";
        found.add(nothing(what).fix(set("MinWildcardDepth", "0")));
    }
    let mut compared = config.compare_buckets.iter();
    if !compared.any(|it| it.as_str() == bucket.name) {
        let known = facts.stack.parameter("CompareBuckets");
        let all = match known {
            "" => bucket.name.clone(),
            known => format!("{known},{}", bucket.name),
        };
        found.add(
            Finding::note(
                "overwrites-not-compared",
                &subject,
                "it is tagged invalidate=changed, and CompareBuckets does not name it",
                "first uploads are skipped, overwrites with the same content are not",
            )
            .fix(set("CompareBuckets", &all)),
        );
    }
}

#[cfg(test)]
mod tests {
    use invalidator_core::bucket_tags::BucketTag;

    use super::*;
    use crate::check::find::testing::{facts, rules};

    fn tags(tags: &[(&str, &str)]) -> Facts {
        let mut facts = facts();
        let tag = |(key, value): &(&str, &str)| BucketTag {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        facts.buckets[0].tags = Some(tags.iter().map(tag).collect());
        facts
    }

    #[test]
    fn tags_that_do_nothing_are_found() {
        for (row, expected) in [
            (&[("exceptionPaths", "tmp")][..], &[][..]),
            (&[("ExceptionPaths", "tmp")], &["tag-ineffective"]),
            (&[("exceptionPaths", "/")], &["tag-ineffective"]),
            (&[("exceptionPaths", "tmp tmp/a")], &["tag-entry-redundant"]),
            (
                &[("exceptionPaths", "*")],
                &["tag-illegal", "tag-ignores-all"],
            ),
            (&[("invalidate", "yes")], &["tag-ineffective"]),
        ] {
            assert_eq!(rules(&tags(row), find), expected, "{row:?}");
        }
    }

    #[test]
    fn the_fix_of_a_misspelt_tag_keeps_the_other_paths() {
        let facts = tags(&[("exceptionPaths", "a /"), ("exceptionpaths2", "b c")]);
        let mut found = Findings::default();
        find(&facts, &mut found);
        let fixes: Vec<&str> = found.all.iter().map(|it| it.fix[0].as_str()).collect();
        let start = "invalidatorctl connect site --exception-paths";
        assert_eq!(fixes, [format!("{start} 'a b c'"), format!("{start} a")]);
    }

    #[test]
    fn what_keeps_a_bucket_from_skipping_is_found() {
        let mut facts = tags(&[("invalidate", "changed")]);
        let bucket = &mut facts.buckets[0];
        (bucket.is_versioned, bucket.owns_all) = (Some(true), Some(true));
        assert_eq!(rules(&facts, find), ["overwrites-not-compared"]);
        let bucket = &mut facts.buckets[0];
        (bucket.is_versioned, bucket.owns_all) = (Some(false), Some(false));
        let expected = [
            "nothing-is-skipped",
            "nothing-is-skipped",
            "overwrites-not-compared",
        ];
        assert_eq!(rules(&facts, find), expected);
    }

    #[test]
    fn that_uploads_with_an_acl_will_fail_is_said_before_the_command() {
        let mut facts = tags(&[("invalidate", "changed")]);
        facts.buckets[0].owns_all = Some(false);
        let mut found = Findings::default();
        find(&facts, &mut found);
        let fix = &found.all[0].fix;
        let place = |part: &str| fix.iter().position(|it| it.contains(part)).unwrap();
        assert!(
            place("--acl public-read") < place("BucketOwnerEnforced"),
            "{fix:?}"
        );
        assert!(fix.contains(&"invalidatorctl connect site --only-changed false".to_owned()));
    }

    #[test]
    fn an_exception_path_without_objects_is_noted() {
        let mut facts = tags(&[("exceptionPaths", "tmp")]);
        facts.buckets[0].empty_paths = vec!["tmp".to_owned()];
        assert_eq!(rules(&facts, find), ["exception-path-empty"]);
    }
}
