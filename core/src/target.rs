//! The target of an invalidation, and CloudFront's ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{InvalidName, is_made_of, name};

name! {
    /// The id of a distribution: `E2QWRUHAPOMQZL`. AWS states no limit; those that exist have 13 or 14
    /// characters.
    DistributionId: "the id of a distribution (capital letters and digits)",
    |text| is_made_of(text, 1..=32, |c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

name! {
    /// The id of a tenant of a multi-tenant distribution: `dt_2wjDZi3hD1ivOXf6rpZJOSNE1AB`. AWS states no
    /// limit; those that exist have 30 characters. The name of a tenant, which CloudFront takes in some
    /// calls, is not its id.
    TenantId: "the id of a distribution tenant (dt_, letters and digits)",
    |text| {
        let rest = text.strip_prefix("dt_").unwrap_or_default();
        is_made_of(rest, 1..=61, |c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
    }
}

/// The id of a cache policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CachePolicyId(std::sync::Arc<str>);

impl CachePolicyId {
    /// Takes an id that AWS has given.
    pub fn new(id: impl Into<std::sync::Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CachePolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a target, without what it belongs to: in error files, and on the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetId {
    /// A distribution.
    Distribution(DistributionId),
    /// A tenant of a multi-tenant distribution.
    Tenant(TenantId),
}

impl TargetId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Distribution(id) => id.as_str(),
            Self::Tenant(id) => id.as_str(),
        }
    }
}

impl FromStr for TargetId {
    type Err = InvalidName;

    /// The kind of an id can be told: CloudFront begins those of tenants with `dt_`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.starts_with("dt_") {
            true => text.parse().map(Self::Tenant),
            false => text.parse().map(Self::Distribution),
        }
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// The target's id at CloudFront, which tells whether it is a tenant's.
    pub fn target_id(&self) -> TargetId {
        match &self.tenant {
            Some(tenant) => TargetId::Tenant(tenant.clone()),
            None => TargetId::Distribution(self.distribution.clone()),
        }
    }

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
        let long = |n: usize| "E".repeat(n);
        for (text, is_distribution, is_tenant) in [
            ("E2QWRUHAPOMQZL", true, false),
            (long(32).as_str(), true, false),
            (long(33).as_str(), false, false),
            ("dt_2wjDZi3hD1ivOXf6rpZJOSNE1AB", false, true),
            (format!("dt_{}", long(61)).as_str(), false, true),
            (format!("dt_{}", long(62)).as_str(), false, false),
            ("dt_", false, false),
            ("my-tenant", false, false),
            ("", false, false),
            ("E1; rm -rf", false, false),
            ("E1\n", false, false),
            ("E1/../E2", false, false),
            ("http://evil.example", false, false),
            ("É1", false, false),
        ] {
            let distribution = text.parse::<DistributionId>();
            assert_eq!(distribution.is_ok(), is_distribution, "{text:?}");
            let tenant = text.parse::<TenantId>();
            assert_eq!(tenant.is_ok(), is_tenant, "{text:?}");
            let target = text.parse::<TargetId>();
            assert_eq!(target.is_ok(), is_distribution || is_tenant, "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            let read = serde_json::from_str::<DistributionId>(&json);
            assert_eq!(read.is_ok(), is_distribution, "{text:?}");
            if let Ok(id) = read {
                assert_eq!(serde_json::to_string(&id).unwrap(), json);
            }
        }
        let error = "E\u{1b}[31m".parse::<DistributionId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`E\\u{1b}[31m` is not the id of a distribution (capital letters and digits)"
        );
    }
}
