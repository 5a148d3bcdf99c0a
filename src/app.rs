//! What an execution environment keeps from one invocation to the next.

use crate::aws::Clients;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::last_flush::LastFlush;
use crate::metrics::Metrics;
use crate::tags::BucketTags;
use crate::ticker::Ticker;

/// What an execution environment keeps from one invocation to the next.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub clients: Clients,
    /// What is known of the distributions.
    pub catalog: Catalog,
    /// What is known of the tags of buckets.
    pub tags: BucketTags,
    /// Which tick was sent last.
    pub ticker: Ticker,
    /// What is remembered of the last flush.
    pub last_flush: LastFlush,
    pub clock: Clock,
    /// Where metrics go.
    pub metrics: Metrics,
}

impl App {
    pub fn new(config: Config, clients: Clients, clock: Clock) -> Self {
        let only = config.distribution_ids.clone();
        Self {
            catalog: Catalog::new(only, config.cache_for, clock.clone()),
            tags: BucketTags::new(config.cache_for, clock.clone()),
            ticker: Ticker::default(),
            last_flush: LastFlush::default(),
            metrics: Metrics::new(config.function_name.as_str()),
            config,
            clients,
            clock,
        }
    }
}
