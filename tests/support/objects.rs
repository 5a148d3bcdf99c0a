//! Objects that are written conditionally, as S3 does it (S3 User Guide, "Conditional requests"), in a
//! bucket that keeps versions.

use std::collections::{BTreeMap, BTreeSet};

/// Objects by key, each with its version.
#[derive(Debug, Default)]
pub struct Objects {
    objects: BTreeMap<String, (u64, String)>,
    delete_markers: BTreeSet<String>,
    writes: u64,
}

/// What a call is answered with: the status, the ETag, and the body or the error code.
pub type Answer = (u16, Option<String>, String);

impl Objects {
    /// `GetObject`, for a caller who may list the bucket: without that, S3 answers 403 for 404.
    pub fn get(&self, key: &str) -> Answer {
        match self.objects.get(key) {
            Some((version, body)) => (200, Some(e_tag(*version)), body.clone()),
            None => (404, None, "NoSuchKey".to_owned()),
        }
    }

    /// The keys that begin with this.
    #[allow(dead_code)] // Only the simulation lists.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.objects.keys();
        keys.filter(|key| key.starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Whether the latest version is a delete marker: then a 404 has the header `x-amz-delete-marker`.
    pub fn is_deleted(&self, key: &str) -> bool {
        self.delete_markers.contains(key)
    }

    /// `DeleteObject` without a version.
    pub fn delete(&mut self, key: &str) {
        self.objects.remove(key);
        self.delete_markers.insert(key.to_owned());
    }

    /// `PutObject` with `If-Match`, `If-None-Match`, or neither.
    pub fn put(&mut self, key: &str, conditions: (&str, &str), body: &str) -> Answer {
        let (if_match, if_none_match) = conditions;
        let known = self.objects.get(key).map(|(version, _)| e_tag(*version));
        assert!(
            matches!(if_none_match, "" | "*"),
            "S3 knows no other value of If-None-Match"
        );
        let refused = match &known {
            None if !if_match.is_empty() => Some((404, "NoSuchKey")),
            Some(known) if !if_match.is_empty() && known != if_match => {
                Some((412, "PreconditionFailed"))
            }
            Some(_) if if_none_match == "*" => Some((412, "PreconditionFailed")),
            _ => None,
        };
        if let Some((status, code)) = refused {
            return (status, None, code.to_owned());
        }
        self.writes += 1;
        let object = (self.writes, body.to_owned());
        self.objects.insert(key.to_owned(), object);
        self.delete_markers.remove(key);
        (200, Some(e_tag(self.writes)), String::new())
    }
}

fn e_tag(version: u64) -> String {
    format!("\"{version:032x}\"")
}
