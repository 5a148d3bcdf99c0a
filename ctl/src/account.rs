//! The AWS account to work with.

use anyhow::Result;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use clap::Args;
use invalidator::aws::{Clients, Endpoints, endpoint_from_env, http_client, timeouts};
use invalidator_core::endpoint::EndpointUrl;

/// Which account, and how to reach it. Without these, what the AWS CLI would use.
#[derive(Args, Debug)]
pub struct Options {
    /// A profile of the AWS configuration files.
    #[arg(long, global = true)]
    profile: Option<String>,
    /// The region of the buckets.
    #[arg(long, global = true)]
    region: Option<String>,
    /// Another endpoint than AWS's own, such as an emulator's.
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<EndpointUrl>,
}

/// Clients of the services that the function uses too.
///
/// # Errors
/// If a variable names an endpoint that may not be called.
pub async fn clients(options: &Options) -> Result<Clients> {
    let sdk = configuration(options).await?;
    Ok(Clients::new(sdk, Endpoints::from_env()?))
}

/// The configuration of all clients: region, credentials, endpoint.
///
/// # Errors
/// If a variable names an endpoint that may not be called.
pub async fn configuration(options: &Options) -> Result<SdkConfig> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts());
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let from_env = endpoint_from_env()?;
    if let Some(url) = options.endpoint_url.as_ref().or(from_env.as_ref()) {
        loader = loader.endpoint_url(url.as_str());
    }
    Ok(loader.load().await)
}
