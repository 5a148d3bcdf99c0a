//! The ways to pay for a month.

use std::fmt;

use crate::cost::mode::CostMode;

/// A way to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Each changed path, whatever that costs.
    EachPath,
    /// `/*` after each burst of changes.
    WildcardPerBurst,
    /// Ours.
    Ours(CostMode),
    /// Ours in a bucket with the tag `invalidate=changed`.
    OnlyChanged(CostMode),
}

impl Way {
    /// All ways.
    pub const ALL: [Self; 8] = [
        Self::EachPath,
        Self::WildcardPerBurst,
        Self::Ours(CostMode::Exact),
        Self::Ours(CostMode::Balanced),
        Self::Ours(CostMode::Frugal),
        Self::OnlyChanged(CostMode::Exact),
        Self::OnlyChanged(CostMode::Balanced),
        Self::OnlyChanged(CostMode::Frugal),
    ];

    /// For a machine: `each-path`, `wildcard-per-burst`, `balanced`, `balanced-changed`.
    pub fn code(self) -> String {
        match self {
            Self::EachPath => "each-path".to_owned(),
            Self::WildcardPerBurst => "wildcard-per-burst".to_owned(),
            Self::Ours(mode) => mode.to_string(),
            Self::OnlyChanged(mode) => format!("{mode}-changed"),
        }
    }

    /// Whether it needs the tag `invalidate=changed`.
    pub fn is_only_changed(self) -> bool {
        matches!(self, Self::OnlyChanged(_))
    }
}

/// For a person.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EachPath => f.write_str("each changed path"),
            Self::WildcardPerBurst => f.write_str("/* after each burst"),
            Self::Ours(mode) => write!(f, "COST_MODE={mode}"),
            Self::OnlyChanged(mode) => write!(f, "COST_MODE={mode}, invalidate=changed"),
        }
    }
}
