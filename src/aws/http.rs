//! The HTTP client below the SDK: hyper's pooling client over rustls.
//!
//! The SDK's own client parses its root certificates from PEM at the start, which costs more than all
//! the rest of the start; `webpki-roots` are parsed when the function is built.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http::Uri;
use http::uri::Authority;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use invalidator_core::endpoint;
use rustls::ClientConfig;

use super::early::EarlyConnector;
use super::roots::Roots;

/// How long an attempt may take, from the connection to the end of the answer.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(7);

/// How long a call may take, with all its attempts.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(15);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// AWS closes idle connections after 20 seconds or more, so connections are reused only before that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// A flush receives and deletes with 32 calls each at once.
const MAX_IDLE_PER_HOST: usize = 64;

type HyperClient = Client<EarlyConnector, SdkBody>;

/// One pool of connections for all services.
///
/// Lambda may freeze the environment for hours between two calls. Meanwhile the connections die, with
/// or without a sign, and the monotonic clock of hyper's own idle timeout may stand still. So the pool
/// is dropped by the wall clock. It is dropped when an attempt gets no answer, too: the next attempt
/// must not use another dead connection.
#[derive(Clone, Debug)]
pub(super) struct PooledClient {
    connector: HttpsConnector<TcpConnector>,
    pool: Arc<Mutex<Pool>>,
}

#[derive(Debug)]
struct Pool {
    early: EarlyConnector,
    client: HyperClient,
    generation: u64,
    last_used: SystemTime,
    /// The hosts to which connections were begun early, and when each was last called.
    begun: Vec<(Authority, SystemTime)>,
}

impl PooledClient {
    pub(super) fn new(roots: Roots) -> Self {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new();
        let builder = match roots {
            Roots::BuiltIn => builder.with_webpki_roots(),
            Roots::OfFile { store, .. } => {
                let tls = ClientConfig::builder().with_root_certificates(store);
                builder.with_tls_config(tls.with_no_client_auth())
            }
        };
        let builder = builder.https_or_http().enable_http1();
        let connector = builder.wrap_connector(tcp);
        let pool = Pool::new(&connector, 0);
        Self {
            connector,
            pool: Arc::new(Mutex::new(pool)),
        }
    }

    /// Begins to connect to a host that will be called in a moment, unless there is a connection.
    pub(super) fn connect_early(&self, url: &str) {
        if !endpoint::may_be_called(url) {
            return;
        }
        let Ok(uri) = url.parse::<Uri>() else { return };
        let Some(host) = uri.authority() else { return };
        let now = SystemTime::now();
        let mut pool = self.pool_of(now);
        if !pool.was_called(host, now) {
            pool.begun.push((host.clone(), now));
            pool.early.begin(uri, now);
        }
    }

    /// The client to use now for a host, and the generation of its pool.
    fn client(&self, host: Option<&Authority>) -> (HyperClient, u64) {
        let now = SystemTime::now();
        let mut pool = self.pool_of(now);
        if let Some((_, called)) = pool.begun.iter_mut().find(|(it, _)| Some(it) == host) {
            *called = now;
        }
        (pool.client.clone(), pool.generation)
    }

    /// The pool to use now: a new one if this one is old.
    fn pool_of(&self, now: SystemTime) -> MutexGuard<'_, Pool> {
        let mut pool = self.lock();
        if is_old(pool.last_used, now) {
            *pool = Pool::new(&self.connector, pool.generation + 1);
        }
        pool.last_used = now;
        pool
    }

    /// Drops the pool of this generation, because one of its connections failed.
    fn drop_pool(&self, generation: u64) {
        let mut pool = self.lock();
        if pool.generation == generation {
            *pool = Pool::new(&self.connector, generation + 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn new(connector: &HttpsConnector<TcpConnector>, generation: u64) -> Self {
        let early = EarlyConnector::new(connector.clone(), IDLE_TIMEOUT);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build(early.clone());
        Self {
            early,
            client,
            generation,
            last_used: SystemTime::now(),
            begun: Vec::new(),
        }
    }

    /// Whether a host was called so lately that there is a connection to it. If not, it is forgotten.
    fn was_called(&mut self, host: &Authority, now: SystemTime) -> bool {
        self.begun.retain(|(_, called)| !is_old(*called, now));
        self.begun.iter().any(|(it, _)| it == host)
    }
}

/// Whether a connection that was last used then may be dead. If the clock was set back, it may be of any age.
fn is_old(last_used: SystemTime, now: SystemTime) -> bool {
    now.duration_since(last_used)
        .map_or(true, |idle| idle > IDLE_TIMEOUT)
}

/// An attempt that gets no answer drops the pool: whether its connection failed, or the attempt was
/// given up after a timeout because nothing came.
struct Attempt {
    client: PooledClient,
    generation: u64,
    is_answered: bool,
}

impl Attempt {
    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_answered {
            self.client.drop_pool(self.generation);
        }
    }
}

impl HttpConnector for PooledClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // Where an endpoint is read, the error names its variable. This holds for all others too, such as
        // those in the AWS configuration files.
        if !endpoint::may_be_called(request.uri()) {
            let error = format!("{} is not called: {}", request.uri(), endpoint::NotAllowed);
            return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
        }
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let (client, generation) = self.client(request.uri().authority());
        let attempt = Attempt {
            client: self.clone(),
            generation,
            is_answered: false,
        };
        HttpConnectorFuture::new(async move {
            let response = client.request(request).await.map_err(classify)?;
            attempt.answered();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_to_another_machine_without_tls() {
        let client = PooledClient::new(Roots::BuiltIn);
        // An address of TEST-NET-1, which is nobody's: a connection would take its time to fail.
        for url in ["http://192.0.2.1/", "http://sqs.example.org/1/q"] {
            let error = client
                .call(HttpRequest::get(url).unwrap())
                .await
                .unwrap_err();
            assert!(error.is_user(), "{url}: {error:?}");
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains(url) && cause.contains("https://"), "{cause}");
        }
    }
}
