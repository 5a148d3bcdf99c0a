//! The default root objects that an environment knows, and those that it has read and others do not know yet.
//!
//! They are one object in the error bucket. If it cannot be read or written, an environment reads them from
//! CloudFront.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use invalidator_core::distributions::root_objects::{RootObject, RootObjects, STATE_KEY};
use invalidator_core::state::Reading;
use invalidator_core::target::DistributionId;
use tracing::warn;

use crate::state::State;

/// How long reading the object may take: a flush can do without.
const TIME_TO_READ: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Roots(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    of: RootObjects,
    /// What is not in the object yet.
    new: BTreeMap<DistributionId, RootObject>,
    is_loaded: bool,
    /// Whether changes were planned without a default root object, so that another environment may read it.
    is_behind: bool,
}

impl Roots {
    /// Looks what other environments have read, if this was not done yet, or if it is worth another look.
    pub(super) async fn load(&self, state: State<'_>) {
        {
            let known = self.known();
            if known.is_loaded && !known.is_behind {
                return;
            }
        }
        let reading = state.read_within::<RootObjects>(TIME_TO_READ, STATE_KEY);
        match reading.await {
            Ok(reading) => {
                let mut known = self.known();
                known.is_loaded = true;
                known.is_behind = false;
                if let Reading::Found(found, _) = reading {
                    known.of = found;
                }
            }
            Err(error) => warn_about(&error, "so they are read from CloudFront"),
        }
    }

    /// The default root object of this version of a distribution, if it is known.
    pub(super) fn of(&self, id: &DistributionId, e_tag: &str) -> Option<RootObject> {
        let known = self.known();
        let new = known.new.get(id).filter(|it| it.e_tag == e_tag);
        new.or_else(|| known.of.of(id, e_tag)).cloned()
    }

    /// Notes what was read from CloudFront.
    pub(super) fn note(&self, id: DistributionId, root: RootObject) {
        self.known().new.insert(id, root);
    }

    /// Notes that changes were planned without.
    pub(super) fn fall_behind(&self) {
        self.known().is_behind = true;
    }

    /// Tells other environments what was read.
    pub(super) async fn save(&self, state: State<'_>, listed: &BTreeSet<DistributionId>) {
        let new = std::mem::take(&mut self.known().new);
        if new.is_empty() {
            return;
        }
        let saved = state.change(STATE_KEY, |roots: &mut RootObjects| {
            roots.learn(&new, listed)
        });
        match saved.await {
            Ok(roots) => self.known().of = roots,
            Err(error) => {
                let mut known = self.known();
                for (id, root) in new {
                    known.new.entry(id).or_insert(root);
                }
                drop(known);
                warn_about(&error, "so other environments read them again");
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_about(error: &anyhow::Error, consequence: &str) {
    let error = format!("{error:#}");
    warn!(
        stage = "flush",
        error, "the default root objects cannot be kept, {consequence}"
    );
}
