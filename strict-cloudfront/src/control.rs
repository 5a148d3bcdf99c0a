//! How the program is told what to do, beside what it answers as CloudFront:
//!
//! | request | what it does |
//! |---|---|
//! | `POST /_stand_in/account` | adds what an account holds, see [`account`] |
//! | `POST /_stand_in/faults` | lets calls fail: `{"fault": "Throttling", "times": 2, "operation": "CreateInvalidation", "target": "E1"}`, all but `fault` optional, see [`Injection`] |
//! | `DELETE /_stand_in/faults` | lets none fail any more |
//! | `GET /_stand_in/calls` | all calls, refused and unanswered ones too |
//! | `POST /_stand_in/invalidations/E1` | adds one that was accepted earlier: `{"seconds_ago": 600, "caller_reference": "release 7", "paths": ["/*"]}` |
//! | `GET /_stand_in/invalidations/E1` | what a distribution or tenant accepted, oldest first |
//!
//! These are not calls of CloudFront: they need no signature, and leave no record.

use std::time::Duration;

use serde_json::json;

use super::account;
use super::faults::Injection;
use super::service::Service;

/// What the path of each such request begins with.
pub const PREFIX: &str = "/_stand_in/";

/// An invalidation that was accepted earlier.
#[derive(serde::Deserialize)]
struct Earlier {
    seconds_ago: u64,
    caller_reference: String,
    paths: Vec<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

impl Answer {
    fn ok(body: impl ToString) -> Self {
        Self {
            status: 200,
            body: body.to_string(),
        }
    }

    fn refused(status: u16, error: impl ToString) -> Self {
        Self {
            status,
            body: json!({ "error": error.to_string() }).to_string(),
        }
    }

    fn done<E: ToString>(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::ok("{}"),
            Err(error) => Self::refused(400, error),
        }
    }
}

/// Does what a request asks for. `path` is what comes behind [`PREFIX`].
pub fn handle(
    service: &mut Service,
    method: &str,
    path: &str,
    body: &[u8],
    now: Duration,
) -> Answer {
    let segments: Vec<_> = path.split('/').collect();
    match (method, segments.as_slice()) {
        ("POST", ["account"]) => Answer::done(account::add(service, body)),
        ("POST", ["faults"]) => match serde_json::from_slice::<Injection>(body) {
            Ok(injection) => Answer::done(service.fail(injection)),
            Err(error) => Answer::refused(400, error),
        },
        ("DELETE", ["faults"]) => {
            service.faults.clear();
            Answer::ok("{}")
        }
        ("GET", ["calls"]) => Answer::ok(json!(service.calls)),
        ("POST", ["invalidations", target]) if service.knows(target) => {
            Answer::done(serde_json::from_slice::<Earlier>(body).map(|earlier| {
                let created = service.time(now) - Duration::from_secs(earlier.seconds_ago);
                service.put_invalidation(target, created, &earlier.caller_reference, earlier.paths);
            }))
        }
        ("GET", ["invalidations", target]) if service.knows(target) => {
            Answer::ok(json!(service.invalidations(target, now)))
        }
        _ => Answer::refused(404, format!("no {method} {PREFIX}{path}")),
    }
}
