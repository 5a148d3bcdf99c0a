//! Connections that are begun before they are needed.
//!
//! An event needs S3 and then SQS. A connection takes three turns of the network (its host's address, TCP, TLS) and
//! the client begins it when the first call needs it. So those of the services that will be called in a moment are
//! begun beside the first call, and wait here for theirs.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tower_service::Service;

type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn Error + Send + Sync>;

/// Connects, or takes a connection that was begun early.
#[derive(Clone)]
pub(super) struct EarlyConnector {
    connector: HttpsConnector<TcpConnector>,
    begun: Arc<Mutex<Vec<Begun>>>,
    keep_for: Duration,
}

struct Begun {
    uri: Uri,
    since: SystemTime,
    connecting: JoinHandle<Result<Connection, BoxError>>,
}

impl EarlyConnector {
    /// `keep_for`: how old a connection may be when it is taken, by the wall clock: an environment may have been
    /// frozen since it was begun.
    pub(super) fn new(connector: HttpsConnector<TcpConnector>, keep_for: Duration) -> Self {
        Self {
            connector,
            begun: Arc::default(),
            keep_for,
        }
    }

    /// Begins to connect to a host. Whether that succeeds is seen by the call that takes the connection.
    pub(super) fn begin(&self, uri: Uri, now: SystemTime) {
        let connecting = tokio::spawn(connect(self.connector.clone(), uri.clone()));
        let begun = Begun {
            uri,
            since: now,
            connecting,
        };
        let mut all = self.lock();
        all.retain(|it| it.is_usable(self.keep_for, now));
        all.push(begun);
    }

    fn take(&self, uri: &Uri) -> Option<Begun> {
        let mut all = self.lock();
        let is_same =
            |it: &Begun| it.uri.scheme() == uri.scheme() && it.uri.authority() == uri.authority();
        let index = all.iter().position(is_same)?;
        let begun = all.swap_remove(index);
        begun
            .is_usable(self.keep_for, SystemTime::now())
            .then_some(begun)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    fn is_usable(&self, keep_for: Duration, now: SystemTime) -> bool {
        // If the clock was set back, it may be of any age.
        now.duration_since(self.since)
            .is_ok_and(|age| age <= keep_for)
    }
}

async fn connect(
    mut connector: HttpsConnector<TcpConnector>,
    uri: Uri,
) -> Result<Connection, BoxError> {
    poll_fn(|context| connector.poll_ready(context)).await?;
    connector.call(uri).await
}

impl Service<Uri> for EarlyConnector {
    type Response = Connection;
    type Error = BoxError;
    type Future = <HttpsConnector<TcpConnector> as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some(begun) = self.take(&uri) else {
            return self.connector.call(uri);
        };
        let connector = self.connector.clone();
        Box::pin(async move {
            match begun.connecting.await {
                Ok(Ok(connection)) => Ok(connection),
                // What kept it from succeeding may be over.
                Ok(Err(_)) | Err(_) => connect(connector, uri).await,
            }
        })
    }
}

impl fmt::Debug for EarlyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyConnector").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use hyper_rustls::HttpsConnectorBuilder;
    use tokio::net::TcpListener;

    use super::*;

    const KEEP_FOR: Duration = Duration::from_secs(15);

    fn connector() -> EarlyConnector {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        EarlyConnector::new(connector, KEEP_FOR)
    }

    async fn listen(address: &str) -> (TcpListener, Uri) {
        let listener = TcpListener::bind(address).await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        (listener, uri.parse().unwrap())
    }

    /// The port from which a connection comes.
    fn port(connection: &Connection) -> u16 {
        let MaybeHttpsStream::Http(stream) = connection else {
            panic!("TLS");
        };
        stream.inner().local_addr().unwrap().port()
    }

    async fn accepted(listener: &TcpListener) -> u16 {
        listener.accept().await.unwrap().1.port()
    }

    #[tokio::test]
    async fn a_connection_that_was_begun_is_used_once() {
        let (listener, uri) = listen("127.0.0.1:0").await;
        let mut connector = connector();
        connector.begin(uri.clone(), SystemTime::now());
        let early = accepted(&listener).await;
        // A call to another path of the same host.
        let of_call = format!("{uri}1/queue").parse().unwrap();
        assert_eq!(port(&connector.call(of_call).await.unwrap()), early);
        assert_ne!(port(&connector.call(uri).await.unwrap()), early);
    }

    #[tokio::test]
    async fn a_connection_that_is_too_old_is_not_used() {
        let (listener, uri) = listen("127.0.0.1:0").await;
        for since in [
            SystemTime::now() - KEEP_FOR - Duration::from_secs(1),
            SystemTime::now() + Duration::from_secs(60),
        ] {
            let mut connector = connector();
            connector.begin(uri.clone(), since);
            let early = accepted(&listener).await;
            let used = connector.call(uri.clone()).await.unwrap();
            assert_ne!(port(&used), early);
            assert_eq!(port(&used), accepted(&listener).await);
        }
    }

    #[tokio::test]
    async fn a_connection_that_failed_is_tried_again_when_it_is_needed() {
        let (listener, uri) = listen("127.0.0.1:0").await;
        drop(listener);
        let mut connector = connector();
        connector.begin(uri.clone(), SystemTime::now());
        while !connector.lock()[0].connecting.is_finished() {
            tokio::task::yield_now().await;
        }
        let (_listener, _) = listen(uri.authority().unwrap().as_str()).await;
        connector.call(uri).await.unwrap();
    }
}
