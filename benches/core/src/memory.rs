//! How much memory this process has and had, in bytes.

use anyhow::{Context, Result};

/// What it has now.
pub fn now() -> Result<u64> {
    field("VmRSS:")
}

/// The most it ever had.
pub fn peak() -> Result<u64> {
    field("VmHWM:")
}

fn field(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next());
    let kibibytes: u64 = kibibytes.context("the system does not tell")?.parse()?;
    Ok(kibibytes * 1_024)
}
