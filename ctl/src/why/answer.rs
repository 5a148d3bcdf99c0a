//! What the plan says about an object, step by step. Nothing is decided here.

use std::collections::BTreeMap;

use invalidator_core::bucket_tags::ExceptionRule;
use invalidator_core::distributions::error_pages::ErrorPage;
use invalidator_core::distributions::{Behavior, Caching, Distribution, Origin};
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::path::{InvalidationPath, WildcardCause};
use invalidator_core::plan::{
    Changes, Decision, KeyChanges, Lookup, MessageIndex, PathRole, Plan, Route, Rules, candidates,
    plan,
};
use invalidator_core::target::{DistributionId, Target, TenantId};
use serde::Serialize;

use super::invalidated::Looked;
use super::logged::Logged;
use crate::asked::Asked;
use crate::function::Function;
use crate::grouped::{common_reason, groups};
use crate::plan::cost::{Costs, ExplainedCost};
use crate::plan::explanation::ExplainedPath;
use crate::site::Site;

const VERSION: u32 = 1;

/// The answer to the question.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The version of this form.
    v: u32,
    /// The URL that was asked for, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub objects: Vec<Object>,
    /// What is not known, or has to be known in addition.
    pub notes: Vec<String>,
}

/// What is done about an object.
#[derive(Debug, Serialize)]
pub struct Object {
    pub bucket: BucketName,
    pub key: ObjectKey<'static>,
    /// The rule by which uploads are ignored, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excepted: Option<Excepted>,
    /// Whether uploads that change nothing are skipped in this bucket.
    pub only_changed: bool,
    pub served: Vec<Served>,
    pub skipped: Vec<Skipped>,
    /// What a change costs if it comes alone.
    pub cost: ExplainedCost,
    /// The kind of change that this is the cost of.
    pub cost_of: ChangeKind,
    /// What happened; none if nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// The paths of a deletion, which are all that may be invalidated, by target.
    #[serde(skip)]
    pub targets: Vec<(Target, Vec<InvalidationPath<'static>>)>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Excepted {
    #[serde(flatten)]
    pub rule: ExceptionRule,
    pub reason: String,
}

/// A distribution, or a tenant of one, as people know it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    pub distribution: DistributionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    pub alias: String,
}

/// Distributions that serve it in the same way.
#[derive(Debug, Serialize)]
pub struct Served {
    pub distributions: Vec<Named>,
    #[serde(flatten)]
    pub way: Way,
}

/// How it is served.
#[derive(Debug, PartialEq, Serialize)]
pub struct Way {
    pub origin: String,
    pub domain: String,
    /// The folder of the bucket that the origin serves.
    pub origin_path: String,
    /// The paths at which viewers get it.
    pub lookups: Vec<Looking>,
    /// For how long the error of a missing object may be cached, in seconds.
    pub missing_object_ttl: u64,
    pub error_pages: Vec<Page>,
    /// Functions that may have something else cached than the origin has for a path.
    pub rewriting_functions: Vec<String>,
    pub upload: Outcome,
    pub deletion: Outcome,
    /// If its name needs a wildcard: how often such ones are submitted, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rationed: Option<u64>,
}

/// A path at which viewers get it.
#[derive(Debug, PartialEq, Serialize)]
pub struct Looking {
    pub path: String,
    /// Why it is another path than its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The behaviors that were tried before, which do not match.
    pub no_match: Vec<String>,
    /// The one that takes the path.
    pub behavior: String,
    /// The origin, or the origin group, that it sends it to.
    pub sends_to: String,
    pub is_group: bool,
    pub caching: Caching,
    #[serde(skip)]
    pub caching_text: String,
    /// Whether query strings are in the cache key.
    pub query_strings: bool,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Page {
    pub path: String,
    pub seconds: u64,
    /// Whether a change of it invalidates everything.
    pub outlasts_debounce: bool,
}

/// What a change leads to.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Invalidate(Vec<ExplainedPath>),
    /// Nothing is invalidated, for this reason.
    Nothing(String),
}

/// Distributions at which it is not served, for the same kind of reason.
#[derive(Debug, Serialize)]
pub struct Skipped {
    pub distributions: Vec<Named>,
    pub kind: String,
    /// The reason of each.
    pub reasons: Vec<String>,
}

/// What happened.
#[derive(Debug, Serialize)]
pub struct History {
    /// None if it is not known where the function logs.
    pub log: Option<Logged>,
    pub invalidations: Vec<Looked>,
}

impl Answer {
    /// What the plan says.
    pub fn new(asked: &Asked, site: &Site, function: &Function) -> Self {
        let mut notes = site.unknown.clone();
        notes.extend(function.notes.iter().cloned());
        let (url, objects) = match asked {
            Asked::Object(bucket, key) => {
                let object = Explaining::new(site, function, None).object(bucket, key);
                (None, vec![object])
            }
            Asked::Page(address) => {
                let explaining = Explaining::new(site, function, Some(&address.path));
                let objects = explaining.candidates(&address.path);
                let objects = objects
                    .iter()
                    .map(|(bucket, key)| explaining.object(bucket, key));
                let objects = objects.filter(|it| !(it.served.is_empty() && it.skipped.is_empty()));
                (Some(address.to_string()), objects.collect())
            }
        };
        Self {
            v: VERSION,
            url,
            objects,
            notes,
        }
    }
}

/// A route, with what is decided on it.
struct Step<'a> {
    distribution: &'a Distribution,
    origin: Option<&'a Origin>,
    lookups: Vec<Lookup<'a>>,
    decision: Decision<'a>,
}

impl<'a> Step<'a> {
    fn of(route: Route<'a>) -> Self {
        Self {
            distribution: route.distribution,
            origin: route.origin,
            lookups: route.lookups(),
            decision: route.decision(),
        }
    }
}

/// What objects are explained by.
struct Explaining<'a> {
    site: &'a Site,
    function: &'a Function,
    distributions: Vec<Distribution>,
    aliases: BTreeMap<&'a str, &'a str>,
    /// Only what is served at this path.
    path: Option<&'a str>,
}

impl<'a> Explaining<'a> {
    fn new(site: &'a Site, function: &'a Function, path: Option<&'a str>) -> Self {
        let listed = site.distributions.iter();
        let aliases = listed
            .clone()
            .map(|it| (it.summary.id.as_str(), it.summary.alias()));
        Self {
            site,
            function,
            aliases: aliases.collect(),
            distributions: listed.flat_map(|it| site.compiled(it)).collect(),
            path,
        }
    }

    fn with_rules<T>(&self, buckets: &[BucketName], act: impl FnOnce(&Rules<'_>) -> T) -> T {
        act(&Rules {
            distributions: &self.distributions,
            origin_buckets: &self.function.origin_buckets,
            index_documents: &self.site.index_documents(buckets),
            debounce: self.function.debounce,
            limits: self.function.limits,
            min_wildcard_depth: self.function.min_wildcard_depth,
        })
    }

    /// The objects that may be served at a path.
    fn candidates(&self, path: &str) -> Vec<(BucketName, ObjectKey<'static>)> {
        let origins = self.distributions.iter().flat_map(|it| it.origins());
        let buckets = origins.filter_map(|it| it.domain.bucket(&self.function.origin_buckets));
        let buckets: Vec<BucketName> = buckets.map(BucketName::new).collect();
        let mut found = self.with_rules(&buckets, |rules| {
            let all = self.distributions.iter();
            let all = all.flat_map(|distribution| candidates(distribution, path, rules));
            all.collect::<Vec<_>>()
        });
        let mut seen = Vec::new();
        found.retain(|it| {
            !seen.contains(it) && {
                seen.push(it.clone());
                true
            }
        });
        found
    }

    fn object(&self, bucket: &BucketName, key: &ObjectKey<'_>) -> Object {
        let change = |kind| Change {
            bucket: bucket.clone(),
            key: key.clone(),
            kind,
            event_time: None,
            version_id: None,
        };
        let settings = self.site.settings(bucket);
        let upload = change(ChangeKind::Created);
        let rule = settings.and_then(|settings| settings.exceptions.exempting(&upload));
        let keys = [upload.clone(), change(ChangeKind::Deleted)].map(|change| {
            let mut changes = Changes::default();
            // One key always fits.
            let _ = changes.add(&change, MessageIndex::new(0));
            KeyChanges::from(changes)
        });
        self.with_rules(std::slice::from_ref(bucket), |rules| {
            let [upload, deletion] = [0, 1].map(|place| plan(&keys[place], rules));
            let excepted = rule.map(|rule| Excepted {
                rule: rule.clone(),
                reason: rule.to_string(),
            });
            let cost_of = match excepted {
                Some(_) => ChangeKind::Deleted,
                None => ChangeKind::Created,
            };
            let costs = Costs {
                rules: self.function.cost,
                account: self.function.spent,
                origin_buckets: &self.function.origin_buckets,
                min_wildcard_depth: self.function.min_wildcard_depth,
            };
            let (_, cost) = costs.order(if excepted.is_some() {
                &deletion
            } else {
                &upload
            });
            let (served, skipped) = self.routes(&upload, &deletion, excepted.as_ref());
            Object {
                bucket: bucket.clone(),
                key: key.clone().into_owned(),
                only_changed: settings.is_some_and(|settings| settings.only_changed),
                served,
                skipped,
                cost,
                cost_of,
                history: None,
                targets: self.targets(&deletion),
                excepted,
            }
        })
    }

    /// Where the object is served, and where it is not.
    fn routes(
        &self,
        upload: &Plan<'_>,
        deletion: &Plan<'_>,
        excepted: Option<&Excepted>,
    ) -> (Vec<Served>, Vec<Skipped>) {
        let (mut served, mut skipped) = (Vec::new(), Vec::new());
        let of = |plan: &Plan<'_>| plan.keys.indices().next();
        let (Some(uploaded), Some(deleted)) = (of(upload), of(deletion)) else {
            return (Vec::new(), Vec::new());
        };
        // Both have the same routes, as these depend on nothing but the key.
        for (upload, deletion) in upload.routes(uploaded).zip(deletion.routes(deleted)) {
            let (upload, deletion) = (Step::of(upload), deletion.decision());
            let is_asked = |path| {
                upload
                    .lookups
                    .iter()
                    .any(|lookup| lookup.asked.as_str() == path)
            };
            let is_out_of_service = upload.origin.is_none();
            if self
                .path
                .is_some_and(|path| !is_asked(path) && !is_out_of_service)
            {
                continue;
            }
            let named = self.named(upload.distribution);
            // It is served if a behavior sends any of its paths here, even if it caches nothing.
            let is_served = upload.lookups.iter().any(|lookup| lookup.sends_here);
            match (&upload.decision, upload.origin) {
                (Decision::Skip(skip), _) if !is_served => {
                    let nearness = skip.nearness();
                    let (kind, reason) = (skip.kind().to_owned(), skip.to_string());
                    skipped.push((named, upload.distribution, nearness, kind, reason));
                }
                (_, Some(origin)) => {
                    let way = Way {
                        origin: origin.id.clone(),
                        domain: origin.domain.as_str().to_owned(),
                        origin_path: origin.path.as_str().to_owned(),
                        ..self.way(&upload, &deletion, excepted)
                    };
                    served.push((named, upload.distribution, way));
                }
                (_, None) => {}
            }
        }
        // A distribution may have the bucket as an origin twice: the nearest reason counts, and none if it
        // serves the object anyhow.
        let is_served = |distribution: &Distribution| {
            served
                .iter()
                .any(|(_, of, _)| std::ptr::eq(*of, distribution))
        };
        let mut nearest: Vec<(Vec<Named>, &Distribution, u8, String, String)> = Vec::new();
        for it in skipped.into_iter().filter(|it| !is_served(it.1)) {
            match nearest.iter_mut().find(|other| std::ptr::eq(other.1, it.1)) {
                Some(other) if other.2 < it.2 => *other = it,
                Some(_) => {}
                None => nearest.push(it),
            }
        }
        (grouped_served(served), grouped_skipped(nearest))
    }

    /// How the object is served at a route, but for the origin.
    fn way(&self, upload: &Step<'_>, deletion: &Decision<'_>, excepted: Option<&Excepted>) -> Way {
        let errors = &upload.distribution.error_caching;
        let own = upload.lookups.first();
        let functions = own.and_then(Lookup::behavior).into_iter();
        let functions = functions.flat_map(Behavior::rewriting_functions);
        let outcome = |decision: &Decision<'_>| match decision {
            Decision::Invalidate(paths) => {
                Outcome::Invalidate(paths.iter().map(ExplainedPath::from).collect())
            }
            Decision::Skip(skip) => Outcome::Nothing(skip.to_string()),
        };
        let is_of_name = match deletion {
            Decision::Invalidate(paths) => {
                let mut causes = paths.iter().filter_map(|path| path.reason.wildcard);
                causes.any(WildcardCause::is_name)
            }
            Decision::Skip(_) => false,
        };
        let of_page = |page: &ErrorPage| Page {
            path: page.path.clone(),
            seconds: page.ttl.as_secs(),
            outlasts_debounce: page.ttl > self.function.debounce,
        };
        Way {
            origin: String::new(),
            domain: String::new(),
            origin_path: String::new(),
            lookups: upload.lookups.iter().filter_map(Looking::of).collect(),
            missing_object_ttl: errors.missing_object_ttl().as_secs(),
            error_pages: errors.pages().map(of_page).collect(),
            rewriting_functions: functions.cloned().collect(),
            upload: match excepted {
                Some(excepted) => Outcome::Nothing(excepted.reason.clone()),
                None => outcome(&upload.decision),
            },
            deletion: outcome(deletion),
            rationed: is_of_name.then_some(self.function.wildcard_interval.as_secs()),
        }
    }

    /// The targets of a distribution; itself if it has none.
    fn named(&self, distribution: &Distribution) -> Vec<Named> {
        let id = &distribution.id;
        let alias = self.aliases.get(id.as_str()).copied().unwrap_or_default();
        let named = |tenant: Option<TenantId>| Named {
            distribution: id.clone(),
            tenant,
            alias: alias.to_owned(),
        };
        match distribution.targets.as_slice() {
            [] => vec![named(None)],
            targets => targets.iter().map(|it| named(it.tenant.clone())).collect(),
        }
    }

    /// The paths of each target.
    fn targets(&self, plan: &Plan<'_>) -> Vec<(Target, Vec<InvalidationPath<'static>>)> {
        let mut found = Vec::new();
        for of_target in plan.targets() {
            let sets = of_target.sets(|_| true);
            let paths: Vec<_> = sets
                .flat_map(|set| set.paths)
                .map(InvalidationPath::into_owned)
                .collect();
            if !paths.is_empty() {
                found.push((of_target.target.clone(), paths));
            }
        }
        found
    }
}

impl Looking {
    fn of(lookup: &Lookup<'_>) -> Option<Self> {
        let (behavior, before) = lookup.tried.split_last()?;
        let because = match lookup.role {
            PathRole::Own => None,
            PathRole::Root => Some("it is the default root object".to_owned()),
            PathRole::Folder(name) => Some(format!("`{name}` is the index document")),
            // What is cached under any path is told of the error pages.
            PathRole::Errors(_) => return None,
        };
        Some(Self {
            path: lookup.asked.as_str().to_owned(),
            because,
            no_match: before.iter().map(ToString::to_string).collect(),
            behavior: behavior.to_string(),
            sends_to: behavior.target_origin_id.clone(),
            is_group: behavior.is_group(),
            caching: behavior.caching.clone(),
            caching_text: behavior.caching.to_string(),
            query_strings: behavior.query_strings,
        })
    }
}

/// Says once what is the same for many.
fn grouped_served(served: Vec<(Vec<Named>, &Distribution, Way)>) -> Vec<Served> {
    let mut groups: Vec<Served> = Vec::new();
    for (named, _, way) in served {
        match groups.iter_mut().find(|group| group.way == way) {
            Some(group) => group.distributions.extend(named),
            None => groups.push(Served {
                distributions: named,
                way,
            }),
        }
    }
    groups
}

fn grouped_skipped(skipped: Vec<(Vec<Named>, &Distribution, u8, String, String)>) -> Vec<Skipped> {
    let common = |it: &(_, _, _, String, String)| common_reason(&it.3, &it.4).to_owned();
    let groups = groups(skipped, common).into_iter();
    let group = |(kind, group): (String, Vec<(Vec<Named>, _, _, _, String)>)| {
        let mut skipped = Skipped {
            distributions: Vec::new(),
            kind,
            reasons: Vec::new(),
        };
        for (named, _, _, _, reason) in group {
            let reasons = named.iter().map(|_| reason.clone());
            skipped.reasons.extend(reasons);
            skipped.distributions.extend(named);
        }
        skipped
    };
    groups.map(group).collect()
}
