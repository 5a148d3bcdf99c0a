//! CloudFront's configuration as planning needs it: which origins are buckets, which behavior matches
//! a path, and whether that behavior caches.
//!
//! * [`address`]: a URL, and the distributions that answer for its host
//! * [`by_bucket`]: finds what has a bucket behind it
//! * [`error_pages`]: custom error pages, and how long errors are cached
//! * [`listing`]: the answer of `ListDistributions`, from the account or from a file of the AWS CLI
//! * [`origin`]: which bucket an origin's domain names
//! * [`root_objects`]: the default root objects that were read
//! * [`tenants`]: the tenants of multi-tenant distributions

pub mod address;
pub mod by_bucket;
pub mod error_pages;
pub mod listing;
pub mod origin;
pub mod root_objects;
pub mod tenants;

use std::fmt;

use serde::Serialize;

use crate::event::BucketName;
use crate::path::OriginPath;
use crate::pattern::PathPattern;
use crate::target::{CachePolicyId, DistributionId, Target};
use error_pages::ErrorCaching;
use listing::{CacheBehavior, CachePolicies, CachePolicyConfig, DistributionSummary};
use origin::{OriginBuckets, OriginDomain};
use tenants::Tenant;

/// Details that are not in the list of distributions, and are read separately.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The object served for `/`, without a leading slash (`GetDistributionConfig`).
    pub default_root_object: Option<String>,
    /// The enabled tenants of a multi-tenant distribution (`ListDistributionTenants`).
    pub tenants: Vec<Tenant>,
}

/// A distribution, compiled for planning.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// Its id.
    pub id: DistributionId,
    /// The version of its configuration; empty if it is not known.
    pub e_tag: String,
    /// Whether its configuration has reached all edges.
    pub is_deployed: bool,
    /// Whether it is enabled; a disabled distribution serves nothing.
    pub enabled: bool,
    /// The targets of its invalidations: itself, or its tenants.
    pub targets: Vec<Target>,
    /// The viewer path of the object served for `/`.
    pub default_root_object: Option<String>,
    /// How long it caches errors.
    pub error_caching: ErrorCaching,
    origins: Vec<Origin>,
    behaviors: Vec<Behavior>,
    default_behavior: Behavior,
}

/// An origin of a distribution.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its id, which behaviors and origin groups refer to.
    pub id: String,
    /// Its domain name.
    pub domain: OriginDomain,
    /// The folder of the bucket that it serves.
    pub path: OriginPath,
}

/// A behavior: which paths it matches, where it sends them, and whether it caches the responses.
#[derive(Clone, Debug)]
pub struct Behavior {
    /// `None` for the default behavior.
    pub pattern: Option<PathPattern>,
    /// The id of the origin or the origin group.
    pub target_origin_id: String,
    /// The origins behind that id: one, or the members of the group.
    target_origins: Vec<String>,
    /// Whether it caches, and which setting decides that.
    pub caching: Caching,
    /// Whether query strings are part of the cache key.
    pub query_strings: bool,
    /// The ARNs of functions that may have something else cached than what the origin has for a path.
    rewriting_functions: Vec<String>,
}

impl Behavior {
    /// Whether this behavior may send a path to this origin.
    pub fn sends_to(&self, origin: &Origin) -> bool {
        self.target_origins.contains(&origin.id)
    }

    /// Whether its target is an origin group.
    pub fn is_group(&self) -> bool {
        !matches!(self.target_origins.as_slice(), [only] if *only == self.target_origin_id)
    }

    /// The ARNs of functions that may have something else cached than what the origin has for a path.
    pub fn rewriting_functions(&self) -> impl Iterator<Item = &String> {
        self.rewriting_functions.iter()
    }
}

impl fmt::Display for Behavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Some(pattern) => write!(f, "behavior `{pattern}`"),
            None => write!(f, "the default behavior"),
        }
    }
}

/// Whether a behavior caches, and which setting decides that.
///
/// MaxTTL decides, not DefaultTTL: with DefaultTTL 0 and MaxTTL above 0 an object with
/// `Cache-Control: max-age` is cached (Developer Guide, "Manage how long content stays in the
/// cache").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Caching {
    /// The cache policy decides.
    Policy {
        /// Its name: `Managed-CachingOptimized`.
        name: String,
        /// In seconds.
        max_ttl: u64,
    },
    /// The TTL settings of the behavior itself decide.
    Legacy {
        /// In seconds.
        max_ttl: u64,
    },
    /// Legacy settings that forward every header: CloudFront caches nothing.
    AllHeadersForwarded,
    /// The cache policy is not known. We assume that it caches: an unnecessary path is better than a
    /// stale page.
    UnknownPolicy(CachePolicyId),
}

impl Caching {
    /// Whether an object may be in the cache.
    pub fn caches(&self) -> bool {
        match self {
            Self::Policy { max_ttl, .. } | Self::Legacy { max_ttl } => *max_ttl > 0,
            Self::AllHeadersForwarded => false,
            Self::UnknownPolicy(_) => true,
        }
    }
}

impl fmt::Display for Caching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { name, max_ttl } => write!(f, "MaxTTL {max_ttl} by cache policy {name}"),
            Self::Legacy { max_ttl } => write!(f, "MaxTTL {max_ttl} by its own settings"),
            Self::AllHeadersForwarded => write!(f, "all headers forwarded, so nothing is cached"),
            Self::UnknownPolicy(id) => {
                write!(f, "cache policy {id} is unknown and assumed to cache")
            }
        }
    }
}

/// Whether a distribution has any of these buckets as an origin.
pub fn serves_any(
    summary: &DistributionSummary,
    buckets: &[BucketName],
    aliases: &OriginBuckets,
) -> bool {
    if summary.may_serve_any_bucket() {
        return true;
    }
    summary.origins.items.iter().any(|origin| {
        let domain = OriginDomain::new(&origin.domain_name);
        buckets
            .iter()
            .any(|bucket| domain.endpoint_of(bucket.as_str(), aliases).is_some())
    })
}

impl Distribution {
    /// Builds the models of a distribution from CloudFront's configuration: one model, or one per
    /// tenant if the tenants have different origins.
    pub fn all(
        summary: &DistributionSummary,
        details: Details,
        policies: &CachePolicies,
    ) -> Vec<Self> {
        if !summary.may_serve_any_bucket() {
            return vec![Self::new(summary, details, policies)];
        }
        let of_tenant = |tenant: Tenant| {
            let summary = summary.filled(&tenant.parameters);
            let details = Details {
                default_root_object: details.default_root_object.clone(),
                tenants: vec![tenant],
            };
            Self::new(&summary, details, policies)
        };
        details.tenants.iter().cloned().map(of_tenant).collect()
    }

    /// Builds the model of a distribution whose tenants, if it has any, share the same origins.
    pub fn new(summary: &DistributionSummary, details: Details, policies: &CachePolicies) -> Self {
        let compile = |behavior: &CacheBehavior| Behavior {
            pattern: behavior.path_pattern.as_deref().map(PathPattern::new),
            target_origins: summary.origins_behind(&behavior.target_origin_id),
            target_origin_id: behavior.target_origin_id.clone(),
            caching: caching(behavior, policies),
            query_strings: has_query_strings(behavior, policies),
            rewriting_functions: rewriting_functions(behavior),
        };
        let origin = |origin: &listing::Origin| Origin {
            id: origin.id.clone(),
            domain: OriginDomain::new(&origin.domain_name),
            path: OriginPath::new(&origin.origin_path),
        };
        let id = DistributionId::new(summary.id.as_str());
        Self {
            e_tag: summary.e_tag.clone().unwrap_or_default(),
            is_deployed: summary.status == "Deployed",
            enabled: summary.enabled,
            targets: targets(&id, summary, details.tenants),
            default_root_object: details
                .default_root_object
                .filter(|object| !object.is_empty())
                .map(|object| format!("/{}", object.trim_start_matches('/'))),
            error_caching: ErrorCaching::new(
                summary
                    .custom_error_responses
                    .as_ref()
                    .map_or(&[], |responses| &responses.items),
            ),
            origins: summary.origins.items.iter().map(origin).collect(),
            behaviors: summary.cache_behaviors.items.iter().map(compile).collect(),
            default_behavior: compile(&summary.default_cache_behavior),
            id,
        }
    }

    /// Whether it serves anything. A multi-tenant distribution serves only through its tenants.
    pub fn is_in_service(&self) -> bool {
        self.enabled && !self.targets.is_empty()
    }

    /// The origins that are this bucket, each with whether it is the bucket's website endpoint.
    pub fn origins_of<'a, 'b>(
        &'a self,
        bucket: &'b str,
        aliases: &'b OriginBuckets,
    ) -> impl Iterator<Item = (&'a Origin, bool)> + use<'a, 'b> {
        self.origins.iter().filter_map(move |origin| {
            let endpoint = origin.domain.endpoint_of(bucket, aliases)?;
            Some((origin, endpoint.is_website()))
        })
    }

    /// Its origins.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.origins.iter()
    }

    /// The origin at this place of [`Distribution::origins`].
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn origin(&self, place: usize) -> &Origin {
        &self.origins[place]
    }

    /// The origins that a behavior may send a path to.
    pub fn origins_behind<'a>(
        &'a self,
        behavior: &'a Behavior,
    ) -> impl Iterator<Item = &'a Origin> {
        self.origins
            .iter()
            .filter(|origin| behavior.sends_to(origin))
    }

    /// The behaviors in the order in which they are tried, the default one last. The first whose
    /// pattern matches a path takes it (Developer Guide, "Path pattern").
    pub fn behaviors(&self) -> impl Iterator<Item = &Behavior> {
        self.behaviors.iter().chain([&self.default_behavior])
    }

    /// The behavior at this place of [`Distribution::behaviors`].
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn behavior(&self, place: usize) -> &Behavior {
        if place == self.behaviors.len() {
            &self.default_behavior
        } else {
            &self.behaviors[place]
        }
    }
}

fn targets(
    id: &DistributionId,
    summary: &DistributionSummary,
    tenants: Vec<Tenant>,
) -> Vec<Target> {
    let target = |tenant| Target {
        distribution: id.clone(),
        tenant,
    };
    if summary.is_multi_tenant() {
        tenants
            .into_iter()
            .map(|tenant| target(Some(tenant.id)))
            .collect()
    } else {
        vec![target(None)]
    }
}

fn rewriting_functions(behavior: &CacheBehavior) -> Vec<String> {
    let functions = behavior.functions().filter(|it| it.may_rewrite());
    functions.map(|function| function.arn.clone()).collect()
}

/// CloudFront's default for a legacy MaxTTL that is not set: a year.
const DEFAULT_MAX_TTL: i64 = 31_536_000;

fn caching(behavior: &CacheBehavior, policies: &CachePolicies) -> Caching {
    if let Some(id) = behavior.cache_policy_id() {
        return match policies.get(&id) {
            Some(policy) => Caching::Policy {
                name: policy.name.clone(),
                max_ttl: longest(policy.min_ttl, policy.max_ttl),
            },
            None => Caching::UnknownPolicy(id),
        };
    }
    if behavior.forwards_all_headers() {
        return Caching::AllHeadersForwarded;
    }
    Caching::Legacy {
        max_ttl: longest(behavior.min_ttl.unwrap_or(0), behavior.max_ttl),
    }
}

/// If AWS ever accepts a MinTTL above the MaxTTL, the MinTTL wins.
fn longest(min_ttl: i64, max_ttl: Option<i64>) -> u64 {
    let max_ttl = max_ttl.unwrap_or(DEFAULT_MAX_TTL).max(min_ttl);
    u64::try_from(max_ttl).unwrap_or(0)
}

fn has_query_strings(behavior: &CacheBehavior, policies: &CachePolicies) -> bool {
    match behavior.cache_policy_id() {
        // An unknown policy may have them, and an unnecessary path is better than a stale page.
        Some(id) => policies
            .get(&id)
            .is_none_or(CachePolicyConfig::has_query_strings),
        None => behavior
            .forwarded_values
            .as_ref()
            .is_some_and(|values| values.query_string),
    }
}
