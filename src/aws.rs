//! SDK clients: credentials, endpoints, TLS, retries, timeouts.
//!
//! The function does not use `aws-config`: all it needs is in its environment, and loading a default
//! configuration costs several times as much as the rest of the start.

mod early;
pub mod error;
mod http;
pub mod lean_sqs;
pub mod roots;
mod signature;
mod user_agent;

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
use std::sync::OnceLock;

use crate::config::ConfigError;
use http::{ATTEMPT_TIMEOUT, CALL_TIMEOUT, PooledClient};
use lean_sqs::LeanSqs;
use roots::Roots;

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

/// A service to which connections are begun early. S3 has a host for each bucket, and is always called first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    CloudFront,
    Sqs,
}

/// The clients of the four services. Each is created when it is first needed.
#[derive(Debug)]
pub struct Clients {
    sdk: SdkConfig,
    endpoints: Endpoints,
    /// What makes the calls of [`LeanSqs`], if it is not one of its own.
    connector: Option<SharedHttpConnector>,
    /// What begins connections, if they are this crate's.
    pool: Option<PooledClient>,
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
            pool: None,
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
    pub fn from_lambda_environment(roots: Roots) -> Result<Self, ConfigError> {
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let pool = PooledClient::new(roots);
        let connector = SharedHttpConnector::new(pool.clone());
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
        let mut clients = Self::new(sdk, Endpoints::from_env()?).with_connector(connector);
        clients.pool = Some(pool);
        Ok(clients)
    }

    /// Begins to connect to services that will be called in a moment, beside whatever is called first. It is
    /// done by the functions that know this, because connecting to one after another takes the time of both.
    pub fn connect_early(&self, services: &[Service]) {
        let Some(pool) = &self.pool else { return };
        let urls = services.iter().filter_map(|service| self.url(*service));
        urls.for_each(|url| pool.connect_early(&url));
    }

    /// Where a service is called, if that is known without the SDK's resolver, whose tables take their time.
    fn url(&self, service: Service) -> Option<String> {
        let own = match service {
            Service::CloudFront => &self.endpoints.cloudfront,
            Service::Sqs => &self.endpoints.sqs,
        };
        let own = own.as_ref().map(EndpointUrl::as_str);
        if let Some(url) = own.or_else(|| self.sdk.endpoint_url()) {
            return Some(url.to_owned());
        }
        let region = self.sdk.region()?.as_ref();
        // Regions of other partitions, such as us-iso-east-1, are left to the resolver.
        let is_partition = |name: &str| region.split('-').nth(1) == Some(name);
        let is_special = ["iso", "isob", "isoe", "isof"].map(is_partition);
        if region.starts_with("eusc-") || is_special.contains(&true) {
            return None;
        }
        let is_china = region.starts_with("cn-");
        match service {
            Service::Sqs if is_china => Some(format!("https://sqs.{region}.amazonaws.com.cn")),
            Service::Sqs => Some(format!("https://sqs.{region}.amazonaws.com")),
            Service::CloudFront if is_china => {
                Some("https://cloudfront.cn-northwest-1.amazonaws.com.cn".to_owned())
            }
            Service::CloudFront if region.starts_with("us-gov-") => None,
            Service::CloudFront => Some("https://cloudfront.amazonaws.com".to_owned()),
        }
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

    /// For what [`LeanSqs`] cannot do.
    pub fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.sqs.get_or_init(|| {
            aws_sdk_sqs::Client::from_conf(builder!(self, aws_sdk_sqs, sqs).build())
        })
    }

    /// What makes the function's calls on queues.
    pub fn lean_sqs(&self) -> &LeanSqs {
        self.lean_sqs.get_or_init(|| {
            let endpoint = self.endpoints.sqs.as_ref().map(ToString::to_string);
            let connector = self.connector.clone();
            let connector = connector.unwrap_or_else(|| http_connector(Roots::BuiltIn));
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
    config(
        http_client(Roots::BuiltIn),
        credentials,
        region,
        endpoint_url,
    )
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

/// An HTTP client over rustls.
pub fn http_client(roots: Roots) -> SharedHttpClient {
    client_of(http_connector(roots))
}

fn client_of(connector: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| connector.clone())
}

/// The same, for calls that are not made by the SDK's clients.
pub fn http_connector(roots: Roots) -> SharedHttpConnector {
    SharedHttpConnector::new(PooledClient::new(roots))
}

/// No call may hang until Lambda ends the function, because a flush stops twenty seconds before that.
/// The longest intended wait is a long poll of one second.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    /// Keeps the URLs of the calls, and answers none.
    #[derive(Clone, Debug, Default)]
    struct Urls(Arc<Mutex<Vec<String>>>);

    impl HttpConnector for Urls {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.0.lock().unwrap().push(request.uri().to_owned());
            HttpConnectorFuture::ready(Err(ConnectorError::user("no".into())))
        }
    }

    /// A connection to another host would never be used.
    #[tokio::test]
    async fn connections_are_begun_to_the_hosts_that_the_sdk_calls() {
        let own: EndpointUrl = "https://vpce-1.example.com:8443".parse().unwrap();
        for (region, endpoint, is_known) in [
            ("us-east-1", None, [true, true]),
            ("eu-central-2", None, [true, true]),
            ("cn-north-1", None, [true, true]),
            ("us-gov-west-1", None, [true, false]),
            ("us-iso-east-1", None, [false, false]),
            ("us-isob-east-1", None, [false, false]),
            ("eusc-de-east-1", None, [false, false]),
            ("us-iso-east-1", Some(&own), [true, true]),
        ] {
            let urls = Urls::default();
            let credentials = Credentials::new("a", "b", None, None, "test");
            let sdk = config(
                client_of(SharedHttpConnector::new(urls.clone())),
                SharedCredentialsProvider::new(credentials),
                Some(region.to_owned()),
                None,
            );
            let endpoints = Endpoints {
                cloudfront: endpoint.cloned(),
                sqs: endpoint.cloned(),
                ..Endpoints::default()
            };
            let clients = Clients::new(sdk, endpoints);
            let services = [Service::Sqs, Service::CloudFront];
            for (service, is_known) in services.into_iter().zip(is_known) {
                let _ = match service {
                    Service::Sqs => clients.sqs().list_queues().send().await.is_ok(),
                    Service::CloudFront => {
                        let list = clients.cloudfront().list_distributions();
                        list.send().await.is_ok()
                    }
                };
                let called = urls.0.lock().unwrap().pop().unwrap();
                let begun = clients.url(service);
                assert_eq!(begun.is_some(), is_known, "{region}: {called}");
                if let Some(begun) = begun {
                    let rest = called.strip_prefix(&begun);
                    assert!(
                        rest.is_some_and(|it| it.starts_with('/')),
                        "{begun}: {called}"
                    );
                }
            }
        }
    }
}
