//! A store in Redis or Valkey: one sorted set. Its members are URLs, and the score of each is when it expires, in seconds
//! since 1970.
//!
//! One set and not a key for each URL: what is expired goes in one call, nothing else of the database is looked at, and
//! whoever requests a URL again changes its score, so that it can be seen that it was noted again.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use percent_encoding::percent_decode_str;
use redis::{Client, Connection, RedisError, RedisResult, cmd};

use crate::output::{tell, warn};

const DEFAULT_KEY: &str = "invalidator:requested";

/// How many members are read, and removed, at once.
const PAGE: usize = 10_000;
const AT_ONCE: usize = 1_000;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Removes members whose scores are still these.
const REMOVE: &str = "
local removed = 0
for i = 1, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    removed = removed + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return removed";

/// A sorted set of requested URLs.
#[derive(Clone)]
pub struct RedisStore {
    client: Client,
    key: String,
    /// Without a password.
    shown: String,
    has_open_password: bool,
    /// The scores that were read, as Redis writes them.
    scores: HashMap<String, String>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl FromStr for RedisStore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text may hold a password, so no error quotes it.
        let expected = "a store is a file, or redis://[USER:PASSWORD@]HOST[:PORT][/DB][?key=NAME] (rediss:// with TLS)";
        let (url, query) = match text.split_once('?') {
            Some((url, query)) => (url, Some(query)),
            None => (text, None),
        };
        let key = match query.map(|it| it.strip_prefix("key=")) {
            None => DEFAULT_KEY.to_owned(),
            Some(Some(key)) if !key.is_empty() && !key.contains('&') => {
                percent_decode_str(key).decode_utf8_lossy().into_owned()
            }
            Some(_) => return Err(expected.to_owned()),
        };
        let (scheme, rest) = url.split_once("://").ok_or(expected)?;
        if !matches!(scheme, "redis" | "rediss") {
            return Err(expected.to_owned());
        }
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let is_local = ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .any(|it| host.starts_with(it));
        Ok(Self {
            client: Client::open(url).map_err(|_| expected)?,
            shown: format!("{scheme}://{host}?key={key}"),
            key,
            has_open_password: user.is_some() && scheme == "redis" && !is_local,
            scores: HashMap::new(),
        })
    }
}

impl RedisStore {
    /// # Errors
    /// If Redis does not answer, or its key is no sorted set.
    pub fn read(&mut self, most: usize) -> Result<Vec<String>> {
        if self.has_open_password {
            warn("the password of the store goes over the network as it is: rediss:// hides it");
        }
        let mut redis = self.connect()?;
        let kind: String = self.answer(cmd("TYPE").arg(&self.key).query(&mut redis))?;
        match kind.as_str() {
            "zset" => {}
            "none" => return Ok(Vec::new()),
            kind => bail!("{self} is a {kind}, and a store is a sorted set"),
        }
        let now = self.now(&mut redis)?;
        let mut urls = Vec::new();
        for page in 0.. {
            let members = cmd("ZRANGEBYSCORE")
                .arg(&self.key)
                .arg(format!("({now}"))
                .arg("+inf")
                .arg("WITHSCORES")
                .arg("LIMIT")
                .arg(page * PAGE)
                .arg(PAGE)
                .query(&mut redis);
            let members: Vec<(Vec<u8>, String)> = self.answer(members)?;
            let is_last = members.len() < PAGE;
            for (member, score) in members {
                // What is no text is no URL, and stays.
                let Ok(url) = String::from_utf8(member) else {
                    continue;
                };
                if self.scores.insert(url.clone(), score).is_none() {
                    urls.push(url);
                }
            }
            if urls.len() >= most && !is_last {
                tell(format_args!(
                    "the store has more than {most} URLs: the others stay"
                ));
                break;
            }
            if is_last {
                break;
            }
        }
        Ok(urls)
    }

    /// # Errors
    /// If Redis does not answer.
    pub fn remove(&mut self, urls: &HashSet<String>) -> Result<usize> {
        let mut redis = self.connect()?;
        let scores = urls
            .iter()
            .filter_map(|url| Some((url, self.scores.get(url)?)));
        let scores: Vec<_> = scores.collect();
        let mut removed = 0;
        for some in scores.chunks(AT_ONCE) {
            let mut call = cmd("EVAL");
            call.arg(REMOVE).arg(1).arg(&self.key);
            for (url, score) in some {
                call.arg(url).arg(score);
            }
            let count: usize = self.answer(call.query(&mut redis))?;
            removed += count;
        }
        let now = self.now(&mut redis)?;
        let expired = cmd("ZREMRANGEBYSCORE")
            .arg(&self.key)
            .arg("-inf")
            .arg(now)
            .query(&mut redis);
        let _: usize = self.answer(expired)?;
        Ok(removed)
    }

    fn connect(&self) -> Result<Connection> {
        let redis = self.answer(self.client.get_connection_with_timeout(TIMEOUT))?;
        self.answer(redis.set_read_timeout(Some(TIMEOUT)))?;
        self.answer(redis.set_write_timeout(Some(TIMEOUT)))?;
        Ok(redis)
    }

    /// By the clock of Redis, in seconds since 1970.
    fn now(&self, redis: &mut Connection) -> Result<i64> {
        let (seconds, _): (i64, i64) = self.answer(cmd("TIME").query(redis))?;
        Ok(seconds)
    }

    fn answer<T>(&self, answer: RedisResult<T>) -> Result<T> {
        answer
            .map_err(without_password)
            .with_context(|| format!("{self} does not answer as a store does"))
    }
}

/// The error says what Redis or the connection says, and nothing of the URL.
fn without_password(error: RedisError) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
