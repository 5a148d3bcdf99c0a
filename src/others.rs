//! Counts how many paths others have ordered in the account: they use up the same free paths. What is not known
//! of them makes a forecast too low, and nothing stale. What is read, and what counts, is decided in
//! [`invalidator_core::cost::others`].
//!
//! It is done now and then, at the end of a flush that had work to do, one call after another. It may end at any
//! call, because its time is over, CloudFront is busy or a permission is missing: what was read until then
//! counts, and the next count goes on there, with the distributions in another order.

use std::time::Duration;

use aws_sdk_cloudfront::Client;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator_core::caller_reference::CallerReference;
use invalidator_core::cost::ledger::Uncounted;
use invalidator_core::cost::others::{Count, MOST_CALLS, to_read};
use invalidator_core::service_error::ServiceError;
use invalidator_core::target::DistributionId;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::app::App;
use crate::aws::error::error_of;

/// How long it may take: meanwhile no other flush runs.
const TIME: Duration = Duration::from_secs(5);

/// After a call that failed, it is tried again after this time.
const AFTER_A_FAILURE: Duration = Duration::from_secs(600);

/// A distribution's list has at most so many pages read, of a hundred invalidations each. What is older is left
/// out: so many of a day are those of a program that has its own bill.
const MOST_PAGES: usize = 10;

/// Counts, if it is time for that.
pub async fn count(app: &App) {
    let now = app.clock.now_utc();
    if !app.ledger.may_count_others(app.clock.now()) {
        return;
    }
    let Some(ledger) = app.ledger.current(app.state()).await else {
        return;
    };
    let all = app.catalog.distributions().await.into_iter();
    let due = all.filter_map(|id| Some((ledger.uncounted(now, &id)?, id)));
    let mut due: Vec<(Uncounted, DistributionId)> = due.collect();
    // So that none that fails, or is too large, keeps the others from being counted.
    fastrand::shuffle(&mut due);
    let mut reader = Reader {
        cloudfront: app.clients.cloudfront(),
        until: Instant::now() + TIME,
        calls_left: MOST_CALLS,
        counted: Vec::new(),
    };
    for (time, distribution) in &due {
        match reader.count(distribution, *time).await {
            Ok(()) => {}
            Err(Stop::TimeOver) => break,
            Err(Stop::Failed(error)) => {
                app.ledger.count_others_in(app.clock.now(), AFTER_A_FAILURE);
                warn!(stage = "flush", %distribution, %error, "what others have invalidated cannot be counted");
                break;
            }
        }
    }
    if reader.counted.is_empty() {
        return;
    }
    if let Err(error) = app.ledger.count_others(app.state(), &reader.counted).await {
        let error = format!("{error:#}");
        warn!(
            stage = "flush",
            error, "the ledger cannot be changed, so it counts too little"
        );
    }
}

/// Reads invalidations for as long as there are time and calls left.
struct Reader<'a> {
    cloudfront: &'a Client,
    until: Instant,
    calls_left: usize,
    /// What was counted: for each distribution its time and paths.
    counted: Vec<(DistributionId, Uncounted, u64)>,
}

/// Why nothing more is read.
enum Stop {
    /// There is no time left, or no call.
    TimeOver,
    Failed(ServiceError),
}

impl Reader<'_> {
    async fn count(&mut self, distribution: &DistributionId, time: Uncounted) -> Result<(), Stop> {
        let listed = self.list(distribution, time.from).await?;
        let mut count = Count::new(time);
        for (at, id) in to_read(listed, time) {
            match self.paths_of_others(distribution, &id).await {
                Ok(paths) => count.add(at, paths),
                Err(stop) => {
                    self.keep(distribution, count.until(at));
                    return Err(stop);
                }
            }
        }
        self.keep(distribution, Some(count.all()));
        Ok(())
    }

    fn keep(&mut self, distribution: &DistributionId, counted: Option<(Uncounted, u64)>) {
        let counted = counted.map(|(time, paths)| (distribution.clone(), time, paths));
        self.counted.extend(counted);
    }

    /// Lists the times and ids of the invalidations of a distribution, from the newest to those of a time.
    async fn list(
        &mut self,
        distribution: &DistributionId,
        from: u64,
    ) -> Result<Vec<(u64, String)>, Stop> {
        let cloudfront = self.cloudfront;
        let mut listed = Vec::new();
        let mut marker = None;
        for _ in 0..MOST_PAGES {
            let call = cloudfront.list_invalidations();
            let call = call.distribution_id(distribution.as_str());
            let call = call.set_marker(marker.take()).send();
            let answer = self.call("CloudFront ListInvalidations", call).await?;
            let Some(page) = answer.and_then(|it| it.invalidation_list) else {
                break;
            };
            let items = page.items.unwrap_or_default();
            let time = |at: &aws_smithy_types::DateTime| u64::try_from(at.secs()).unwrap_or(0);
            let is_end = items.last().is_none_or(|it| time(&it.create_time) < from);
            let items = items.into_iter();
            listed.extend(items.map(|it| (time(&it.create_time), it.id)));
            marker = page.next_marker.filter(|it| !it.is_empty());
            if is_end || !page.is_truncated || marker.is_none() {
                break;
            }
        }
        Ok(listed)
    }

    /// How many paths an invalidation has, unless it is one of ours.
    async fn paths_of_others(
        &mut self,
        distribution: &DistributionId,
        id: &str,
    ) -> Result<u64, Stop> {
        let call = self.cloudfront.get_invalidation();
        let call = call.distribution_id(distribution.as_str()).id(id).send();
        let answer = self.call("CloudFront GetInvalidation", call).await?;
        let invalidation = answer.and_then(|it| it.invalidation);
        let batch = invalidation.and_then(|it| it.invalidation_batch);
        let batch =
            batch.filter(|it| !CallerReference::known(it.caller_reference.as_str()).is_reserved());
        let paths = batch.and_then(|it| it.paths);
        Ok(paths.map_or(0, |it| u64::try_from(it.quantity).unwrap_or(0)))
    }

    /// Makes a call. `None` if what it asks for was deleted a moment ago.
    async fn call<T, E>(
        &mut self,
        action: &'static str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<Option<T>, Stop>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let left = self.calls_left.checked_sub(1);
        self.calls_left = left.ok_or(Stop::TimeOver)?;
        let answer = timeout_at(self.until, call);
        match answer.await.map_err(|_| Stop::TimeOver)? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if is_gone(error.code()) => Ok(None),
            Err(error) => Err(Stop::Failed(error_of(action, &error))),
        }
    }
}

fn is_gone(code: Option<&str>) -> bool {
    matches!(code, Some("NoSuchDistribution" | "NoSuchInvalidation"))
}
