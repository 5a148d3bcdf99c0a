//! A client of CloudFront whose requests are made and signed, and then only counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials;
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::{BehaviorVersion, Config, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

/// What the client has sent.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<AtomicUsize>);

impl Received {
    /// Paths in all bodies.
    pub fn paths(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A client, and what it has sent.
pub fn client() -> (Client, Received) {
    let received = Received::default();
    let connector = SharedHttpConnector::new(received.clone());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "bench"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    (Client::from_conf(config), received)
}

impl HttpConnector for Received {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        // Counting each path would be part of the time: the body says how many it has.
        let body = std::str::from_utf8(body).unwrap_or_default();
        let quantity = body
            .split_once("<Quantity>")
            .and_then(|(_, rest)| rest.split_once('<'))
            .and_then(|(quantity, _)| quantity.parse().ok());
        self.0.fetch_add(quantity.unwrap_or(0), Ordering::Relaxed);
        HttpConnectorFuture::ready(Err(ConnectorError::user("nobody is asked".into())))
    }
}
