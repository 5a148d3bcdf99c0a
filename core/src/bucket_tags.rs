//! The settings in the tags of a bucket.
//!
//! `invalidate=changed` opts into looking whether an upload changed anything that viewers get, before its
//! paths are paid for.
//!
//! `exceptionPaths`, `exceptionPaths2`, `exceptionPaths3`, .. contain paths separated by white space,
//! `:` or a comma (AWS does not save a comma in a tag today, but tags may come from elsewhere). Under
//! such a path only deletions count. A path with `*` or `?` is a pattern over the whole key; any
//! other path covers that key and all keys below it, as a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::event::{Change, ChangeKind, ObjectKey};
use crate::pattern::Wildcards;

const TAG: &str = "exceptionPaths";
const INDEX_DOCUMENT_TAG: &str = "indexDocument";
const INVALIDATE_TAG: &str = "invalidate";
const CHANGED: &str = "changed";

/// A tag of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketTag {
    /// The tag's key.
    pub key: String,
    /// The tag's value.
    pub value: String,
}

/// A tag of ours that was added, removed or given another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    /// The tag's key.
    pub key: String,
    /// Its value before, if it was there.
    pub old: Option<String>,
    /// Its value now, if it is there.
    pub new: Option<String>,
}

/// The settings in the tags of a bucket.
#[derive(Clone, Debug, Default)]
pub struct BucketSettings {
    /// The paths exempt from invalidation on upload.
    pub exceptions: ExceptionRules,
    /// From `indexDocument=index.html`: a change of `dir/index.html` also invalidates `/dir/`, for any
    /// kind of origin.
    pub index_document: Option<String>,
    /// From `invalidate=changed`: an upload that changes nothing for viewers need not be invalidated.
    pub only_changed: bool,
    /// The values of our tags, by key.
    tags: BTreeMap<String, String>,
}

impl BucketSettings {
    /// Reads the tags of a bucket, and ignores those that are not ours.
    pub fn from_tags(tags: &[BucketTag]) -> Self {
        let index_document = tags
            .iter()
            .find(|tag| tag.key == INDEX_DOCUMENT_TAG)
            .map(|tag| tag.value.trim().trim_matches('/').to_owned())
            .filter(|name| !name.is_empty());
        let is_opt_in = |tag: &BucketTag| {
            tag.key == INVALIDATE_TAG && tag.value.trim().eq_ignore_ascii_case(CHANGED)
        };
        let ours = tags.iter().filter(|tag| is_ours(&tag.key));
        Self {
            exceptions: ExceptionRules::from_tags(tags),
            index_document,
            only_changed: tags.iter().any(is_opt_in),
            tags: ours
                .map(|tag| (tag.key.clone(), tag.value.clone()))
                .collect(),
        }
    }

    /// A hash of our tags, the same in all environments of a version of the function.
    pub fn tags_hash(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.tags.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Our tags, by key.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    /// How our tags differ from those before, in the order of their keys.
    pub fn changes_since(&self, before: &Self) -> Vec<TagChange> {
        let keys: BTreeSet<&String> = before.tags.keys().chain(self.tags.keys()).collect();
        let change = |key: &String| TagChange {
            key: key.clone(),
            old: before.tags.get(key).cloned(),
            new: self.tags.get(key).cloned(),
        };
        let changes = keys.into_iter().map(change);
        changes.filter(|change| change.old != change.new).collect()
    }
}

/// The exception rules of a bucket.
#[derive(Clone, Debug, Default)]
pub struct ExceptionRules(Vec<ExceptionRule>);

impl ExceptionRules {
    /// Reads the rules from the tags of a bucket.
    pub fn from_tags(tags: &[BucketTag]) -> Self {
        let rules =
            exception_entries(tags).filter_map(|(tag, entry)| ExceptionRule::new(&tag.key, entry));
        Self(rules.collect())
    }

    /// The rules, in the order of the tags.
    pub fn iter(&self) -> impl Iterator<Item = &ExceptionRule> {
        self.0.iter()
    }

    /// The rule that exempts this change, if there is one. No rule exempts a deletion.
    pub fn exempting(&self, change: &Change<'_>) -> Option<&ExceptionRule> {
        match change.kind {
            ChangeKind::Created => self.0.iter().find(|rule| rule.covers(&change.key)),
            ChangeKind::Deleted => None,
        }
    }
}

/// One path of one tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExceptionRule {
    /// The tag's key: `exceptionPaths2`.
    pub tag: String,
    /// The path as it is written in the tag.
    pub entry: String,
    #[serde(skip)]
    cover: Cover,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cover {
    Folder(String),
    Pattern(Wildcards),
}

impl ExceptionRule {
    /// `None` if the entry is empty or only slashes. A lone `/` must not exempt the whole bucket: it is
    /// more likely a typing error.
    fn new(tag: &str, entry: &str) -> Option<Self> {
        let path = entry.strip_prefix('/').unwrap_or(entry);
        if path.trim_matches('/').is_empty() {
            return None;
        }
        let cover = if path.contains(['*', '?']) {
            Cover::Pattern(Wildcards::new(path))
        } else {
            Cover::Folder(path.strip_suffix('/').unwrap_or(path).to_owned())
        };
        Some(Self {
            tag: tag.to_owned(),
            entry: entry.to_owned(),
            cover,
        })
    }

    fn covers(&self, key: &ObjectKey<'_>) -> bool {
        match &self.cover {
            Cover::Pattern(wildcards) => wildcards.match_text(key.as_str()),
            Cover::Folder(folder) => key
                .as_str()
                .strip_prefix(folder.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

impl ExceptionRule {
    /// The beginning of all keys that it covers, without wildcards.
    pub fn prefix(&self) -> &str {
        match &self.cover {
            Cover::Pattern(_) => {
                let path = self.entry.strip_prefix('/').unwrap_or(&self.entry);
                let end = path.find(['*', '?']).unwrap_or(path.len());
                &path[..end]
            }
            Cover::Folder(folder) => folder,
        }
    }

    fn covers_everything(&self) -> bool {
        let path = self.entry.strip_prefix('/').unwrap_or(&self.entry);
        matches!(self.cover, Cover::Pattern(_)) && path.bytes().all(|byte| byte == b'*')
    }

    /// Whether it covers all that another path covers, as far as that is easily seen.
    fn covers_folder_of(&self, other: &Self) -> bool {
        match (&self.cover, &other.cover) {
            (Cover::Folder(this), Cover::Folder(other)) => other
                .strip_prefix(this.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            _ => self.entry == other.entry,
        }
    }
}

impl fmt::Display for ExceptionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "only deletions count under `{}`, by the bucket tag {}",
            self.entry, self.tag
        )
    }
}

/// A tag, or a path in one, that does not do what it was probably meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ineffective {
    /// The tag's key.
    pub tag: String,
    /// The path in it, or its whole value.
    pub entry: String,
    /// What is wrong with it.
    pub why: Misfit,
}

/// Why a tag, or a path in one, does not do what it was probably meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The key is nearly one of ours, which is this one.
    Misspelt(&'static str),
    /// The path has nothing but slashes.
    OnlySlashes,
    /// The path begins with two slashes, so only keys that begin with one are covered.
    TwoSlashes,
    /// The pattern covers every key.
    Everything,
    /// Another path covers it.
    CoveredBy(String),
    /// `invalidate` knows one value, and this is another.
    UnknownValue,
    /// An index document is a name without a folder.
    NotAName,
    /// S3 does not save this character in a tag today.
    Illegal(char),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misspelt(meant) => write!(f, "no tag of that name is read; `{meant}` is"),
            Self::OnlySlashes => f.write_str("it has nothing but slashes, and exempts nothing"),
            Self::TwoSlashes => f.write_str(
                "it covers only keys that begin with a slash; the parts of a URL are split at its colon",
            ),
            Self::Everything => f.write_str("it covers every key, so all uploads are ignored"),
            Self::CoveredBy(entry) => write!(f, "`{entry}` covers it already"),
            Self::UnknownValue => write!(f, "the only value that is read is `changed`"),
            Self::NotAName => f.write_str("an index document is a name without a folder"),
            Self::Illegal(c) => write!(f, "S3 saves no `{c}` in a tag today"),
        }
    }
}

/// The tags, and the paths in them, that do not do what they were probably meant for.
pub fn ineffective(tags: &[BucketTag]) -> Vec<Ineffective> {
    let mut all = Vec::new();
    for tag in tags {
        let mut add = |entry: &str, why: Misfit| {
            all.push(Ineffective {
                tag: tag.key.clone(),
                entry: entry.to_owned(),
                why,
            });
        };
        if let Some(meant) = misspelt(&tag.key) {
            add(&tag.value, Misfit::Misspelt(meant));
        }
        if !is_ours(&tag.key) {
            continue;
        }
        if let Some(c) = tag.value.chars().find(|c| !is_legal(*c)) {
            add(&tag.value, Misfit::Illegal(c));
        }
        let value = tag.value.trim();
        match tag.key.as_str() {
            INVALIDATE_TAG if !value.eq_ignore_ascii_case(CHANGED) => {
                add(&tag.value, Misfit::UnknownValue);
            }
            INDEX_DOCUMENT_TAG => {
                let name = value.trim_matches('/');
                if name.is_empty() || name.contains('/') {
                    add(&tag.value, Misfit::NotAName);
                }
            }
            _ => {}
        }
    }
    all.extend(ineffective_paths(tags));
    all
}

fn ineffective_paths(tags: &[BucketTag]) -> Vec<Ineffective> {
    let mut all = Vec::new();
    let mut before: Vec<ExceptionRule> = Vec::new();
    for (tag, entry) in exception_entries(tags) {
        let rule = ExceptionRule::new(&tag.key, entry);
        let why = match &rule {
            None => Some(Misfit::OnlySlashes),
            Some(_) if entry.starts_with("//") => Some(Misfit::TwoSlashes),
            Some(rule) if rule.covers_everything() => Some(Misfit::Everything),
            Some(rule) => {
                let other = before.iter().find(|other| other.covers_folder_of(rule));
                other.map(|other| Misfit::CoveredBy(other.entry.clone()))
            }
        };
        before.extend(rule);
        all.extend(why.map(|why| Ineffective {
            tag: tag.key.clone(),
            entry: entry.to_owned(),
            why,
        }));
    }
    all
}

/// The paths in the tags of exceptions, as they are written.
fn exception_entries(tags: &[BucketTag]) -> impl Iterator<Item = (&BucketTag, &str)> {
    let tags = tags.iter().filter(|tag| is_exception_tag(&tag.key));
    tags.flat_map(|tag| {
        let entries = tag.value.split(is_separator);
        let entries = entries.filter(|entry| !entry.is_empty());
        entries.map(move |entry| (tag, entry))
    })
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || c == ',' || c == ':'
}

/// The key that was probably meant, if this is not one of ours, but reads like one.
fn misspelt(key: &str) -> Option<&'static str> {
    if is_ours(key) {
        return None;
    }
    let letters = key.chars().filter(|c| c.is_alphanumeric());
    let letters: String = letters.collect::<String>().to_lowercase();
    let name = letters.trim_end_matches(|c: char| c.is_ascii_digit());
    match name {
        "exceptionpath" | "exceptionpaths" | "exceptionspath" | "exceptpath" | "exceptpaths" => {
            Some(TAG)
        }
        "indexdocument" | "indexdocuments" => Some(INDEX_DOCUMENT_TAG),
        "invalidate" | "invalidates" => Some(INVALIDATE_TAG),
        _ => None,
    }
}

/// Whether S3 saves a character in the value of a tag (S3 API Reference, "PutBucketTagging").
fn is_legal(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c)
}

/// The most characters of a tag's value (S3 API Reference, "PutBucketTagging").
pub const MAX_TAG_VALUE: usize = 256;

/// The most tags of a bucket.
pub const MAX_TAGS: usize = 50;

/// A path, an index document or a value that cannot be saved in a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTag {
    /// S3 does not save this character.
    #[error(
        "`{0}` has a `{1}`, which S3 saves in no tag: letters, digits, white space and _ . : / = + - @"
    )]
    Character(String, char),
    /// It is longer than a value may be.
    #[error("`{0}` has more than 256 characters")]
    TooLong(String),
    /// The function would not do what is meant.
    #[error("`{0}` does nothing: {1}")]
    Misfit(String, Misfit),
}

/// The tags that say what is asked for, in the fewest values.
///
/// # Errors
/// If a path or a name cannot be saved, or would do nothing.
pub fn tags_for(
    exception_paths: &[String],
    index_document: Option<&str>,
    only_changed: bool,
) -> Result<Vec<BucketTag>, IllegalTag> {
    let tag = |key: String, value: &str| BucketTag {
        key,
        value: value.to_owned(),
    };
    let entries = exception_paths.iter().flat_map(|it| it.split(is_separator));
    let mut values: Vec<String> = Vec::new();
    for entry in entries.filter(|entry| !entry.is_empty()) {
        match values.last_mut() {
            Some(last) if last.chars().count() + 1 + entry.chars().count() <= MAX_TAG_VALUE => {
                last.push(' ');
                last.push_str(entry);
            }
            _ => values.push(entry.to_owned()),
        }
    }
    let key = |place: usize| match place {
        0 => TAG.to_owned(),
        place => format!("{TAG}{}", place + 1),
    };
    let mut tags: Vec<BucketTag> = values
        .iter()
        .enumerate()
        .map(|(place, value)| tag(key(place), value))
        .collect();
    tags.extend(index_document.map(|name| tag(INDEX_DOCUMENT_TAG.to_owned(), name)));
    if only_changed {
        tags.push(tag(INVALIDATE_TAG.to_owned(), CHANGED));
    }
    for tag in &tags {
        if let Some(c) = tag.value.chars().find(|c| !is_legal(*c)) {
            return Err(IllegalTag::Character(tag.value.clone(), c));
        }
        if tag.value.chars().count() > MAX_TAG_VALUE {
            return Err(IllegalTag::TooLong(tag.value.clone()));
        }
    }
    match ineffective(&tags).into_iter().next() {
        Some(Ineffective { entry, why, .. }) => Err(IllegalTag::Misfit(entry, why)),
        None => Ok(tags),
    }
}

/// Whether a tag of this key is one of the paths under which uploads are ignored.
pub fn is_of_exceptions(key: &str) -> bool {
    is_exception_tag(key)
}

/// Whether a tag of this key is one that the function reads.
pub fn is_ours(key: &str) -> bool {
    [INDEX_DOCUMENT_TAG, INVALIDATE_TAG].contains(&key) || is_exception_tag(key)
}

fn is_exception_tag(key: &str) -> bool {
    key.strip_prefix(TAG)
        .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BucketName;

    fn tag(key: &str, value: &str) -> BucketTag {
        BucketTag {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    fn change(key: &str, kind: ChangeKind) -> Change<'_> {
        Change {
            bucket: BucketName::new("site"),
            key: ObjectKey::new(key).unwrap(),
            kind,
            event_time: None,
            version_id: None,
        }
    }

    /// The entry that exempts an upload of `key` in a bucket with one tag of this value.
    fn exempted_by(value: &str, key: &str) -> Option<String> {
        let rules = ExceptionRules::from_tags(&[tag("exceptionPaths", value)]);
        rules
            .exempting(&change(key, ChangeKind::Created))
            .map(|rule| rule.entry.clone())
    }

    #[test]
    fn a_path_covers_its_key_and_all_below_it_as_a_folder() {
        for (value, key, exempt) in [
            ("resources/upload", "resources/upload/1.jpg", true),
            ("resources/upload", "resources/upload/a/b", true),
            ("resources/upload", "resources/upload", true),
            ("resources/upload", "resources/upload/", true),
            ("resources/upload", "resources/uploads/1.jpg", false),
            ("resources/upload", "resources/uploa", false),
            ("resources/upload", "a/resources/upload/1.jpg", false),
            ("resources/upload", "Resources/upload/1.jpg", false),
            ("/resources/upload", "resources/upload/1.jpg", true),
            ("resources/upload/", "resources/upload/1.jpg", true),
            ("/resources/upload/", "resources/upload", true),
            ("a.b", "aXb", false),
            ("한글", "한글/a", true),
            ("한", "한글", false),
        ] {
            assert_eq!(
                exempted_by(value, key).is_some(),
                exempt,
                "{value} for {key}"
            );
        }
    }

    #[test]
    fn a_path_with_wildcards_is_a_pattern_over_the_whole_key() {
        for (value, key, exempt) in [
            ("*.tmp", "a/b.tmp", true),
            ("*.tmp", "a/b.tmp/c", false),
            ("/tmp/*", "tmp/a", true),
            ("tmp/*", "tmp", false),
            ("user-?/upload", "user-1/upload", true),
            ("user-?/upload", "user-1/upload/a.jpg", false),
            ("user-?/upload", "user-12/upload", false),
            ("*", "anything/at all", true),
        ] {
            assert_eq!(
                exempted_by(value, key).is_some(),
                exempt,
                "{value} for {key}"
            );
        }
    }

    #[test]
    fn paths_are_separated_by_white_space_colons_or_commas() {
        for value in [
            "a b c",
            "a:b:c",
            "a,b,c",
            "  a : b,\tc  ",
            "a::b,,c",
            ":a: b:c:",
        ] {
            for key in ["a/1", "b/1", "c/1"] {
                assert!(exempted_by(value, key).is_some(), "{key} by {value:?}");
            }
            assert_eq!(exempted_by(value, "d/1"), None, "{value:?}");
        }
    }

    #[test]
    fn an_empty_entry_exempts_nothing() {
        for value in ["", " ", ":", "/", "//", " / : / "] {
            assert_eq!(exempted_by(value, "a"), None, "{value:?}");
            assert_eq!(exempted_by(value, "/a"), None, "{value:?}");
        }
    }

    #[test]
    fn a_tag_value_of_the_greatest_length_is_read_to_its_end() {
        let value = format!("{}:end", "a".repeat(252));
        assert_eq!(value.len(), 256);
        assert!(exempted_by(&value, "end/1").is_some());
    }

    #[test]
    fn further_tags_are_numbered_and_others_ignored() {
        let tags = [
            tag("exceptionPaths", "a"),
            tag("exceptionPaths2", "b"),
            tag("exceptionPaths10", "c"),
            tag("exceptionPathsX", "d"),
            tag("myExceptionPaths", "e"),
            tag("exceptionpaths", "f"),
        ];
        let rules = ExceptionRules::from_tags(&tags);
        let deciding = |key: &str| {
            rules
                .exempting(&change(key, ChangeKind::Created))
                .map(ToString::to_string)
        };
        assert_eq!(
            deciding("b/1").unwrap(),
            "only deletions count under `b`, by the bucket tag exceptionPaths2"
        );
        assert!(deciding("a/1").is_some() && deciding("c/1").is_some());
        for key in ["d/1", "e/1", "f/1"] {
            assert_eq!(deciding(key), None, "{key}");
        }
    }

    #[test]
    fn a_deletion_is_never_exempt() {
        let rules = ExceptionRules::from_tags(&[tag("exceptionPaths", "*")]);
        assert!(rules.exempting(&change("a", ChangeKind::Created)).is_some());
        assert!(rules.exempting(&change("a", ChangeKind::Deleted)).is_none());
    }

    #[test]
    fn the_index_document_is_read_from_its_tag() {
        for (value, expected) in [
            ("index.html", Some("index.html")),
            (" /index.htm ", Some("index.htm")),
            ("", None),
        ] {
            let settings = BucketSettings::from_tags(&[tag("indexDocument", value)]);
            assert_eq!(settings.index_document.as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn a_changed_tag_of_ours_is_told_with_both_values() {
        let before = BucketSettings::from_tags(&[
            tag("exceptionPaths", "tmp"),
            tag("exceptionPaths2", "drafts"),
            tag("indexDocument", "index.html"),
            tag("team", "web"),
        ]);
        let after = BucketSettings::from_tags(&[
            tag("team", "shop"),
            tag("indexDocument", "index.html"),
            tag("exceptionPaths3", "css:js:img"),
            tag("exceptionPaths", "tmp:news"),
        ]);
        let change = |key: &str, old: Option<&str>, new: Option<&str>| TagChange {
            key: key.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        assert_eq!(
            after.changes_since(&before),
            [
                change("exceptionPaths", Some("tmp"), Some("tmp:news")),
                change("exceptionPaths2", Some("drafts"), None),
                change("exceptionPaths3", None, Some("css:js:img")),
            ]
        );
        assert_eq!(after.changes_since(&after), []);
    }

    #[test]
    fn a_bucket_opts_in_by_its_tag() {
        for (key, value, expected) in [
            ("invalidate", "changed", true),
            ("invalidate", " Changed ", true),
            ("invalidate", "all", false),
            ("invalidate", "", false),
            ("Invalidate", "changed", false),
            ("invalidates", "changed", false),
        ] {
            let settings = BucketSettings::from_tags(&[tag("other", "changed"), tag(key, value)]);
            assert_eq!(settings.only_changed, expected, "{key}={value}");
        }
        assert!(!BucketSettings::from_tags(&[]).only_changed);
    }

    #[test]
    fn what_does_not_do_what_it_was_meant_for_is_found() {
        use Misfit::*;
        for (tags, expected) in [
            (
                &[("exceptionPaths", "a b:c"), ("team", "web*")][..],
                &[][..],
            ),
            (
                &[("exceptionpaths", "a"), ("ExceptionPaths2", "b")],
                &[
                    ("exceptionpaths", "a", Misspelt("exceptionPaths")),
                    ("ExceptionPaths2", "b", Misspelt("exceptionPaths")),
                ],
            ),
            (
                &[("exceptionPath", "a"), ("exceptionPaths-2", "b")],
                &[
                    ("exceptionPath", "a", Misspelt("exceptionPaths")),
                    ("exceptionPaths-2", "b", Misspelt("exceptionPaths")),
                ],
            ),
            (
                &[("IndexDocument", "index.html"), ("Invalidate", "changed")],
                &[
                    ("IndexDocument", "index.html", Misspelt("indexDocument")),
                    ("Invalidate", "changed", Misspelt("invalidate")),
                ],
            ),
            (
                &[("exceptionPaths", "/ : //")],
                &[
                    ("exceptionPaths", "/", OnlySlashes),
                    ("exceptionPaths", "//", OnlySlashes),
                ],
            ),
            (
                &[("exceptionPaths", "s3://site/tmp")],
                &[("exceptionPaths", "//site/tmp", TwoSlashes)],
            ),
            (
                &[
                    ("exceptionPaths", "tmp"),
                    ("exceptionPaths2", "/tmp/a/ tmpx"),
                ],
                &[("exceptionPaths2", "/tmp/a/", CoveredBy("tmp".to_owned()))],
            ),
            (
                &[("exceptionPaths", "*")],
                &[
                    ("exceptionPaths", "*", Illegal('*')),
                    ("exceptionPaths", "*", Everything),
                ],
            ),
            (
                &[
                    ("invalidate", "change"),
                    ("indexDocument", "docs/index.html"),
                ],
                &[
                    ("invalidate", "change", UnknownValue),
                    ("indexDocument", "docs/index.html", NotAName),
                ],
            ),
            (
                &[
                    ("invalidate", " Changed "),
                    ("indexDocument", "/index.html"),
                ],
                &[],
            ),
            (
                &[("indexDocument", "/")],
                &[("indexDocument", "/", NotAName)],
            ),
        ] {
            let all: Vec<_> = tags.iter().map(|(key, value)| tag(key, value)).collect();
            let found = ineffective(&all);
            let found: Vec<_> = found
                .iter()
                .map(|it| (it.tag.as_str(), it.entry.as_str(), it.why.clone()))
                .collect();
            assert_eq!(found, expected, "{tags:?}");
        }
    }

    #[test]
    fn tags_say_what_is_asked_for_in_the_fewest_values() {
        let paths = [
            "a".repeat(200),
            "b:c".to_owned(),
            "d".repeat(52),
            "e".to_owned(),
        ];
        let tags = tags_for(&paths, Some("index.html"), true).unwrap();
        let expected = [
            tag("exceptionPaths", &format!("{} b c", "a".repeat(200))),
            tag("exceptionPaths2", &format!("{} e", "d".repeat(52))),
            tag("indexDocument", "index.html"),
            tag("invalidate", "changed"),
        ];
        assert_eq!(tags, expected);
        let settings = BucketSettings::from_tags(&tags);
        for key in ["b", "c/1", "e/x"] {
            let change = change(key, ChangeKind::Created);
            assert!(settings.exceptions.exempting(&change).is_some(), "{key}");
        }
        for (path, index_document, expected) in [
            ("a*", None, "`a*` has a `*`"),
            ("a(b)", None, "has a `(`"),
            ("/", None, "nothing but slashes"),
            ("", Some("a/b"), "without a folder"),
            (&"x".repeat(257), None, "more than 256"),
        ] {
            let error = tags_for(&[path.to_owned()], index_document, false).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert_eq!(tags_for(&[], None, false), Ok(Vec::new()));
    }
}
