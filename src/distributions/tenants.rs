//! Tenants of a multi-tenant distribution, which serves nothing itself.
//!
//! The domains and paths of its origins may hold placeholders, `/{{customer}}`, that each tenant
//! fills with its own parameters (Developer Guide, "Understand how multi-tenant distributions
//! work").

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use aws_sdk_cloudfront::types::{
    DistributionTenantAssociationFilter, DistributionTenantSummary, TenantConfig,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{DistributionId, TenantId};

/// Calls at once.
const CONCURRENCY: usize = 4;

/// An enabled tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What it fills placeholders with.
    pub parameters: Parameters,
}

/// Values for placeholders, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Takes names and values.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The values a distribution gives where a tenant gives none.
    pub(super) fn defaults(config: Option<TenantConfig>) -> Self {
        let definitions = config.and_then(|config| config.parameter_definitions);
        let default = |definition: aws_sdk_cloudfront::types::ParameterDefinition| {
            let schema = definition.definition?.string_schema?;
            Some((definition.name, schema.default_value?))
        };
        Self(
            definitions
                .into_iter()
                .flatten()
                .filter_map(default)
                .collect(),
        )
    }

    fn overridden_by(&self, other: Self) -> Self {
        let mut all = self.0.clone();
        all.extend(other.0);
        Self(all)
    }

    /// Fills the placeholders of a text; one without a value stays.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
    }
}

/// The enabled tenants of a distribution. Their parameters are only read if they matter.
///
/// # Errors
/// If they cannot be read.
pub(super) async fn read(
    cloudfront: &Client,
    distribution: &DistributionId,
    defaults: &Parameters,
    with_parameters: bool,
) -> Result<Vec<Tenant>> {
    let tenants = list(cloudfront, distribution).await?;
    let tenants = tenants
        .into_iter()
        .filter(|tenant| tenant.enabled != Some(false))
        .map(|tenant| TenantId::new(tenant.id));
    if !with_parameters {
        let tenant = |id| Tenant {
            id,
            parameters: Parameters::default(),
        };
        return Ok(tenants.map(tenant).collect());
    }
    let tenants: Vec<Option<Tenant>> = stream::iter(tenants)
        .map(|id| read_one(cloudfront, id, defaults))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(tenants.into_iter().flatten().collect())
}

async fn list(
    cloudfront: &Client,
    distribution: &DistributionId,
) -> Result<Vec<DistributionTenantSummary>> {
    let association = DistributionTenantAssociationFilter::builder()
        .distribution_id(distribution.as_str())
        .build();
    let mut pages = cloudfront
        .list_distribution_tenants()
        .association_filter(association)
        .into_paginator()
        .send();
    let mut tenants = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| {
            format!("failed to list the tenants of {distribution}: ListDistributionTenants")
        })?;
        tenants.extend(page.distribution_tenant_list.into_iter().flatten());
    }
    Ok(tenants)
}

/// `None` for a tenant that was deleted since it was listed.
async fn read_one(
    cloudfront: &Client,
    id: TenantId,
    defaults: &Parameters,
) -> Result<Option<Tenant>> {
    let result = cloudfront
        .get_distribution_tenant()
        .identifier(id.as_str())
        .send()
        .await;
    let answer = match result {
        Ok(answer) => answer,
        Err(error) if error.code() == Some("EntityNotFound") => return Ok(None),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("failed to read the tenant {id}: GetDistributionTenant"));
        }
    };
    let parameters = answer
        .distribution_tenant
        .and_then(|tenant| tenant.parameters)
        .into_iter()
        .flatten()
        .map(|parameter| (parameter.name, parameter.value));
    Ok(Some(Tenant {
        id,
        parameters: defaults.overridden_by(Parameters::new(parameters)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: &[(&str, &str)]) -> Parameters {
        Parameters::new(
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn placeholders_are_filled_and_others_stay() {
        let parameters = parameters(&[("customer", "acme"), ("region", "eu-west-1")]);
        for (text, expected) in [
            ("/{{customer}}", "/acme"),
            ("/{{customer}}/{{customer}}", "/acme/acme"),
            (
                "site.s3.{{region}}.amazonaws.com",
                "site.s3.eu-west-1.amazonaws.com",
            ),
            ("/{{other}}", "/{{other}}"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(parameters.fill(text), expected);
        }
    }

    #[test]
    fn a_tenants_own_value_goes_before_the_default() {
        let defaults = parameters(&[("a", "1"), ("b", "2")]);
        let own = parameters(&[("b", "3")]);
        assert_eq!(
            defaults.overridden_by(own),
            parameters(&[("a", "1"), ("b", "3")])
        );
    }
}
