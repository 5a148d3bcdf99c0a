//! SDK clients: credentials, endpoints, TLS, retries, timeouts.
//!
//! The function does not use `aws-config`: all it needs is in its environment, and loading a default
//! configuration costs several times as much as the rest of the start.

pub mod error;
mod http;
pub mod lean_sqs;
mod user_agent;

use std::sync::OnceLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use invalidator_core::endpoint::{self, EndpointUrl};
use invalidator_core::target::Target;

use crate::config::ConfigError;
use http::ATTEMPT_TIMEOUT;
use lean_sqs::LeanSqs;

/// Custom endpoints of single services: `AWS_ENDPOINT_URL_<SERVICE>`, as in every AWS SDK. An endpoint
/// for all services is part of the [`SdkConfig`].
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    pub cloudfront: Option<EndpointUrl>,
    pub s3: Option<EndpointUrl>,
    pub sns: Option<EndpointUrl>,
    pub sqs: Option<EndpointUrl>,
}

impl Endpoints {
    /// Reads the endpoints from the environment of the process.
    ///
    /// # Errors
    /// If one of them may not be called: see [`invalidator_core::endpoint`].
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            cloudfront: endpoint("AWS_ENDPOINT_URL_CLOUDFRONT")?,
            s3: endpoint("AWS_ENDPOINT_URL_S3")?,
            sns: endpoint("AWS_ENDPOINT_URL_SNS")?,
            sqs: endpoint("AWS_ENDPOINT_URL_SQS")?,
        })
    }
}

/// The clients of the four services. Each is created when it is first needed.
#[derive(Debug)]
pub struct Clients {
    sdk: SdkConfig,
    endpoints: Endpoints,
    /// What makes the calls of [`LeanSqs`], if it is not one of its own.
    connector: Option<SharedHttpConnector>,
    cloudfront: OnceLock<aws_sdk_cloudfront::Client>,
    s3: OnceLock<aws_sdk_s3::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
    sqs: OnceLock<aws_sdk_sqs::Client>,
    lean_sqs: OnceLock<LeanSqs>,
}

/// A client's configuration builder, from the shared one and the service's own endpoint.
macro_rules! builder {
    ($self:ident, $sdk:ident, $endpoint:ident) => {{
        let mut builder = $sdk::config::Builder::from(&$self.sdk).interceptor(user_agent::Own);
        if let Some(url) = &$self.endpoints.$endpoint {
            builder.set_endpoint_url(Some(url.to_string()));
        }
        builder
    }};
}

impl Clients {
    /// Clients that share this configuration.
    pub fn new(sdk: SdkConfig, endpoints: Endpoints) -> Self {
        Self {
            sdk,
            endpoints,
            connector: None,
            cloudfront: OnceLock::new(),
            s3: OnceLock::new(),
            sns: OnceLock::new(),
            sqs: OnceLock::new(),
            lean_sqs: OnceLock::new(),
        }
    }

    /// Clients that make all calls with this connector, which the configuration's HTTP client uses too.
    pub fn with_connector(mut self, connector: SharedHttpConnector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Clients from the region and credentials that Lambda puts into the environment.
    ///
    /// Two features of the SDK are switched off because they would have no effect: the credentials
    /// cache (the environment is read anyway), and the protection against stalled streams (every call
    /// has a timeout, and no answer is streamed).
    ///
    /// # Errors
    /// If a custom endpoint may not be called.
    pub fn from_lambda_environment() -> Result<Self, ConfigError> {
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let connector = http_connector();
        let sdk = config(
            client_of(connector.clone()),
            environment_credentials(),
            region,
            endpoint_from_env()?,
        );
        let sdk = sdk
            .into_builder()
            .identity_cache(IdentityCache::no_cache())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Ok(Self::new(sdk, Endpoints::from_env()?).with_connector(connector))
    }

    pub fn cloudfront(&self) -> &aws_sdk_cloudfront::Client {
        self.cloudfront.get_or_init(|| {
            let builder = builder!(self, aws_sdk_cloudfront, cloudfront);
            aws_sdk_cloudfront::Client::from_conf(builder.build())
        })
    }

    pub fn s3(&self) -> &aws_sdk_s3::Client {
        self.s3.get_or_init(|| {
            // A custom endpoint rarely has a host name for each bucket.
            let own_endpoint = self.endpoints.s3.is_some() || self.sdk.endpoint_url().is_some();
            let builder = builder!(self, aws_sdk_s3, s3).force_path_style(own_endpoint);
            aws_sdk_s3::Client::from_conf(builder.build())
        })
    }

    pub fn sns(&self) -> &aws_sdk_sns::Client {
        self.sns.get_or_init(|| {
            aws_sdk_sns::Client::from_conf(builder!(self, aws_sdk_sns, sns).build())
        })
    }

    /// The client that invalidates a target. All targets are in this account; a target of another
    /// account would get its client here.
    pub fn cloudfront_for(&self, _target: &Target) -> &aws_sdk_cloudfront::Client {
        self.cloudfront()
    }

    pub fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.sqs.get_or_init(|| {
            aws_sdk_sqs::Client::from_conf(builder!(self, aws_sdk_sqs, sqs).build())
        })
    }

    /// For the calls of which a flush makes thousands.
    pub fn lean_sqs(&self) -> &LeanSqs {
        self.lean_sqs.get_or_init(|| {
            let endpoint = self.endpoints.sqs.as_ref().map(ToString::to_string);
            let connector = self.connector.clone().unwrap_or_else(http_connector);
            LeanSqs::new(&self.sdk, endpoint, connector)
        })
    }
}

/// The configuration that all clients share: connections, retries, timeouts.
pub fn sdk_config(
    credentials: SharedCredentialsProvider,
    region: Option<String>,
    endpoint_url: Option<EndpointUrl>,
) -> SdkConfig {
    config(http_client(), credentials, region, endpoint_url)
}

fn config(
    client: SharedHttpClient,
    credentials: SharedCredentialsProvider,
    region: Option<String>,
    endpoint_url: Option<EndpointUrl>,
) -> SdkConfig {
    let mut sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(client)
        .credentials_provider(credentials)
        .region(region.map(Region::new))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts());
    sdk.set_endpoint_url(endpoint_url.map(|url| url.to_string()));
    sdk.build()
}

/// An HTTP client over rustls with Mozilla's root certificates built in, so no certificate file is
/// parsed.
pub fn http_client() -> SharedHttpClient {
    client_of(http_connector())
}

fn client_of(connector: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| connector.clone())
}

/// The same, for calls that are not made by the SDK's clients.
pub fn http_connector() -> SharedHttpConnector {
    SharedHttpConnector::new(http::PooledClient::new())
}

/// No call may hang until Lambda ends the function, because a flush stops twenty seconds before that.
/// The longest intended wait is a long poll of one second.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(Duration::from_secs(15))
        .build()
}

/// Reads the variables whenever credentials are needed, so that a rotated key is used.
fn environment_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(provide_credentials_fn(|| async {
        let required = |name| {
            variable(name).ok_or_else(|| CredentialsError::not_loaded(format!("{name} is not set")))
        };
        Ok(Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            variable("AWS_SESSION_TOKEN"),
            None,
            "Environment",
        ))
    }))
}

/// The custom endpoint of all services, `AWS_ENDPOINT_URL`.
///
/// # Errors
/// If it may not be called: see [`invalidator_core::endpoint`].
pub fn endpoint_from_env() -> Result<Option<EndpointUrl>, ConfigError> {
    endpoint("AWS_ENDPOINT_URL")
}

fn endpoint(name: &'static str) -> Result<Option<EndpointUrl>, ConfigError> {
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    let url = value.parse().map_err(|_| ConfigError::Invalid {
        name,
        value,
        expected: endpoint::ALLOWED.to_owned(),
    });
    url.map(Some)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
