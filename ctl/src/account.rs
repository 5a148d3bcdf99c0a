//! The AWS account to work with, chosen as the AWS CLI chooses it, and shown before anything is done.

use std::borrow::Cow;
use std::fmt;

use anyhow::{Context, Result, bail};
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::profile::{self, ProfileFileCredentialsProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};
use clap::Args;
use invalidator::aws::error::error_of;
use invalidator::aws::roots::Roots;
use invalidator::aws::{
    Clients, Endpoints, endpoint_from_env, http_client, http_connector, timeouts,
};
use invalidator_core::endpoint::EndpointUrl;

use crate::output::saying_if_slow;
use crate::quote::{Here, NamedBy};

/// Which account, and how to reach it. Without these, what the AWS CLI would use.
#[derive(Args, Debug)]
#[command(next_help_heading = "Account")]
pub struct Options {
    /// A profile of the AWS configuration files; its keys are used even if others are in the environment.
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// The region of the stack and its buckets.
    #[arg(long, global = true, value_name = "REGION")]
    region: Option<String>,
    /// Another endpoint than AWS's own for all services, such as an emulator's.
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<EndpointUrl>,
}

/// An account that answers, and who works in it.
#[derive(Debug)]
pub struct Account {
    pub sdk: SdkConfig,
    /// The endpoints of single services, which are not in `sdk`.
    pub endpoints: Endpoints,
    pub clients: Clients,
    /// Its number.
    pub number: String,
    /// Who runs this program.
    pub caller: String,
    /// Where the keys come from, unless they come from where they are looked for last.
    keys: Option<String>,
    region: String,
    /// What `--profile` and `--endpoint-url` said.
    given: (Option<String>, Option<String>),
}

/// `account 123456789012 (prod), eu-west-1`
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}", self.number)?;
        if let Some(keys) = &self.keys {
            write!(f, " ({keys})")?;
        }
        write!(f, ", {}", self.region)
    }
}

impl Account {
    /// The region of the stack and its buckets.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Where commands work that are about no stack.
    pub fn here(&self) -> Here {
        let (profile, endpoint_url) = self.given.clone();
        Here {
            region: self.region.clone(),
            profile,
            endpoint_url,
            stack: NamedBy::Nothing,
        }
    }
}

/// Chooses the account, and asks it who works in it.
///
/// # Errors
/// If there is no such profile, no region or no keys, if an endpoint may not be called, if the file of
/// `AWS_CA_BUNDLE` cannot be used, or if the account does not answer.
pub async fn open(options: &Options) -> Result<Account> {
    let endpoints = match options.endpoint_url {
        Some(_) => Endpoints::default(),
        None => Endpoints::from_env()?,
    };
    let profile = chosen_profile(options);
    if let Some(name) = &profile {
        check_exists(name).await?;
    }
    let roots = Roots::from_env()?;
    let sdk = configuration(options, profile.as_deref(), &roots).await?;
    let Some(region) = sdk.region().map(ToString::to_string) else {
        bail!("no region is set: say --region, set AWS_REGION, or add a region to the profile");
    };
    let client = aws_sdk_sts::Client::new(&sdk);
    let call = client.get_caller_identity().send();
    let identity =
        saying_if_slow(format_args!("asking AWS in {region} for the account"), call).await;
    let identity = identity.map_err(|error| error_of("STS GetCallerIdentity", &error));
    let identity = identity.context("failed to find out the account")?;
    let are_in_environment = options.profile.is_none() && variable("AWS_ACCESS_KEY_ID").is_some();
    Ok(Account {
        clients: Clients::new(sdk.clone(), endpoints.clone()).with_connector(http_connector(roots)),
        endpoints,
        sdk,
        number: identity.account.context("STS knows no account")?,
        caller: identity.arn.context("STS knows no ARN")?,
        keys: match are_in_environment {
            true => Some("keys of the environment".to_owned()),
            false => profile,
        },
        region,
        given: (
            options.profile.clone(),
            options.endpoint_url.as_ref().map(ToString::to_string),
        ),
    })
}

/// The profile that somebody chose; `None` for the one that is called `default`.
fn chosen_profile(options: &Options) -> Option<String> {
    let named = options.profile.clone();
    let named = named.or_else(|| variable("AWS_PROFILE"));
    named.or_else(|| variable("AWS_DEFAULT_PROFILE"))
}

/// # Errors
/// If the configuration files have no profile of this name.
async fn check_exists(name: &str) -> Result<()> {
    let selected = Some(Cow::Owned(name.to_owned()));
    let files = EnvConfigFiles::default();
    let profiles = profile::load(&Fs::real(), &Env::real(), &files, selected).await;
    let profiles = profiles.context("failed to read the AWS configuration files")?;
    if profiles.get_profile(name).is_none() {
        bail!(
            "there is no profile `{name}` in the AWS configuration files; `aws configure list-profiles` lists \
             those that there are"
        );
    }
    Ok(())
}

/// The configuration of all clients: region, credentials, endpoint.
///
/// # Errors
/// If a variable names an endpoint that may not be called.
async fn configuration(
    options: &Options,
    profile: Option<&str>,
    roots: &Roots,
) -> Result<SdkConfig> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(roots.clone()))
        .timeout_config(timeouts());
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let from_env = endpoint_from_env()?;
    if let Some(url) = options.endpoint_url.as_ref().or(from_env.as_ref()) {
        loader = loader.endpoint_url(url.as_str());
    }
    // With --profile the AWS CLI looks at no keys in the environment, with AWS_PROFILE it does.
    if let Some(profile) = &options.profile {
        let region = options.region.clone().map(Region::new);
        loader = loader.credentials_provider(keys_of(profile, region, roots).await);
    }
    Ok(loader.load().await)
}

/// The keys of a profile. If it has none, those of the machine, as in the AWS CLI.
async fn keys_of(profile: &str, region: Option<Region>, roots: &Roots) -> CredentialsProviderChain {
    let client = http_client(roots.clone());
    let config = ProviderConfig::without_region().with_http_client(client);
    // A role is assumed in the region of the command.
    let of_profile = ProfileFileRegionProvider::builder();
    let of_profile = of_profile.configure(&config).profile_name(profile).build();
    let of_environment = EnvironmentVariableRegionProvider::new();
    let chain = RegionProviderChain::first_try(region).or_else(of_environment);
    let region = chain.or_else(of_profile).region().await;
    let config = config.with_region(region);
    let of_profile = ProfileFileCredentialsProvider::builder();
    let of_profile = of_profile.configure(&config).profile_name(profile).build();
    let of_container = EcsCredentialsProvider::builder().configure(&config).build();
    let of_machine = ImdsCredentialsProvider::builder()
        .configure(&config)
        .build();
    CredentialsProviderChain::first_try("Profile", of_profile)
        .or_else("EcsContainer", of_container)
        .or_else("Ec2InstanceMetadata", of_machine)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
