//! Which operation a request asks for.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// The version of the API, the first segment of every path.
pub const VERSION: &str = "2020-05-31";

/// What the stand-in can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// `GET /distribution`
    ListDistributions,
    /// `GET /distribution/{id}/config`
    GetDistributionConfig,
    /// `GET /cache-policy`
    ListCachePolicies,
    /// `GET /cache-policy/{id}`
    GetCachePolicy,
    /// `POST /distribution/{id}/invalidation`
    CreateInvalidation,
    /// `GET /distribution/{id}/invalidation`
    ListInvalidations,
    /// `GET /distribution/{id}/invalidation/{id}`
    GetInvalidation,
    /// `POST /distribution-tenants`
    ListDistributionTenants,
    /// `GET /distribution-tenant/{id}`
    GetDistributionTenant,
    /// `POST /distribution-tenant/{id}/invalidation`
    CreateInvalidationForDistributionTenant,
    /// `GET /distribution-tenant/{id}/invalidation`
    ListInvalidationsForDistributionTenant,
    /// `GET /distribution-tenant/{id}/invalidation/{id}`
    GetInvalidationForDistributionTenant,
    /// Anything else.
    Unknown,
}

/// A request, as far as it matters.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path, percent-encoded.
    pub path: &'a str,
    /// Query string without `?`.
    pub query: &'a str,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

/// A request that has found its operation.
pub struct Route {
    /// Which.
    pub operation: Operation,
    /// Of which distribution, tenant or cache policy.
    pub target: Option<String>,
    /// Of which invalidation.
    pub invalidation: Option<String>,
}

impl Route {
    /// Finds the operation.
    pub fn of(request: &Request<'_>) -> Self {
        use Operation as O;
        let mut segments = request.path.trim_start_matches('/').split('/');
        let is_version = segments.next() == Some(VERSION);
        let segments: Vec<_> = segments.map(decode).collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let (operation, target, invalidation) = match (request.method, &segments[..]) {
            _ if !is_version => (O::Unknown, None, None),
            ("GET", ["distribution"]) => (O::ListDistributions, None, None),
            ("GET", ["distribution", id, "config"]) => (O::GetDistributionConfig, Some(id), None),
            ("GET", ["cache-policy"]) => (O::ListCachePolicies, None, None),
            ("GET", ["cache-policy", id]) => (O::GetCachePolicy, Some(id), None),
            ("POST", ["distribution-tenants"]) => (O::ListDistributionTenants, None, None),
            ("GET", ["distribution-tenant", id]) => (O::GetDistributionTenant, Some(id), None),
            ("POST", ["distribution", id, "invalidation"]) => {
                (O::CreateInvalidation, Some(id), None)
            }
            ("GET", ["distribution", id, "invalidation"]) => (O::ListInvalidations, Some(id), None),
            ("GET", ["distribution", id, "invalidation", invalidation]) => {
                (O::GetInvalidation, Some(id), Some(invalidation))
            }
            ("POST", ["distribution-tenant", id, "invalidation"]) => {
                (O::CreateInvalidationForDistributionTenant, Some(id), None)
            }
            ("GET", ["distribution-tenant", id, "invalidation"]) => {
                (O::ListInvalidationsForDistributionTenant, Some(id), None)
            }
            ("GET", ["distribution-tenant", id, "invalidation", invalidation]) => (
                O::GetInvalidationForDistributionTenant,
                Some(id),
                Some(invalidation),
            ),
            _ => (O::Unknown, None, None),
        };
        Self {
            operation,
            target: target.map(|id| (*id).to_owned()),
            invalidation: invalidation.map(|id| (*id).to_owned()),
        }
    }
}

impl Request<'_> {
    /// The distribution, tenant or cache policy that is asked about.
    pub fn target(&self) -> Option<String> {
        Route::of(self).target
    }

    /// A parameter of the query string, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(known, _)| *known == name)
            .map(|(_, value)| decode(value))
    }
}

fn decode(encoded: &str) -> String {
    percent_decode_str(encoded).decode_utf8_lossy().into_owned()
}
