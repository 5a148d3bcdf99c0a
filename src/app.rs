//! The state that an execution environment keeps from one invocation to the next.

use crate::aws::Clients;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::decisions::LoggedDecisions;
use crate::incident_memory::Remembered;
use crate::last_flush::LastFlush;
use crate::ledger::LedgerKeeper;
use crate::metrics::Metrics;
use crate::mode::StackMode;
use crate::pauses::StackPauses;
use crate::rations::WildcardRations;
use crate::state::{Reported, State};
use crate::tags::BucketTags;
use crate::ticker::Ticker;
use crate::worth::BucketWorth;

/// The state of an execution environment.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub clients: Clients,
    /// The distributions, cached.
    pub catalog: Catalog,
    /// The tags of buckets, cached.
    pub tags: BucketTags,
    /// Whether the stack is live, cached.
    pub mode: StackMode,
    /// Which changes are held back, cached.
    pub pauses: StackPauses,
    /// Sends ticks.
    pub ticker: Ticker,
    /// How the last flush ended.
    pub last_flush: LastFlush,
    /// The rations of wildcards that names need.
    pub rations: WildcardRations,
    /// In which buckets it is worth looking before paying.
    pub worth: BucketWorth,
    /// What is known of the ledger.
    pub ledger: LedgerKeeper,
    /// What is known of the open incidents.
    pub incidents: Remembered,
    /// Which objects under `state/` were reported as unreadable.
    pub reported: Reported,
    /// Which decisions are logged.
    pub decisions: LoggedDecisions,
    pub clock: Clock,
    /// Where metrics go.
    pub metrics: Metrics,
}

impl App {
    pub fn new(config: Config, clients: Clients, clock: Clock) -> Self {
        let only = config.distribution_ids.clone();
        let tenants = config.tenant_ids.clone();
        Self {
            catalog: Catalog::new(only, config.cache_for, clock.clone()).of_tenants(tenants),
            tags: BucketTags::new(config.cache_for, clock.clone()),
            mode: StackMode::new(config.initial_mode, config.cache_for),
            pauses: StackPauses::new(config.cache_for),
            ticker: Ticker::default(),
            last_flush: LastFlush::default(),
            rations: WildcardRations::new(config.wildcard_interval),
            worth: BucketWorth::default(),
            ledger: LedgerKeeper::default(),
            incidents: Remembered::default(),
            reported: Reported::default(),
            decisions: LoggedDecisions::default(),
            metrics: Metrics::new(config.function_name.as_str()),
            config,
            clients,
            clock,
        }
    }
    /// The objects under `state/` of the error bucket.
    pub fn state(&self) -> State<'_> {
        State {
            s3: self.clients.s3(),
            bucket: &self.config.error_bucket,
            clock: &self.clock,
            metrics: &self.metrics,
            reported: &self.reported,
        }
    }
}
