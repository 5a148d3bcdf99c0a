//! Files of this machine, and standard input.

use std::io::Read;

use anyhow::{Context, Result};
use invalidator_core::replay::MAX_FILE_BYTES;

/// The text of a file of this machine; `-` is standard input.
///
/// # Errors
/// If it cannot be read. Of a longer file than any that this program knows, only the beginning is read.
pub fn read_local(name: &str) -> Result<Vec<u8>> {
    let most = MAX_FILE_BYTES as u64 + 1;
    let mut text = Vec::new();
    let read = match name {
        "-" => std::io::stdin().lock().take(most).read_to_end(&mut text),
        name => std::fs::File::open(name)
            .with_context(|| format!("failed to open {name}"))?
            .take(most)
            .read_to_end(&mut text),
    };
    read.with_context(|| format!("failed to read {name}"))?;
    Ok(text)
}
