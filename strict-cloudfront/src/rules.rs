//! What CloudFront refuses in an invalidation. Pure, and the sources stand beside the rules.
//!
//! CloudFront refuses the whole batch and names no path. The reason here is for whoever debugs a
//! test: it goes into the record of the call, never into the answer.

use std::fmt;

use super::xml::{Element, Malformed};

/// "The maximum length of a path is 4,000 characters" (developer guide, Invalidation paths).
pub const MAX_PATH_LENGTH: usize = 4_000;
/// `BatchTooLarge` (413) above it.
pub const MAX_PATHS_IN_BATCH: usize = 3_000;
/// Paths in progress in one distribution (older developer guides; the newer give rates instead).
pub const MAX_PATHS_IN_PROGRESS: usize = 3_000;
/// Wildcards in progress in one distribution, counted apart from the paths.
pub const MAX_WILDCARDS_IN_PROGRESS: usize = 15;

/// RFC 1738 calls these unsafe: "must always be encoded". `%` is looked at apart, `~` below.
const UNSAFE: &str = "\"<>#{}|\\^[]`";

/// A refusal as CloudFront words it, and the reason it keeps to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `<Code>`.
    pub code: String,
    /// `<Message>`.
    pub message: String,
    /// What exactly was wrong, for people only.
    pub detail: Option<String>,
}

impl Refusal {
    /// A refusal without a reason of its own.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            detail: None,
        }
    }

    fn because(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

/// Why a path is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// The API wants it, though the console does not.
    NoLeadingSlash,
    /// Longer than [`MAX_PATH_LENGTH`].
    TooLong(usize),
    /// A character that must be percent-encoded.
    Unencoded(char),
    /// A `%` that two hex digits do not follow.
    BarePercent,
    /// A raw `~` is refused though RFC 3986 calls it unreserved (aws-sdk #525).
    Tilde,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeadingSlash => write!(f, "no leading slash"),
            Self::TooLong(length) => write!(f, "{length} characters, over {MAX_PATH_LENGTH}"),
            Self::Unencoded(character) => write!(f, "unencoded {character:?}"),
            Self::BarePercent => write!(f, "`%` without two hex digits"),
            Self::Tilde => write!(f, "raw `~`"),
        }
    }
}

/// Is this an invalidation path? `*` and `?` may stand anywhere: a `*` that is not last is a
/// literal, a `?` begins a query string.
pub fn check_path(path: &str) -> Result<(), PathFault> {
    if !path.starts_with('/') {
        return Err(PathFault::NoLeadingSlash);
    }
    let length = path.chars().count();
    if length > MAX_PATH_LENGTH {
        return Err(PathFault::TooLong(length));
    }
    for (at, character) in path.char_indices() {
        match character {
            '%' if !is_escape(&path.as_bytes()[at..]) => return Err(PathFault::BarePercent),
            '~' => return Err(PathFault::Tilde),
            _ if is_unencoded(character) => return Err(PathFault::Unencoded(character)),
            _ => {}
        }
    }
    Ok(())
}

/// Does this invalidation path clear what a cache holds for the path of a viewer's request (decoded,
/// with its slash) and its query string, if that is in the cache key?
///
/// A `*` at the end stands for the rest; any other character is that character, so a path that is
/// encoded in another way than CloudFront's is accepted, and clears nothing.
pub fn clears(path: &str, viewed: &str, query: Option<&str>) -> bool {
    let mut cached = String::new();
    for byte in viewed.bytes() {
        match byte {
            b'~' => cached.push('~'),
            // RFC 1738 wants the unsafe encoded, and these mean something else when they stand raw.
            b'?' | b'\'' | b'+' | b'%' => cached.push_str(&format!("%{byte:02X}")),
            _ if is_unencoded(char::from(byte)) => cached.push_str(&format!("%{byte:02X}")),
            _ => cached.push(char::from(byte)),
        }
    }
    if let Some(query) = query {
        cached = format!("{cached}?{query}");
    }
    match path.strip_suffix('*') {
        Some(prefix) => cached.starts_with(prefix),
        None => path == cached,
    }
}

/// Does this path stand for more than one?
pub fn is_wildcard(path: &str) -> bool {
    path.ends_with('*')
}

fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

fn is_unencoded(character: char) -> bool {
    !character.is_ascii()
        || character.is_ascii_control()
        || character == ' '
        || UNSAFE.contains(character)
}

/// An `InvalidationBatch` as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `<CallerReference>`.
    pub caller_reference: String,
    /// `<Quantity>`, true or not.
    pub quantity: usize,
    /// `<Path>`s in order.
    pub paths: Vec<String>,
}

impl Batch {
    /// Reads the body of a `CreateInvalidation`.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.is_empty() {
            return Err(missing_body());
        }
        let batch = Element::read(body).map_err(malformed)?;
        if batch.name != "InvalidationBatch" {
            return Err(malformed(format!("root element {}", batch.name)));
        }
        let paths = batch.child("Paths").ok_or_else(|| malformed("no Paths"))?;
        let quantity = paths.child_text("Quantity").unwrap_or_default();
        Ok(Self {
            caller_reference: batch
                .child_text("CallerReference")
                .ok_or_else(|| malformed("no CallerReference"))?
                .to_owned(),
            quantity: quantity
                .parse()
                .map_err(|_| malformed(format!("Quantity {quantity:?}")))?,
            paths: paths
                .child("Items")
                .map(|items| items.texts("Path"))
                .unwrap_or_default(),
        })
    }

    /// Refuses what CloudFront refuses, whatever the distribution.
    pub fn check(&self) -> Result<(), Refusal> {
        let count = self.paths.len();
        if self.quantity != count {
            return Err(inconsistent_quantities()
                .because(format!("Quantity {} for {count} paths", self.quantity)));
        }
        if count > MAX_PATHS_IN_BATCH {
            return Err(batch_too_large().because(format!("{count} paths")));
        }
        if count == 0 {
            return Err(invalid_argument(
                "Your request contains no invalidation paths.",
            ));
        }
        if self.caller_reference.is_empty() {
            return Err(invalid_argument("The CallerReference is empty."));
        }
        for path in &self.paths {
            check_path(path).map_err(|fault| {
                invalid_argument("Your request contains one or more invalid invalidation paths.")
                    .because(format!("{path:?}: {fault}"))
            })?;
        }
        Ok(())
    }

    /// Would this go beyond what one distribution may have in progress?
    pub fn check_progress<'a>(
        &'a self,
        in_progress: impl Iterator<Item = &'a str>,
        limit: InProgressLimit,
    ) -> Result<(), Refusal> {
        let all = in_progress.chain(self.paths.iter().map(String::as_str));
        let (wildcards, paths): (Vec<_>, Vec<_>) = all.partition(|path| is_wildcard(path));
        if wildcards.len() > limit.wildcards {
            return Err(too_many_in_progress("wildcard invalidations")
                .because(format!("{} wildcards", wildcards.len())));
        }
        if paths.len() > limit.paths {
            return Err(
                too_many_in_progress("invalidations").because(format!("{} paths", paths.len()))
            );
        }
        Ok(())
    }
}

/// How much one distribution may have in progress.
#[derive(Debug, Clone, Copy)]
pub struct InProgressLimit {
    /// Paths without a wildcard.
    pub paths: usize,
    /// Paths with one.
    pub wildcards: usize,
}

/// CloudFront looks at the signature; the stand-in at its form. The region is not looked at: with
/// an endpoint of its own a client signs for its own region, not for us-east-1.
pub fn check_authorization(authorization: Option<&str>) -> Result<(), Refusal> {
    let Some(authorization) = authorization else {
        return Err(Refusal::new(
            403,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ));
    };
    let scope = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .and_then(|rest| {
            rest.split([',', ' '])
                .find_map(|part| part.strip_prefix("Credential="))
        })
        .unwrap_or_default();
    let signed = scope.ends_with("/cloudfront/aws4_request")
        && authorization.contains("SignedHeaders=")
        && authorization.contains("Signature=");
    if signed {
        return Ok(());
    }
    Err(Refusal::new(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    ))
}

/// Does CloudFront give distributions such ids? 13 or 14 capital letters and digits; tests may take shorter.
pub fn is_distribution_id(id: &str) -> bool {
    let is_allowed = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
    (1..=32).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// Does CloudFront give tenants such ids? `dt_` and 27 letters and digits; tests may take shorter.
pub fn is_tenant_id(id: &str) -> bool {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    let rest = id.strip_prefix("dt_").unwrap_or_default();
    (1..=61).contains(&rest.len()) && rest.bytes().all(is_allowed)
}

/// 400.
pub fn invalid_argument(message: &str) -> Refusal {
    Refusal::new(400, "InvalidArgument", message)
}

/// 400, not modelled by the API.
pub fn throttling() -> Refusal {
    Refusal::new(400, "Throttling", "Rate exceeded")
}

/// 400. `what` is "invalidations" or "wildcard invalidations".
pub fn too_many_in_progress(what: &str) -> Refusal {
    Refusal::new(
        400,
        "TooManyInvalidationsInProgress",
        format!(
            "Processing your request will cause you to exceed the maximum number of in-progress {what}."
        ),
    )
}

/// 400, not modelled by the API.
pub fn already_exists() -> Refusal {
    Refusal::new(
        400,
        "InvalidationBatchAlreadyExists",
        "The CallerReference that you specified was used by an invalidation batch with other paths.",
    )
}

/// 404. The API names no other error for an id that can be none.
pub fn no_such_distribution() -> Refusal {
    Refusal::new(
        404,
        "NoSuchDistribution",
        "The specified distribution does not exist.",
    )
}

/// 404, for tenants.
pub fn entity_not_found() -> Refusal {
    Refusal::new(
        404,
        "EntityNotFound",
        "The specified entity could not be found.",
    )
}

/// 403.
pub fn access_denied(operation: impl fmt::Debug) -> Refusal {
    Refusal::new(
        403,
        "AccessDenied",
        format!(
            "User: arn:aws:sts::123456789012:assumed-role/invalidator/invalidator is not authorized \
             to perform: cloudfront:{operation:?} because no identity-based policy allows the \
             cloudfront:{operation:?} action"
        ),
    )
}

fn batch_too_large() -> Refusal {
    Refusal::new(
        413,
        "BatchTooLarge",
        "Invalidation batch specified is too large.",
    )
}

fn inconsistent_quantities() -> Refusal {
    Refusal::new(
        400,
        "InconsistentQuantities",
        "The value of Quantity and the size of Items do not match.",
    )
}

fn missing_body() -> Refusal {
    Refusal::new(400, "MissingBody", "This operation requires a body.")
}

fn malformed(detail: impl fmt::Display) -> Refusal {
    Refusal::new(400, "MalformedInput", "Could not parse XML").because(detail)
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        malformed(error)
    }
}
