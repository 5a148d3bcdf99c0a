//! Fences: how `invalidatorctl wait` learns that all earlier changes were accepted or rejected.
//!
//! A fence follows the changes through both queues and overtakes none of them. It never becomes an
//! invalidation, and no work waits for one to arrive.
//!
//! 1. `wait` puts a [`Fence`] into BufferQueue, behind the changes, and requests a tick.
//! 2. The flush that receives it goes on as always. If it ends so that nothing older can be left in the
//!    buffer, it puts a [`GroupFence`] into the message group of each target that serves the buckets, and writes
//!    which groups ([`FlushSays::Passed`]). Otherwise it puts the fence back, and says why.
//! 3. Submit finds the [`GroupFence`] behind all older sets of its group. It writes an object when no rest of
//!    them can be left either: see [`in_group`].
//! 4. `wait` reads these objects, and decides with [`waiter`] whether it is done.
//!
//! ```json
//! {"version":1,"buckets":[],"fence":{"id":"0123456789abcdef0123456789abcdef","buckets":["site"]}}
//! {"fence":{"id":"0123456789abcdef0123456789abcdef","run":"89abcdef01234567","group":"E1/paths","lap":0},"by":"invalidatorctl"}
//! ```
//!
//! A function that is too old to know fences takes the first for a message without changes.

pub mod in_group;
pub mod waiter;

use serde::{Deserialize, Serialize};

use crate::event::BucketName;
use crate::set::COMMAND_LINE;

/// The folder of all that is said about fences, in the error bucket. Nothing in it outlives a day.
pub const FOLDER: &str = "fences/";

/// What each fence has in its body, and nothing else: elsewhere quotation marks are escaped.
const MARK: &str = "\"fence\":{";

/// The version of what a flush says.
const VERSION: u32 = 1;

/// The largest body of a fence that is read.
const MAX_BYTES: usize = 16 * 1024;

/// A fence in BufferQueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The buckets whose changes are waited for.
    pub buckets: Vec<BucketName>,
    /// How many flushes have put it back because changes were still coming in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub busy: u32,
}

/// Where changes never stop coming in, no flush ends with an empty buffer. Each receives until nothing older
/// than itself comes any more, which is no proof: SQS may leave out any message. After so many flushes a
/// fence passes all the same.
pub const BUSY_FLUSHES: u32 = 3;

/// A fence in a message group of SubmitQueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFence {
    /// The id of the fence.
    pub id: String,
    /// 16 hexadecimal digits that tell it from those that another flush sent for the same fence.
    pub run: String,
    /// Its message group.
    pub group: String,
    /// How often it was sent after itself.
    pub lap: u32,
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    buckets: [(); 0],
    fence: Fence,
}

#[derive(Serialize, Deserialize)]
struct GroupBody {
    fence: GroupFence,
    by: String,
}

impl Fence {
    /// A fence for the changes of these buckets. `random` makes its id.
    pub fn new(random: u128, buckets: Vec<BucketName>) -> Self {
        Self {
            id: format!("{random:032x}"),
            buckets,
            busy: 0,
        }
    }

    /// The body of its message.
    ///
    /// # Errors
    /// None in practice: strings always serialize.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Body {
            version: 1,
            buckets: [],
            fence: self.clone(),
        })
    }

    /// Reads the body of a message of BufferQueue. `None` if it is no fence.
    pub fn from_json(body: &str) -> Option<Self> {
        if body.len() > MAX_BYTES || !body.contains(MARK) {
            return None;
        }
        let Body { fence, .. } = serde_json::from_str(body).ok()?;
        is_hex(&fence.id, 32).then_some(fence)
    }

    /// The key of what the flush says.
    pub fn key_of_flush(&self) -> String {
        format!("{FOLDER}{}/flush", self.id)
    }

    /// The fences of these message groups. `random` tells them from those of another flush.
    pub fn in_groups<'a>(
        &'a self,
        groups: &'a [String],
        random: u64,
    ) -> impl Iterator<Item = GroupFence> + 'a {
        groups.iter().map(move |group| GroupFence {
            id: self.id.clone(),
            run: format!("{random:016x}"),
            group: group.clone(),
            lap: 0,
        })
    }
}

impl GroupFence {
    /// The body of its message.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&GroupBody {
            fence: self.clone(),
            by: COMMAND_LINE.to_owned(),
        })
    }

    /// Reads the body of a message of SubmitQueue in this message group. `None` if it is no fence of it.
    pub fn from_json(body: &str, group: &str) -> Option<Self> {
        if body.len() > MAX_BYTES || !body.contains(MARK) {
            return None;
        }
        let GroupBody { fence, .. } = serde_json::from_str(body).ok()?;
        let is_one = is_hex(&fence.id, 32) && is_hex(&fence.run, 16) && fence.group == group;
        is_one.then_some(fence)
    }

    /// Its deduplication id.
    pub fn deduplication_id(&self) -> String {
        let Self {
            run, group, lap, ..
        } = self;
        format!("fence-{run}-{lap}-{group}")
    }

    /// The key of the object that says that its group has been passed.
    pub fn key(&self) -> String {
        format!("{FOLDER}{}/{}", self.id, self.group)
    }
}

/// What a flush says about a fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum FlushSays {
    /// Something older may be left in the buffer: the fence waits for another flush.
    Waits {
        /// When, in milliseconds since 1970.
        at: u64,
        /// Why, for a person.
        why: String,
    },
    /// What the buffer held before is in SubmitQueue, and the fence is behind it in these message groups.
    Passed {
        /// When, in milliseconds since 1970.
        at: u64,
        /// The message groups.
        groups: Vec<String>,
        /// If changes are hidden in the buffer on purpose: until then, in milliseconds since 1970.
        delayed_until: Option<u64>,
        /// How many messages of the buffer could not be read, and are rejected.
        unreadable: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct SaysBody {
    v: u32,
    #[serde(flatten)]
    says: FlushSays,
}

impl FlushSays {
    /// The object.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&SaysBody {
            v: VERSION,
            says: self.clone(),
        })
    }

    /// Reads the object. `None` if this program could not have written it.
    pub fn from_json(text: &str) -> Option<Self> {
        let SaysBody { v, says } = serde_json::from_str(text).ok()?;
        (v == VERSION).then_some(says)
    }
}

/// What the object of a message group says: when it was passed, in milliseconds since 1970.
pub fn passed_at(now: u64) -> String {
    format!(r#"{{"v":{VERSION},"at":{now}}}"#)
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffered::{Buffered, unpack};
    use crate::set::Set;

    fn fence() -> Fence {
        Fence::new(7, vec![BucketName::new("site"), BucketName::new("a.b")])
    }

    #[test]
    fn a_fence_is_read_again() {
        let body = fence().to_json().unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"buckets":[],"fence":{"id":"00000000000000000000000000000007","buckets":["site","a.b"]}}"#
        );
        assert_eq!(Fence::from_json(&body), Some(fence()));
        let groups = ["E1/paths".to_owned()];
        let in_group = fence().in_groups(&groups, 9).next().unwrap();
        let body = in_group.to_json().unwrap();
        assert_eq!(
            body,
            r#"{"fence":{"id":"00000000000000000000000000000007","run":"0000000000000009","group":"E1/paths","lap":0},"by":"invalidatorctl"}"#
        );
        assert_eq!(GroupFence::from_json(&body, "E1/paths"), Some(in_group));
        assert_eq!(GroupFence::from_json(&body, "E2/paths"), None);
    }

    /// A function from before there were fences drops it, as a message without changes.
    #[test]
    fn an_old_function_takes_a_fence_for_no_changes() {
        let body = fence().to_json().unwrap();
        let nothing = Buffered::Changes {
            scope: None,
            changes: Vec::new(),
        };
        assert_eq!(unpack(&body).unwrap(), nothing);
    }

    /// Such a function files it, and no target loses its trust.
    #[test]
    fn a_fence_in_a_group_is_of_another_sender_than_a_flush() {
        let groups = ["E1/paths".to_owned()];
        let body = fence().in_groups(&groups, 9).next().unwrap().to_json();
        let body = body.unwrap();
        assert!(Set::from_json(&body).is_err());
        assert!(Set::is_of_another(&body));
    }

    #[test]
    fn nothing_else_is_a_fence() {
        for body in [
            "",
            "hello",
            r#"{"version":1,"buckets":[]}"#,
            r#"{"version":1,"buckets":[],"fence":{"id":"../state/mode","buckets":[]}}"#,
            r#"{"version":1,"buckets":[{"bucket":"site","created":[["\"fence\":{",null]],"deleted":[]}]}"#,
            r#"{"version":1,"buckets":[{"bucket":"site","created":[["a",null]],"deleted":[]}],"fence":{"id":"00000000000000000000000000000007","buckets":[]}}"#,
            r#"{"v":1,"distribution":"E1","paths":["/a"],"reason":"\"fence\":{"}"#,
        ] {
            assert_eq!(Fence::from_json(body), None, "{body}");
            assert_eq!(GroupFence::from_json(body, "E1/paths"), None, "{body}");
        }
    }

    #[test]
    fn what_a_flush_says_is_read_again() {
        for says in [
            FlushSays::Waits {
                at: 1,
                why: "a receive failed".to_owned(),
            },
            FlushSays::Passed {
                at: 2,
                groups: vec!["E1/paths".to_owned()],
                delayed_until: Some(3),
                unreadable: 1,
            },
        ] {
            let text = says.to_json().unwrap();
            assert_eq!(FlushSays::from_json(&text), Some(says), "{text}");
        }
        assert_eq!(FlushSays::from_json("{}"), None);
    }
}
