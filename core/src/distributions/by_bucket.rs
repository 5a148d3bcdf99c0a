//! Finds what has a bucket behind it by the name of the bucket.
//!
//! An account may have ten thousand buckets and as many origins. So no bucket is compared with each origin: the
//! domain of an origin tells which names its bucket may have, and what has it is found by these.

use std::collections::HashMap;

use super::listing::DistributionSummary;
use super::origin::{Endpoint, OriginBuckets, OriginDomain};

/// Items, by the buckets behind them.
#[derive(Clone, Debug)]
pub struct ByBucket<T> {
    /// By the name of the bucket in lower case, because DNS ignores case.
    items: HashMap<Box<str>, Vec<Entry<T>>>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    item: T,
    endpoint: Endpoint,
    /// The name of the bucket as an alias spells it. Aliases do not ignore case.
    spelled: Option<Box<str>>,
}

impl<T> Default for ByBucket<T> {
    fn default() -> Self {
        let items = HashMap::new();
        Self { items }
    }
}

impl<T: Copy + PartialEq> ByBucket<T> {
    /// Adds an item that has this domain as an origin. All domains of an item are added in a row.
    pub fn add(&mut self, item: T, domain: &OriginDomain, aliases: &OriginBuckets) {
        for (name, endpoint) in domain.names() {
            let entry = Entry {
                item,
                endpoint,
                spelled: None,
            };
            self.items.entry(name.into()).or_default().push(entry);
        }
        for bucket in domain.of_aliases(aliases) {
            let name = bucket.to_ascii_lowercase().into_boxed_str();
            let entry = Entry {
                item,
                endpoint: Endpoint::Rest,
                spelled: Some(bucket.into()),
            };
            self.items.entry(name).or_default().push(entry);
        }
    }

    /// The items of a bucket, in the order in which they were added, each once.
    pub fn of<'a>(&'a self, bucket: &'a str) -> impl Iterator<Item = (T, Endpoint)> + 'a {
        let entries = match bucket.bytes().any(|b| b.is_ascii_uppercase()) {
            true => self.items.get(bucket.to_ascii_lowercase().as_str()),
            false => self.items.get(bucket),
        };
        let entries = entries.map_or(&[][..], Vec::as_slice);
        let mut last = None;
        entries.iter().filter_map(move |entry| {
            let is_meant = entry.spelled.as_deref().is_none_or(|it| it == bucket);
            let is_new = is_meant && last != Some(entry.item);
            is_new.then(|| {
                last = Some(entry.item);
                (entry.item, entry.endpoint)
            })
        })
    }
}

/// Which distributions of a list serve a bucket, by their places in the list.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    by_bucket: ByBucket<usize>,
    /// Those that may serve any bucket.
    of_any: Vec<usize>,
    aliases: OriginBuckets,
}

impl Servers {
    /// Those of a list.
    pub fn new(list: &[DistributionSummary], aliases: &OriginBuckets) -> Self {
        let mut servers = Self {
            aliases: aliases.clone(),
            ..Self::default()
        };
        for (place, summary) in list.iter().enumerate() {
            if summary.may_serve_any_bucket() {
                servers.of_any.push(place);
                continue;
            }
            for origin in &summary.origins.items {
                let domain = OriginDomain::new(&origin.domain_name);
                servers.by_bucket.add(place, &domain, aliases);
            }
        }
        servers
    }

    /// Whether these aliases were used.
    pub fn are_with(&self, aliases: &OriginBuckets) -> bool {
        self.aliases == *aliases
    }

    /// The distributions that serve a bucket or may do so, in no order.
    pub fn of<'a>(&'a self, bucket: &'a str) -> impl Iterator<Item = usize> + 'a {
        let of_bucket = self.by_bucket.of(bucket).map(|(place, _)| place);
        of_bucket.chain(self.of_any.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_found_is_what_comparing_each_finds(
            domains in prop::collection::vec(
                ("(A|a|b|s3|a\\.s3|alias|Alias)", prop::sample::select(vec![
                    "", ".s3.eu-west-1.amazonaws.com", ".s3-website.eu-west-1.amazonaws.com",
                    ".s3-eu-west-1.amazonaws.com", ".s3.s3-eu-west-1.amazonaws.com", ".example.com",
                ])), 0..8),
            buckets in prop::collection::vec("(A|a|b|s3|a\\.s3|alias)", 1..6),
            pairs in prop::collection::vec(("(alias|a|b)", "(A|a|b|s3)"), 0..4),
        ) {
            let aliases = OriginBuckets::new(pairs);
            let domains = domains.iter().map(|(name, rest)| OriginDomain::new(&format!("{name}{rest}")));
            let domains: Vec<_> = domains.collect();
            let mut found = ByBucket::default();
            for (place, domain) in domains.iter().enumerate() {
                found.add(place, domain, &aliases);
            }
            for bucket in &buckets {
                let compared: Vec<_> = domains.iter().enumerate().filter_map(|(place, domain)| {
                    Some((place, domain.endpoint_of(bucket, &aliases)?))
                }).collect();
                prop_assert_eq!(found.of(bucket).collect::<Vec<_>>(), compared, "{}", bucket);
            }
        }
    }
}
