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

use super::route::Request;
use super::service::Delivery;
use super::{Shared, control, lock};

/// Starts to serve on a loopback port.
pub(super) async fn start(
    shared: Arc<Shared>,
    port: u16,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(serve).with_state(shared);
    // It ends with the handle, not by itself: axum's `serve` goes on after an error.
    let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
    Ok((address, task))
}

async fn serve(State(shared): State<Arc<Shared>>, request: http::Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get(header::AUTHORIZATION);
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(_) => return broken_off(),
    };
    if let Some(path) = head.uri.path().strip_prefix(control::PREFIX) {
        let now = shared.now();
        let answer = control::handle(
            &mut shared.service(),
            head.method.as_str(),
            path,
            &body,
            now,
        );
        return response(answer.status, Vec::new(), "application/json", answer.body);
    }
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
        Delivery::Answer(answer) => {
            response(answer.status, answer.headers, "text/xml", answer.body)
        }
        Delivery::BreakOff => broken_off(),
        // Ends when the client has lost patience and closes the connection.
        Delivery::Hang => std::future::pending().await,
    }
}

fn response(
    status: u16,
    headers: Vec<(&'static str, String)>,
    content_type: &'static str,
    body: String,
) -> Response {
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let response = response.body(Body::from(body));
    // A fault may have a status that HTTP does not.
    response.unwrap_or_else(|error| Response::new(Body::from(error.to_string())))
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
        let mut in_flight = lock(&shared.in_flight);
        in_flight.counts(target.as_ref()).for_each(Count::up);
        Self {
            shared: Arc::clone(shared),
            target,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut in_flight = lock(&self.shared.in_flight);
        in_flight
            .counts(self.target.as_ref())
            .for_each(|count| count.now -= 1);
    }
}
