//! The default root objects that were read, as all environments know them.
//!
//! The list of distributions does not contain them, so each takes a call, at a rate that is low and
//! unpublished. A root object is part of the configuration, so it is known for as long as the list shows the
//! version (ETag) with which it was read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::state::{
    Beginning, SharedState, StateObject, UnreadableState, Writes, check, from_versioned_json,
};
use crate::target::DistributionId;

/// The object that holds them, in the error bucket.
pub const STATE_KEY: &str = "state/ledger/default-root-objects.json";

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// Of so many distributions they are kept. Those of more are read by each environment.
const MOST: usize = 2_000;

/// CloudFront API Reference, "DistributionConfig": 255 characters.
const LONGEST_ROOT: usize = 255;

/// An ETag of CloudFront has 13 or 14 characters.
const LONGEST_E_TAG: usize = 64;

/// The default root objects of distributions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootObjects {
    of: BTreeMap<DistributionId, RootObject>,
    writes: Writes,
}

/// The default root object of a distribution, in one version of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootObject {
    /// The version.
    pub e_tag: String,
    /// The object, without a leading slash; `None` if there is none.
    pub object: Option<String>,
}

impl RootObject {
    /// Whether it is one that CloudFront could have named.
    fn is_valid(&self) -> bool {
        let root = self.object.as_deref();
        let is_root = |it: &str| it.len() <= LONGEST_ROOT && !it.contains(char::is_control);
        let is_e_tag = |c: u8| c.is_ascii_graphic() && !matches!(c, b'"' | b'\\');
        (1..=LONGEST_E_TAG).contains(&self.e_tag.len())
            && self.e_tag.bytes().all(is_e_tag)
            && root.is_none_or(|root| !root.is_empty() && is_root(root))
    }
}

impl RootObjects {
    /// The default root object of this version of a distribution; `None` if it is not known.
    pub fn of(&self, id: &DistributionId, e_tag: &str) -> Option<&RootObject> {
        self.of.get(id).filter(|it| it.e_tag == e_tag)
    }

    /// Adds what was read, and forgets distributions that are not listed any more. Returns whether that
    /// changed anything.
    pub fn learn(
        &mut self,
        new: &BTreeMap<DistributionId, RootObject>,
        listed: &BTreeSet<DistributionId>,
    ) -> bool {
        let before = self.of.clone();
        let new = new.iter().filter(|(_, root)| root.is_valid());
        self.of
            .extend(new.map(|(id, root)| (id.clone(), root.clone())));
        self.of.retain(|id, _| listed.contains(id));
        while self.of.len() > MOST {
            self.of.pop_last();
        }
        self.of != before
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    roots: BTreeMap<DistributionId, (String, Option<String>)>,
    writes: Writes,
}

impl StateObject for RootObjects {
    const NAME: &'static str = "the default root objects";
    const REMEDY: &'static str = "nothing, they are read from CloudFront again; find out who wrote to state/ of the \
                                  bucket, whose versions keep what was there";
    /// Larger than the largest that fits into the limits above, with each character of a root object escaped.
    const MAX_BYTES: usize = 2 * 1024 * 1024;

    fn from_json(text: &str) -> Result<Self, UnreadableState> {
        let Body { roots, writes, .. } = from_versioned_json(text, VERSION, None)?;
        writes.check()?;
        check(roots.len() <= MOST, "roots")?;
        let roots = roots.into_iter();
        let of: BTreeMap<_, _> = roots
            .map(|(id, (e_tag, object))| (id, RootObject { e_tag, object }))
            .collect();
        check(of.values().all(RootObject::is_valid), "roots")?;
        Ok(Self { of, writes })
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        let roots = self.of.iter().map(|(id, root)| {
            let RootObject { e_tag, object } = root.clone();
            (id.clone(), (e_tag, object))
        });
        serde_json::to_string(&Body {
            v: VERSION,
            roots: roots.collect(),
            writes: self.writes.clone(),
        })
    }
}

impl SharedState for RootObjects {
    /// None is known, so they are read from CloudFront.
    fn begin(_: Beginning) -> Self {
        Self::default()
    }

    fn writes(&mut self) -> &mut Writes {
        &mut self.writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(e_tag: &str, object: Option<&str>) -> RootObject {
        RootObject {
            e_tag: e_tag.to_owned(),
            object: object.map(str::to_owned),
        }
    }

    fn id(id: &str) -> DistributionId {
        DistributionId::new(id)
    }

    fn learnt(new: &[(&str, RootObject)]) -> RootObjects {
        let new = new.iter().map(|(name, root)| (id(name), root.clone()));
        let new: BTreeMap<_, _> = new.collect();
        let mut roots = RootObjects::default();
        roots.learn(&new, &new.keys().cloned().collect());
        roots
    }

    #[test]
    fn a_root_object_is_known_for_its_version_only() {
        let roots = learnt(&[
            ("E1", root("V1", Some("index.html"))),
            ("E2", root("V1", None)),
        ]);
        for (name, e_tag, expected) in [
            ("E1", "V1", Some(Some("index.html"))),
            ("E1", "V2", None),
            ("E2", "V1", Some(None)),
            ("E3", "V1", None),
        ] {
            let known = roots.of(&id(name), e_tag);
            let known = known.map(|it| it.object.as_deref());
            assert_eq!(known, expected, "{name} {e_tag}");
        }
    }

    #[test]
    fn what_is_learnt_replaces_and_what_is_gone_is_forgotten() {
        let mut roots = learnt(&[("E1", root("V1", Some("a"))), ("E2", root("V1", None))]);
        let listed = BTreeSet::from([id("E1"), id("E3")]);
        let new = BTreeMap::from([
            (id("E1"), root("V2", Some("b"))),
            (id("E3"), root("V1", None)),
        ]);
        assert!(roots.learn(&new, &listed));
        assert_eq!(
            roots,
            learnt(&[("E1", root("V2", Some("b"))), ("E3", root("V1", None))])
        );
        assert!(!roots.learn(&new, &listed), "nothing is new");
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let roots = learnt(&[
            ("E1", root("V1", Some("folder/index.html"))),
            ("E2", root("V2", None)),
        ]);
        let text = roots.to_json().unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"roots":{"E1":["V1","folder/index.html"],"E2":["V2",null]},"writes":[]}"#
        );
        assert_eq!(RootObjects::from_json(&text).unwrap(), roots);
    }

    #[test]
    fn what_this_program_could_not_have_written_is_unreadable() {
        let long = "a".repeat(LONGEST_ROOT + 1);
        for roots in [
            r#"{"E1":["","index.html"]}"#.to_owned(),
            r#"{"E1":["V\n1","index.html"]}"#.to_owned(),
            r#"{"E1":["V1",""]}"#.to_owned(),
            r#"{"E1":["V1","a\u0000"]}"#.to_owned(),
            format!(r#"{{"E1":["V1","{long}"]}}"#),
            r#"{"no id":["V1",null]}"#.to_owned(),
            r#"{"E1":"V1"}"#.to_owned(),
        ] {
            let text = format!(r#"{{"v":1,"roots":{roots},"writes":[]}}"#);
            assert!(RootObjects::from_json(&text).is_err(), "{roots}");
        }
        let other = r#"{"v":2,"roots":{},"writes":[]}"#;
        assert!(RootObjects::from_json(other).is_err());
    }

    #[test]
    fn the_largest_can_be_read_again() {
        let object = "\"".repeat(LONGEST_ROOT);
        let e_tag = "E".repeat(LONGEST_E_TAG);
        let ids = (0..MOST + 10).map(|n| id(&format!("E{n:031}")));
        let new: BTreeMap<_, _> = ids.map(|id| (id, root(&e_tag, Some(&object)))).collect();
        let mut roots = RootObjects::default();
        assert!(roots.learn(&new, &new.keys().cloned().collect()));
        for n in 0..Writes::MAX {
            roots.writes().push(&format!("{n:016x}"));
        }
        let text = roots.to_json().unwrap();
        assert!(text.len() <= RootObjects::MAX_BYTES, "{}", text.len());
        let read = RootObjects::from_json(&text).unwrap();
        assert_eq!(read.of.len(), MOST);
    }

    #[test]
    fn what_cannot_be_kept_is_left_out() {
        let long = "a".repeat(LONGEST_ROOT + 1);
        let roots = learnt(&[
            ("E1", root("V1", Some(&long))),
            ("E2", root("", Some("index.html"))),
            ("E3", root("V1", Some("index.html"))),
        ]);
        assert_eq!(roots, learnt(&[("E3", root("V1", Some("index.html")))]));
    }
}
