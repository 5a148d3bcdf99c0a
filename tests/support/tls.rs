//! TLS in front of the account, as in front of AWS: each service has a host of its own, so that a program needs a
//! connection to each. The certificates are like those of AWS: see `tls/make.sh`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::serve::Listener;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The services, as `AWS_ENDPOINT_URL_<SERVICE>` calls them, each on an address of its own.
pub const SERVICES: [(&str, &str); 4] = [
    ("S3", "127.0.0.2"),
    ("SQS", "127.0.0.3"),
    ("CLOUDFRONT", "127.0.0.4"),
    ("SNS", "127.0.0.5"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls")
}

/// The file with the root certificates.
pub fn roots() -> PathBuf {
    folder().join("roots.pem")
}

/// A connection to a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Handshake {
    pub service: &'static str,
    /// When the connection was accepted, since the start of the account.
    pub began: Duration,
    /// When TLS was agreed on.
    pub done: Option<Duration>,
    /// Whether TLS was resumed.
    pub is_resumed: bool,
}

/// The connections to all services.
#[derive(Clone)]
pub struct Handshakes {
    shared: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    start: Instant,
    acceptor: TlsAcceptor,
}

#[derive(Default)]
struct State {
    all: Vec<Handshake>,
    together: Vec<&'static str>,
}

impl Handshakes {
    pub fn new(start: Instant) -> Self {
        let chain = CertificateDer::pem_file_iter(folder().join("chain.pem")).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(folder().join("key.pem")).unwrap();
        // AWS takes the first of these that a client offers.
        let mut provider = ring::default_provider();
        let is_later =
            |it: &SupportedCipherSuite| it.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256;
        provider.cipher_suites.sort_by_key(is_later);
        let config = ServerConfig::builder_with_provider(Arc::new(provider));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.ignore_client_order = true;
        Self {
            shared: Arc::default(),
            changed: Arc::default(),
            start,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// All so far, in the order in which they began.
    pub fn all(&self) -> Vec<Handshake> {
        self.shared.lock().unwrap().all.clone()
    }

    /// Begins anew.
    pub fn forget(&self) {
        *self.shared.lock().unwrap() = State::default();
    }

    /// From now on no service answers a handshake before each of these has been asked for one.
    pub fn only_together(&self, services: &[&'static str]) {
        self.shared.lock().unwrap().together = services.to_vec();
    }

    fn may_answer(&self) -> bool {
        let state = self.shared.lock().unwrap();
        let is_asked = |service| state.all.iter().any(|it| it.service == service);
        state.together.iter().all(|service| is_asked(*service))
    }

    async fn agree(&self, service: &'static str, tcp: TcpStream) -> Option<TlsStream<TcpStream>> {
        let index = {
            let all = &mut self.shared.lock().unwrap().all;
            all.push(Handshake {
                service,
                began: self.start.elapsed(),
                done: None,
                is_resumed: false,
            });
            all.len() - 1
        };
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            if self.may_answer() {
                break;
            }
            changed.await;
        }
        tcp.set_nodelay(true).unwrap();
        let stream = self.acceptor.accept(tcp).await.ok()?;
        let kind = stream.get_ref().1.handshake_kind();
        if let Some(handshake) = self.shared.lock().unwrap().all.get_mut(index) {
            handshake.done = Some(self.start.elapsed());
            handshake.is_resumed = kind == Some(rustls::HandshakeKind::Resumed);
        }
        Some(stream)
    }
}

/// Accepts connections to a service. Handshakes run side by side.
pub struct TlsListener {
    connections: mpsc::UnboundedReceiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    pub async fn bind(host: &str, service: &'static str, handshakes: &Handshakes) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::unbounded_channel();
        let handshakes = handshakes.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (tcp, peer) = listener.accept().await.unwrap();
                let (handshakes, sender) = (handshakes.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Some(stream) = handshakes.agree(service, tcp).await {
                        let _ = sender.send((stream, peer));
                    }
                });
            }
        });
        Self {
            connections,
            address,
            accepting,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            // No more will come.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}
