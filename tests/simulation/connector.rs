//! The HTTP client below the SDK: it calls the simulated account, and injects faults.

use std::fmt;
use std::io;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use invalidator_core::mode::MODE_KEY;
use serde_json::Value;
use tokio::time::sleep;

use crate::faults::{Call, Fault};
use crate::world::{Answer, Request, Sim, failure};

/// The connections of one environment, named by its number.
#[derive(Clone)]
pub struct Connector {
    pub sim: Sim,
    pub environment: u64,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move {
            let request = read(request).await;
            let under_way = UnderWay::begin(&this);
            let answer = this.answer(request).await?;
            drop(under_way);
            let mut response = HttpResponse::new(
                answer.status.try_into().unwrap(),
                SdkBody::from(answer.body),
            );
            for (name, value) in answer.headers {
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        })
    }
}

/// A call that is under way needs a connection, until it is answered or given up.
struct UnderWay(Connector);

impl UnderWay {
    fn begin(connector: &Connector) -> Self {
        let mut world = connector.sim.world();
        let count = world.under_way.entry(connector.environment).or_default();
        *count += 1;
        let count = *count;
        world.most_under_way = world.most_under_way.max(count);
        Self(connector.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut world = self.0.sim.world();
        if let Some(count) = world.under_way.get_mut(&self.0.environment) {
            *count -= 1;
        }
    }
}

async fn read(mut request: HttpRequest) -> Request {
    let body = ByteStream::new(request.take_body());
    let body = body.collect().await.unwrap().to_vec();
    let url = request.uri().strip_prefix("https://").unwrap();
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let header = |name| request.headers().get(name).unwrap_or_default().to_owned();
    Request {
        service: host.split('.').next().unwrap().to_owned(),
        method: request.method().to_owned(),
        path: format!("/{path}"),
        query: query.to_owned(),
        authorization: header("authorization"),
        target: header("x-amz-target"),
        conditions: (header("if-match"), header("if-none-match")),
        body,
    }
}

/// The purpose of a call.
fn purpose(request: &Request) -> Call {
    let is_for = |queue: &str| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        body["QueueUrl"].as_str().unwrap().ends_with(queue)
    };
    match (request.service.as_str(), request.target.as_str()) {
        ("sqs", "AmazonSQS.SendMessageBatch") => match is_for("/submit.fifo") {
            true => Call::SendSet,
            false => Call::BufferChanges,
        },
        ("sqs", "AmazonSQS.SendMessage") => Call::SendTick,
        ("sqs", "AmazonSQS.ReceiveMessage") => Call::Receive,
        ("sqs", "AmazonSQS.DeleteMessageBatch") => Call::Delete,
        ("sqs", "AmazonSQS.ChangeMessageVisibilityBatch") => Call::Hide,
        ("s3", _) if request.path.ends_with(MODE_KEY) => Call::ReadMode,
        ("s3", _) if request.path.contains("/state/") => match request.method.as_str() {
            "GET" => Call::ReadState,
            _ => Call::WriteState,
        },
        ("s3", _) if request.method == "GET" => Call::ReadTags,
        ("s3", _) => Call::WriteFile,
        ("sns", _) => Call::Mail,
        _ if request.creates_invalidation() => Call::Invalidate,
        ("cloudfront", _) => Call::ReadDistributions,
        (service, target) => panic!("a call of {service}: {target}"),
    }
}

impl Connector {
    async fn answer(&self, request: Request) -> Result<Answer, ConnectorError> {
        let call = purpose(&request);
        let sim = &self.sim;
        let (fault, there, back) = {
            let mut world = sim.world();
            world.calls += 1;
            let fault = world.strike(call, sim.now());
            (fault, world.latency(), world.latency())
        };
        let environment = self.environment;
        let say = |what: &dyn Fn() -> String| {
            sim.trace(|| match fault {
                Some(fault) => format!("e{environment} {call:?} [{fault}] {}", what()),
                None => format!("e{environment} {call:?} {}", what()),
            });
        };
        sleep(there).await;
        match fault {
            Some(Fault::NotConnected) => {
                say(&|| "fails".to_owned());
                return Err(broken("connection refused"));
            }
            Some(Fault::ServiceError | Fault::Throttled) => {
                say(&|| "fails".to_owned());
                sleep(back).await;
                return Ok(failure(&request.service, fault == Some(Fault::Throttled)));
            }
            Some(Fault::Hang) => {
                say(&|| "hangs".to_owned());
                return std::future::pending().await;
            }
            Some(Fault::LateEffect) => {
                say(&|| "hangs".to_owned());
                let after = Duration::from_millis(sim.world().rng.u64(11_000..60_000));
                self.effect_after(after, request);
                return std::future::pending().await;
            }
            Some(Fault::Slow) => {
                let slow = Duration::from_millis(sim.world().rng.u64(1_000..9_500));
                sleep(slow).await;
            }
            _ => {}
        }
        let slow = {
            let now = sim.now();
            sim.world().scenario.slowness(&request.path, now)
        };
        if let Some(slow) = slow {
            sleep(slow).await;
        }
        let answer = match call {
            Call::Receive => self.receive(&request).await,
            _ => sim.perform(&request, fault),
        };
        say(&|| summary(&request, &answer));
        match fault {
            Some(Fault::HangAfterEffect) => std::future::pending().await,
            Some(Fault::AnswerLost) => Err(broken("connection reset")),
            Some(Fault::ServiceErrorAfterEffect) => {
                sleep(back).await;
                Ok(failure(&request.service, false))
            }
            _ => {
                sleep(back).await;
                Ok(answer)
            }
        }
    }

    /// The caller may no longer exist by then.
    fn effect_after(&self, after: Duration, request: Request) {
        let sim = self.sim.clone();
        sim.world().pending += 1;
        tokio::spawn(async move {
            sleep(after).await;
            if purpose(&request) != Call::Receive {
                let answer = sim.perform(&request, None);
                sim.trace(|| format!("late effect: {}", summary(&request, &answer)));
            }
            sim.world().pending -= 1;
        });
    }

    /// A long poll answers as soon as there is a message.
    async fn receive(&self, request: &Request) -> Answer {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let wait = Duration::from_secs(body["WaitTimeSeconds"].as_u64().unwrap_or_default());
        let until = self.sim.now() + wait;
        loop {
            let now = self.sim.now();
            if let Some(answer) = self.sim.world().receive(&body, now) {
                return answer;
            }
            if now >= until {
                return Answer {
                    status: 200,
                    headers: Vec::new(),
                    body: "{}".to_owned(),
                };
            }
            self.sim.wait(|world| &mut world.buffer, until).await;
        }
    }
}

fn summary(request: &Request, answer: &Answer) -> String {
    let body = String::from_utf8_lossy(&request.body);
    let about: String = match request.service.as_str() {
        "cloudfront" => request.path.clone() + " " + &body.replace('\n', ""),
        "s3" => request.path.clone() + " " + &body.replace('\n', " "),
        _ => body.into_owned(),
    };
    let text: String = answer
        .body
        .chars()
        .filter(|c| *c != '\n')
        .take(1_500)
        .collect();
    // The names of error files contain chance and time, but both follow from the seed.
    format!("{about} -> {} {text}", answer.status)
}

fn broken(why: &'static str) -> ConnectorError {
    ConnectorError::io(io::Error::new(io::ErrorKind::ConnectionReset, why).into())
}
