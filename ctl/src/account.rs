//! The AWS account to work with.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use clap::Args;
use invalidator::aws::{Clients, Endpoints, http_client, timeouts};

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
    endpoint_url: Option<String>,
}

/// Clients of the services that the function uses too.
pub async fn clients(options: &Options) -> Clients {
    Clients::new(configuration(options).await, Endpoints::from_env())
}

/// The configuration of all clients: region, credentials, endpoint.
pub async fn configuration(options: &Options) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts());
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader.load().await
}
