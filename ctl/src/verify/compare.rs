//! Whether what CloudFront serves is what S3 holds. Pure.

use serde::Serialize;

/// What S3 says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub e_tag: Option<String>,
    pub length: Option<u64>,
    /// In seconds since 1970.
    pub modified: Option<i64>,
}

/// What CloudFront answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    pub status: u16,
    pub e_tag: Option<String>,
    pub length: Option<u64>,
    pub modified: Option<i64>,
    /// Whether it is encoded, as with gzip: then its length is another one.
    pub is_encoded: bool,
    /// Where it redirects to.
    pub location: Option<String>,
    /// `Hit from cloudfront`
    pub cache: Option<String>,
    /// How long it has been in the cache, in seconds.
    pub age: Option<u64>,
}

/// What else may be the reason of a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// A function that may have something else cached than the origin has.
    pub rewrites: Option<String>,
    /// Whether the distribution answers errors with a page.
    pub has_error_page: bool,
    /// The rule by which uploads of the object are ignored.
    pub ignored: Option<String>,
}

/// What a comparison shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    Fresh,
    Stale(String),
    NotComparable(String),
    NotServed(String),
}

/// Compares an answer with an object; `None` if S3 has no such object.
pub fn compare(served: &Served, stored: Option<&Stored>, around: &Circumstances) -> Verdict {
    let verdict = match (served.status, stored) {
        (200, Some(stored)) => of_content(served, stored),
        (200, None) if around.has_error_page => Verdict::NotComparable(
            "S3 has no such object, and the distribution answers errors with a page".to_owned(),
        ),
        (200, None) => Verdict::Stale("it is still served, and S3 has it no more".to_owned()),
        (403 | 404 | 410, None) => Verdict::Fresh,
        (404 | 410, Some(_)) => {
            Verdict::Stale(format!("the answer is {}, and S3 has it", served.status))
        }
        (403, Some(_)) => Verdict::NotServed(
            "the answer is 403: URLs must be signed, a firewall denies it, CloudFront may not read the bucket, or \
             the error is cached"
                .to_owned(),
        ),
        (301 | 302 | 303 | 307 | 308, _) => Verdict::NotComparable(format!(
            "it redirects to {}",
            served.location.as_deref().unwrap_or("nowhere")
        )),
        (status, _) => Verdict::NotServed(format!("the answer is {status}")),
    };
    let Verdict::Stale(why) = verdict else {
        return verdict;
    };
    if let Some(function) = &around.rewrites {
        return Verdict::NotComparable(format!(
            "{why}, but the function {function} may answer with something else"
        ));
    }
    let cache = served.cache.as_ref().map(|cache| format!("; {cache}"));
    let age = served.age.map(|age| format!("; in the cache for {age} s"));
    let ignored = around.ignored.as_ref().map(|rule| format!("; {rule}"));
    let more = [cache, age, ignored].into_iter().flatten();
    Verdict::Stale(why + &more.collect::<String>())
}

fn of_content(served: &Served, stored: &Stored) -> Verdict {
    let lengths = served.length.zip(stored.length);
    let other_length = lengths.filter(|(a, b)| a != b && !served.is_encoded);
    if let Some((of_served, of_stored)) = served.e_tag.as_deref().zip(stored.e_tag.as_deref()) {
        // A weak one (`W/"..."`) is that of the same content in another form, such as compressed.
        return match (opaque(of_served) == opaque(of_stored), other_length) {
            (true, None) => Verdict::Fresh,
            (true, Some(lengths)) => stale_by_length(lengths),
            (false, _) => Verdict::Stale(format!("its ETag is {of_served}, in S3 {of_stored}")),
        };
    }
    if let Some(lengths) = other_length {
        return stale_by_length(lengths);
    }
    match served.modified.zip(stored.modified) {
        Some((a, b)) if a == b => Verdict::Fresh,
        Some((a, b)) if a < b => {
            Verdict::Stale(format!("its Last-Modified is {} s older than in S3", b - a))
        }
        // It was replaced by an older version, or S3 was asked before the last upload.
        Some((a, b)) => {
            Verdict::Stale(format!("its Last-Modified is {} s newer than in S3", a - b))
        }
        None => {
            Verdict::NotComparable("the answer has neither an ETag nor a Last-Modified".to_owned())
        }
    }
}

fn stale_by_length((of_served, of_stored): (u64, u64)) -> Verdict {
    Verdict::Stale(format!("its length is {of_served}, in S3 {of_stored}"))
}

fn opaque(e_tag: &str) -> &str {
    e_tag.strip_prefix("W/").unwrap_or(e_tag).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = "\"a\"";

    fn served(e_tag: &str, length: u64, modified: i64) -> Served {
        Served {
            status: 200,
            e_tag: (!e_tag.is_empty()).then(|| e_tag.to_owned()),
            length: (length > 0).then_some(length),
            modified: (modified > 0).then_some(modified),
            ..Served::default()
        }
    }

    #[test]
    fn an_answer_is_compared_by_its_e_tag_then_its_length_then_its_date() {
        let stored = Stored {
            e_tag: Some(STORED.to_owned()),
            length: Some(10),
            modified: Some(1_000),
        };
        let encoded = |it: Served| Served {
            is_encoded: true,
            ..it
        };
        for (answer, expected) in [
            (served(STORED, 10, 1_000), "fresh"),
            (served(STORED, 0, 0), "fresh"),
            (served("W/\"a\"", 10, 1_000), "fresh"),
            // A copy by CloudFront may be older by its date, and is the same.
            (served(STORED, 10, 900), "fresh"),
            (served(STORED, 9, 1_000), "stale: its length is 9, in S3 10"),
            (encoded(served("W/\"a\"", 9, 1_000)), "fresh"),
            (
                served("\"b\"", 10, 1_000),
                "stale: its ETag is \"b\", in S3 \"a\"",
            ),
            (
                served("W/\"b\"", 10, 1_000),
                "stale: its ETag is W/\"b\", in S3 \"a\"",
            ),
            (served("", 9, 1_000), "stale: its length is 9, in S3 10"),
            (encoded(served("", 9, 1_000)), "fresh"),
            (served("", 10, 1_000), "fresh"),
            (
                served("", 10, 940),
                "stale: its Last-Modified is 60 s older than in S3",
            ),
            (
                served("", 10, 1_001),
                "stale: its Last-Modified is 1 s newer than in S3",
            ),
            (
                served("", 10, 0),
                "not comparable: the answer has neither an ETag nor a Last-Modified",
            ),
        ] {
            assert_eq!(
                shown(compare(&answer, Some(&stored), &Circumstances::default())),
                expected
            );
        }
    }

    #[test]
    fn what_is_not_there_and_what_is_no_answer_are_told_apart() {
        let page = Circumstances {
            has_error_page: true,
            ..Circumstances::default()
        };
        let rewrites = Circumstances {
            rewrites: Some("f".to_owned()),
            ..Circumstances::default()
        };
        let stored = Stored::default();
        let none = Circumstances::default();
        for (status, stored, around, expected) in [
            (404, None, &none, "fresh"),
            (403, None, &none, "fresh"),
            (
                200,
                None,
                &none,
                "stale: it is still served, and S3 has it no more",
            ),
            (
                200,
                None,
                &page,
                "not comparable: S3 has no such object, and the distribution answers errors with a page",
            ),
            (
                200,
                None,
                &rewrites,
                "not comparable: it is still served, and S3 has it no more, but the function f may answer with something else",
            ),
            (
                404,
                Some(&stored),
                &none,
                "stale: the answer is 404, and S3 has it",
            ),
            (
                301,
                Some(&stored),
                &none,
                "not comparable: it redirects to nowhere",
            ),
            (502, None, &none, "not served: the answer is 502"),
        ] {
            let served = Served {
                status,
                ..Served::default()
            };
            assert_eq!(
                shown(compare(&served, stored, around)),
                expected,
                "{status}"
            );
        }
        let served = Served {
            status: 403,
            ..Served::default()
        };
        let denied = compare(&served, Some(&stored), &none);
        assert!(matches!(denied, Verdict::NotServed(_)), "{denied:?}");
        let served = Served {
            status: 404,
            cache: Some("Error from cloudfront".to_owned()),
            age: Some(7),
            ..Served::default()
        };
        let ignored = Circumstances {
            ignored: Some("only deletions count".to_owned()),
            ..Circumstances::default()
        };
        assert_eq!(
            shown(compare(&served, Some(&stored), &ignored)),
            "stale: the answer is 404, and S3 has it; Error from cloudfront; in the cache for 7 s; only deletions count"
        );
    }

    fn shown(verdict: Verdict) -> String {
        match verdict {
            Verdict::Fresh => "fresh".to_owned(),
            Verdict::Stale(why) => format!("stale: {why}"),
            Verdict::NotComparable(why) => format!("not comparable: {why}"),
            Verdict::NotServed(why) => format!("not served: {why}"),
        }
    }
}
