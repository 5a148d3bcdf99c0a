//! A store of requested URLs: what nobody has requested is in no cache, and needs no invalidation. An application or a
//! log shipper notes each URL that is requested, with the time when no cache can have it any more.
//!
//! * [`file`]: a file of this machine
//! * [`sorted_set`]: a sorted set of Redis or Valkey

mod file;
mod sorted_set;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use anyhow::Result;

use file::FileStore;
use sorted_set::RedisStore;

/// More URLs are not read. The others stay, for the next time.
const MOST_URLS: usize = 1_000_000;

/// A store.
#[derive(Clone, Debug)]
pub enum Store {
    File(FileStore),
    Redis(Box<RedisStore>),
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains("://") {
            true => text.parse().map(|it| Self::Redis(Box::new(it))),
            false => Ok(Self::File(FileStore::new(text))),
        }
    }
}

/// Without a password.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(store) => store.fmt(f),
            Self::Redis(store) => store.fmt(f),
        }
    }
}

impl Store {
    /// The URLs in it that are not expired, each once.
    ///
    /// # Errors
    /// If it cannot be read, or is no store.
    pub fn read(&mut self) -> Result<Vec<String>> {
        match self {
            Self::File(store) => store.read(MOST_URLS),
            Self::Redis(store) => store.read(MOST_URLS),
        }
    }

    /// Removes these URLs, and what is expired. What was noted after it was read stays, also if it is one of these URLs.
    /// Returns how many of these URLs were removed.
    ///
    /// # Errors
    /// If it cannot be written, or somebody has rewritten it.
    pub fn remove(&mut self, urls: &HashSet<String>) -> Result<usize> {
        match self {
            Self::File(store) => store.remove(urls),
            Self::Redis(store) => store.remove(urls),
        }
    }
}
