//! The prices of AWS that decide, in us-east-1. `docs/prices.json` has the same, for the docs.

use serde::{Deserialize, Serialize};

use super::amount::NanoUsd;

/// What one unit of something costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// The name of the unit in `docs/prices.json`.
    pub unit: &'static str,
    /// The price of one.
    pub amount: NanoUsd,
    /// The page of AWS that says so.
    pub page: &'static str,
}

const CLOUDFRONT: &str = "https://aws.amazon.com/cloudfront/pricing/";
const S3: &str = "https://aws.amazon.com/s3/pricing/";
const KMS: &str = "https://aws.amazon.com/kms/pricing/";

const fn price(unit: &'static str, nanos: u64, page: &'static str) -> Price {
    let amount = NanoUsd::new(nanos);
    Price { unit, amount, page }
}

/// A path of an invalidation. A wildcard is one path, and so is a tag.
pub const PATH: Price = price("invalidation path", 5_000_000, CLOUDFRONT);

/// How many paths of a month are free, for the whole account.
pub const FREE_PATHS: u64 = 1_000;

/// A page of LIST, of objects or of versions, or a PUT.
pub const LIST: Price = price("S3 LIST or PUT", 5_000, S3);

/// How many keys a page of LIST holds at most.
pub const KEYS_PER_LIST: u64 = 1_000;

/// A GET or a HEAD of an object in storage without a fee for retrieval.
pub const GET: Price = price("S3 GET", 400, S3);

/// A GET or a HEAD of an object in Standard-IA or One Zone-IA.
pub const GET_IA: Price = price("S3 GET, Standard-IA", 1_000, S3);

/// A GET or a HEAD of an object in Glacier Instant Retrieval.
pub const GET_GLACIER_IR: Price = price("S3 GET, Glacier Instant Retrieval", 10_000, S3);

/// A GB that is read from Standard-IA or One Zone-IA.
pub const GB_OF_IA: Price = price("GB retrieved, Standard-IA", 10_000_000, S3);

/// A GB that is read from Glacier Instant Retrieval.
pub const GB_OF_GLACIER_IR: Price =
    price("GB retrieved, Glacier Instant Retrieval", 30_000_000, S3);

/// A request to KMS. An object encrypted with a key of KMS takes one each time it is read, unless the
/// bucket has a bucket key.
pub const KMS_REQUEST: Price = price("KMS request", 3_000, KMS);

/// A request that Origin Shield answers for a regional cache of another region.
pub const SHIELD: Price = price("Origin Shield request", 750, CLOUDFRONT);

/// All prices.
pub const ALL: [Price; 9] = [
    PATH,
    LIST,
    GET,
    GET_IA,
    GET_GLACIER_IR,
    GB_OF_IA,
    GB_OF_GLACIER_IR,
    KMS_REQUEST,
    SHIELD,
];

/// How many regional caches CloudFront has. Each fetches an object for itself, unless there is an Origin
/// Shield. (CloudFront Developer Guide, "How CloudFront works with regional edge caches".)
pub const REGIONAL_CACHES: u64 = 15;

/// A storage class of S3, by what reading from it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StorageClass {
    /// Reading has no fee beside the request: Standard, Intelligent-Tiering, and what cannot be read
    /// at all before it is restored.
    Standard,
    /// Standard-IA and One Zone-IA.
    InfrequentAccess,
    /// Glacier Instant Retrieval.
    GlacierInstantRetrieval,
}

impl StorageClass {
    /// Takes the class as LIST says it. LIST says nothing of an object in Standard. A class that we do
    /// not know is taken for the dearest, so that its objects are not fetched for nothing.
    pub fn of(listed: Option<&str>) -> Self {
        match listed {
            None | Some("STANDARD" | "REDUCED_REDUNDANCY" | "INTELLIGENT_TIERING") => {
                Self::Standard
            }
            // S3 refuses to read these, so viewers have never had them.
            Some("GLACIER" | "DEEP_ARCHIVE") => Self::Standard,
            Some("STANDARD_IA" | "ONEZONE_IA") => Self::InfrequentAccess,
            Some(_) => Self::GlacierInstantRetrieval,
        }
    }

    fn request(self) -> NanoUsd {
        match self {
            Self::Standard => GET.amount,
            Self::InfrequentAccess => GET_IA.amount,
            Self::GlacierInstantRetrieval => GET_GLACIER_IR.amount,
        }
    }

    fn gigabyte(self) -> NanoUsd {
        match self {
            Self::Standard => NanoUsd::ZERO,
            Self::InfrequentAccess => GB_OF_IA.amount,
            Self::GlacierInstantRetrieval => GB_OF_GLACIER_IR.amount,
        }
    }

    /// What one read of an object costs. Data from S3 to CloudFront is free.
    fn read(self, bytes: u64) -> NanoUsd {
        const GIGABYTE: u128 = 1 << 30;
        let retrieval = u128::from(self.gigabyte().get()) * u128::from(bytes) / GIGABYTE;
        self.request() + NanoUsd::new(u64::try_from(retrieval).unwrap_or(u64::MAX))
    }
}

/// How an origin is read, as far as it changes the price of fetching a key again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OriginReads {
    /// The origin has an Origin Shield, so it is read once, not once by each regional cache.
    pub has_shield: bool,
    /// The bucket encrypts with a key of KMS.
    pub has_kms: bool,
}

impl OriginReads {
    /// What it costs at most that a wildcard clears a key that has not changed: each regional cache
    /// fetches it again, as if all the world were asking for it.
    pub fn refetch(self, class: StorageClass, bytes: u64) -> NanoUsd {
        let kms = if self.has_kms {
            KMS_REQUEST.amount
        } else {
            NanoUsd::ZERO
        };
        let read = class.read(bytes) + kms;
        if self.has_shield {
            // The regional cache in the region of the shield is the shield.
            read + SHIELD.amount * (REGIONAL_CACHES - 1)
        } else {
            read * REGIONAL_CACHES
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn docs() -> Value {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/prices.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn the_docs_have_the_same_prices() {
        let docs = docs();
        for price in ALL {
            let of_docs = &docs["prices"][price.unit];
            let usd = of_docs["usd"].as_f64().expect(price.unit);
            let nanos = usd * 1e9 / of_docs["per"].as_f64().unwrap();
            assert!(
                (nanos - price.amount.get() as f64).abs() < 1e-6,
                "{price:?}: {nanos} nUSD in docs/prices.json"
            );
            assert_eq!(of_docs["page"], price.page, "{}", price.unit);
        }
        assert_eq!(docs["prices"][PATH.unit]["free"], FREE_PATHS);
    }

    #[test]
    fn a_path_is_worth_a_thousand_lists_or_12_500_heads() {
        assert_eq!(PATH.amount, LIST.amount * 1_000);
        assert_eq!(PATH.amount, GET.amount * 12_500);
    }

    #[test]
    fn a_key_is_fetched_again_at_the_price_of_its_class_and_its_origin() {
        let plain = OriginReads::default();
        let shield = OriginReads {
            has_shield: true,
            has_kms: false,
        };
        let kms = OriginReads {
            has_shield: false,
            has_kms: true,
        };
        const MB: u64 = 1 << 20;
        for (reads, class, bytes, nanos) in [
            (plain, None, 5 * MB, 6_000),
            (shield, None, 5 * MB, 10_900),
            (kms, None, 0, 51_000),
            (plain, Some("INTELLIGENT_TIERING"), MB, 6_000),
            (plain, Some("DEEP_ARCHIVE"), MB, 6_000),
            // 1 MB is 9,765 nUSD of retrieval: 15 x (1,000 + 9,765).
            (plain, Some("STANDARD_IA"), MB, 161_475),
            (plain, Some("ONEZONE_IA"), 0, 15_000),
            (shield, Some("GLACIER_IR"), 1 << 30, 30_020_500),
            (plain, Some("A_CLASS_OF_2030"), 0, 150_000),
        ] {
            let refetch = reads.refetch(StorageClass::of(class), bytes);
            assert_eq!(refetch.get(), nanos, "{reads:?} {class:?} {bytes}");
        }
    }
}
