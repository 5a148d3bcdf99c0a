//! What is done about the paths of a target in order to pay less.

use super::changes::KeyIndex;
use super::key_set::KeySet;
use crate::path::{InvalidationPath, WildcardCause};

/// What is done about the paths of a target in order to pay less. Each saving has been decided on, with its
/// reason, in [`crate::cost`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// The keys whose paths are left out.
    pub left_out: KeySet,
    /// Wildcards that are submitted in place of the paths that they cover.
    pub wildcards: Vec<NewWildcard>,
}

impl Adjustment {
    /// Nothing.
    pub const NOTHING: Self = Self {
        left_out: KeySet::new(),
        wildcards: Vec::new(),
    };
}

/// A wildcard that no key needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWildcard {
    /// The wildcard.
    pub path: InvalidationPath<'static>,
    /// A key whose path it covers.
    pub key: KeyIndex,
    /// Why it is submitted.
    pub cause: WildcardCause,
}

/// A path that is submitted, and the keys that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath<'a> {
    /// The path.
    pub path: InvalidationPath<'a>,
    /// The key that needs it, or one of them.
    pub key: KeyIndex,
    /// The keys of the same path, and of those that it covers, as often as they have any.
    pub covered: Vec<KeyIndex>,
}
