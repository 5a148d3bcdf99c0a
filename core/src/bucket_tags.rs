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
            tag.key == INVALIDATE_TAG && tag.value.trim().eq_ignore_ascii_case("changed")
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
        let rules = tags
            .iter()
            .filter(|tag| is_exception_tag(&tag.key))
            .flat_map(|tag| {
                tag.value
                    .split(|c: char| c.is_whitespace() || c == ',' || c == ':')
                    .filter_map(|entry| ExceptionRule::new(&tag.key, entry))
            })
            .collect();
        Self(rules)
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

impl fmt::Display for ExceptionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "only deletions count under `{}`, by the bucket tag {}",
            self.entry, self.tag
        )
    }
}

fn is_ours(key: &str) -> bool {
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
}
