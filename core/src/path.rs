//! From an object key to the paths that CloudFront has to invalidate.
//!
//! ```
//! use invalidator_core::path::{OriginPath, ViewerPath};
//!
//! let origin_path = OriginPath::new("/web");
//! let whole = ViewerPath::of_whole_bucket("/web/a photo.jpg");
//! let viewer_path = whole.below(&origin_path).unwrap();
//! assert_eq!(viewer_path.as_str(), "/a photo.jpg");
//! assert_eq!(viewer_path.invalidation_paths(false).first.as_str(), "/a%20photo.jpg");
//! ```

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::text::one_line;

/// The longest path CloudFront accepts, in characters, after encoding.
///
/// Source: CloudFront Developer Guide, "Invalidate files": "The maximum length of a path is 4,000
/// characters".
pub const MAX_PATH_CHARACTERS: usize = 4_000;

/// The characters that must be encoded in a path: non-ASCII (which `percent_encoding` always
/// encodes), the unsafe characters of RFC 1738, and nothing else, "or CloudFront does not find the
/// object" (Developer Guide, "What you need to know when invalidating files").
///
/// `?` would start a query string, `%` an escape. Paths with a raw `+` or `'` did not invalidate
/// their objects. `~` is not in the table, because it can be sent neither raw nor encoded, see
/// [`ViewerPath::invalidation_paths`].
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'%')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'`')
    .add(b'?')
    .add(b'\'')
    .add(b'+');

/// The folder of the bucket that an origin serves: `""` or `/web`, without a trailing slash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, PartialOrd, Ord)]
#[serde(transparent)]
pub struct OriginPath(String);

impl OriginPath {
    /// Takes an origin path as it is written in the distribution's configuration.
    pub fn new(configured: &str) -> Self {
        let folder = configured.trim_matches('/');
        if folder.is_empty() {
            Self::default()
        } else {
            Self(format!("/{folder}"))
        }
    }

    /// `""` for the whole bucket, else `/web`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the origin serves all of the bucket.
    pub fn is_whole_bucket(&self) -> bool {
        self.0.is_empty()
    }
}

/// The path that a viewer requests from CloudFront, decoded, beginning with `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ViewerPath<'a> {
    decoded: &'a str,
    /// See [`is_plain`]; nearly all paths are.
    is_plain: bool,
}

impl<'a> ViewerPath<'a> {
    /// `/`
    pub const ROOT: ViewerPath<'static> = ViewerPath {
        decoded: "/",
        is_plain: true,
    };

    /// The path of a key where the origin serves the whole bucket: `/` and the key.
    pub fn of_whole_bucket(path: &'a str) -> Self {
        Self::of_whole_bucket_known(path, is_plain(path))
    }

    /// As [`ViewerPath::of_whole_bucket`], for a path whose [`is_plain`] was computed before.
    pub(crate) fn of_whole_bucket_known(decoded: &'a str, is_plain: bool) -> Self {
        Self { decoded, is_plain }
    }

    /// The viewer path at which an origin with `origin_path` serves this path of the whole bucket, or
    /// `None` if it is outside the origin's folder.
    ///
    /// CloudFront requests `OriginPath` + viewer path from the origin, and for S3 the text after the
    /// first slash is the key.
    pub fn below(self, origin_path: &OriginPath) -> Option<Self> {
        if origin_path.is_whole_bucket() {
            return Some(self);
        }
        let rest = self.decoded.strip_prefix(origin_path.as_str())?;
        rest.starts_with('/').then(|| self.part(rest))
    }

    /// The decoded path.
    pub fn as_str(&self) -> &'a str {
        self.decoded
    }

    /// The path as it stands in a URL.
    pub fn url_path(&self) -> Cow<'a, str> {
        encode(self.decoded)
    }

    /// Whether its one invalidation path is exact, not a wildcard, where query strings are not in the
    /// cache key. Different exact paths never have the same encoded form.
    pub fn is_exact(&self) -> bool {
        self.is_plain || !(self.decoded.contains('~') || self.decoded.ends_with('*'))
    }

    /// The folder (with its trailing slash) if this is the path of an index document of this name.
    pub fn folder_of(self, index_document: &str) -> Option<Self> {
        let folder = self.decoded.strip_suffix(index_document)?;
        folder.ends_with('/').then(|| self.part(folder))
    }

    /// A part of a plain path is plain.
    fn part(self, decoded: &'a str) -> Self {
        Self {
            decoded,
            is_plain: self.is_plain || is_plain(decoded),
        }
    }

    /// The form that path patterns are compared with.
    pub fn normalized(&self) -> NormalizedPath<'a> {
        if self.is_plain {
            return NormalizedPath {
                decoded: Cow::Borrowed(self.decoded),
                encoded: None,
            };
        }
        let decoded = normalize(self.decoded);
        let encoded = match encode(&decoded) {
            Cow::Borrowed(_) => None,
            Cow::Owned(encoded) => Some(encoded),
        };
        NormalizedPath { decoded, encoded }
    }

    /// The paths that clear this one from the cache: nearly always one, sometimes two.
    ///
    /// With `query_strings` in the cache key, `/x.jpg` leaves `/x.jpg?v=2` stale, but `/x.jpg*` clears
    /// all variants. For a folder `/d/` that wildcard would clear everything below it, so it becomes
    /// two paths: `/d/` and `/d/?*`.
    ///
    /// A `~` cannot be in a path: if it is sent raw, CloudFront rejects the whole batch; `%7E` is
    /// accepted and does nothing (aws-sdk #525). So a wildcard that ends before the `~` clears such a
    /// path. A path that is too long is cleared by a shorter wildcard, too.
    pub fn invalidation_paths(&self, query_strings: bool) -> InvalidationPaths<'a> {
        let is_itself =
            self.is_plain && !query_strings && self.decoded.len() <= MAX_PATH_CHARACTERS;
        if is_itself {
            InvalidationPaths::of_one(InvalidationPath(Cow::Borrowed(self.decoded)), None)
        } else {
            self.encoded_paths(query_strings)
        }
    }

    fn encoded_paths(&self, query_strings: bool) -> InvalidationPaths<'a> {
        let encoded = encode(self.decoded);
        let marker = match (query_strings, encoded.ends_with('/')) {
            (false, _) => "",
            (true, false) => "*",
            (true, true) => "?*",
        };
        let fits = encoded.len() + marker.len() <= MAX_PATH_CHARACTERS;
        let wildcard = |before, cause| {
            InvalidationPaths::of_one(InvalidationPath::starting_with(before), Some(cause))
        };
        match encoded.find('~') {
            Some(tilde) => wildcard(&encoded[..tilde], WildcardCause::Tilde),
            None if !fits => wildcard(&encoded, WildcardCause::TooLong),
            None if marker == "?*" => InvalidationPaths {
                second: Some(InvalidationPath(format!("{encoded}?*").into())),
                first: InvalidationPath(encoded),
                cause: Some(WildcardCause::QueryStrings),
            },
            None if marker == "*" => InvalidationPaths::of_one(
                InvalidationPath(format!("{encoded}*").into()),
                Some(WildcardCause::QueryStrings),
            ),
            None => {
                let cause = encoded.ends_with('*').then_some(WildcardCause::Asterisk);
                InvalidationPaths::of_one(InvalidationPath(encoded), cause)
            }
        }
    }
}

/// The paths that clear one viewer path: nearly always one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidationPaths<'a> {
    /// The first path.
    pub first: InvalidationPath<'a>,
    /// The wildcard for the query strings of a folder.
    pub second: Option<InvalidationPath<'a>>,
    /// Why one of them is a wildcard, if one is.
    pub cause: Option<WildcardCause>,
}

impl<'a> InvalidationPaths<'a> {
    /// All paths of a distribution.
    pub(crate) fn everything(cause: WildcardCause) -> Self {
        Self::of_one(InvalidationPath(Cow::Borrowed("/*")), Some(cause))
    }

    fn of_one(path: InvalidationPath<'a>, cause: Option<WildcardCause>) -> Self {
        Self {
            first: path,
            second: None,
            cause,
        }
    }

    /// Each path, and why it is a wildcard, if it is one.
    pub(crate) fn with_causes(
        self,
    ) -> impl Iterator<Item = (InvalidationPath<'a>, Option<WildcardCause>)> {
        let cause = self.cause;
        let cause_of = move |path: &InvalidationPath<'_>| path.wildcard_prefix().and(cause);
        self.into_iter().map(move |path| {
            let cause = cause_of(&path);
            (path, cause)
        })
    }
}

impl<'a> IntoIterator for InvalidationPaths<'a> {
    type Item = InvalidationPath<'a>;
    type IntoIter =
        std::iter::Chain<std::iter::Once<Self::Item>, std::option::IntoIter<Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.second)
    }
}

/// Why a path is cleared by a wildcard, which may clear other paths too.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum WildcardCause {
    /// Query strings are in the cache key.
    QueryStrings,
    /// The path contains `~`, which cannot be invalidated by name.
    Tilde,
    /// The path is longer than [`MAX_PATH_CHARACTERS`].
    TooLong,
    /// The path itself ends with `*`.
    Asterisk,
    /// The object is an error page, which may be cached under any path.
    ErrorPage,
    /// It costs less than the paths that it replaces.
    Collapsed,
    /// The distribution is to be trusted to have seen every change.
    Trust,
}

impl WildcardCause {
    /// Whether the name of an object is the cause. Whoever may upload chooses names, so such wildcards
    /// are rationed.
    pub fn is_name(self) -> bool {
        match self {
            Self::Tilde | Self::TooLong | Self::Asterisk => true,
            Self::QueryStrings | Self::ErrorPage | Self::Collapsed | Self::Trust => false,
        }
    }

    /// Whether the wildcard may clear other pages. That of a path with its query strings is as narrow as
    /// the path, so no limit is set to its width.
    pub fn is_wide(self) -> bool {
        self != Self::QueryStrings
    }
}

/// What a wildcard covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach<'a> {
    /// `/*`
    WholeDistribution,
    /// All paths that begin with this.
    BeginningWith(&'a str),
}

impl Reach<'_> {
    /// How many folders deep it is: `/*` and `/a*` are 0 deep, `/a/*` and `/a/b*` are 1 deep.
    pub fn depth(self) -> usize {
        match self {
            Self::WholeDistribution => 0,
            Self::BeginningWith(prefix) => depth(prefix),
        }
    }
}

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeDistribution => write!(f, "the whole distribution"),
            Self::BeginningWith(prefix) => write!(f, "all that begins with `{prefix}`"),
        }
    }
}

/// How many folders a prefix is in.
fn depth(prefix: &str) -> usize {
    let slashes = prefix.bytes().filter(|byte| *byte == b'/').count();
    slashes.saturating_sub(1)
}

impl fmt::Display for WildcardCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueryStrings => write!(f, "query strings are in the cache key"),
            Self::Tilde => write!(f, "CloudFront cannot invalidate a path with `~`"),
            Self::TooLong => write!(
                f,
                "the path is longer than {MAX_PATH_CHARACTERS} characters"
            ),
            Self::Asterisk => write!(f, "the path ends with `*`"),
            Self::ErrorPage => write!(f, "any path may have an error"),
            Self::Collapsed => write!(f, "it costs less than the paths that it replaces"),
            Self::Trust => write!(
                f,
                "after it, uploads that change nothing need not be invalidated"
            ),
        }
    }
}

/// Whether the encoded form of a path is the path itself: it begins with `/`, contains nothing to
/// encode or normalize and no `~`, and does not end with `*`.
pub fn is_plain(path: &str) -> bool {
    let mut after_slash = false;
    path.starts_with('/')
        && path.bytes().all(|byte| {
            let is_collapsed = after_slash && matches!(byte, b'/' | b'.');
            after_slash = byte == b'/';
            !is_collapsed && PLAIN[usize::from(byte)]
        })
}

/// The bytes that never need encoding, whatever surrounds them.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let kept = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!$&(),:;=@/";
    let mut index = 0;
    while index < kept.len() {
        plain[kept[index] as usize] = true;
        index += 1;
    }
    plain
};

impl fmt::Display for ViewerPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decoded)
    }
}

/// A viewer path as CloudFront compares it with path patterns: with `//`, `.` and `..` collapsed, in
/// its decoded form and, if that differs, in its encoded form.
#[derive(Debug)]
pub struct NormalizedPath<'a> {
    decoded: Cow<'a, str>,
    encoded: Option<String>,
}

impl NormalizedPath<'_> {
    /// The decoded form.
    pub fn decoded(&self) -> &str {
        &self.decoded
    }

    /// The encoded form, if it differs.
    pub fn encoded(&self) -> Option<&str> {
        self.encoded.as_deref()
    }
}

/// A path of an invalidation: encoded, beginning with `/`, a wildcard if it ends with `*`.
///
/// Most are borrowed from the key, because one change may become a path at a hundred distributions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct InvalidationPath<'a>(Cow<'a, str>);

/// A text that is not an invalidation path. Its beginning is shown, escaped, because anybody may have
/// written it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not an invalidation path: one begins with `/`, holds printable ASCII only and is at most {MAX_PATH_CHARACTERS} characters long"
)]
pub struct InvalidPath(String);

impl InvalidationPath<'_> {
    /// The wildcard over all paths that begin with a part of a path.
    pub(crate) fn beginning_with(prefix: &str) -> Self {
        Self(format!("{prefix}*").into())
    }

    /// The longest allowed wildcard that covers `encoded`.
    fn starting_with(encoded: &str) -> Self {
        let mut end = encoded.len().min(MAX_PATH_CHARACTERS - 1);
        // Do not cut an escape in two: `%E` is invalid.
        if end < encoded.len()
            && let Some(escape) = encoded[end - 2..end].find('%')
        {
            end = end - 2 + escape;
        }
        Self(format!("{}*", &encoded[..end]).into())
    }

    /// The wildcard for everything below a folder, which is encoded and ends with a slash.
    pub(crate) fn all_below(folder: &str) -> Self {
        Self(format!("{folder}*").into())
    }

    /// The encoded path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same path without a borrow.
    pub fn into_owned(self) -> InvalidationPath<'static> {
        InvalidationPath(Cow::Owned(self.0.into_owned()))
    }

    /// The common prefix of all paths that this wildcard clears; `None` for an exact path.
    pub fn wildcard_prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    /// What this wildcard covers; `None` for an exact path.
    pub fn reach(&self) -> Option<Reach<'_>> {
        let prefix = self.wildcard_prefix()?;
        Some(match prefix {
            "/" => Reach::WholeDistribution,
            prefix => Reach::BeginningWith(prefix),
        })
    }
}

/// For each path the index of the one that clears it: its own, unless there is an equal path or a
/// wildcard that covers it.
pub fn coverage(paths: &[&InvalidationPath<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..paths.len()).collect();
    order.sort_by(|a, b| paths[*a].order().cmp(&paths[*b].order()));
    let mut cleared_by = vec![0; paths.len()];
    let mut last: Option<usize> = None;
    for place in order {
        let by = last.filter(|last| paths[*last].clears(paths[place]));
        let by = by.unwrap_or(place);
        last = Some(by);
        cleared_by[place] = by;
    }
    cleared_by
}

impl InvalidationPath<'_> {
    /// A sort key. In this order the paths that a wildcard covers directly follow it, because they
    /// share its prefix.
    pub fn order(&self) -> (&str, bool) {
        match self.wildcard_prefix() {
            Some(prefix) => (prefix, false),
            None => (self.as_str(), true),
        }
    }

    /// Whether this path clears the other one, or is equal to it.
    pub fn clears(&self, other: &InvalidationPath<'_>) -> bool {
        match self.wildcard_prefix() {
            Some(prefix) => other.as_str().starts_with(prefix),
            None => self == other,
        }
    }
}

impl AsRef<str> for InvalidationPath<'_> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl TryFrom<String> for InvalidationPath<'_> {
    type Error = InvalidPath;

    /// Checks an encoded path from a message or an error file.
    fn try_from(text: String) -> Result<Self, InvalidPath> {
        let legal = text.starts_with('/')
            && text.len() <= MAX_PATH_CHARACTERS
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if legal {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPath(one_line(&text, 120)))
        }
    }
}

impl From<InvalidationPath<'_>> for String {
    fn from(path: InvalidationPath<'_>) -> Self {
        path.0.into_owned()
    }
}

impl fmt::Display for InvalidationPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn encode(decoded: &str) -> Cow<'_, str> {
    let mut parts = utf8_percent_encode(decoded, ENCODED);
    let first = parts.next().unwrap_or_default();
    let Some(second) = parts.next() else {
        return Cow::Borrowed(first);
    };
    // Reserve room for a few escapes: the crate's own conversion grows the text for each of them, which
    // makes planning a tenth slower.
    let mut encoded = String::with_capacity(decoded.len() + 16);
    encoded.extend([first, second].into_iter().chain(parts));
    Cow::Owned(encoded)
}

/// Collapses empty segments, `.` and `..`, as CloudFront does before it compares a path with the path
/// patterns (RFC 3986, 5.2.4; Developer Guide, "Path pattern"). Origin requests and invalidations
/// still use the raw path.
fn normalize(path: &str) -> Cow<'_, str> {
    let needs_work = path.contains("//") || path.contains("/.");
    if !needs_work {
        return Cow::Borrowed(path);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let is_folder = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let trailing_slash = if is_folder && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    Cow::Owned(format!("/{}{trailing_slash}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, query_strings: bool) -> Vec<String> {
        let paths = ViewerPath::of_whole_bucket(path).invalidation_paths(query_strings);
        paths.into_iter().map(String::from).collect()
    }

    #[test]
    fn a_key_becomes_the_path_below_the_origin_path() {
        for (key, origin_path, expected) in [
            ("a.jpg", "", Some("/a.jpg")),
            ("a.jpg", "/", Some("/a.jpg")),
            ("web/a.jpg", "/web", Some("/a.jpg")),
            ("web/a.jpg", "/web/", Some("/a.jpg")),
            ("web/v1/a.jpg", "/web/v1", Some("/a.jpg")),
            ("web/", "/web", Some("/")),
            ("web//a.jpg", "/web", Some("//a.jpg")),
            ("/a.jpg", "", Some("//a.jpg")),
            ("web", "/web", None),
            ("webs/a.jpg", "/web", None),
            ("other/a.jpg", "/web", None),
            ("Web/a.jpg", "/web", None),
            ("/web/a.jpg", "/web", None),
        ] {
            let whole = format!("/{key}");
            let whole = ViewerPath::of_whole_bucket(&whole);
            let path = whole.below(&OriginPath::new(origin_path));
            let path = path.map(|path| path.as_str());
            assert_eq!(path, expected, "{key} at {origin_path}");
        }
    }

    /// The source of each row is the Developer Guide, "Invalidate files", and RFC 1738, 2.2, unless the
    /// row says otherwise.
    #[test]
    fn exactly_the_characters_cloudfront_wants_encoded_are_encoded() {
        for (path, expected) in [
            ("/AZaz09", "/AZaz09"),
            ("/-_.!$&()*,:;=@", "/-_.!$&()*,:;=@"),
            ("/a b", "/a%20b"),
            ("/\"<>#", "/%22%3C%3E%23"),
            ("/{}|\\^[]`", "/%7B%7D%7C%5C%5E%5B%5D%60"),
            ("/100%", "/100%25"),
            ("/a%20b", "/a%2520b"),
            ("/a?b", "/a%3Fb"),
            ("/it's", "/it%27s"),
            // A raw `+` did not invalidate the object: crates.io #14062.
            ("/c++", "/c%2B%2B"),
            ("/\u{1}\u{7f}", "/%01%7F"),
            ("/한", "/%ED%95%9C"),
            ("/é", "/%C3%A9"),
            ("/a/b//c/", "/a/b//c/"),
            // A `*` in the middle is literal; a `*` at the end clears more than needed.
            ("/a*b", "/a*b"),
            ("/a*", "/a*"),
        ] {
            assert_eq!(paths(path, false), [expected], "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_one_that_stays_as_it_is() {
        for character in (0..=0x17f).filter_map(char::from_u32) {
            let path = format!("/a{character}b/{character}");
            let kept = paths(&path, false) == [path.as_str()] && character != '*';
            let normalized = normalize(&path) != path;
            assert_eq!(is_plain(&path), kept && !normalized, "{character:?}");
            let is_wildcard = paths(&path, false)[0].ends_with('*');
            assert_eq!(
                ViewerPath::of_whole_bucket(&path).is_exact(),
                !is_wildcard,
                "{character:?}"
            );
        }
        for path in ["a", "", "//a", "/a//b", "/./a", "/a/..", "/.a"] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn a_path_with_a_tilde_is_cleared_by_a_wildcard_that_ends_before_it() {
        for query_strings in [false, true] {
            assert_eq!(paths("/a~b~c.txt", query_strings), ["/a*"]);
            assert_eq!(paths("/~user/a.txt", query_strings), ["/*"]);
            assert_eq!(paths("/한~", query_strings), ["/%ED%95%9C*"]);
        }
    }

    #[test]
    fn query_strings_in_the_cache_key_take_a_wildcard_that_spares_what_is_below_a_folder() {
        assert_eq!(paths("/x.jpg", true), ["/x.jpg*"]);
        assert_eq!(paths("/d/", true), ["/d/", "/d/?*"]);
        assert_eq!(paths("/", true), ["/", "/?*"]);
    }

    #[test]
    fn a_path_that_is_too_long_is_cut_to_the_longest_wildcard_that_fits() {
        let fits = format!("/{}", "a".repeat(MAX_PATH_CHARACTERS - 1));
        assert_eq!(paths(&fits, false)[0], fits);
        let with_queries = format!("{}*", &fits[..MAX_PATH_CHARACTERS - 1]);
        assert_eq!(paths(&fits, true), [with_queries]);

        // 3 bytes, so 9 encoded characters, for each: "/" and 444 of them are 3,997 characters.
        let hangul = format!("/{}", "한".repeat(500));
        let wildcard = format!("/{}%ED%95*", "%ED%95%9C".repeat(443));
        let cut = paths(&hangul, false).remove(0);
        assert!(
            cut.len() <= MAX_PATH_CHARACTERS && cut.len() > MAX_PATH_CHARACTERS - 3,
            "{}",
            cut.len()
        );
        assert!(cut.starts_with(wildcard.trim_end_matches('*')), "{cut}");
        let escapes = cut.trim_start_matches('/').trim_end_matches('*');
        assert_eq!(escapes.len() % 3, 0, "an escape was cut in two: {cut}");
    }

    #[test]
    fn patterns_are_compared_with_the_normalized_path() {
        for (path, normalized) in [
            ("/", "/"),
            ("//", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a//", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/../a", "/a"),
            ("/..", "/"),
            ("/.a/..b/c..", "/.a/..b/c.."),
            ("/...", "/..."),
            ("/a//../b", "/b"),
            ("/a/b/../", "/a/"),
            ("/a/../..", "/"),
            ("/./a", "/a"),
        ] {
            assert_eq!(
                ViewerPath::of_whole_bucket(path).normalized().decoded(),
                normalized,
                "{path}"
            );
        }
    }

    #[test]
    fn only_a_whole_last_segment_is_an_index_document() {
        for (path, folder) in [
            ("/index.html", Some("/")),
            ("/d/index.html", Some("/d/")),
            ("/d/myindex.html", None),
            ("/d/index.html/a", None),
            ("/index.htm", None),
        ] {
            let found = ViewerPath::of_whole_bucket(path).folder_of("index.html");
            assert_eq!(found.map(|found| found.as_str()), folder, "{path}");
        }
    }

    #[test]
    fn a_stored_path_is_checked_when_it_is_read_back() {
        assert!(InvalidationPath::try_from("/a%20b*".to_owned()).is_ok());
        for text in ["", "a", "/a b", "/é", "/a\n"] {
            assert!(
                InvalidationPath::try_from(text.to_owned()).is_err(),
                "{text:?}"
            );
        }
    }
}
