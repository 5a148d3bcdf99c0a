//! Lambda's Runtime API: ask for an event, answer it, for ever.

use std::error::Error;

use crate::http::Connection;

const API: &str = "/2018-06-01/runtime/invocation";

/// Answers events until the connection ends.
pub fn run(
    mut handler: impl FnMut(&[u8]) -> Result<Vec<u8>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let host = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut api = Connection::open(&host)?;
    let headers = [("host", host.as_str())];
    loop {
        let event = api.call("GET", &format!("{API}/next"), &headers, b"")?;
        let id = event
            .header("lambda-runtime-aws-request-id")
            .ok_or("an event without an id")?;
        let (kind, answer) = match handler(&event.body) {
            Ok(answer) => ("response", answer),
            Err(error) => {
                let message = format!("{:?}", error.to_string());
                ("error", format!("{{\"errorMessage\":{message}}}").into())
            }
        };
        api.call("POST", &format!("{API}/{id}/{kind}"), &headers, &answer)?;
    }
}
