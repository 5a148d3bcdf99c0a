//! Converts the SDK's answers into the types of the core.

use aws_sdk_cloudfront::types as sdk;
use invalidator_core::distributions::listing::{
    CacheBehavior, CacheKeyParameters, CachePolicyConfig, CustomErrorResponse, DistributionSummary,
    FailoverCriteria, ForwardedValues, FunctionAssociation, Items, Origin, OriginGroup,
    OriginGroupMember, QueryStringsConfig,
};
use invalidator_core::distributions::tenants::Parameters;

pub(super) fn summary(summary: sdk::DistributionSummary) -> DistributionSummary {
    let mode = summary.connection_mode.map(|mode| mode.as_str().to_owned());
    let behaviors = summary.cache_behaviors.and_then(|list| list.items);
    DistributionSummary {
        id: summary.id,
        e_tag: summary.e_tag,
        status: summary.status,
        domain_name: summary.domain_name,
        aliases: summary
            .aliases
            .map(|aliases| items(aliases.items, std::convert::identity)),
        enabled: summary.enabled,
        staging: summary.staging,
        connection_mode: mode,
        default_root_object: None,
        origins: items(summary.origins.map(|origins| origins.items), origin),
        origin_groups: summary
            .origin_groups
            .map(|groups| items(groups.items, origin_group)),
        default_cache_behavior: summary
            .default_cache_behavior
            .map_or_else(CacheBehavior::absent, default_behavior),
        cache_behaviors: items(behaviors, behavior),
        custom_error_responses: summary
            .custom_error_responses
            .map(|responses| items(responses.items, custom_error_response)),
    }
}

fn items<S, T>(items: Option<Vec<S>>, convert: impl Fn(S) -> T) -> Items<T> {
    Items {
        items: items.into_iter().flatten().map(convert).collect(),
    }
}

fn custom_error_response(response: sdk::CustomErrorResponse) -> CustomErrorResponse {
    CustomErrorResponse {
        error_code: response.error_code,
        response_page_path: response.response_page_path,
        error_caching_min_ttl: response.error_caching_min_ttl,
    }
}

fn origin(origin: sdk::Origin) -> Origin {
    Origin {
        id: origin.id,
        domain_name: origin.domain_name,
        origin_path: origin.origin_path.unwrap_or_default(),
    }
}

fn origin_group(group: sdk::OriginGroup) -> OriginGroup {
    let member = |member: sdk::OriginGroupMember| OriginGroupMember {
        origin_id: member.origin_id,
    };
    let criteria = group.failover_criteria.and_then(|it| it.status_codes);
    let status_codes = items(criteria.map(|codes| codes.items), std::convert::identity);
    OriginGroup {
        id: group.id,
        failover_criteria: FailoverCriteria { status_codes },
        members: items(group.members.map(|members| members.items), member),
    }
}

// Old distributions have legacy settings.
#[allow(deprecated)]
fn behavior(behavior: sdk::CacheBehavior) -> CacheBehavior {
    CacheBehavior {
        path_pattern: Some(behavior.path_pattern),
        target_origin_id: behavior.target_origin_id,
        cache_policy_id: behavior.cache_policy_id,
        forwarded_values: behavior.forwarded_values.map(forwarded_values),
        min_ttl: behavior.min_ttl,
        max_ttl: behavior.max_ttl,
        lambda_function_associations: lambda_functions(behavior.lambda_function_associations),
        function_associations: functions(behavior.function_associations),
    }
}

#[allow(deprecated)]
fn default_behavior(behavior: sdk::DefaultCacheBehavior) -> CacheBehavior {
    CacheBehavior {
        path_pattern: None,
        target_origin_id: behavior.target_origin_id,
        cache_policy_id: behavior.cache_policy_id,
        forwarded_values: behavior.forwarded_values.map(forwarded_values),
        min_ttl: behavior.min_ttl,
        max_ttl: behavior.max_ttl,
        lambda_function_associations: lambda_functions(behavior.lambda_function_associations),
        function_associations: functions(behavior.function_associations),
    }
}

fn lambda_functions(
    associations: Option<sdk::LambdaFunctionAssociations>,
) -> Option<Items<FunctionAssociation>> {
    let association = |it: sdk::LambdaFunctionAssociation| FunctionAssociation {
        arn: it.lambda_function_arn,
        event_type: it.event_type.as_str().to_owned(),
    };
    Some(items(associations?.items, association))
}

fn functions(
    associations: Option<sdk::FunctionAssociations>,
) -> Option<Items<FunctionAssociation>> {
    let association = |it: sdk::FunctionAssociation| FunctionAssociation {
        arn: it.function_arn,
        event_type: it.event_type.as_str().to_owned(),
    };
    Some(items(associations?.items, association))
}

fn forwarded_values(values: sdk::ForwardedValues) -> ForwardedValues {
    ForwardedValues {
        query_string: values.query_string,
        headers: values.headers.map(|headers| items(headers.items, |it| it)),
    }
}

pub(super) fn cache_policy(config: sdk::CachePolicyConfig) -> CachePolicyConfig {
    let parameters = config.parameters_in_cache_key_and_forwarded_to_origin;
    let query_strings = parameters.and_then(|parameters| parameters.query_strings_config);
    let parameters = |query_strings: sdk::CachePolicyQueryStringsConfig| CacheKeyParameters {
        query_strings_config: QueryStringsConfig {
            query_string_behavior: query_strings.query_string_behavior.as_str().to_owned(),
        },
    };
    CachePolicyConfig {
        name: config.name,
        min_ttl: config.min_ttl,
        max_ttl: config.max_ttl,
        parameters_in_cache_key_and_forwarded_to_origin: query_strings.map(parameters),
    }
}

/// The distribution's default values for parameters that a tenant does not set.
pub(super) fn default_parameters(config: Option<sdk::TenantConfig>) -> Parameters {
    let definitions = config.and_then(|config| config.parameter_definitions);
    let default = |definition: sdk::ParameterDefinition| {
        let schema = definition.definition?.string_schema?;
        Some((definition.name, schema.default_value?))
    };
    Parameters::new(definitions.into_iter().flatten().filter_map(default))
}
