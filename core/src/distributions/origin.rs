//! Which bucket an origin's domain names.
//!
//! Bucket names contain dots, so a domain cannot be split into bucket and endpoint without knowing
//! the bucket. It is compared with a given bucket: does it begin with the name, and is the rest an
//! endpoint of S3? Source of the forms: AWS General Reference, "Amazon S3 endpoints and quotas";
//! CloudFront Developer Guide, "Use various origins".

/// The domain name of an origin, in lower case, because DNS ignores case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginDomain(String);

/// The kinds of endpoints of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The REST endpoint, in any of its forms.
    Rest,
    /// The website endpoint, which serves index documents for folders.
    Website,
}

impl Endpoint {
    /// Whether this is the website endpoint.
    pub fn is_website(self) -> bool {
        self == Self::Website
    }
}

/// The buckets behind domains that do not name them: access point aliases and multi-region access
/// points (`ORIGIN_BUCKETS`). One domain can stand for several buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OriginBuckets(Vec<(String, String)>);

impl OriginBuckets {
    /// Takes pairs of an alias (the domain, or its beginning up to a dot) and a bucket.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let lower = |(alias, bucket): (String, String)| (alias.to_ascii_lowercase(), bucket);
        Self(pairs.into_iter().map(lower).collect())
    }
}

impl OriginDomain {
    /// The domain, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a domain name as it is written in the distribution's configuration.
    pub fn new(domain_name: &str) -> Self {
        Self(domain_name.trim_end_matches('.').to_ascii_lowercase())
    }

    /// Which endpoint of `bucket` this domain is, or `None` if it is not one.
    pub fn endpoint_of(&self, bucket: &str, aliases: &OriginBuckets) -> Option<Endpoint> {
        let labels = after_name(&self.0, bucket);
        labels.and_then(endpoint).or_else(|| {
            let mut of_aliases = self.of_aliases(aliases);
            of_aliases.any(|of| of == bucket).then_some(Endpoint::Rest)
        })
    }

    /// Every name, in lower case, of which this is an endpoint if a bucket has it: there may be more than one,
    /// because the names of buckets contain dots.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Endpoint)> {
        let dots = self.0.match_indices('.');
        dots.filter_map(|(at, _)| Some((&self.0[..at], endpoint(&self.0[at + 1..])?)))
    }

    /// The buckets that it stands for as an alias, as they are written there.
    pub(super) fn of_aliases<'a>(
        &'a self,
        aliases: &'a OriginBuckets,
    ) -> impl Iterator<Item = &'a str> {
        let of_this = aliases
            .0
            .iter()
            .filter(|(alias, _)| self.0 == *alias || after_name(&self.0, alias).is_some());
        of_this.map(|(_, bucket)| bucket.as_str())
    }
}

impl OriginDomain {
    /// The bucket that this is an endpoint of, if the name tells: for an alias of several buckets it does
    /// not.
    pub fn bucket(&self, aliases: &OriginBuckets) -> Option<String> {
        let mut of_aliases = self.of_aliases(aliases);
        match (of_aliases.next(), of_aliases.next()) {
            (Some(bucket), None) => return Some(bucket.to_owned()),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
        let (name, _) = self.names().next()?;
        Some(name.to_owned())
    }

    /// Whether this is an endpoint of any bucket. What an access point serves is one, too.
    pub fn is_s3(&self, aliases: &OriginBuckets) -> bool {
        self.names().next().is_some() || self.of_aliases(aliases).next().is_some()
    }
}

/// The part of the domain after `name` and a dot.
fn after_name<'a>(domain: &'a str, name: &str) -> Option<&'a str> {
    let (start, rest) = domain.split_at_checked(name.len())?;
    if start.eq_ignore_ascii_case(name) {
        rest.strip_prefix('.')
    } else {
        None
    }
}

/// Reads the part of the domain after the bucket's name: `s3.eu-west-1.amazonaws.com`.
fn endpoint(rest: &str) -> Option<Endpoint> {
    const PARTITIONS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"];
    let service = PARTITIONS
        .iter()
        .find_map(|partition| rest.strip_suffix(partition))?;
    if service == "s3" && rest.ends_with(".amazonaws.com") {
        return Some(Endpoint::Rest);
    }
    for website in ["s3-website-", "s3-website."] {
        if let Some(region) = service.strip_prefix(website) {
            return is_region(region).then_some(Endpoint::Website);
        }
    }
    // The longest come first, because shorter ones are their prefixes.
    for rest_endpoint in [
        "s3-fips.dualstack.",
        "s3-fips.",
        "s3.dualstack.",
        "s3.",
        "s3-",
    ] {
        if let Some(region) = service.strip_prefix(rest_endpoint) {
            return is_region(region).then_some(Endpoint::Rest);
        }
    }
    None
}

/// `eu-west-1`, `us-gov-west-1`, `external-1` (an old name of us-east-1): words and a number.
fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else {
        return false;
    };
    // Words have letters only: in `site.s3.s3-eu-west-1` the bucket is `site.s3`, not `site`.
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && words.split('-').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint_of(domain: &str, bucket: &str) -> Option<Endpoint> {
        OriginDomain::new(domain).endpoint_of(bucket, &OriginBuckets::default())
    }

    #[test]
    fn every_form_of_a_bucket_endpoint_is_known() {
        use Endpoint::{Rest, Website};
        for (domain, expected) in [
            ("site.s3.amazonaws.com", Some(Rest)),
            ("site.s3.eu-west-1.amazonaws.com", Some(Rest)),
            ("site.s3-eu-west-1.amazonaws.com", Some(Rest)),
            ("site.s3-external-1.amazonaws.com", Some(Rest)),
            ("site.s3.us-gov-west-1.amazonaws.com", Some(Rest)),
            ("site.s3.dualstack.eu-west-1.amazonaws.com", Some(Rest)),
            ("site.s3-fips.us-east-1.amazonaws.com", Some(Rest)),
            ("site.s3-fips.dualstack.us-east-1.amazonaws.com", Some(Rest)),
            ("site.s3.cn-north-1.amazonaws.com.cn", Some(Rest)),
            ("site.s3.eusc-de-east-1.amazonaws.eu", Some(Rest)),
            ("site.s3-website-us-east-1.amazonaws.com", Some(Website)),
            ("site.s3-website.eu-central-1.amazonaws.com", Some(Website)),
            ("site.s3-website.cn-north-1.amazonaws.com.cn", Some(Website)),
            ("SITE.S3.Eu-West-1.AmazonAWS.com", Some(Rest)),
            ("site.s3.amazonaws.com.", Some(Rest)),
            // Not this bucket, or not S3.
            ("mysite.s3.amazonaws.com", None),
            ("site2.s3.amazonaws.com", None),
            ("a.site.s3.amazonaws.com", None),
            ("site.s3.amazonaws.com.example.com", None),
            ("site.s3.eu-west-1.example.com", None),
            ("site.s3.amazonaws.com.cn", None),
            ("site.s3-accelerate.amazonaws.com", None),
            ("site.s3-object-lambda.eu-west-1.amazonaws.com", None),
            ("site.execute-api.eu-west-1.amazonaws.com", None),
            ("site.s3.eu..west-1.amazonaws.com", None),
            ("site.s3.-1.amazonaws.com", None),
            ("site", None),
            ("site.", None),
        ] {
            assert_eq!(endpoint_of(domain, "site"), expected, "{domain}");
        }
    }

    #[test]
    fn bucket_names_may_contain_dots() {
        assert_eq!(
            endpoint_of("www.example.com.s3.amazonaws.com", "www.example.com"),
            Some(Endpoint::Rest)
        );
        assert_eq!(endpoint_of("www.example.com.s3.amazonaws.com", "www"), None);
        assert_eq!(
            endpoint_of("a.s3.s3.eu-west-1.amazonaws.com", "a.s3"),
            Some(Endpoint::Rest)
        );
        assert_eq!(endpoint_of("a.s3.s3.eu-west-1.amazonaws.com", "a"), None);
    }

    /// The dash form of the bucket `site.s3` was once read as a region after `site.s3.`.
    #[test]
    fn a_bucket_whose_name_ends_like_an_endpoint_is_no_other_bucket() {
        use Endpoint::{Rest, Website};
        for (domain, bucket, expected) in [
            ("site.s3.s3-eu-west-1.amazonaws.com", "site", None),
            ("site.s3.s3-eu-west-1.amazonaws.com", "site.s3", Some(Rest)),
            ("site.s3.s3-website-us-east-1.amazonaws.com", "site", None),
            (
                "site.s3.s3-website-us-east-1.amazonaws.com",
                "site.s3",
                Some(Website),
            ),
            ("site.s3-website.s3-eu-west-1.amazonaws.com", "site", None),
            ("site.s3-fips.s3-eu-west-1.amazonaws.com", "site", None),
            (
                "site.s3-fips-us-gov-west-1.amazonaws.com",
                "site",
                Some(Rest),
            ),
        ] {
            assert_eq!(
                endpoint_of(domain, bucket),
                expected,
                "{domain} for {bucket}"
            );
        }
    }

    #[test]
    fn an_alias_stands_for_its_buckets() {
        let aliases = OriginBuckets::new([
            ("site-ap-abc-s3alias".to_owned(), "site".to_owned()),
            (
                "m.mrap.accesspoint.s3-global.amazonaws.com".to_owned(),
                "site".to_owned(),
            ),
            (
                "m.mrap.accesspoint.s3-global.amazonaws.com".to_owned(),
                "replica".to_owned(),
            ),
        ]);
        for (domain, bucket, expected) in [
            (
                "site-ap-abc-s3alias.s3.eu-west-1.amazonaws.com",
                "site",
                true,
            ),
            (
                "site-ap-abc-s3alias.s3.eu-west-1.amazonaws.com",
                "other",
                false,
            ),
            (
                "site-ap-abc-s3aliasx.s3.eu-west-1.amazonaws.com",
                "site",
                false,
            ),
            (
                "M.mrap.accesspoint.s3-global.amazonaws.com",
                "replica",
                true,
            ),
            ("m.mrap.accesspoint.s3-global.amazonaws.com", "site", true),
        ] {
            let found = OriginDomain::new(domain).endpoint_of(bucket, &aliases);
            assert_eq!(found.is_some(), expected, "{domain} for {bucket}");
        }
    }
}
