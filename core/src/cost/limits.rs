//! What a wildcard may do, so that a cover is neither later nor less sparing than its mode allows.

use super::amount::NanoUsd;
use super::price::OriginReads;
use super::price::StorageClass;

/// The most keys that one wildcard of `balanced` may clear needlessly. It guards the visitors of a large
/// site, who would wait for the origin: clearing a million keys to save 250 USD of paths costs 6 USD, and
/// the cache.
pub const MOST_OTHERS: u64 = 10_000;

/// CloudFront takes one wildcard a second, and 150 paths (CloudFront Developer Guide, "Quotas"). So a
/// wildcard that replaces so many paths, or another wildcard, makes nothing later.
pub const PATHS_PER_WILDCARD: u64 = 150;

/// So many wildcards may wait for a target, whatever they replace: the last one is ten seconds late.
pub const FEW_WILDCARDS: u64 = 10;

/// A path that a wildcard replaces is at most so many seconds later than it would be on its own. So at
/// most so many new wildcards wait for a target.
pub const MOST_WILDCARDS: u64 = 60;

/// What the wildcards for one target may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most other keys that one wildcard may clear. `None`: only their price counts.
    pub others: Option<u64>,
    /// How many folders a wildcard must name at least: 0 allows `/*`, 1 only `/a/*` and deeper.
    pub least_depth: usize,
    /// How many wildcards wait for the target already.
    pub waiting: u64,
    /// What a key costs at most that is cleared needlessly, where nobody has looked.
    pub refetch: NanoUsd,
}

impl Limits {
    /// The limits of `balanced`.
    pub fn balanced() -> Self {
        Self {
            others: Some(MOST_OTHERS),
            ..Self::frugal()
        }
    }

    /// The limits of `frugal`, and of a stack that has reached its spending limit: only the price counts.
    pub fn frugal() -> Self {
        Self {
            others: None,
            least_depth: 0,
            waiting: 0,
            refetch: OriginReads::default().refetch(StorageClass::Standard, 0),
        }
    }

    /// Whether a wildcard below this folder names as many folders as it must.
    pub(super) fn allow_depth(&self, folder: &str) -> bool {
        self.least_depth == 0 || depth(folder) >= self.least_depth
    }
}

/// How many folders a wildcard below this folder names: none for `/`, two for `/a/b/`.
pub fn depth(folder: &str) -> usize {
    let slashes = folder.bytes().filter(|byte| *byte == b'/').count();
    slashes.saturating_sub(1)
}
