//! Custom error pages, and how long CloudFront caches errors.
//!
//! An error, and the page that viewers get instead of it, is cached under the path that was asked for
//! (Developer Guide, "Generate custom error responses"). A single-page app answers every unknown path
//! with `/index.html` that way.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::listing::CustomErrorResponse;

/// How long CloudFront caches an error if the distribution does not say (Developer Guide, "Control how
/// long CloudFront caches errors").
const DEFAULT_ERROR_TTL: Duration = Duration::from_secs(10);

/// The errors of an object that S3 does not have: 403 without `s3:ListBucket`, else 404.
const MISSING_OBJECT: [i32; 2] = [403, 404];

/// The errors of an origin that CloudFront caches (Developer Guide, "HTTP 4xx and 5xx status codes that
/// CloudFront caches").
const SERVER_ERRORS: [i32; 5] = [500, 501, 502, 503, 504];

/// An object that viewers get instead of an error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ErrorPage {
    /// Its viewer path, decoded.
    pub path: String,
    /// How long it is cached under other paths.
    pub ttl: Duration,
}

/// How long errors and their pages are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCaching {
    pages: Vec<ErrorPage>,
    /// For each of [`MISSING_OBJECT`].
    missing_object: [Duration; 2],
    /// For each of [`SERVER_ERRORS`].
    server_errors: [Duration; 5],
}

impl ErrorCaching {
    pub(super) fn new(responses: &[CustomErrorResponse]) -> Self {
        let mut caching = Self {
            pages: Vec::new(),
            missing_object: [DEFAULT_ERROR_TTL; 2],
            server_errors: [DEFAULT_ERROR_TTL; 5],
        };
        for response in responses {
            let ttl = ttl(response);
            let missing_object = MISSING_OBJECT.iter().zip(&mut caching.missing_object);
            let server_errors = SERVER_ERRORS.iter().zip(&mut caching.server_errors);
            for (code, known) in missing_object.chain(server_errors) {
                if response.error_code == *code {
                    *known = ttl;
                }
            }
            let page = response.response_page_path.as_deref().unwrap_or_default();
            if !page.is_empty() {
                caching.add_page(viewer_path(page), ttl);
            }
        }
        caching
    }

    fn add_page(&mut self, path: String, ttl: Duration) {
        match self.pages.iter_mut().find(|page| page.path == path) {
            Some(page) => page.ttl = page.ttl.max(ttl),
            None => self.pages.push(ErrorPage { path, ttl }),
        }
    }

    /// All error pages.
    pub fn pages(&self) -> impl Iterator<Item = &ErrorPage> {
        self.pages.iter()
    }

    /// The error pages that are cached under other paths for longer than this.
    pub fn pages_cached_longer_than(&self, limit: Duration) -> impl Iterator<Item = &ErrorPage> {
        self.pages.iter().filter(move |page| page.ttl > limit)
    }

    /// For how long the error of a missing object may be served after the object was created.
    pub fn missing_object_ttl(&self) -> Duration {
        let [forbidden, not_found] = self.missing_object;
        forbidden.max(not_found)
    }

    /// For how long an error of the origin may be served after it is over: the longest of all codes.
    pub fn server_error_ttl(&self) -> Duration {
        self.server_errors.into_iter().max().unwrap_or_default()
    }
}

fn ttl(response: &CustomErrorResponse) -> Duration {
    let seconds = response.error_caching_min_ttl.map(u64::try_from);
    seconds.map_or(DEFAULT_ERROR_TTL, |it| Duration::from_secs(it.unwrap_or(0)))
}

fn viewer_path(configured: &str) -> String {
    let decoded = percent_decode_str(configured).decode_utf8();
    let path = decoded.unwrap_or(Cow::Borrowed(configured));
    match path.starts_with('/') {
        true => path.into_owned(),
        false => format!("/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(code: i32, page: Option<&str>, ttl: Option<i64>) -> CustomErrorResponse {
        CustomErrorResponse {
            error_code: code,
            response_page_path: page.map(str::to_owned),
            error_caching_min_ttl: ttl,
        }
    }

    #[test]
    fn a_page_of_several_errors_is_cached_for_the_longest_time() {
        let caching = ErrorCaching::new(&[
            response(403, Some("/index.html"), Some(1_800)),
            response(404, Some("/index.html"), Some(60)),
            response(500, Some("/oops%20.html"), None),
            response(502, None, Some(5)),
            response(503, Some(""), Some(7)),
        ]);
        let page = |path: &str, seconds| ErrorPage {
            path: path.to_owned(),
            ttl: Duration::from_secs(seconds),
        };
        let longer = |seconds| {
            let pages = caching.pages_cached_longer_than(Duration::from_secs(seconds));
            pages.cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            longer(9),
            [page("/index.html", 1_800), page("/oops .html", 10)]
        );
        assert_eq!(longer(10), [page("/index.html", 1_800)]);
        assert_eq!(longer(1_800), []);
        assert_eq!(caching.missing_object_ttl(), Duration::from_secs(1_800));
    }

    #[test]
    fn an_error_without_a_setting_is_cached_for_ten_seconds() {
        for (responses, seconds) in [
            (vec![], 10),
            (vec![response(403, None, Some(0))], 10),
            (
                vec![response(403, None, Some(0)), response(404, None, Some(0))],
                0,
            ),
            (vec![response(404, None, Some(300))], 300),
            (vec![response(500, None, Some(300))], 10),
        ] {
            let caching = ErrorCaching::new(&responses);
            assert_eq!(
                caching.missing_object_ttl().as_secs(),
                seconds,
                "{responses:?}"
            );
        }
    }

    #[test]
    fn an_error_of_the_origin_lasts_as_long_as_its_longest_code() {
        let all = |ttl| [500, 501, 502, 503, 504].map(|code| response(code, None, Some(ttl)));
        for (responses, seconds) in [
            (vec![], 10),
            (vec![response(404, None, Some(300))], 10),
            (vec![response(503, None, Some(300))], 300),
            (vec![response(500, Some("/oops.html"), Some(60))], 60),
            (all(0)[1..].to_vec(), 10),
            (all(0).to_vec(), 0),
            (all(5).to_vec(), 5),
        ] {
            let ttl = ErrorCaching::new(&responses).server_error_ttl();
            assert_eq!(ttl.as_secs(), seconds, "{responses:?}");
        }
    }
}
