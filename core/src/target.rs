//! The target of an invalidation, and CloudFront's ids.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The id of a distribution: `E2QWRUHAPOMQZL`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DistributionId(Arc<str>);

/// The id of a tenant of a multi-tenant distribution: `dt_2wjDZi3hD1ivOXf6rpZJOSNE1AB`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

/// The id of a cache policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CachePolicyId(Arc<str>);

/// A text that is not an id. It is shown with special characters escaped, because anybody may have
/// written it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the id of a {kind}", .text.escape_debug())]
pub struct InvalidId {
    kind: &'static str,
    text: String,
}

/// Ids are shorter than this. AWS states no limit for either; both have about 30 characters at most.
const MAX_ID_LENGTH: usize = 64;

fn is_id(text: &str, is_allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= MAX_ID_LENGTH && text.chars().all(is_allowed)
}

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// Takes an id that comes from AWS, unchecked.
            pub fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

id!(DistributionId);
id!(TenantId);
id!(CachePolicyId);

impl TryFrom<String> for DistributionId {
    type Error = InvalidId;

    /// Checks an id from a message, a file or a command line: capital letters and digits.
    fn try_from(text: String) -> Result<Self, InvalidId> {
        let kind = "distribution";
        match is_id(&text, |c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
            true => Ok(Self(text.into())),
            false => Err(InvalidId { kind, text }),
        }
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidId;

    /// Checks an id from a message, a file or a command line: letters, digits, `-` and `_`.
    fn try_from(text: String) -> Result<Self, InvalidId> {
        let kind = "distribution tenant";
        match is_id(&text, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            true => Ok(Self(text.into())),
            false => Err(InvalidId { kind, text }),
        }
    }
}

/// The target of an invalidation: a distribution, or one tenant of a multi-tenant distribution, which
/// serves nothing itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The distribution.
    pub distribution: DistributionId,
    /// The tenant, if the distribution is a multi-tenant one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

impl Target {
    /// The target's id at CloudFront: the tenant's, or else the distribution's.
    pub fn id(&self) -> &str {
        self.tenant
            .as_ref()
            .map_or(self.distribution.as_str(), TenantId::as_str)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{} (tenant of {})", tenant, self.distribution),
            None => write!(f, "{}", self.distribution),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_from_outside_has_the_alphabet_of_its_kind() {
        for (text, is_distribution, is_tenant) in [
            ("E2QWRUHAPOMQZL", true, true),
            ("dt_2wjDZi3hD1ivOXf6rpZJOSNE1AB", false, true),
            ("", false, false),
            ("E1; rm -rf", false, false),
            ("E1\n", false, false),
            ("E1/../E2", false, false),
            ("É1", false, false),
        ] {
            let distribution = DistributionId::try_from(text.to_owned());
            assert_eq!(distribution.is_ok(), is_distribution, "{text:?}");
            assert_eq!(
                TenantId::try_from(text.to_owned()).is_ok(),
                is_tenant,
                "{text:?}"
            );
        }
        assert!(DistributionId::try_from("E".repeat(65)).is_err());
        let error = DistributionId::try_from("E\u{1b}[31m".to_owned()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`E\\u{1b}[31m` is not the id of a distribution"
        );
    }
}
