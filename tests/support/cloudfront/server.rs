//! The state machine on a socket.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{self, header};
use axum::response::Response;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Shared;
use super::route::Request;
use super::service::{Answer, Delivery};

/// Starts to serve on a free loopback port.
pub(super) async fn start(shared: Arc<Shared>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(serve).with_state(shared);
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, task)
}

async fn serve(State(shared): State<Arc<Shared>>, request: http::Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get(header::AUTHORIZATION);
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(_) => return broken_off(),
    };
    let request = Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        authorization: authorization.and_then(|value| value.to_str().ok()),
        body: &body,
    };
    let _flight = Flight::begin(&shared, request.target());
    let now = shared.now();
    let reply = shared.service().handle(&request, now);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    match reply.delivery {
        Delivery::Answer(answer) => response(answer),
        Delivery::BreakOff => broken_off(),
        // Ends when the client has lost patience and closes the connection.
        Delivery::Hang => std::future::pending().await,
    }
}

fn response(answer: Answer) -> Response {
    let mut response = Response::builder()
        .status(answer.status)
        .header(header::CONTENT_TYPE, "text/xml");
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).unwrap()
}

/// A body that fails before it is there: the connection is closed, and the client cannot know why.
fn broken_off() -> Response {
    let broken = Err::<&str, _>(io::Error::from(io::ErrorKind::BrokenPipe));
    Response::new(Body::from_stream(stream::iter([broken])))
}

/// How many calls are being answered, and how many were at most, in all and for each target.
#[derive(Default)]
pub(super) struct InFlight {
    all: Count,
    by_target: HashMap<String, Count>,
}

#[derive(Default)]
struct Count {
    now: usize,
    most: usize,
}

impl Count {
    fn up(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }
}

impl InFlight {
    pub(super) fn most(&self) -> usize {
        self.all.most
    }

    pub(super) fn most_of(&self, target: &str) -> usize {
        self.by_target.get(target).map_or(0, |count| count.most)
    }

    fn counts(&mut self, target: Option<&String>) -> impl Iterator<Item = &mut Count> {
        let of_target = target.map(|target| self.by_target.entry(target.clone()).or_default());
        [Some(&mut self.all), of_target].into_iter().flatten()
    }
}

/// A call that is being answered, until it is dropped, even with its connection.
struct Flight {
    shared: Arc<Shared>,
    target: Option<String>,
}

impl Flight {
    fn begin(shared: &Arc<Shared>, target: Option<String>) -> Self {
        let mut in_flight = shared.in_flight.lock().unwrap();
        in_flight.counts(target.as_ref()).for_each(Count::up);
        Self {
            shared: Arc::clone(shared),
            target,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut in_flight = self.shared.in_flight.lock().unwrap();
        in_flight
            .counts(self.target.as_ref())
            .for_each(|count| count.now -= 1);
    }
}
