//! CloudFront's API on this machine, as strict as CloudFront. `strict_cloudfront::control` says how it is
//! told what to do while it runs.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use strict_cloudfront::CloudFront;

/// A stand-in for CloudFront that refuses what CloudFront refuses. Prints its URL when it is ready.
#[derive(Parser)]
struct Arguments {
    /// The loopback port it listens on; 0 is a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// JSON with what the account holds, `-` for standard input: what `aws cloudfront list-distributions`
    /// prints, with the fields that `list-cache-policies` and `list-distribution-tenants` print, if any.
    #[arg(long, value_name = "FILE")]
    account: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cloudfront = CloudFront::start_at(arguments.port);
    let cloudfront = cloudfront
        .await
        .with_context(|| format!("failed to listen on port {}", arguments.port))?;
    if let Some(file) = arguments.account {
        let name = file.display();
        let account = read(&file).with_context(|| format!("failed to read {name}"))?;
        let added = cloudfront.add_account(&account);
        added.with_context(|| format!("{name} is not what the AWS CLI prints"))?;
    }
    println!("{}", cloudfront.endpoint_url());
    std::future::pending().await
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return fs::read(file);
    }
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    Ok(input)
}
