//! What CloudFront answers to a `HEAD` request.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use invalidator::aws::http_connector;
use invalidator::aws::roots::Roots;
use invalidator_core::endpoint::EndpointUrl;
use tokio::time::timeout;

use super::compare::{Served, Verdict, compare};
use super::item::{Check, State};

/// An answer may take so long.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A connection may be dead when it is used again, so a request is sent again on another one.
const ATTEMPTS: usize = 2;

/// Where requests go.
pub struct Edge {
    connector: SharedHttpConnector,
    /// A server that takes the place of the hosts.
    instead: Option<String>,
}

impl Edge {
    pub fn new(instead: Option<&EndpointUrl>, roots: Roots) -> Self {
        let instead = instead.map(|url| url.as_str().trim_end_matches('/').to_owned());
        Self {
            connector: http_connector(roots),
            instead,
        }
    }

    /// Asks for the URL, and compares.
    pub async fn verdict(&self, check: &Check) -> Verdict {
        let stored = match &check.state {
            State::There(stored) => Some(stored),
            State::Missing => None,
            State::Unknown(why) => return Verdict::NotComparable(why.clone()),
        };
        match self.ask(check).await {
            Ok(served) => compare(&served, stored, &check.around),
            Err(why) => Verdict::NotServed(why),
        }
    }

    async fn ask(&self, check: &Check) -> Result<Served, String> {
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            let request = self.request(check)?;
            match timeout(TIMEOUT, self.connector.call(request)).await {
                Ok(Ok(response)) => return Ok(served(&response)),
                Ok(Err(error)) => {
                    let first: &dyn std::error::Error = &error;
                    let chain = std::iter::successors(Some(first), |error| error.source());
                    why = chain.last().map_or_else(String::new, ToString::to_string);
                }
                Err(_) => why = format!("no answer came within {} s", TIMEOUT.as_secs()),
            }
        }
        Err(why)
    }

    fn request(&self, check: &Check) -> Result<HttpRequest, String> {
        let (host, path) = (&check.host, &check.path);
        let base = self.instead.clone();
        let base = base.unwrap_or_else(|| format!("https://{host}"));
        let request = HttpRequest::get(format!("{base}{path}"));
        let mut request = request.map_err(|_| "its URL cannot be asked for".to_owned())?;
        request
            .set_method("HEAD")
            .map_err(|error| error.to_string())?;
        let agent = concat!("invalidatorctl/", env!("CARGO_PKG_VERSION"));
        let headers = request.headers_mut();
        headers.insert("host", host.clone());
        headers.insert("user-agent", agent);
        // A compressed answer would have another length.
        headers.insert("accept-encoding", "identity");
        *request.body_mut() = SdkBody::empty();
        Ok(request)
    }
}

fn served(response: &HttpResponse) -> Served {
    let header = |name: &str| response.headers().get(name).map(str::to_owned);
    let modified = header("last-modified");
    let modified = modified.and_then(|it| DateTime::from_str(&it, Format::HttpDate).ok());
    let encoding = header("content-encoding");
    Served {
        status: response.status().as_u16(),
        e_tag: header("etag"),
        length: header("content-length").and_then(|it| it.parse().ok()),
        modified: modified.map(|it| it.secs()),
        is_encoded: encoding.is_some_and(|it| !it.eq_ignore_ascii_case("identity")),
        location: header("location"),
        cache: header("x-cache"),
        age: header("age").and_then(|it| it.parse().ok()),
    }
}
