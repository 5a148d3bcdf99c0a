//! Whether planning takes default root objects, each of which takes a call to read.

use super::changes::{Changes, KeyChanges, KeyIndex, TooMany};
use super::key_set::KeySet;
use crate::distributions::Distribution;
use crate::distributions::listing::DistributionSummary;
use crate::distributions::origin::{OriginBuckets, OriginDomain};
use crate::path::OriginPath;

/// Of more keys than this, nothing is planned before the default root object is read: to plan them a second
/// time would cost more than to wait.
const MOST_PLANNED_WITHOUT: usize = 1_000;

/// What most default root objects are called, without their ending.
const USUAL_NAMES: [&str; 6] = ["index", "default", "home", "main", "start", "welcome"];

/// Whether planning some changes takes the default root object of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootNeed {
    /// None of the keys can be the root object, whatever that is: all are outside what the distribution serves.
    None,
    /// One of the keys could be it, as it may be any object, even in a folder. But it is not likely, so the
    /// changes are planned without, and then once more for the keys that are root objects, if any is.
    Later,
    /// It is read before anything is planned.
    First,
}

/// What takes default root objects.
#[derive(Clone, Copy, Debug)]
pub struct RootNeeds<'a> {
    /// The changes.
    pub keys: &'a KeyChanges,
    /// Buckets behind names that do not tell.
    pub origin_buckets: &'a OriginBuckets,
}

impl RootNeeds<'_> {
    /// Whether planning takes the default root object of a distribution.
    pub fn of(&self, summary: &DistributionSummary) -> RootNeed {
        if self.keys.len() > MOST_PLANNED_WITHOUT {
            return RootNeed::First;
        }
        let mut need = RootNeed::None;
        for origin in &summary.origins.items {
            let domain = OriginDomain::new(&origin.domain_name);
            let path = OriginPath::new(&origin.origin_path);
            for bucket in self.keys.by_bucket() {
                let endpoint = domain.endpoint_of(bucket.name.as_str(), self.origin_buckets);
                if endpoint.is_none() {
                    continue;
                }
                let keys = self.keys.below(&path, &bucket.keys);
                if keys.len() == 0 {
                    continue;
                }
                let mut paths = keys
                    .iter()
                    .filter_map(|key| self.keys.path(key).below(&path));
                if paths.any(|path| is_usual(path.as_str())) {
                    return RootNeed::First;
                }
                need = RootNeed::Later;
            }
        }
        need
    }
}

/// Whether most default root objects have such a path.
fn is_usual(path: &str) -> bool {
    let name = path.strip_prefix('/').unwrap_or(path);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let mut usual = USUAL_NAMES.iter();
    !name.contains('/') && usual.any(|usual| stem.eq_ignore_ascii_case(usual))
}

impl KeyChanges {
    /// The changes of the keys that are the default root object of any of these distributions, without ids of
    /// versions.
    ///
    /// # Errors
    /// None in practice: there are not more than there were.
    pub fn of_root_objects(
        &self,
        distributions: &[Distribution],
        origin_buckets: &OriginBuckets,
    ) -> Result<Changes, TooMany> {
        let mut found = KeySet::new();
        for distribution in distributions {
            for key in self.root_objects_of(distribution, origin_buckets) {
                found.insert(key);
            }
        }
        let mut changes = Changes::default();
        for key in self.indices().filter(|key| found.contains(*key)) {
            for message in self.messages(key) {
                changes.add(&self.change(key), message)?;
            }
        }
        Ok(changes)
    }

    /// Whether any key is the default root object of a distribution.
    pub fn have_root_object_of(
        &self,
        distribution: &Distribution,
        origin_buckets: &OriginBuckets,
    ) -> bool {
        !self
            .root_objects_of(distribution, origin_buckets)
            .is_empty()
    }

    fn root_objects_of(
        &self,
        distribution: &Distribution,
        origin_buckets: &OriginBuckets,
    ) -> Vec<KeyIndex> {
        let Some(root) = &distribution.default_root_object else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for bucket in self.by_bucket() {
            let origins = distribution.origins_of(bucket.name.as_str(), origin_buckets);
            let paths = origins.map(|(origin, _)| format!("{}{root}", origin.path.as_str()));
            found.extend(paths.filter_map(|path| self.find(&bucket.keys, &path)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::distributions::Details;
    use crate::distributions::listing::{
        CacheBehavior, CachePolicies, CustomErrorResponse, Items, Origin,
    };
    use crate::event::{BucketName, Change, ChangeKind, ObjectKey};
    use crate::plan::{MessageIndex, Plan, Rules, SetLimits, plan};

    fn summary(origins: &[(String, String)], error_page: Option<&str>) -> DistributionSummary {
        let origin = |(n, (bucket, path)): (usize, &(String, String))| Origin {
            id: format!("o{n}"),
            domain_name: format!("{bucket}.s3.eu-west-1.amazonaws.com"),
            origin_path: path.clone(),
        };
        let behavior = |pattern: Option<&str>, target: usize| CacheBehavior {
            path_pattern: pattern.map(str::to_owned),
            target_origin_id: format!("o{target}"),
            ..CacheBehavior::absent()
        };
        let last = origins.len() - 1;
        DistributionSummary {
            origins: Items {
                items: origins.iter().enumerate().map(origin).collect(),
            },
            cache_behaviors: Items {
                items: vec![behavior(Some("/f/*"), last)],
            },
            default_cache_behavior: behavior(None, 0),
            custom_error_responses: error_page.map(|page| Items {
                items: vec![CustomErrorResponse {
                    error_code: 404,
                    response_page_path: Some(page.to_owned()),
                    error_caching_min_ttl: Some(3_600),
                }],
            }),
            ..serde_json::from_str(
                r#"{"Id":"E1","ETag":"V1","Enabled":true,"DefaultCacheBehavior":{"TargetOriginId":"o0"}}"#,
            )
            .unwrap()
        }
    }

    fn changes(keys: &[(String, String, bool)]) -> KeyChanges {
        let mut changes = Changes::default();
        for (place, (bucket, key, is_deleted)) in keys.iter().enumerate() {
            let change = Change {
                bucket: BucketName::new(bucket.as_str()),
                key: ObjectKey::new(key.as_str()).unwrap(),
                kind: match is_deleted {
                    true => ChangeKind::Deleted,
                    false => ChangeKind::Created,
                },
                event_time: None,
                version_id: None,
            };
            changes.add(&change, MessageIndex::new(place)).unwrap();
        }
        KeyChanges::from(changes)
    }

    fn distributions(summary: &DistributionSummary, root: Option<&str>) -> Vec<Distribution> {
        let details = Details {
            default_root_object: root.map(str::to_owned),
            tenants: Vec::new(),
        };
        Distribution::all(summary, details, &CachePolicies::new())
    }

    fn paths(keys: &KeyChanges, distributions: &[Distribution]) -> BTreeSet<String> {
        let aliases = OriginBuckets::default();
        let documents = HashMap::new();
        let rules = Rules {
            distributions,
            origin_buckets: &aliases,
            index_documents: &documents,
            debounce: Duration::from_secs(10),
            limits: SetLimits::with_paths(3_000),
            min_wildcard_depth: 0,
        };
        let plan: Plan<'_> = plan(keys, &rules);
        let sets = plan.targets().flat_map(|target| target.sets(|_| true));
        let paths = sets.flat_map(|set| set.paths);
        paths.map(|path| path.as_str().to_owned()).collect()
    }

    #[test]
    fn a_usual_name_in_the_root_is_read_first() {
        let origins = [("site".to_owned(), "/web".to_owned())];
        let summary = summary(&origins, None);
        for (key, expected) in [
            ("web/index.html", RootNeed::First),
            ("web/Default.htm", RootNeed::First),
            ("web/index", RootNeed::First),
            ("web/a.html", RootNeed::Later),
            ("web/a/index.html", RootNeed::Later),
            ("web/indexes.html", RootNeed::Later),
            ("index.html", RootNeed::None),
            ("webs/index.html", RootNeed::None),
        ] {
            let keys = changes(&[("site".to_owned(), key.to_owned(), false)]);
            let needs = RootNeeds {
                keys: &keys,
                origin_buckets: &OriginBuckets::default(),
            };
            assert_eq!(needs.of(&summary), expected, "{key}");
        }
        let other = changes(&[("docs".to_owned(), "web/index.html".to_owned(), false)]);
        let needs = RootNeeds {
            keys: &other,
            origin_buckets: &OriginBuckets::default(),
        };
        assert_eq!(needs.of(&summary), RootNeed::None);
    }

    #[test]
    fn many_keys_are_not_planned_twice() {
        let summary = summary(&[("site".to_owned(), String::new())], None);
        let needs = |count: usize| {
            let keys = (0..count).map(|n| ("site".to_owned(), format!("{n}"), false));
            let keys = changes(&keys.collect::<Vec<_>>());
            let aliases = OriginBuckets::default();
            RootNeeds {
                keys: &keys,
                origin_buckets: &aliases,
            }
            .of(&summary)
        };
        assert_eq!(needs(MOST_PLANNED_WITHOUT), RootNeed::Later);
        assert_eq!(needs(MOST_PLANNED_WITHOUT + 1), RootNeed::First);
    }

    proptest! {
        /// Planning without the root object, and then once more the keys that are it, makes the same paths as
        /// planning with it. Where nothing needs it, the first of these is enough.
        #[test]
        fn planning_without_the_root_object_and_then_the_rest_makes_the_same_paths(
            origins in proptest::collection::vec(("(site|docs)", "(|/web|/web/f)"), 1..3),
            keys in proptest::collection::vec(("(site|docs)", "(web/)?(f/)?(index.html|a|b)", any::<bool>()), 1..6),
            root in proptest::option::of("(f/)?(index.html|a|b)"),
            error_page in proptest::option::of("(/|/a)"),
        ) {
            let summary = summary(&origins, error_page.as_deref());
            let keys = changes(&keys);
            let aliases = OriginBuckets::default();
            let needs = RootNeeds { keys: &keys, origin_buckets: &aliases };
            let with = distributions(&summary, root.as_deref());
            let all = paths(&keys, &with);
            let mut found = paths(&keys, &distributions(&summary, None));
            if needs.of(&summary) == RootNeed::None {
                prop_assert_eq!(&found, &all);
            }
            let roots = KeyChanges::from(keys.of_root_objects(&with, &aliases).unwrap());
            found.extend(paths(&roots, &with));
            // A wildcard of the one plan covers what is a path of the other.
            let covered = |path: &String| all.iter().any(|it| {
                it.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix) && it != path)
            });
            found.retain(|path| !covered(path));
            prop_assert_eq!(found, all);
        }
    }
}
