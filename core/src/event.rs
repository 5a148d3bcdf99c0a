//! Reads every event shape that reports a changed object into [`Change`]s.
//!
//! S3's events reach the function directly, through SNS, through SQS, through SNS and SQS, and through
//! EventBridge (with or without SQS). All of them are envelopes around the same two documents: S3's
//! own `{"Records": [..]}` and EventBridge's `{"detail-type": "Object Created", ..}`.
//!
//! Records are read one by one: a record that cannot be read becomes a [`Problem`] with its place in
//! the event, and the others are still read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;

use percent_encoding::percent_decode;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use crate::name::BucketName;
use crate::name::InvalidName;
use crate::problems::MAX_TOLD;
use crate::text::one_line;

/// The longest key S3 allows, in bytes of UTF-8 (S3 User Guide, "Naming Amazon S3 objects").
pub const MAX_KEY_BYTES: usize = 1_024;

/// The key of an object, decoded: what `aws s3 ls` shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ObjectKey<'a>(Cow<'a, str>);

/// A text that is not an object key.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidKey {
    /// The key is empty.
    #[error("the object key is empty")]
    Empty,
    /// The key is longer than S3 allows.
    #[error("the object key is {0} bytes long, S3 allows {MAX_KEY_BYTES}")]
    TooLong(usize),
    /// The key does not decode to UTF-8.
    #[error("the object key `{0}` does not decode to UTF-8")]
    NotUtf8(String),
}

impl<'a> ObjectKey<'a> {
    /// Takes a key that is not encoded, as in EventBridge's events.
    ///
    /// # Errors
    /// If the key is empty or longer than S3 allows.
    pub fn new(key: impl Into<Cow<'a, str>>) -> Result<Self, InvalidKey> {
        let key = key.into();
        match key.len() {
            0 => Err(InvalidKey::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(key)),
            length => Err(InvalidKey::TooLong(length)),
        }
    }

    /// Decodes a key from S3's own events. It is form-encoded: `+` is a space, `%2B` a plus (S3 User
    /// Guide, "Event message structure").
    ///
    /// # Errors
    /// If the key does not decode to UTF-8, is empty, or is longer than S3 allows.
    pub fn from_form_encoded(encoded: &'a str) -> Result<Self, InvalidKey> {
        if !encoded.contains('+') {
            return Self::from_percent_encoded(encoded);
        }
        let spaced = encoded.replace('+', " ");
        ObjectKey::from_percent_encoded(&spaced).map(ObjectKey::into_owned)
    }

    /// Decodes a percent-encoded key.
    ///
    /// # Errors
    /// If the key does not decode to UTF-8, is empty, or is longer than S3 allows.
    pub fn from_percent_encoded(encoded: &'a str) -> Result<Self, InvalidKey> {
        if !encoded.contains('%') {
            return Self::new(encoded);
        }
        let decoded = percent_decode(encoded.as_bytes())
            .decode_utf8()
            .map_err(|_| InvalidKey::NotUtf8(excerpt(encoded)))?;
        Self::new(decoded)
    }

    /// Takes a text that is known to be a valid object key.
    pub(crate) fn known(key: &'a str) -> Self {
        Self(Cow::Borrowed(key))
    }

    /// The decoded key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same key without a borrow.
    pub fn into_owned(self) -> ObjectKey<'static> {
        ObjectKey(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for ObjectKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was created or overwritten.
    Created,
    /// It was deleted, expired, or hidden by a delete marker.
    Deleted,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
        })
    }
}

/// When S3 saw the change, in milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Reads RFC 3339; `None` for anything else. The time is only used in a metric, so an invalid one is
    /// no reason to reject a change.
    fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let milliseconds = time.unix_timestamp_nanos() / 1_000_000;
        i64::try_from(milliseconds).ok().map(Self)
    }
}

/// The id of one version of an object. Never `null`: that is the name of whatever was written last without
/// versioning, so it identifies nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VersionId<'a>(Cow<'a, str>);

/// The longest version id S3 allows, in bytes (S3 User Guide, "How S3 Versioning works").
pub const MAX_VERSION_ID_BYTES: usize = 1_024;

impl<'a> VersionId<'a> {
    /// Takes a version id from S3. `None` if it identifies no version: if it is empty or `null`, or has
    /// another form than S3 documents ("URL-ready, opaque strings").
    pub fn new(id: impl Into<Cow<'a, str>>) -> Option<Self> {
        let id = id.into();
        let is_url_ready =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'%');
        let identifies = !id.is_empty() && id != "null" && id.len() <= MAX_VERSION_ID_BYTES;
        (identifies && id.bytes().all(is_url_ready)).then_some(Self(id))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same id without a borrow.
    pub fn into_owned(self) -> VersionId<'static> {
        VersionId(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for VersionId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One object that changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Change<'a> {
    /// The bucket that holds, or held, the object.
    pub bucket: BucketName,
    /// The object's key.
    pub key: ObjectKey<'a>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// When it happened, if the event says so.
    pub event_time: Option<EventTime>,
    /// The version that was created. It is only needed, and kept, in buckets that opted into skipping
    /// what did not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<VersionId<'a>>,
}

/// A record, or a whole envelope, that could not be read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {cause}")]
pub struct Problem {
    /// The SQS message that contains it, if any: the beginning of its id.
    pub message_id: Option<String>,
    /// Its place in the event: `Records[2]`, `Records[0].body.Records[1]`.
    pub place: String,
    /// What is wrong with it.
    pub cause: Cause,
}

/// Why a record or an event cannot be read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Cause {
    /// The text is not JSON, or a field has another type than S3 sends.
    #[error("not readable as JSON of the expected form ({0})")]
    Json(String),
    /// A field that every record has is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// The object key is invalid.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The bucket has a name that S3 does not allow.
    #[error(transparent)]
    Bucket(#[from] InvalidName),
    /// The event does not report changes of S3 objects.
    #[error(
        "not an event this function knows: it reads S3 notifications, directly or through SNS, SQS \
         or EventBridge; this one begins with `{0}`"
    )]
    UnknownShape(String),
    /// The record is of another service than S3.
    #[error("not a record of S3: its `eventSource` is `{0}`")]
    ForeignSource(String),
}

impl Cause {
    /// Serde quotes what it found, however long that is.
    fn json(error: &serde_json::Error) -> Self {
        Self::Json(excerpt(&error.to_string()))
    }
}

/// The content of one event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The changed objects, in the order of the event.
    pub changes: Vec<Change<'static>>,
    /// Events that change no object's content (tagging, restore, a test event), counted by name.
    pub skipped: BTreeMap<String, usize>,
    /// The first [`MAX_TOLD`] records that could not be read.
    pub problems: Vec<Problem>,
    /// How many records could not be read.
    pub unreadable: usize,
    /// How many of them did not come in an SQS message.
    pub unreadable_outside_sqs: usize,
    /// The SQS messages that contain the others. They are returned as failed batch items.
    pub failed_messages: BTreeSet<String>,
}

/// How many names of skipped events are counted apart. S3 has fewer; the others are counted together.
const MAX_SKIPPED_NAMES: usize = 50;

/// Reads the payload of an invocation.
pub fn read(payload: &str) -> Reading {
    let mut reader = Reader::default();
    reader.document(payload, &Place::Payload);
    reader.reading
}

/// A text of the payload, borrowed if it contains no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The fields of all documents and envelopes; none is required. `R` holds the records.
#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Document<'a, R> {
    #[serde(rename = "Records")]
    records: Option<R>,
    /// `s3:TestEvent`, which S3 sends when a notification is set up.
    #[serde(rename = "Event", borrow)]
    event: Option<Text<'a>>,
    /// EventBridge: `Object Created`.
    #[serde(rename = "detail-type", borrow)]
    detail_type: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    /// SNS in the body of an SQS message.
    #[serde(rename = "Message", borrow)]
    message: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "eventSource", borrow)]
    event_source: Option<Text<'a>>,
    #[serde(rename = "eventName", borrow)]
    event_name: Option<Text<'a>>,
    #[serde(rename = "eventTime", borrow)]
    event_time: Option<Text<'a>>,
    #[serde(borrow)]
    s3: Option<Detail<'a>>,
    /// SNS: the notification.
    #[serde(rename = "Sns", borrow)]
    sns: Option<Sns<'a>>,
    /// SQS: the message's body and id.
    #[serde(borrow)]
    body: Option<Text<'a>>,
    #[serde(rename = "messageId", borrow)]
    message_id: Option<Text<'a>>,
}

impl Record<'_> {
    /// Whether it has a field of a record that this function reads.
    fn is_known(&self) -> bool {
        let has_name_or_envelope =
            self.event_name.is_some() || self.sns.is_some() || self.body.is_some();
        has_name_or_envelope || self.s3.is_some()
    }

    /// The service that it comes from, if that is not S3. The source is `aws:s3`, and in stores that
    /// speak S3's language `minio:s3` or `ceph:s3`.
    fn foreign_source(&self) -> Option<&str> {
        let source = self.event_source.as_deref()?;
        (!source.ends_with(":s3")).then_some(source)
    }
}

#[derive(Deserialize)]
struct Sns<'a> {
    #[serde(rename = "Message", borrow)]
    message: Option<Text<'a>>,
}

/// The fields that `s3` of an S3 record and `detail` of an EventBridge event share.
#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow)]
    bucket: Option<Bucket<'a>>,
    #[serde(borrow)]
    object: Option<Object<'a>>,
    /// EventBridge: what removed the object.
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    /// EventBridge: whether a delete marker hides it.
    #[serde(rename = "deletion-type", borrow)]
    deletion_type: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Bucket<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(rename = "versionId", alias = "version-id", borrow)]
    version_id: Option<Text<'a>>,
}

impl Detail<'_> {
    /// Whether lifecycle removed a version for good: then it was an old one, and the live object is
    /// as it was before.
    ///
    /// In a versioned bucket, lifecycle hides a current object with a delete marker. Only noncurrent
    /// versions are removed for good, with the same event as an object of a bucket without versions
    /// (S3 User Guide, "Expiring objects"). The version `null` may be such an object.
    fn is_of_old_version(&self) -> bool {
        let object = self.object.as_ref();
        let version_id = object.and_then(|object| object.version_id.as_deref());
        version_id.is_some_and(|id| !id.is_empty() && id != "null")
    }

    fn is_removed_by_lifecycle(&self) -> bool {
        self.reason.as_deref() == Some("Lifecycle Expiration")
            && self.deletion_type.as_deref() == Some("Permanently Deleted")
    }
}

/// A place in the payload, like a breadcrumb. It only becomes text if there is a problem.
#[derive(Clone, Copy)]
enum Place<'a> {
    Payload,
    Record(&'a Place<'a>, usize),
    /// A document in a field of a record or document.
    Field(&'a Place<'a>, &'static str),
    /// The body of an SQS message, and its id.
    Body(&'a Place<'a>, Option<&'a str>),
}

impl Place<'_> {
    /// S3 in SNS in SQS is three documents deep. The limit stops at payloads that nest endlessly.
    const MAX_DEPTH: usize = 4;

    fn outer(&self) -> Option<&Self> {
        match self {
            Self::Payload => None,
            Self::Record(outer, _) | Self::Field(outer, _) | Self::Body(outer, _) => Some(outer),
        }
    }

    /// How many documents enclose this one.
    fn depth(&self) -> usize {
        let own = usize::from(matches!(self, Self::Field(..) | Self::Body(..)));
        own + self.outer().map_or(0, Place::depth)
    }

    /// The id of the SQS message that contains it.
    fn message_id(&self) -> Option<&str> {
        match self {
            Self::Body(_, message_id) => *message_id,
            _ => self.outer()?.message_id(),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer()
            && !matches!(outer, Self::Payload)
        {
            write!(f, "{outer}.")?;
        }
        match self {
            Self::Payload => write!(f, "the event"),
            Self::Record(_, index) => write!(f, "Records[{index}]"),
            Self::Field(_, name) => write!(f, "{name}"),
            Self::Body(..) => write!(f, "body"),
        }
    }
}

/// How an event shape encodes its keys.
#[derive(Clone, Copy)]
enum KeyEncoding {
    Form,
    None,
}

#[derive(Default)]
struct Reader {
    reading: Reading,
}

/// The most records that are parsed together, which is twice as fast. A parsed record takes hundreds of
/// bytes, and a small text may hold millions of records.
const MAX_FEW: usize = 20_000;

/// The records of a document, if there are few and all can be read.
struct FewRecords<'a>(Vec<Record<'a>>);

impl FewRecords<'_> {
    fn are_known(&self) -> bool {
        self.0.iter().all(Record::is_known)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for FewRecords<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Few;

        impl<'de> Visitor<'de> for Few {
            type Value = Vec<Record<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut records = Vec::new();
                while let Some(record) = seq.next_element()? {
                    if records.len() == MAX_FEW {
                        return Err(serde::de::Error::custom("many records"));
                    }
                    records.push(record);
                }
                Ok(records)
            }
        }

        deserializer.deserialize_seq(Few).map(Self)
    }
}

/// Reads the records of a document one by one.
struct Records<'r, 'p> {
    reader: &'r mut Reader,
    place: &'p Place<'p>,
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(record) = records.next_element::<&RawValue>()? {
            let place = Place::Record(self.place, index);
            match serde_json::from_str::<Record<'_>>(record.get()) {
                Ok(record) if record.is_known() => self.reader.record(record, &place),
                Ok(_) => {
                    let cause = Cause::UnknownShape(excerpt(record.get()));
                    self.reader.problem(&place, cause);
                }
                Err(error) => self.reader.problem(&place, Cause::json(&error)),
            }
            index += 1;
        }
        Ok(())
    }
}

impl Reader {
    fn problem(&mut self, place: &Place<'_>, cause: Cause) {
        let message_id = place.message_id();
        let reading = &mut self.reading;
        reading.unreadable += 1;
        match message_id {
            None => reading.unreadable_outside_sqs += 1,
            Some(id) if reading.failed_messages.contains(id) => {}
            Some(id) => {
                reading.failed_messages.insert(id.to_owned());
            }
        }
        if reading.problems.len() < MAX_TOLD {
            reading.problems.push(Problem {
                message_id: message_id.map(excerpt),
                place: place.to_string(),
                cause,
            });
        }
    }

    fn skip(&mut self, name: &str) {
        let skipped = &mut self.reading.skipped;
        let is_counted_apart = skipped.len() < MAX_SKIPPED_NAMES || skipped.contains_key(name);
        let name = if is_counted_apart {
            excerpt(name)
        } else {
            "other events".to_owned()
        };
        *skipped.entry(name).or_default() += 1;
    }

    fn document(&mut self, text: &str, place: &Place<'_>) {
        if place.depth() > Place::MAX_DEPTH {
            return self.problem(place, Cause::UnknownShape(excerpt(text)));
        }
        if let Ok(document) = serde_json::from_str::<Document<'_, FewRecords<'_>>>(text)
            && document.records.iter().all(FewRecords::are_known)
        {
            return self.read_document(document, text, place, |reader, FewRecords(records)| {
                for (index, record) in records.into_iter().enumerate() {
                    reader.record(record, &Place::Record(place, index));
                }
            });
        }
        // Read again, record by record, so that a record that cannot be read does not stop the others.
        match serde_json::from_str::<Document<'_, &RawValue>>(text) {
            Ok(document) => self.read_document(document, text, place, |reader, records| {
                let mut json = serde_json::Deserializer::from_str(records.get());
                if let Err(error) = json.deserialize_seq(Records { reader, place }) {
                    reader.problem(place, Cause::json(&error));
                }
            }),
            Err(error) => self.problem(place, Cause::json(&error)),
        }
    }

    fn read_document<R>(
        &mut self,
        document: Document<'_, R>,
        text: &str,
        place: &Place<'_>,
        read_records: impl FnOnce(&mut Self, R),
    ) {
        match document {
            Document {
                records: Some(records),
                ..
            } => read_records(self, records),
            Document {
                detail: Some(detail),
                detail_type: Some(kind),
                source,
                time,
                ..
            } if source.as_deref() == Some("aws.s3") => {
                self.event_bridge(&kind, time.as_deref(), detail.get(), place);
            }
            Document {
                event: Some(event), ..
            } if &*event == "s3:TestEvent" => self.skip(&event),
            Document {
                message: Some(message),
                ..
            } => self.document(&message, &Place::Field(place, "Message")),
            _ => self.problem(place, Cause::UnknownShape(excerpt(text))),
        }
    }

    fn record(&mut self, record: Record<'_>, place: &Place<'_>) {
        if let Some(sns) = record.sns {
            return match sns.message {
                Some(message) => self.document(&message, &Place::Field(place, "Sns.Message")),
                None => self.problem(place, Cause::Missing("Sns.Message")),
            };
        }
        if let Some(body) = record.body {
            return self.document(&body, &Place::Body(place, record.message_id.as_deref()));
        }
        if let Some(source) = record.foreign_source() {
            return self.problem(place, Cause::ForeignSource(excerpt(source)));
        }
        let Some(name) = record.event_name else {
            return self.problem(place, Cause::Missing("eventName"));
        };
        match kind_of(&name) {
            Some(_)
                if without_prefix(&name) == "LifecycleExpiration:Delete"
                    && record.s3.as_ref().is_some_and(Detail::is_of_old_version) =>
            {
                self.skip(&format!("{} of an old version", &*name));
            }
            Some(kind) => {
                let time = record.event_time.as_deref();
                self.change(record.s3, kind, time, KeyEncoding::Form, place);
            }
            None => self.skip(&name),
        }
    }

    fn event_bridge(&mut self, name: &str, time: Option<&str>, detail: &str, place: &Place<'_>) {
        let kind = match name {
            "Object Created" => ChangeKind::Created,
            "Object Deleted" => ChangeKind::Deleted,
            _ => return self.skip(name),
        };
        match serde_json::from_str::<Detail<'_>>(detail) {
            Ok(detail) if detail.is_removed_by_lifecycle() && detail.is_of_old_version() => {
                self.skip(&format!("{name} of an old version"));
            }
            Ok(detail) => self.change(Some(detail), kind, time, KeyEncoding::None, place),
            Err(error) => self.problem(place, Cause::json(&error)),
        }
    }

    fn change(
        &mut self,
        detail: Option<Detail<'_>>,
        kind: ChangeKind,
        time: Option<&str>,
        encoding: KeyEncoding,
        place: &Place<'_>,
    ) {
        let (bucket, object) = detail.map_or((None, None), |detail| (detail.bucket, detail.object));
        let Some(bucket) = bucket
            .and_then(|bucket| bucket.name)
            .filter(|name| !name.is_empty())
        else {
            return self.problem(place, Cause::Missing("bucket.name"));
        };
        let (key, version_id) = object.map_or((None, None), |it| (it.key, it.version_id));
        let Some(key) = key else {
            return self.problem(place, Cause::Missing("object.key"));
        };
        // A deletion is always invalidated, whichever version it is of.
        let version_id = version_id.filter(|_| kind == ChangeKind::Created);
        let key = match encoding {
            KeyEncoding::Form => ObjectKey::from_form_encoded(&key),
            KeyEncoding::None => ObjectKey::new(&*key),
        };
        let key = match key {
            Ok(key) => key.into_owned(),
            Err(invalid) => return self.problem(place, invalid.into()),
        };
        match self.bucket_name(&bucket) {
            Ok(bucket) => self.reading.changes.push(Change {
                bucket,
                key,
                kind,
                event_time: time.and_then(EventTime::parse),
                version_id: version_id.and_then(|id| VersionId::new(id.0.into_owned())),
            }),
            Err(invalid) => self.problem(place, invalid.into()),
        }
    }

    /// The records of an event nearly always name the same bucket, so its name is stored once.
    fn bucket_name(&self, name: &str) -> Result<BucketName, InvalidName> {
        match self.reading.changes.last() {
            Some(last) if last.bucket.as_str() == name => Ok(last.bucket.clone()),
            _ => name.parse(),
        }
    }
}

/// The kind of change that an S3 event name reports; `None` if the object's content is the same
/// (restore, tagging, ACL, replication, tiering). Source: S3 User Guide, "Supported event types".
fn kind_of(event_name: &str) -> Option<ChangeKind> {
    match without_prefix(event_name).split_once(':')?.0 {
        "ObjectCreated" => Some(ChangeKind::Created),
        "ObjectRemoved" | "LifecycleExpiration" => Some(ChangeKind::Deleted),
        _ => None,
    }
}

/// The name as events state it: notification configurations put `s3:` before it.
fn without_prefix(event_name: &str) -> &str {
    event_name.strip_prefix("s3:").unwrap_or(event_name)
}

/// The beginning of a text on one line, for an error message.
fn excerpt(text: &str) -> String {
    const CHARACTERS: usize = 120;
    // As most JSON is indented, a multiple of what is shown is looked at.
    let beginning: String = text
        .chars()
        .take(CHARACTERS * 8)
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = beginning.split_whitespace().collect();
    one_line(&words.join(" "), CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn s3_record(name: &str, key: &str) -> serde_json::Value {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name,
            "eventTime": "2026-11-21T02:03:04.567Z",
            "s3": { "bucket": { "name": "site" }, "object": { "key": key, "sequencer": "0055AED6DCD90281E5" } },
        })
    }

    fn changes(payload: &serde_json::Value) -> Vec<(ChangeKind, String)> {
        let reading = read(&payload.to_string());
        assert_eq!(reading.problems, [], "{payload}");
        reading
            .changes
            .into_iter()
            .map(|change| (change.kind, change.key.to_string()))
            .collect()
    }

    fn problems(payload: &serde_json::Value) -> Vec<String> {
        let reading = read(&payload.to_string());
        reading.problems.iter().map(ToString::to_string).collect()
    }

    /// Source: S3 User Guide, "Supported event types for SQS, SNS, and Lambda".
    #[test]
    fn event_names_are_told_apart_by_what_they_do_to_the_content() {
        use ChangeKind::{Created, Deleted};
        for (name, expected) in [
            ("ObjectCreated:Put", Some(Created)),
            ("ObjectCreated:Post", Some(Created)),
            ("ObjectCreated:Copy", Some(Created)),
            ("ObjectCreated:CompleteMultipartUpload", Some(Created)),
            ("s3:ObjectCreated:Put", Some(Created)),
            ("ObjectRemoved:Delete", Some(Deleted)),
            ("ObjectRemoved:DeleteMarkerCreated", Some(Deleted)),
            ("LifecycleExpiration:Delete", Some(Deleted)),
            ("LifecycleExpiration:DeleteMarkerCreated", Some(Deleted)),
            ("ObjectRestore:Completed", None),
            ("ObjectTagging:Put", None),
            ("ObjectAcl:Put", None),
            ("Replication:OperationFailedReplication", None),
            ("LifecycleTransition", None),
            ("IntelligentTiering", None),
            ("ReducedRedundancyLostObject", None),
        ] {
            let reading = read(&json!({ "Records": [s3_record(name, "a")] }).to_string());
            assert_eq!(
                reading.changes.first().map(|change| change.kind),
                expected,
                "{name}"
            );
            assert_eq!(
                reading.skipped.contains_key(name),
                expected.is_none(),
                "{name}"
            );
            assert_eq!(reading.problems, [], "{name}");
        }
    }

    /// A rule that removes old versions would otherwise be billed as a million deletions, and would
    /// empty the caches.
    #[test]
    fn an_old_version_that_lifecycle_removes_is_no_deletion() {
        let record = |name: &str, version: Option<&str>| {
            let mut record = s3_record(name, "a");
            record["s3"]["object"]["versionId"] = json!(version);
            json!({ "Records": [record] })
        };
        let bridged = |reason: &str, kind: &str, version: Option<&str>| {
            json!({
                "source": "aws.s3", "detail-type": "Object Deleted",
                "detail": {
                    "bucket": { "name": "site" }, "object": { "key": "a", "version-id": version },
                    "reason": reason, "deletion-type": kind,
                },
            })
        };
        const LIFECYCLE: &str = "Lifecycle Expiration";
        const FOR_GOOD: &str = "Permanently Deleted";
        let version = Some("3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY");
        for (event, is_deletion) in [
            (record("LifecycleExpiration:Delete", version), false),
            (record("s3:LifecycleExpiration:Delete", version), false),
            // A bucket without versions, or with versioning suspended.
            (record("LifecycleExpiration:Delete", None), true),
            (record("LifecycleExpiration:Delete", Some("")), true),
            (record("LifecycleExpiration:Delete", Some("null")), true),
            (
                record("LifecycleExpiration:DeleteMarkerCreated", version),
                true,
            ),
            // Somebody deleted a version by its id: it may have been the current one.
            (record("ObjectRemoved:Delete", version), true),
            (bridged(LIFECYCLE, FOR_GOOD, version), false),
            (bridged(LIFECYCLE, FOR_GOOD, None), true),
            (bridged(LIFECYCLE, FOR_GOOD, Some("null")), true),
            (bridged(LIFECYCLE, "Delete Marker Created", version), true),
            (bridged("DeleteObject", FOR_GOOD, version), true),
        ] {
            let reading = read(&event.to_string());
            assert_eq!(reading.problems, [], "{event}");
            assert_eq!(reading.changes.len(), usize::from(is_deletion), "{event}");
            let names: Vec<&str> = reading.skipped.keys().map(String::as_str).collect();
            let is_named = names
                .iter()
                .all(|name| name.ends_with(" of an old version"));
            assert!(
                is_named && names.is_empty() == is_deletion,
                "{event}: {names:?}"
            );
        }
    }

    #[test]
    fn keys_are_form_decoded() {
        for (sent, key) in [
            ("a+photo.jpg", "a photo.jpg"),
            ("c%2B%2B.txt", "c++.txt"),
            ("100%25.txt", "100%.txt"),
            ("a%2520b", "a%20b"),
            ("%ED%95%9C%EA%B8%80/%C3%A9", "한글/é"),
            ("a/b%3Fc%26d%3De", "a/b?c&d=e"),
            ("%2Fa", "/a"),
            // S3 encodes every percent sign; if one is ever left, it is kept.
            ("50%", "50%"),
            ("%zz", "%zz"),
            ("a%0Ab", "a\nb"),
        ] {
            let payload = json!({ "Records": [s3_record("ObjectCreated:Put", sent)] });
            assert_eq!(
                changes(&payload),
                [(ChangeKind::Created, key.to_owned())],
                "{sent}"
            );
        }
    }

    #[test]
    fn all_shapes_become_the_same_changes() {
        let s3 = json!({ "Records": [s3_record("ObjectCreated:Put", "a+b"), s3_record("ObjectRemoved:Delete", "c")] });
        let sns = json!({ "Records": [{ "EventSource": "aws:sns", "Sns": { "Type": "Notification", "Message": s3.to_string() } }] });
        let sqs = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m1", "body": s3.to_string() }] });
        let notification = json!({ "Type": "Notification", "Message": s3.to_string() });
        let sns_sqs = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m1", "body": notification.to_string() }] });
        let expected = [
            (ChangeKind::Created, "a b".to_owned()),
            (ChangeKind::Deleted, "c".to_owned()),
        ];
        for shape in [&s3, &sns, &sqs, &sns_sqs] {
            assert_eq!(changes(shape), expected, "{shape}");
        }
    }

    #[test]
    fn keys_from_event_bridge_are_not_decoded() {
        for (name, kind) in [
            ("Object Created", ChangeKind::Created),
            ("Object Deleted", ChangeKind::Deleted),
        ] {
            let event = json!({
                "version": "0", "source": "aws.s3", "detail-type": name, "time": "2026-11-21T02:03:04Z",
                "detail": { "bucket": { "name": "site" }, "object": { "key": "a+b%20c", "size": 1 } },
            });
            let through_sqs =
                json!({ "Records": [{ "messageId": "m", "body": event.to_string() }] });
            assert_eq!(changes(&event), [(kind, "a+b%20c".to_owned())]);
            assert_eq!(changes(&through_sqs), [(kind, "a+b%20c".to_owned())]);
        }
        let other = json!({ "source": "aws.s3", "detail-type": "Object Tags Added", "detail": {} });
        assert_eq!(
            read(&other.to_string()).skipped.keys().collect::<Vec<_>>(),
            ["Object Tags Added"]
        );
    }

    #[test]
    fn event_time_is_read_as_milliseconds_and_an_odd_one_is_left_out() {
        let mut record = s3_record("ObjectCreated:Put", "a");
        let time = |record: &serde_json::Value| {
            read(&json!({ "Records": [record] }).to_string()).changes[0].event_time
        };
        assert_eq!(time(&record), Some(EventTime(1_795_226_584_567)));
        record["eventTime"] = json!("yesterday");
        assert_eq!(time(&record), None);
    }

    #[test]
    fn a_created_version_is_known_by_its_id_unless_that_identifies_nothing() {
        let long = "v".repeat(MAX_VERSION_ID_BYTES + 1);
        for (id, expected) in [
            (Some("3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"), true),
            (Some(&long[1..]), true),
            (None, false),
            (Some(""), false),
            (Some("null"), false),
            (Some("a b"), false),
            (Some("a\"b"), false),
            (Some("a%b"), false),
            (Some("é"), false),
            (Some(long.as_str()), false),
        ] {
            for (name, is_created) in [
                ("ObjectCreated:Copy", true),
                ("ObjectRemoved:Delete", false),
            ] {
                let mut record = s3_record(name, "a");
                record["s3"]["object"]["versionId"] = json!(id);
                let reading = read(&json!({ "Records": [record] }).to_string());
                let found = reading.changes[0]
                    .version_id
                    .as_ref()
                    .map(VersionId::as_str);
                assert_eq!(
                    found,
                    id.filter(|_| expected && is_created),
                    "{name} {id:?}"
                );
            }
        }
        let bridged = json!({
            "source": "aws.s3", "detail-type": "Object Created",
            "detail": { "bucket": { "name": "site" }, "object": { "key": "a", "version-id": "v1" } },
        });
        let reading = read(&bridged.to_string());
        assert_eq!(reading.changes[0].version_id, VersionId::new("v1"));
    }

    #[test]
    fn a_test_event_is_no_change_and_no_problem() {
        let event = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "site" });
        let reading = read(&event.to_string());
        assert_eq!((reading.changes.len(), reading.problems.len()), (0, 0));
        assert_eq!(reading.skipped["s3:TestEvent"], 1);
        let through_sqs = json!({ "Records": [{ "messageId": "m", "body": event.to_string() }] });
        assert_eq!(read(&through_sqs.to_string()).problems, []);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named_and_the_others_are_read() {
        let good = s3_record("ObjectCreated:Put", "good");
        let mut no_bucket = good.clone();
        no_bucket["s3"]["bucket"] = json!({});
        let mut no_bucket_of_s3 = good.clone();
        no_bucket_of_s3["s3"]["bucket"]["name"] = json!("http://evil/\n");
        let mut no_key = good.clone();
        no_key["s3"]["object"] = json!({ "size": 1 });
        let mut not_utf8 = good.clone();
        not_utf8["s3"]["object"]["key"] = json!("%ff");
        let mut too_long = good.clone();
        too_long["s3"]["object"]["key"] = json!("a".repeat(1_025));
        let mut number = good.clone();
        number["s3"]["object"]["key"] = json!(1);
        let mut no_name = good.clone();
        no_name["eventName"].take();
        let mut foreign = good.clone();
        foreign["eventSource"] = json!("aws:dynamodb");
        let event = json!({ "Records": [
            no_bucket, no_key, not_utf8, too_long, number, no_name, foreign, { "cf": {} },
            no_bucket_of_s3, good,
        ] });

        let reading = read(&event.to_string());
        assert_eq!(reading.changes.len(), 1);
        let problems = problems(&event);
        for (problem, expected) in problems.iter().zip([
            "Records[0]: the field `bucket.name` is missing",
            "Records[1]: the field `object.key` is missing",
            "Records[2]: the object key `%ff` does not decode to UTF-8",
            "Records[3]: the object key is 1025 bytes long, S3 allows 1024",
            "Records[4]: not readable as JSON of the expected form (",
            "Records[5]: the field `eventName` is missing",
            "Records[6]: not a record of S3: its `eventSource` is `aws:dynamodb`",
            "Records[7]: not an event this function knows: ",
            "Records[8]: `http://evil/\\u{a}` is not the name of a bucket (3 to 255 letters, ",
        ]) {
            assert!(problem.starts_with(expected), "{problem}");
        }
        assert!(problems[7].ends_with(r#"begins with `{"cf":{}}`"#));
        assert_eq!(problems.len(), 9);
    }

    /// Six megabytes of empty records once took 636 MB, and made an error text of 103 MB.
    #[test]
    fn problems_are_counted_and_only_the_first_are_told() {
        let records = vec!["{}"; 2_000_000].join(",");
        let reading = read(&format!("{{\"Records\":[{records}]}}"));
        assert_eq!(
            (reading.unreadable, reading.problems.len()),
            (2_000_000, 10)
        );
        assert_eq!(reading.unreadable_outside_sqs, 2_000_000);
        let long = "x".repeat(1_000_000);
        let mut record = s3_record("ObjectCreated:Put", &format!("%ff{long}"));
        let mut texts = vec![record.clone()];
        record["s3"]["object"]["key"] = json!(1);
        record["eventSource"] = json!(format!("aws:\u{202e}\n{long}"));
        texts.push(record.clone());
        record["s3"] = json!(long);
        texts.push(record);
        for text in problems(&json!({ "Records": texts })) {
            assert!(text.len() < 400, "{}", text.len());
            assert!(!text.contains(['\n', '\u{202e}']), "{text}");
        }
    }

    #[test]
    fn skipped_events_of_many_names_are_counted_together() {
        let record = |n| s3_record(&format!("Object{n}:Put"), "a");
        let records: Vec<_> = (0..1_000).map(record).collect();
        let reading = read(&json!({ "Records": records }).to_string());
        assert_eq!(reading.skipped.values().sum::<usize>(), 1_000);
        assert_eq!(reading.skipped["other events"], 1_000 - MAX_SKIPPED_NAMES);
    }

    #[test]
    fn a_problem_in_an_sqs_message_names_the_message() {
        let event = json!({ "Records": [
            { "messageId": "good", "body": json!({ "Records": [s3_record("ObjectCreated:Put", "a")] }).to_string() },
            { "messageId": "bad", "body": "hello" },
        ] });
        let reading = read(&event.to_string());
        assert_eq!(reading.changes.len(), 1);
        assert_eq!(reading.problems[0].message_id.as_deref(), Some("bad"));
        assert_eq!(reading.failed_messages, BTreeSet::from(["bad".to_owned()]));
        assert_eq!(reading.unreadable_outside_sqs, 0);
        assert!(
            reading.problems[0]
                .to_string()
                .starts_with("Records[1].body: "),
            "{}",
            reading.problems[0]
        );
    }

    #[test]
    fn an_event_of_an_unknown_shape_is_a_problem_that_shows_its_beginning() {
        for payload in [
            json!({ "hello": "world" }),
            json!({ "source": "aws.ec2", "detail-type": "x", "detail": {} }),
            json!({}),
        ] {
            let problems = problems(&payload);
            assert_eq!(problems.len(), 1, "{payload}");
            assert!(
                problems[0].contains("not an event this function knows"),
                "{}",
                problems[0]
            );
        }
        for text in ["[]", "null", "1", "\"a\"", "", "{"] {
            assert_eq!(read(text).problems.len(), 1, "{text}");
        }
    }
}
