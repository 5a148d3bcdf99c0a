//! What an environment remembers of the open incidents, so that it reads their state rarely.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::SystemTime;

/// What this environment remembers of the open incidents.
#[derive(Debug, Default)]
pub struct Remembered(pub Mutex<Memory>);

#[derive(Debug, Default)]
pub struct Memory {
    /// When due mails were last looked for.
    pub checked: Option<SystemTime>,
    /// When the state was last read or written.
    pub read: Option<SystemTime>,
    /// The targets with open incidents that have not accepted paths since.
    pub failing: BTreeSet<String>,
}
