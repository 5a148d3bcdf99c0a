//! What an estimate rests on.

/// What an estimate rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// All versions.
    Versions,
    /// The last upload of each object alone.
    Objects(WhyObjects),
}

/// Why only objects were listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyObjects {
    /// The bucket keeps no versions.
    NotVersioned,
    /// The versions may not be listed.
    NotAllowed(String),
}
