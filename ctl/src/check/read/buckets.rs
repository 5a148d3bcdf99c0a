//! Reads what is set on buckets: on those that are origins, and on those that send to the function.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};
use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::distributions::origin::OriginBuckets;

use super::distributions::origins;
use super::looking::Looking;
use crate::check::facts::{Bucket, Distributions, EventRule, Mapping, Permission, Whereabouts};
use crate::check::finding::Subject;
use crate::notification::{Destination, Notifications, configuration};

/// So many buckets that are no origin are asked whether they send to the function.
const MOST_ASKED: usize = 200;

/// Under so many exception paths of a bucket objects are looked for.
const MOST_PATHS: usize = 20;

/// How many buckets are read at once.
const CONCURRENCY: usize = 8;

/// What invokes the function.
pub struct Connected<'a> {
    pub function: &'a str,
    pub mappings: &'a [Mapping],
    pub permissions: &'a [Permission],
    pub event_rules: &'a [EventRule],
}

/// The buckets of interest, and how many others were not asked.
pub async fn buckets(
    looking: &Looking<'_>,
    distributions: Option<&Distributions>,
    aliases: &OriginBuckets,
    only: &[String],
    connected: &Connected<'_>,
) -> (Vec<Bucket>, usize) {
    let own = own_buckets(looking).await;
    let named = match only {
        [] => named(distributions, aliases, connected),
        only => only.iter().cloned().collect(),
    };
    let here = |name: &str| match &own {
        None => Whereabouts::Here,
        Some(own) => match own.get(name) {
            None => Whereabouts::NotOurs,
            Some(Some(region)) if region != looking.account.region() => {
                Whereabouts::Region(region.clone())
            }
            Some(_) => Whereabouts::Here,
        },
    };
    let of_interest = named.iter().map(|name| Bucket::new(name, here(name)));
    let mut buckets: Vec<Bucket> = stream::iter(of_interest)
        .map(|bucket| complete(looking, bucket))
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let further: Vec<String> = match only {
        [] => own.iter().flat_map(|it| it.keys()).cloned().collect(),
        _ => Vec::new(),
    };
    let further = further.into_iter();
    let further: Vec<String> = further
        .filter(|it| !named.contains(it) && here(it) == Whereabouts::Here)
        .collect();
    let not_asked = further.len().saturating_sub(MOST_ASKED);
    let further: Vec<Option<Bucket>> = stream::iter(further.into_iter().take(MOST_ASKED))
        .map(|name| connected_bucket(looking, name, connected))
        .buffered(CONCURRENCY)
        .collect()
        .await;
    buckets.extend(further.into_iter().flatten());
    (buckets, not_asked)
}

/// The buckets that something names: a distribution, a permission, a rule of EventBridge.
fn named(
    distributions: Option<&Distributions>,
    aliases: &OriginBuckets,
    connected: &Connected<'_>,
) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if let Some(distributions) = distributions {
        all.extend(origins(&distributions.summaries, aliases));
        let of_tenants = distributions.serving.iter().flat_map(|it| it.origins());
        let of_tenants = of_tenants.filter_map(|it| it.domain.bucket(aliases));
        all.extend(of_tenants.filter(|it| !it.ends_with("-s3alias") && !it.contains("{{")));
    }
    let sources = connected.permissions.iter();
    let sources = sources.filter(|it| it.service == "s3.amazonaws.com");
    let sources = sources.filter_map(|it| it.source.split_once(":::"));
    let names = sources.map(|(_, name)| name.to_owned());
    all.extend(names.filter(|it| !it.contains(['*', '?'])));
    all.extend(
        connected
            .event_rules
            .iter()
            .flat_map(|it| it.buckets.iter().cloned()),
    );
    all
}

/// The account's buckets, with their regions as far as S3 tells. `None` if they cannot be listed.
async fn own_buckets(looking: &Looking<'_>) -> Option<BTreeMap<String, Option<String>>> {
    let mut all = BTreeMap::new();
    let mut token = None;
    loop {
        let call = looking.s3().list_buckets().max_buckets(1_000);
        let answer = call.set_continuation_token(token.take()).send().await;
        let what = "the account's buckets";
        let answer = looking.keep(&Subject::Stack, what, "S3 ListBuckets", answer)?;
        for bucket in answer.buckets.unwrap_or_default() {
            if let Some(name) = bucket.name {
                all.insert(name, bucket.bucket_region.filter(|it| !it.is_empty()));
            }
        }
        token = answer.continuation_token.filter(|it| !it.is_empty());
        if token.is_none() {
            return Some(all);
        }
    }
}

/// A bucket that is no origin, if it sends to the function.
async fn connected_bucket(
    looking: &Looking<'_>,
    name: String,
    connected: &Connected<'_>,
) -> Option<Bucket> {
    let bucket = Bucket::new(&name, Whereabouts::Here);
    let notifications = notifications(looking, &bucket).await?;
    let sends = notifications
        .rules
        .iter()
        .any(|rule| match &rule.destination {
            Destination::Function(arn) => arn == connected.function,
            Destination::Queue(arn) => connected.mappings.iter().any(|it| it.source == *arn),
            Destination::Topic(_) => false,
        });
    match sends {
        true => Some(complete(looking, bucket).await),
        false => None,
    }
}

async fn complete(looking: &Looking<'_>, mut bucket: Bucket) -> Bucket {
    if bucket.whereabouts != Whereabouts::Here {
        return bucket;
    }
    let (notifications, tags) =
        tokio::join!(notifications(looking, &bucket), tags(looking, &bucket));
    (bucket.notifications, bucket.tags) = (notifications, tags);
    let settings = BucketSettings::from_tags(bucket.tags.as_deref().unwrap_or_default());
    if settings.only_changed {
        let (versioned, owner) = tokio::join!(versioned(looking, &bucket), owner(looking, &bucket));
        (bucket.is_versioned, bucket.owns_all) = (versioned, owner);
    }
    for rule in settings.exceptions.iter().take(MOST_PATHS) {
        if is_empty(looking, &bucket, rule.prefix()).await == Some(true) {
            bucket.empty_paths.push(rule.entry.clone());
        }
    }
    bucket
}

async fn notifications(looking: &Looking<'_>, bucket: &Bucket) -> Option<Notifications> {
    let call = looking.s3().get_bucket_notification_configuration();
    let answer = call.bucket(&bucket.name).send().await;
    let action = "S3 GetBucketNotificationConfiguration";
    let answer = looking.keep(&bucket.subject(), "its notifications", action, answer)?;
    Some(Notifications::from(&configuration(answer)))
}

async fn tags(looking: &Looking<'_>, bucket: &Bucket) -> Option<Vec<BucketTag>> {
    let answer = looking
        .s3()
        .get_bucket_tagging()
        .bucket(&bucket.name)
        .send()
        .await;
    let action = "S3 GetBucketTagging";
    let none = &["NoSuchTagSet"];
    let answer = looking.keep_or(&bucket.subject(), "its tags", action, answer, none)?;
    let tags = answer.map(|it| it.tag_set).unwrap_or_default().into_iter();
    let tags = tags.map(|tag| BucketTag {
        key: tag.key,
        value: tag.value,
    });
    Some(tags.collect())
}

async fn versioned(looking: &Looking<'_>, bucket: &Bucket) -> Option<bool> {
    let answer = looking
        .s3()
        .get_bucket_versioning()
        .bucket(&bucket.name)
        .send()
        .await;
    let action = "S3 GetBucketVersioning";
    let answer = looking.keep(&bucket.subject(), "its versioning", action, answer)?;
    Some(answer.status.is_some_and(|it| it.as_str() == "Enabled"))
}

async fn owner(looking: &Looking<'_>, bucket: &Bucket) -> Option<bool> {
    let call = looking
        .s3()
        .get_bucket_ownership_controls()
        .bucket(&bucket.name);
    let answer = looking.keep_or(
        &bucket.subject(),
        "its object ownership",
        "S3 GetBucketOwnershipControls",
        call.send().await,
        &["OwnershipControlsNotFoundError"],
    )?;
    let controls = answer.and_then(|it| it.ownership_controls);
    let rules = controls.map(|it| it.rules).unwrap_or_default();
    Some(
        rules
            .iter()
            .any(|it| it.object_ownership.as_str() == "BucketOwnerEnforced"),
    )
}

async fn is_empty(looking: &Looking<'_>, bucket: &Bucket, prefix: &str) -> Option<bool> {
    let call = looking.s3().list_objects_v2().bucket(&bucket.name);
    let answer = call.prefix(prefix).max_keys(1).send().await;
    let what = "what is under its exception paths";
    let answer = looking.keep(&bucket.subject(), what, "S3 ListObjectsV2", answer)?;
    Some(answer.contents().is_empty())
}
