//! An account as JSON, in the words of the AWS CLI. Each part may be left out:
//!
//! | field | is what this prints |
//! |---|---|
//! | `DistributionList` | `aws cloudfront list-distributions`; an item may have the `DefaultRootObject` of `get-distribution-config` too |
//! | `CachePolicyList` | `aws cloudfront list-cache-policies` |
//! | `DistributionTenantList` | `aws cloudfront list-distribution-tenants`; an item may have the `Parameters` of `get-distribution-tenant` too |
//!
//! What the stand-in has no use for is not looked at.

use std::fmt;

use serde::Deserialize;

use super::model::{Behavior, CachePolicy, Distribution, Origin, QueryStrings};
use super::rules::is_tenant_id;
use super::service::Service;

/// Why it cannot be an account.
#[derive(Debug)]
pub struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// Adds all of an account, or replaces what has the same id.
///
/// # Errors
/// It cannot be read, or CloudFront would not hold it; then nothing of it is added.
pub fn add(service: &mut Service, account: &[u8]) -> Result<(), Invalid> {
    let account: Account =
        serde_json::from_slice(account).map_err(|error| Invalid(error.to_string()))?;
    let distributions = account.distribution_list.items.into_iter();
    let distributions = distributions
        .map(Distribution::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    let policies = account.cache_policy_list.items.into_iter();
    let policies = policies
        .map(|item| CachePolicy::try_from(item.cache_policy))
        .collect::<Result<Vec<_>, _>>()?;
    for tenant in &account.distribution_tenant_list {
        if !is_tenant_id(&tenant.id) {
            return Err(Invalid(format!("{:?} is no id of a tenant", tenant.id)));
        }
        let id = &tenant.distribution_id;
        let is_new = |it: &&Distribution| it.id == *id && it.is_tenant_only();
        if !service.is_tenant_only(id) && distributions.iter().find(is_new).is_none() {
            return Err(Invalid(format!("{id} is no multi-tenant distribution")));
        }
    }
    for policy in policies {
        service.put_cache_policy(policy);
    }
    for distribution in distributions {
        service.put_distribution(distribution);
    }
    for tenant in account.distribution_tenant_list {
        let parameters = tenant.parameters.into_iter();
        let parameters = parameters.map(|it| (it.name, it.value)).collect();
        service.put_tenant(
            &tenant.distribution_id,
            &tenant.id,
            tenant.enabled,
            parameters,
        );
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Account {
    distribution_list: Items<DistributionItem>,
    cache_policy_list: Items<CachePolicyItem>,
    distribution_tenant_list: Vec<TenantItem>,
}

/// CloudFront's lists: without items there is no `Items`, or it is null.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Items<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DistributionItem {
    id: String,
    enabled: bool,
    #[serde(default)]
    staging: bool,
    #[serde(default)]
    connection_mode: String,
    #[serde(default)]
    default_root_object: String,
    #[serde(default)]
    aliases: Items<String>,
    origins: Items<OriginItem>,
    #[serde(default)]
    origin_groups: Items<OriginGroupItem>,
    default_cache_behavior: BehaviorItem,
    #[serde(default)]
    cache_behaviors: Items<BehaviorItem>,
    #[serde(default)]
    custom_error_responses: Items<ErrorResponseItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorResponseItem {
    error_code: u16,
    #[serde(default)]
    response_page_path: String,
    #[serde(rename = "ErrorCachingMinTTL")]
    ttl: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OriginItem {
    id: String,
    domain_name: String,
    #[serde(default)]
    origin_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OriginGroupItem {
    id: String,
    members: Items<OriginGroupMember>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OriginGroupMember {
    origin_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionItem {
    #[serde(rename = "FunctionARN")]
    arn: String,
    event_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BehaviorItem {
    #[serde(default)]
    path_pattern: String,
    target_origin_id: String,
    #[serde(default)]
    function_associations: Items<FunctionItem>,
    cache_policy_id: Option<String>,
    forwarded_values: Option<ForwardedValues>,
    #[serde(rename = "MinTTL")]
    min: Option<i64>,
    #[serde(rename = "DefaultTTL")]
    default: Option<i64>,
    #[serde(rename = "MaxTTL")]
    max: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ForwardedValues {
    query_string: bool,
    query_string_cache_keys: Items<String>,
    headers: Items<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CachePolicyItem {
    cache_policy: CachePolicyDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CachePolicyDetails {
    id: String,
    cache_policy_config: CachePolicyConfig,
}

#[derive(Deserialize)]
struct CachePolicyConfig {
    #[serde(rename = "MinTTL")]
    min: i64,
    #[serde(rename = "DefaultTTL")]
    default: Option<i64>,
    #[serde(rename = "MaxTTL")]
    max: Option<i64>,
    #[serde(rename = "ParametersInCacheKeyAndForwardedToOrigin")]
    parameters: Option<CacheKeyParameters>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CacheKeyParameters {
    query_strings_config: QueryStringsConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueryStringsConfig {
    query_string_behavior: String,
    #[serde(default)]
    query_strings: Items<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TenantItem {
    id: String,
    distribution_id: String,
    enabled: bool,
    #[serde(default)]
    parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    name: String,
    value: String,
}

impl TryFrom<DistributionItem> for Distribution {
    type Error = Invalid;

    fn try_from(item: DistributionItem) -> Result<Self, Invalid> {
        let mut origins = item.origins.items.into_iter();
        let first = origins
            .next()
            .ok_or_else(|| Invalid(format!("{}: no origins", item.id)))?;
        let mut distribution = Distribution::new(&item.id, first.into())
            .default_root_object(&item.default_root_object)
            .default_behavior(item.default_cache_behavior.into());
        if !item.enabled {
            distribution = distribution.disabled();
        }
        if item.staging {
            distribution = distribution.staging();
        }
        if item.connection_mode == "tenant-only" {
            distribution = distribution.tenant_only();
        }
        for alias in &item.aliases.items {
            distribution = distribution.alias(alias);
        }
        for origin in origins {
            distribution = distribution.origin(origin.into());
        }
        for group in item.origin_groups.items {
            let members = group.members.items.iter();
            let members: Vec<_> = members.map(|member| member.origin_id.as_str()).collect();
            let members = <[&str; 2]>::try_from(members)
                .map_err(|_| Invalid(format!("{}: two members, no more", group.id)))?;
            distribution = distribution.origin_group(&group.id, members);
        }
        for behavior in item.cache_behaviors.items {
            distribution = distribution.behavior(behavior.into());
        }
        for error in item.custom_error_responses.items {
            let page = &error.response_page_path;
            distribution = distribution.error_page(error.error_code, page, error.ttl);
        }
        distribution.check().map_err(Invalid)?;
        Ok(distribution)
    }
}

impl From<OriginItem> for Origin {
    fn from(item: OriginItem) -> Self {
        Origin::new(&item.id, &item.domain_name).path(&item.origin_path)
    }
}

impl From<BehaviorItem> for Behavior {
    fn from(item: BehaviorItem) -> Self {
        let mut behavior = match item.path_pattern.as_str() {
            "" => Behavior::default_for(&item.target_origin_id),
            pattern => Behavior::new(pattern, &item.target_origin_id),
        };
        for function in &item.function_associations.items {
            behavior = behavior.function(&function.arn, &function.event_type);
        }
        if let Some(policy) = item.cache_policy_id.filter(|id| !id.is_empty()) {
            return behavior.policy(&policy);
        }
        let behavior = behavior.legacy(item.min, item.default, item.max);
        let forwarded = item.forwarded_values.unwrap_or_default();
        let names = |list: &Items<String>| list.items.clone();
        let headers = names(&forwarded.headers);
        let behavior = behavior.forward_headers(&borrowed(&headers));
        if !forwarded.query_string {
            return behavior;
        }
        let keys = names(&forwarded.query_string_cache_keys);
        behavior.forward_query_strings(&borrowed(&keys))
    }
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

impl TryFrom<CachePolicyDetails> for CachePolicy {
    type Error = Invalid;

    fn try_from(details: CachePolicyDetails) -> Result<Self, Invalid> {
        let config = details.cache_policy_config;
        let policy = CachePolicy::new(&details.id, config.min, config.default, config.max);
        let Some(parameters) = config.parameters else {
            return Ok(policy);
        };
        let config = parameters.query_strings_config;
        let names = config.query_strings.items;
        let behavior = config.query_string_behavior.as_str();
        let query_strings = match (behavior, names.is_empty()) {
            ("none", true) => QueryStrings::None,
            ("all", true) => QueryStrings::All,
            ("whitelist", false) => QueryStrings::Whitelist(names),
            ("allExcept", false) => QueryStrings::AllExcept(names),
            _ => {
                let count = names.len();
                let why = format!(
                    "{}: no QueryStringBehavior {behavior:?} of {count} names",
                    details.id
                );
                return Err(Invalid(why));
            }
        };
        Ok(policy.query_strings(query_strings))
    }
}
