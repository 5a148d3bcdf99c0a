//! The HTTP client below the SDK: hyper's pooling client over rustls.
//!
//! The SDK's own client parses its root certificates from PEM at the start, which costs more than all
//! the rest of the start; `webpki-roots` are parsed when the function is built.

use std::error::Error;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// AWS closes idle connections after 20 seconds or more, so connections are reused only before that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// One pool of connections for all services.
#[derive(Clone, Debug)]
pub(super) struct PooledClient(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl PooledClient {
    pub(super) fn new() -> Self {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self(client)
    }
}

impl HttpConnector for PooledClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let response = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let response = response.await.map_err(classify)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Every failure below HTTP is worth another attempt, except a request that hyper itself rejects.
fn classify(error: ClientError) -> ConnectorError {
    if error.is_connect() || has_source::<std::io::Error>(&error) {
        return ConnectorError::io(error.into());
    }
    ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
}

fn has_source<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<E>() {
            return true;
        }
        next = error.source();
    }
    false
}
