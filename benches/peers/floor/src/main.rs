//! The floor: a static binary that speaks Lambda's Runtime API and does nothing else.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;

const PATH: &str = "/2018-06-01/runtime/invocation/";
const ANSWER: &str = r#"{"batchItemFailures":[]}"#;

fn main() -> Result<()> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let mut runtime = BufReader::new(TcpStream::connect(&address)?);
    runtime.get_ref().set_nodelay(true)?;
    loop {
        let next = format!("GET {PATH}next HTTP/1.1\r\nHost: {address}\r\n\r\n");
        runtime.get_mut().write_all(next.as_bytes())?;
        let id = answer(&mut runtime)?;
        let length = ANSWER.len();
        let response = format!(
            "POST {PATH}{id}/response HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{ANSWER}"
        );
        runtime.get_mut().write_all(response.as_bytes())?;
        answer(&mut runtime)?;
    }
}

/// Reads an answer to its end; returns the request id it has, if it has one.
fn answer(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => id = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(id)
}
