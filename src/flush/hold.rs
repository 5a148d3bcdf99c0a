//! Holds back the changes that a pause covers: writes them into the error bucket, from where `invalidatorctl
//! resume` takes them. Why none is lost in between: see [`invalidator_core::pause`].

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use invalidator_core::buffered::{Packer, Scope};
use invalidator_core::pause::{HeldKey, Pause, Pauses};
use invalidator_core::plan::{Changes, KeyChanges, KeyIndex};
use tokio::time::timeout;
use tracing::info;

use crate::app::App;
use crate::aws::error::service_error;

/// How long writing an object may take.
const TIME_TO_WRITE: Duration = Duration::from_secs(15);

/// What is held back, and what is not after all.
#[derive(Debug, Default)]
pub struct Held {
    /// How many keys are held back.
    pub keys: usize,
    /// Changes of pauses that are over. They are to be planned.
    pub returned: Changes,
}

/// Holds back changes, all of which `pauses` covers. `pauses` becomes what the list says after that.
///
/// # Errors
/// If it is not certain that each of them is either held back or returned. Then their messages must stay.
pub async fn hold(
    app: &App,
    pauses: &mut Pauses,
    changes: Changes,
    scope: Option<&Scope>,
) -> Result<Held> {
    let keys = KeyChanges::from(changes);
    // The list may be a minute old, and what is written for a pause that is over would lie about.
    let before = app.pauses.now(app.state()).await?;
    let mut of_pauses: BTreeMap<&str, (&Pause, Vec<KeyIndex>)> = BTreeMap::new();
    for index in keys.indices() {
        let key = keys.get(index);
        let pause = pauses.holding(key.bucket, key.name());
        let pause = pause.context("a change is not covered by a pause")?;
        let of_pause = of_pauses.entry(&pause.id);
        of_pause.or_insert((pause, Vec::new())).1.push(index);
    }
    for (pause, indices) in of_pauses.values().filter(|it| before.holds(&it.0.id)) {
        write(app, pause, &keys, indices, scope).await?;
    }
    // Only what is paused after the write may be left to a resume.
    let now = app.pauses.now(app.state()).await?;
    let mut held = Held::default();
    for (pause, indices) in of_pauses.into_values() {
        if before.holds(&pause.id) && now.holds(&pause.id) {
            let (place, keys) = (pause.place(), indices.len());
            held.keys += keys;
            info!(
                stage = "flush",
                place, keys, "changes are held back, because this is paused"
            );
            continue;
        }
        for index in indices {
            held.returned
                .add(&keys.change(index), keys.first_message(index))?;
        }
    }
    *pauses = now;
    Ok(held)
}

async fn write(
    app: &App,
    pause: &Pause,
    keys: &KeyChanges,
    indices: &[KeyIndex],
    scope: Option<&Scope>,
) -> Result<()> {
    let mut packer = Packer::new(scope.cloned())?;
    for index in indices {
        let key = keys.get(*index);
        // Without the id of its version, so that it is never skipped as unchanged; and without its time, or it
        // would count as late what waits on purpose.
        packer.add(key.bucket, key.name(), key.kind, None, None)?;
    }
    let text = packer.finish()?.join("\n");
    let held = HeldKey {
        bucket: pause.bucket.clone(),
        pause: pause.id.clone(),
        changes: indices.len() as u64,
    };
    let (bucket, key) = (app.config.error_bucket.as_str(), held.key(&text));
    let call = app.clients.s3().put_object().bucket(bucket).key(&key);
    let call = call.content_type("application/jsonl");
    let written = timeout(TIME_TO_WRITE, call.body(text.into_bytes().into()).send()).await;
    let written = written.map_err(|_| anyhow!("S3 did not answer in time"));
    let written = written.and_then(|it| Ok(it.map_err(|error| service_error(&error))?));
    written.with_context(|| format!("failed to write s3://{bucket}/{key}"))?;
    Ok(())
}
