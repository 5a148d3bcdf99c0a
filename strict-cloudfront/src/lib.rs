//! A stand-in for CloudFront that is as strict as CloudFront, over real HTTP.
//!
//! Tests point the real SDK client at [`CloudFront::endpoint_url`], so the XML, the quantities, the
//! paging and the error codes are tested too. A request comes in through [`server`], [`route`] says
//! what it asks for, [`faults`] and [`rate`] may stop it, [`service`] knows the account ([`model`])
//! and answers, and [`rules`] says what is refused and why. All but [`server`] do no IO and take the
//! time as an argument: a simulation may call [`service::Service::handle`] below the SDK.
//!
//! ```no_run
//! # use strict_cloudfront::{CloudFront, Distribution, Fault, Origin};
//! # async fn example() -> std::io::Result<()> {
//! let cloudfront = CloudFront::start().await?;
//! cloudfront.add(Distribution::new("E1", Origin::s3("site", "example-site")));
//! cloudfront.fail(Fault::Throttling.times(2).of("E1"));
//! // ... a client at cloudfront.endpoint_url() ...
//! assert_eq!(cloudfront.invalidations("E1")[0].paths, ["/index.html"]);
//! # Ok(())
//! # }
//! ```
//!
//! As a program (`strict-cloudfront --help`) it is told what to do over HTTP, see [`control`].

pub mod account;
pub mod control;
pub mod faults;
pub mod model;
pub mod page;
pub mod rate;
pub mod route;
pub mod rules;
pub mod server;
pub mod service;
pub mod xml;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::task::JoinHandle;

pub use faults::{Fault, Injection};
pub use model::{
    Behavior, CACHING_DISABLED, CACHING_OPTIMIZED, CachePolicy, Distribution, Origin, QueryStrings,
};
pub use route::Operation;
pub use service::{Call, Invalidation, Status};

use rate::TokenBucket;
use server::InFlight;
use service::Service;

/// A running stand-in. It stops when dropped.
pub struct CloudFront {
    shared: Arc<Shared>,
    endpoint_url: String,
    task: JoinHandle<()>,
}

/// What the handle and the server's tasks both see.
struct Shared {
    service: Mutex<Service>,
    clock: Mutex<Clock>,
    in_flight: Mutex<InFlight>,
}

/// The time since the start: it runs, or it stands still until a test advances it.
enum Clock {
    Running { since: Instant, ahead: Duration },
    Stopped(Duration),
}

/// What a task that panicked left behind is whole: nothing here panics half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn service(&self) -> MutexGuard<'_, Service> {
        lock(&self.service)
    }

    fn now(&self) -> Duration {
        match &*lock(&self.clock) {
            Clock::Running { since, ahead } => since.elapsed() + *ahead,
            Clock::Stopped(at) => *at,
        }
    }
}

impl CloudFront {
    /// Starts on a free loopback port, on the current tokio runtime. The account has no
    /// distributions yet, and CloudFront's managed cache policies.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(0).await
    }

    /// As [`Self::start`], on this loopback port, or on a free one if it is 0.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_at(port: u16) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            service: Mutex::new(Service::new(OffsetDateTime::now_utc())),
            clock: Mutex::new(Clock::Running {
                since: Instant::now(),
                ahead: Duration::ZERO,
            }),
            in_flight: Mutex::default(),
        });
        let (address, task) = server::start(Arc::clone(&shared), port).await?;
        Ok(Self {
            shared,
            endpoint_url: format!("http://{address}"),
            task,
        })
    }

    /// For the client's `endpoint_url`, or `AWS_ENDPOINT_URL_CLOUDFRONT`.
    pub fn endpoint_url(&self) -> String {
        self.endpoint_url.clone()
    }

    /// Adds a distribution, or replaces the one of this id (its invalidations stay).
    pub fn add(&self, distribution: Distribution) {
        self.shared.service().put_distribution(distribution);
    }

    /// Deletes a distribution. What it once accepted can still be asked for in [`Self::invalidations`].
    pub fn remove(&self, distribution: &str) {
        self.shared.service().remove_distribution(distribution);
    }

    /// Adds what an account holds, as the AWS CLI prints it.
    ///
    /// # Errors
    /// It is not what the AWS CLI prints, or a behavior goes to an origin that is not there.
    pub fn add_account(&self, account: &[u8]) -> Result<(), account::Invalid> {
        account::add(&mut self.shared.service(), account)
    }

    /// Adds a cache policy, or replaces the one of this id.
    pub fn add_cache_policy(&self, policy: CachePolicy) {
        self.shared.service().put_cache_policy(policy);
    }

    /// Adds a tenant to a multi-tenant distribution.
    pub fn add_tenant(&self, distribution: &str, tenant: &str, enabled: bool) {
        let mut service = self.shared.service();
        service.put_tenant(distribution, tenant, enabled, Vec::new());
    }

    /// Adds an enabled tenant with parameters for the placeholders of the origins.
    pub fn add_tenant_with(&self, distribution: &str, tenant: &str, parameters: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let parameters = parameters.iter().map(owned).collect();
        let mut service = self.shared.service();
        service.put_tenant(distribution, tenant, true, parameters);
    }

    /// From now on calls fail as the injection says. Several injections are tried in order, the
    /// first that matches decides.
    ///
    /// # Panics
    /// It is for a target that the account never had.
    pub fn fail(&self, injection: impl Into<Injection>) {
        let result = self.shared.service().fail(injection.into());
        assert_eq!(result, Ok(()));
    }

    /// The next calls fail, whichever they are.
    pub fn fail_next(&self, fault: Fault, times: u32) {
        self.fail(fault.times(times));
    }

    /// Forgets all injections.
    pub fn heal(&self) {
        self.shared.service().faults.clear();
    }

    /// Every answer takes at least this long.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.service().latency = latency;
    }

    /// Invalidation calls of the whole account: so many a second, after a burst. More are `Throttling`.
    pub fn set_rate(&self, calls_per_second: f64, burst: f64) {
        self.shared.service().rates.calls = Some(TokenBucket::new(calls_per_second, burst));
    }

    /// Invalidated paths of the whole account. A batch that finds too few tokens is `Throttling`.
    pub fn set_path_rate(&self, paths_per_second: f64, burst: f64) {
        self.shared.service().rates.paths = Some(TokenBucket::new(paths_per_second, burst));
    }

    /// Invalidated wildcards of the whole account, as [`Self::set_path_rate`].
    pub fn set_wildcard_rate(&self, wildcards_per_second: f64, burst: f64) {
        self.shared.service().rates.wildcards = Some(TokenBucket::new(wildcards_per_second, burst));
    }

    /// Calls that read something, of the whole account: so many a second, after a burst. More are
    /// `Throttling`.
    pub fn set_read_rate(&self, calls_per_second: f64, burst: f64) {
        self.shared.service().rates.reads = Some(TokenBucket::new(calls_per_second, burst));
    }

    /// Adds an invalidation that a distribution or a tenant accepted at this time, which may be years ago.
    /// Returns its id.
    ///
    /// # Panics
    /// The account never had this distribution or tenant.
    pub fn add_invalidation(
        &self,
        target: &str,
        create_time: OffsetDateTime,
        caller_reference: &str,
        paths: &[&str],
    ) -> String {
        let paths = paths.iter().map(ToString::to_string).collect();
        let mut service = self.shared.service();
        service.put_invalidation(target, create_time, caller_reference, paths)
    }

    /// How long an invalidation is listed and can be read: forever at the start. CloudFront's API Reference
    /// of 2013 said "for the current and previous billing cycles", today's says nothing.
    pub fn set_history(&self, known_for: Duration) {
        self.shared.service().known_for = Some(known_for);
    }

    /// How long an invalidation stays in progress. At the start: it is in progress in the answer
    /// to its creation, and completed at the next look.
    pub fn set_completion_time(&self, after: Duration) {
        self.shared.service().completes_after = after;
    }

    /// Limits what is in progress in one distribution to the documented 3,000 paths and 15 wildcards.
    pub fn limit_in_progress(&self) {
        self.limit_in_progress_to(
            rules::MAX_PATHS_IN_PROGRESS,
            rules::MAX_WILDCARDS_IN_PROGRESS,
        );
    }

    /// Limits what is in progress in one distribution.
    pub fn limit_in_progress_to(&self, paths: usize, wildcards: usize) {
        self.shared.service().in_progress_limit = Some(rules::InProgressLimit { paths, wildcards });
    }

    /// Stops the clock that rates and completion run on, until [`Self::advance`].
    pub fn stop_clock(&self) {
        let now = self.shared.now();
        *lock(&self.shared.clock) = Clock::Stopped(now);
    }

    /// Puts the clock forward.
    pub fn advance(&self, by: Duration) {
        match &mut *lock(&self.shared.clock) {
            Clock::Running { ahead: time, .. } | Clock::Stopped(time) => *time += by,
        }
    }

    /// What a distribution or a tenant accepted, oldest first. A repeated caller reference is one.
    ///
    /// # Panics
    /// The account never had this distribution or tenant.
    pub fn invalidations(&self, target: &str) -> Vec<Invalidation> {
        self.shared
            .service()
            .invalidations(target, self.shared.now())
    }

    /// Whether something that a distribution or a tenant accepted clears what viewers get for this path
    /// and query string, see [`rules::clears`].
    pub fn clears(&self, target: &str, path: &str, query: Option<&str>) -> bool {
        let paths = self.paths(target);
        let mut clearing = paths.iter().map(|it| rules::clears(it, path, query));
        clearing.any(|clears| clears)
    }

    /// All paths a distribution or a tenant accepted, in order, as often as they came.
    pub fn paths(&self, target: &str) -> Vec<String> {
        let invalidations = self.invalidations(target);
        invalidations.into_iter().flat_map(|it| it.paths).collect()
    }

    /// Every call so far, refused and unanswered ones too.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.service().calls.clone()
    }

    /// Every call of one operation so far.
    pub fn calls_of(&self, operation: Operation) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.operation == operation);
        calls
    }

    /// Forgets the calls so far, not what they did.
    pub fn clear_calls(&self) {
        self.shared.service().calls.clear();
    }

    /// The most calls that were being answered at the same time.
    pub fn most_in_flight(&self) -> usize {
        lock(&self.shared.in_flight).most()
    }

    /// The most calls for one distribution or tenant that were being answered at the same time.
    pub fn most_in_flight_of(&self, target: &str) -> usize {
        lock(&self.shared.in_flight).most_of(target)
    }
}

impl Drop for CloudFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}
