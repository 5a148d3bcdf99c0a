//! A URL, and which distributions answer for its host.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::listing::DistributionSummary;

/// A URL that a viewer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// In lower case, without a port.
    pub host: String,
    /// Its path as it was written, beginning with `/`.
    pub encoded_path: String,
    /// The same, decoded.
    pub path: String,
    /// What is after the `?`.
    pub query: Option<String>,
}

/// A text that is not a URL of a web page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It does not begin with `https://` or `http://`.
    #[error("a URL begins with https:// or http://")]
    Scheme,
    /// There is nothing before the path, or something else than a name.
    #[error("a URL needs the name of a host")]
    Host,
    /// The path does not decode to UTF-8.
    #[error("the path of the URL does not decode to UTF-8")]
    NotUtf8,
}

impl Address {
    /// Reads a URL. What is after `#` never reaches a server.
    ///
    /// # Errors
    /// If it is not one of a web page.
    pub fn parse(url: &str) -> Result<Self, InvalidAddress> {
        let scheme = |scheme: &str| {
            let (start, rest) = url.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let rest = scheme("https://").or_else(|| scheme("http://"));
        let rest = rest.ok_or(InvalidAddress::Scheme)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let host = authority
            .split_once(':')
            .map_or(authority, |(host, _)| host);
        let is_of_names = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(is_of_names) {
            return Err(InvalidAddress::Host);
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        let decoded = percent_decode_str(path).decode_utf8();
        Ok(Self {
            host: host.to_lowercase(),
            encoded_path: path.to_owned(),
            path: decoded.map_err(|_| InvalidAddress::NotUtf8)?.into_owned(),
            query,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, path) = (&self.host, &self.encoded_path);
        write!(f, "https://{host}{path}")?;
        self.query
            .iter()
            .try_for_each(|query| write!(f, "?{query}"))
    }
}

/// The distributions that answer for a host: those with this domain name or alias, else those whose wildcard
/// alias is the longest that covers it (Developer Guide, "Use custom URLs by adding alternate domain names":
/// `*.example.com` stands for every name that ends so).
pub fn answering<'a>(
    list: impl IntoIterator<Item = &'a DistributionSummary>,
    host: &str,
) -> Vec<(&'a DistributionSummary, &'a str)> {
    let mut found: Vec<(usize, &DistributionSummary, &str)> = Vec::new();
    for summary in list {
        let aliases = summary.aliases.iter().flat_map(|aliases| &aliases.items);
        let names = aliases.chain([&summary.domain_name]);
        let best = names.filter_map(|name| Some((closeness(name, host)?, name.as_str())));
        if let Some((closeness, name)) = best.max_by_key(|(closeness, _)| *closeness) {
            found.push((closeness, summary, name));
        }
    }
    let best = found.iter().map(|(closeness, ..)| *closeness).max();
    found.retain(|(closeness, ..)| Some(*closeness) == best);
    found.into_iter().map(|(_, it, name)| (it, name)).collect()
}

/// How well a name stands for a host: better the longer it is, best if it is the host itself.
fn closeness(name: &str, host: &str) -> Option<usize> {
    if name.eq_ignore_ascii_case(host) {
        return Some(usize::MAX);
    }
    let suffix = name.strip_prefix('*').filter(|it| it.starts_with('.'))?;
    let start = host.len().checked_sub(suffix.len())?;
    let end = host.get(start..)?;
    (start > 0 && end.eq_ignore_ascii_case(suffix)).then_some(suffix.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let address = |host: &str, encoded: &str, path: &str, query: Option<&str>| Address {
            host: host.to_owned(),
            encoded_path: encoded.to_owned(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
        };
        for (url, expected) in [
            (
                "https://a.example",
                Ok(address("a.example", "/", "/", None)),
            ),
            (
                "HTTP://A.Example:8080/",
                Ok(address("a.example", "/", "/", None)),
            ),
            (
                "https://a.example?q",
                Ok(address("a.example", "/", "/", Some("q"))),
            ),
            (
                "https://a.example/%ED%95%9C+b%20c?x=/y#z?",
                Ok(address(
                    "a.example",
                    "/%ED%95%9C+b%20c",
                    "/한+b c",
                    Some("x=/y"),
                )),
            ),
            (
                "https://a.example//d/#/route",
                Ok(address("a.example", "//d/", "//d/", None)),
            ),
            ("s3://a/b", Err(InvalidAddress::Scheme)),
            ("a.example/b", Err(InvalidAddress::Scheme)),
            ("https:///b", Err(InvalidAddress::Host)),
            ("https://user@a.example/", Err(InvalidAddress::Host)),
            ("https://a.example/%FF", Err(InvalidAddress::NotUtf8)),
        ] {
            assert_eq!(Address::parse(url), expected, "{url}");
        }
    }

    #[test]
    fn the_closest_name_answers() {
        for (name, host, expected) in [
            ("a.example", "a.example", Some(usize::MAX)),
            ("A.example", "a.EXAMPLE", Some(usize::MAX)),
            ("*.example", "a.example", Some(8)),
            ("*.example", "b.a.example", Some(8)),
            ("*.a.example", "b.a.example", Some(10)),
            ("*.example", "example", None),
            ("*.example", ".example", None),
            ("*.example", "a.examples", None),
            ("*example", "aexample", None),
            ("a.example", "b.a.example", None),
            ("*.é.example", "b.example", None),
        ] {
            assert_eq!(closeness(name, host), expected, "{name} for {host}");
        }
    }
}
