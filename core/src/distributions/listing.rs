//! CloudFront's lists as its API returns them and the AWS CLI prints them, with only the fields that
//! planning needs.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::tenants::Parameters;
use crate::target::CachePolicyId;

/// The cache policies known, by id.
pub type CachePolicies = HashMap<CachePolicyId, CachePolicyConfig>;

/// A list as CloudFront prints it. `Items` is absent when it is empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(
    rename_all = "PascalCase",
    bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>")
)]
pub struct Items<T> {
    /// The items.
    #[serde(default = "Vec::new", deserialize_with = "null_is_empty")]
    pub items: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The output of `aws cloudfront list-distributions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DistributionListing {
    /// The list.
    pub distribution_list: Items<DistributionSummary>,
}

/// The output of `aws cloudfront list-cache-policies`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CachePolicyListing {
    /// The list.
    pub cache_policy_list: Items<CachePolicyItem>,
}

/// An item of the list of cache policies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CachePolicyItem {
    /// The policy.
    pub cache_policy: CachePolicy,
}

/// A cache policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CachePolicy {
    /// Its id.
    pub id: CachePolicyId,
    /// Its settings.
    pub cache_policy_config: CachePolicyConfig,
}

/// The settings of a cache policy. TTLs are in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // The names are CloudFront's own.
pub struct CachePolicyConfig {
    pub name: String,
    #[serde(rename = "MinTTL", default)]
    pub min_ttl: i64,
    #[serde(rename = "MaxTTL", default)]
    pub max_ttl: Option<i64>,
    #[serde(default)]
    pub parameters_in_cache_key_and_forwarded_to_origin: Option<CacheKeyParameters>,
}

impl CachePolicyConfig {
    /// Whether any query string is part of the cache key.
    pub fn has_query_strings(&self) -> bool {
        self.parameters_in_cache_key_and_forwarded_to_origin
            .as_ref()
            .is_some_and(|parameters| {
                parameters.query_strings_config.query_string_behavior != "none"
            })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CacheKeyParameters {
    pub query_strings_config: QueryStringsConfig,
}

/// `none`, `whitelist`, `allExcept` or `all`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct QueryStringsConfig {
    pub query_string_behavior: String,
}

/// A distribution in the list, which lacks the default root object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DistributionSummary {
    pub id: String,
    #[serde(rename = "ETag", default)]
    pub e_tag: Option<String>,
    /// `Deployed`, or `InProgress` while a change of its configuration reaches the edges.
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub domain_name: String,
    #[serde(default)]
    pub aliases: Option<Items<String>>,
    #[serde(default)]
    pub enabled: bool,
    #[serde(default)]
    pub staging: bool,
    #[serde(default)]
    pub connection_mode: Option<String>,
    /// CloudFront's list does not contain it; a file may.
    #[serde(default)]
    pub default_root_object: Option<String>,
    #[serde(default)]
    pub origins: Items<Origin>,
    #[serde(default)]
    pub origin_groups: Option<Items<OriginGroup>>,
    pub default_cache_behavior: CacheBehavior,
    #[serde(default)]
    pub cache_behaviors: Items<CacheBehavior>,
    #[serde(default)]
    pub custom_error_responses: Option<Items<CustomErrorResponse>>,
}

/// What CloudFront does when the origin answers with an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CustomErrorResponse {
    pub error_code: i32,
    /// The page that viewers get instead, if there is one.
    #[serde(default)]
    pub response_page_path: Option<String>,
    /// In seconds.
    #[serde(rename = "ErrorCachingMinTTL", default)]
    pub error_caching_min_ttl: Option<i64>,
}

impl DistributionSummary {
    /// The name that people know it by: its first alias, else its domain (`d111111abcdef8.cloudfront.net`).
    pub fn alias(&self) -> &str {
        let aliases = self.aliases.as_ref();
        let first = aliases.and_then(|aliases| aliases.items.first());
        first.unwrap_or(&self.domain_name)
    }

    /// Whether this is a multi-tenant distribution, which serves nothing itself.
    pub fn is_multi_tenant(&self) -> bool {
        self.connection_mode.as_deref() == Some("tenant-only")
    }

    /// Whether an origin has a placeholder, and so differs from tenant to tenant.
    pub fn has_placeholders(&self) -> bool {
        let has = |text: &str| text.contains("{{");
        let mut origins = self.origins.items.iter();
        origins.any(|origin| has(&origin.domain_name) || has(&origin.origin_path))
    }

    /// Whether its tenants may have any bucket as an origin: that behind a placeholder is only known once they
    /// are read.
    pub fn may_serve_any_bucket(&self) -> bool {
        self.is_multi_tenant() && self.has_placeholders()
    }

    /// The distribution as a tenant with these parameters sees it.
    pub fn filled(&self, parameters: &Parameters) -> Self {
        let mut filled = self.clone();
        for origin in &mut filled.origins.items {
            origin.domain_name = parameters.fill(&origin.domain_name);
            origin.origin_path = parameters.fill(&origin.origin_path);
        }
        filled
    }

    /// All behaviors, the default one last.
    pub fn behaviors(&self) -> impl Iterator<Item = &CacheBehavior> {
        self.cache_behaviors
            .items
            .iter()
            .chain([&self.default_cache_behavior])
    }

    /// The ids of the origins behind the target of a behavior: one, or the members of a group.
    pub fn origins_behind(&self, target_origin_id: &str) -> Vec<String> {
        let groups = self.origin_groups.iter().flat_map(|groups| &groups.items);
        match groups
            .into_iter()
            .find(|group| group.id == target_origin_id)
        {
            Some(group) => {
                let members = group.members.items.iter();
                members.map(|member| member.origin_id.clone()).collect()
            }
            None => vec![target_origin_id.to_owned()],
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Origin {
    pub id: String,
    pub domain_name: String,
    #[serde(default)]
    pub origin_path: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct OriginGroup {
    pub id: String,
    #[serde(default)]
    pub failover_criteria: FailoverCriteria,
    #[serde(default)]
    pub members: Items<OriginGroupMember>,
}

/// The errors of the first member after which the second one is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FailoverCriteria {
    #[serde(default)]
    pub status_codes: Items<i32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct OriginGroupMember {
    pub origin_id: String,
}

/// A behavior. The default one has no path pattern. TTLs are in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CacheBehavior {
    #[serde(default)]
    pub path_pattern: Option<String>,
    pub target_origin_id: String,
    #[serde(default)]
    pub cache_policy_id: Option<String>,
    #[serde(default)]
    pub forwarded_values: Option<ForwardedValues>,
    #[serde(rename = "MinTTL", default)]
    pub min_ttl: Option<i64>,
    #[serde(rename = "MaxTTL", default)]
    pub max_ttl: Option<i64>,
    #[serde(default)]
    pub lambda_function_associations: Option<Items<FunctionAssociation>>,
    #[serde(default)]
    pub function_associations: Option<Items<FunctionAssociation>>,
}

/// A function of Lambda@Edge or of CloudFront Functions that a behavior runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FunctionAssociation {
    #[serde(rename = "FunctionARN", alias = "LambdaFunctionARN")]
    pub arn: String,
    /// `viewer-request`, `viewer-response`, `origin-request` or `origin-response`.
    pub event_type: String,
}

impl FunctionAssociation {
    /// Whether it may have something else cached than what the origin has for a path. A response to a viewer
    /// is changed behind the cache.
    pub fn may_rewrite(&self) -> bool {
        self.event_type != "viewer-response"
    }
}

impl CacheBehavior {
    /// The functions of either kind.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionAssociation> {
        let lambda = self.lambda_function_associations.iter();
        let own = self.function_associations.iter();
        lambda.chain(own).flat_map(|functions| &functions.items)
    }

    /// The cache policy, if the behavior has one instead of legacy settings.
    pub fn cache_policy_id(&self) -> Option<CachePolicyId> {
        self.cache_policy_id
            .as_deref()
            .filter(|id| !id.is_empty())
            .map(CachePolicyId::new)
    }

    /// Whether legacy settings forward every header (`*`): then CloudFront caches nothing
    /// (Developer Guide, "Cache content based on request headers").
    pub fn forwards_all_headers(&self) -> bool {
        let headers = self
            .forwarded_values
            .as_ref()
            .and_then(|values| values.headers.as_ref());
        headers.is_some_and(|headers| headers.items.iter().any(|name| name == "*"))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ForwardedValues {
    #[serde(default)]
    pub query_string: bool,
    #[serde(default)]
    pub headers: Option<Items<String>>,
}

impl CacheBehavior {
    /// A default behavior without a target, in case an answer ever lacks one although every
    /// distribution has it.
    pub fn absent() -> Self {
        Self {
            path_pattern: None,
            target_origin_id: String::new(),
            cache_policy_id: None,
            forwarded_values: None,
            min_ttl: None,
            max_ttl: None,
            lambda_function_associations: None,
            function_associations: None,
        }
    }
}

/// The two managed policies that nearly every behavior uses. Their values are documented and fixed, so
/// they need not be read (Developer Guide, "Use managed cache policies").
pub fn managed_policies() -> CachePolicies {
    let policy = |id: &str, name: &str, min_ttl, max_ttl| {
        let config = CachePolicyConfig {
            name: name.to_owned(),
            min_ttl,
            max_ttl: Some(max_ttl),
            parameters_in_cache_key_and_forwarded_to_origin: None,
        };
        (CachePolicyId::new(id), config)
    };
    CachePolicies::from([
        policy(
            "658327ea-f89d-4fab-a63d-7e88639e58f6",
            "Managed-CachingOptimized",
            1,
            31_536_000,
        ),
        policy(
            "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
            "Managed-CachingDisabled",
            0,
            0,
        ),
    ])
}
