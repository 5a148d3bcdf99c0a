//! What the operator prefers where exact paths and cost are at odds (`COST_MODE`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When paths are collapsed into wildcards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostMode {
    /// Never, below the spending limits.
    Exact,
    /// When exact paths do not fit into the month's budget.
    #[default]
    Balanced,
    /// Whenever that is cheaper.
    Frugal,
}

impl CostMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Balanced, Self::Frugal];
}

impl fmt::Display for CostMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Balanced => "balanced",
            Self::Frugal => "frugal",
        })
    }
}

/// A text that is no cost mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cost mode: it is exact, balanced or frugal")]
pub struct UnknownCostMode(String);

impl FromStr for CostMode {
    type Err = UnknownCostMode;

    fn from_str(text: &str) -> Result<Self, UnknownCostMode> {
        let mode = Self::ALL.into_iter().find(|mode| mode.to_string() == text);
        mode.ok_or_else(|| UnknownCostMode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in CostMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            let json = serde_json::to_string(&mode).unwrap();
            assert_eq!(json, format!("\"{mode}\""));
        }
        let error = "cheap".parse::<CostMode>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`cheap` is no cost mode: it is exact, balanced or frugal"
        );
        assert_eq!(CostMode::default(), CostMode::Balanced);
    }
}
