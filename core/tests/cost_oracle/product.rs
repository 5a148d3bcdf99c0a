//! What the product decides in a world, from what AWS would tell it.
//!
//! Each [`Lie`] hides one fact, as if the rule that looks at it were not there. The model has to notice each
//! of them: otherwise it would not notice either if a rule were wrong.

use std::sync::LazyLock;
use std::time::Duration;

use invalidator_core::cost::ledger::Distrust;
use invalidator_core::cost::skip::facts::{
    BucketFacts, Head, Headers, Listed, ListedObject, Listing, Serving, Versioning,
};
use invalidator_core::cost::skip::{
    Candidate, Created, Decision, Finding, Gate, Paths, WhyNot, decide as decide_on,
};
use invalidator_core::event::{ChangeKind, EventTime};
use invalidator_core::plan::VersionEvent;

use super::run::DEBOUNCE;
use super::world::{self, Class, Event, HOUR, Id, Object, Version, World};

/// A fact that is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The key has another version below those of the events, just like the oldest of them.
    VersionsAreComparedWithThemselves,
    /// Only the newest version that an event is about counts.
    OnlyTheNewestEventCounts,
    /// The versions between the base and the current one do not count.
    OnlyBaseAndCurrentCount,
    /// Versions that are not listed do not count.
    UnlistedVersionsDoNotCount,
    /// Deletions do not count, if something was created too.
    DeletionsDoNotCount,
    DeleteMarkersDoNotCount,
    /// What is written without versioning has an id, too.
    NullIsAnId,
    /// No version is too young to be compared with.
    EveryBaseIsOld,
    EventsAreNeverLate,
    /// A page of the list is all of it.
    ListsAreComplete,
    UploadsAreInOnePart,
    NothingIsReplicated,
    ContentIsTheSame,
    HeadersAreTheSame,
    TagsAreTheSame,
    StorageClassesAreTheSame,
    NothingIsArchived,
    EtagsTellTheContent,
    OwnerIsEnforced,
    NoOriginGroup,
    NoWebsite,
    NoFunction,
    NoFolder,
    ErrorsOfMissingObjectsAreShort,
    ErrorsOfTheOriginAreShort,
    // What the ledger is not told.
    AlwaysTrusted,
    NothingIsRejected,
    NothingWaits,
    NoDryRun,
    ConfigurationIsTheSame,
    RulesAreTheSame,
    VersioningAndOwnerAreTheSame,
    DeployedAtOnce,
    AllKnowOfTheChange,
}

pub const LIES: [Lie; 34] = [
    Lie::VersionsAreComparedWithThemselves,
    Lie::OnlyTheNewestEventCounts,
    Lie::OnlyBaseAndCurrentCount,
    Lie::UnlistedVersionsDoNotCount,
    Lie::DeletionsDoNotCount,
    Lie::DeleteMarkersDoNotCount,
    Lie::NullIsAnId,
    Lie::EveryBaseIsOld,
    Lie::EventsAreNeverLate,
    Lie::ListsAreComplete,
    Lie::UploadsAreInOnePart,
    Lie::NothingIsReplicated,
    Lie::ContentIsTheSame,
    Lie::HeadersAreTheSame,
    Lie::TagsAreTheSame,
    Lie::StorageClassesAreTheSame,
    Lie::NothingIsArchived,
    Lie::EtagsTellTheContent,
    Lie::OwnerIsEnforced,
    Lie::NoOriginGroup,
    Lie::NoWebsite,
    Lie::NoFunction,
    Lie::NoFolder,
    Lie::ErrorsOfMissingObjectsAreShort,
    Lie::ErrorsOfTheOriginAreShort,
    Lie::AlwaysTrusted,
    Lie::NothingIsRejected,
    Lie::NothingWaits,
    Lie::NoDryRun,
    Lie::ConfigurationIsTheSame,
    Lie::RulesAreTheSame,
    Lie::VersioningAndOwnerAreTheSame,
    Lie::DeployedAtOnce,
    Lie::AllKnowOfTheChange,
];

/// What the product can know.
pub struct Facts<'w> {
    pub world: &'w World,
    pub trust: Result<(), Distrust>,
    /// The list of versions is cut off after so many.
    pub cut: Option<usize>,
    /// Whether the headers and tags cannot be read.
    pub fails: bool,
}

static IDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let ids = (0..200).map(|id| match id {
        0 => "null".to_owned(),
        _ => format!("version-{id}"),
    });
    ids.collect()
});

const MILLISECONDS: i64 = 1_000;

/// Decides on the paths of the key, after these events.
pub fn decide(facts: &Facts<'_>, events: &[Event], lie: Option<Lie>) -> Decision {
    let lies = |other| lie == Some(other);
    let config = &facts.world.config;
    let bucket = &facts.world.bucket;
    let seconds = |ttl: i64, is_hidden| match is_hidden {
        true => Duration::ZERO,
        false => Duration::from_secs(ttl.unsigned_abs()),
    };
    let serving = Serving {
        is_website: config.is_website && !lies(Lie::NoWebsite),
        in_group: config.is_group && !lies(Lie::NoOriginGroup),
        may_rewrite: config.has_function && !lies(Lie::NoFunction),
        missing_object_ttl: seconds(
            config.missing_ttl,
            lies(Lie::ErrorsOfMissingObjectsAreShort),
        ),
        server_error_ttl: seconds(
            config.server_error_ttl,
            lies(Lie::ErrorsOfTheOriginAreShort),
        ),
    };
    let of_bucket = BucketFacts {
        only_changed: true,
        versioning: Some(match bucket.versioning {
            _ if lies(Lie::NullIsAnId) => Versioning::Enabled,
            world::Versioning::Never => Versioning::Never,
            world::Versioning::Enabled => Versioning::Enabled,
            world::Versioning::Suspended => Versioning::Suspended,
        }),
        owner_enforced: Some(bucket.owner_enforced || lies(Lie::OwnerIsEnforced)),
    };
    let debounce = Duration::from_secs(DEBOUNCE.unsigned_abs());
    let gate = Gate::new(&of_bucket, &serving, facts.trust.clone(), debounce);
    if let Some(why) = gate.why_closed() {
        return Decision::Invalidate(why.clone());
    }
    let paths = Paths {
        count: 1 + usize::from(facts.world.has_folder),
        has_others: facts.world.has_folder && !lies(Lie::NoFolder),
    };
    decide_on(&look(facts, events, &gate, lie), &gate, paths)
}

fn look(
    facts: &Facts<'_>,
    events: &[Event],
    gate: &Gate,
    lie: Option<Lie>,
) -> Result<Finding, WhyNot> {
    let lies = |other| lie == Some(other);
    let now = EventTime(facts.world.now * MILLISECONDS);
    let versions = listed(facts, events, lie);
    let created = created(facts, events, &versions, lie)?;
    let (markers, objects): (Vec<_>, Vec<_>) =
        versions.iter().partition(|entry| entry.object.is_none());
    let listing = match facts.cut.filter(|cut| *cut < versions.len()) {
        Some(cut) => Listing {
            entries: versions[..cut].to_vec(),
            is_complete: lies(Lie::ListsAreComplete),
        },
        None => Listing::new(&objects, &markers, true),
    };
    let candidate = created.compare(&listing, now)?;
    let heads = match candidate {
        Candidate::SameContent(range) if gate.is_open_for_unchanged() && !facts.fails => {
            let base = range.len() - 1;
            let heads = range.iter().enumerate();
            let heads = heads.map(|(place, it)| Some(head(facts, it, place == base, lie)));
            heads.collect()
        }
        _ => Vec::new(),
    };
    candidate.compare(&heads)
}

/// The versions that the events are about.
fn created(
    facts: &Facts<'_>,
    events: &[Event],
    versions: &[Listed<'_>],
    lie: Option<Lie>,
) -> Result<Created<'static>, WhyNot> {
    let lies = |other| lie == Some(other);
    let now = facts.world.now;
    let place = |id: &str| versions.iter().position(|version| version.id == id);
    let mut kind = match events.iter().any(|event| !event.is_created) {
        true => ChangeKind::Deleted,
        false => ChangeKind::Created,
    };
    let mut created = events.iter().filter(|event| event.is_created).peekable();
    if lies(Lie::DeletionsDoNotCount) && created.peek().is_some() {
        kind = ChangeKind::Created;
    }
    let mut told: Vec<VersionEvent<'_>> = Vec::with_capacity(events.len());
    for event in created {
        if event.id == 0 && !lies(Lie::NullIsAnId) {
            return Created::new(kind, None::<std::vec::IntoIter<_>>, EventTime(0));
        }
        let id = name(event.id, lie);
        let time = match lies(Lie::EventsAreNeverLate) {
            true => now,
            false => event.time,
        };
        if place(id).is_some() || !lies(Lie::UnlistedVersionsDoNotCount) {
            told.push(VersionEvent {
                id,
                time: EventTime(time * MILLISECONDS),
            });
        }
    }
    if lies(Lie::OnlyTheNewestEventCounts) {
        told.sort_by_key(|event| place(event.id));
        told.truncate(1);
    }
    let now = EventTime(now * MILLISECONDS);
    Created::new(kind, Some(told.into_iter()), now)
}

/// An id as the product sees it.
fn name(id: Id, lie: Option<Lie>) -> &'static str {
    match id {
        0 if lie == Some(Lie::NullIsAnId) => "not-null",
        _ => &IDS[id],
    }
}

/// The versions and delete markers, the newest first.
fn listed(facts: &Facts<'_>, events: &[Event], lie: Option<Lie>) -> Vec<Listed<'static>> {
    let lies = |other| lie == Some(other);
    let mut versions: Vec<&Version> = facts.world.bucket.versions.iter().collect();
    if lies(Lie::DeleteMarkersDoNotCount) {
        versions.retain(|version| version.object.is_some());
    }
    let first = versions.first().and_then(|version| version.object);
    let is_of_event = |version: &&Version| events.iter().any(|event| event.id == version.id);
    let oldest = versions.iter().rposition(is_of_event);
    let mut listed: Vec<Listed<'static>> = Vec::with_capacity(versions.len() + 1);
    for (place, version) in versions.iter().enumerate() {
        let created = match lies(Lie::EveryBaseIsOld) {
            true => version.created.min(facts.world.now - 2 * HOUR),
            false => version.created,
        };
        let is_hidden = lies(Lie::OnlyBaseAndCurrentCount) && Some(place) <= oldest;
        let object = match (is_hidden, version.object, first) {
            (true, Some(_), Some(first)) => Some(first),
            (_, object, _) => object,
        };
        listed.push(Listed {
            id: name(version.id, lie),
            is_latest: place == 0,
            last_modified: EventTime(created * MILLISECONDS),
            object: object.map(|object| content(&object, first.as_ref(), lie)),
        });
    }
    if lies(Lie::VersionsAreComparedWithThemselves)
        && let Some(oldest) = oldest
    {
        let itself = Listed {
            id: "itself",
            is_latest: false,
            last_modified: EventTime(0),
            ..listed[oldest]
        };
        listed.insert(oldest + 1, itself);
    }
    listed
}

/// What a list tells of the content of a version.
fn content(object: &Object, first: Option<&Object>, lie: Option<Lie>) -> ListedObject<'static> {
    let lies = |other| lie == Some(other);
    let class = match (lies(Lie::StorageClassesAreTheSame), first) {
        (true, Some(first)) => first.class,
        _ => object.class,
    };
    let object = match (lies(Lie::ContentIsTheSame), first) {
        (true, Some(first)) => first,
        _ => object,
    };
    let in_parts = object.multipart && !lies(Lie::UploadsAreInOnePart);
    ListedObject {
        // The hash of what is encrypted may be anything, so let it be the worst.
        etag: match (object.body, in_parts) {
            _ if object.kms => "\"00000000000000000000000000000000\"",
            ('A', false) => "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
            ('B', false) => "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"",
            (_, false) => "\"cccccccccccccccccccccccccccccccc\"",
            ('A', true) => "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-2\"",
            ('B', true) => "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-2\"",
            (_, true) => "\"cccccccccccccccccccccccccccccccc-2\"",
        },
        size: 1,
        storage_class: match class {
            Class::Standard => "STANDARD",
            Class::InfrequentAccess => "STANDARD_IA",
            Class::Archive if lies(Lie::NothingIsArchived) => "ONEZONE_IA",
            Class::Archive => "DEEP_ARCHIVE",
            Class::Intelligent if lies(Lie::NothingIsArchived) => "GLACIER_IR",
            Class::Intelligent => "INTELLIGENT_TIERING",
        },
    }
}

/// What S3 tells of a version.
fn head(facts: &Facts<'_>, entry: &Listed<'_>, is_base: bool, lie: Option<Lie>) -> Head<'static> {
    let lies = |other| lie == Some(other);
    let versions = &facts.world.bucket.versions;
    let first = versions.iter().find_map(|version| version.object);
    let named = versions.iter().find(|it| name(it.id, lie) == entry.id);
    let is_hidden = lies(Lie::OnlyBaseAndCurrentCount) && !is_base;
    let object = named.filter(|_| !is_hidden).and_then(|it| it.object);
    let object = object.or(first).unwrap_or(world::PLAIN);
    let headers = match (lies(Lie::HeadersAreTheSame), first) {
        (true, Some(first)) => first.headers,
        _ => object.headers,
    };
    let tags = match (lies(Lie::TagsAreTheSame), first) {
        (true, Some(first)) => first.tags,
        _ => object.tags,
    };
    let content_type = match headers {
        0 => "text/html",
        _ => "text/plain",
    };
    Head {
        etag: content(&object, first.as_ref(), lie).etag,
        headers: Headers {
            content_type: Some(content_type),
            ..Headers::default()
        },
        metadata: vec![("mtime", if object.mtime == 0 { "1" } else { "2" })],
        encryption: match object.kms && !lies(Lie::EtagsTellTheContent) {
            true => Some("aws:kms"),
            false => Some("AES256"),
        },
        is_replica: object.replica && !lies(Lie::NothingIsReplicated),
        tags: Some(vec![("public", if tags == 0 { "yes" } else { "no" })]),
        ..Head::default()
    }
}
