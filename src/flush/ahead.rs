//! Reads what planning will need while a round is still received: its last poll alone takes a second.

use std::time::Duration;

use invalidator_core::event::BucketName;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::app::App;

/// How long it may take: not much longer than the last poll.
const TIME: Duration = Duration::from_millis(1_500);

/// Of at most so many buckets the tags are read ahead: as many as are read at once.
pub const MOST_BUCKETS: usize = 16;

/// Reads the tags of the first buckets of a round, and the ledger, as soon as the buckets are known. What cannot be
/// read is read when it is needed.
pub async fn read(app: &App, buckets: oneshot::Receiver<Vec<BucketName>>) {
    let Ok(buckets) = buckets.await else { return };
    let aliases = &app.config.origin_buckets;
    let buckets = app.catalog.served(&buckets, aliases).await;
    if buckets.is_empty() {
        return;
    }
    let (s3, until) = (app.clients.s3(), Instant::now() + TIME);
    let _ = tokio::join!(
        app.tags.settings_of(s3, &buckets, until),
        timeout_at(until, app.ledger.read_lately(app.state())),
    );
}
