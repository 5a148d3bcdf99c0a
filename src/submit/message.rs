//! The messages of SubmitQueue, each with its set of paths.

use aws_lambda_events::sqs::SqsMessage;
use invalidator_core::buffered::{UNREADABLE_GROUP, unpack};
use invalidator_core::caller_reference::SetId;
use invalidator_core::error_file::Unreadable;
use invalidator_core::set::{Lane, OURSELVES, Set};

use crate::queue::Received;

/// A message of the batch.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    /// Its receipt handle, with which it is deleted.
    pub receipt_handle: String,
    pub set_id: SetId,
    /// How often it was received, including this time.
    pub receives: u32,
    /// When it was sent, in milliseconds since 1970.
    pub sent: u64,
    /// Whether it is in a message group of its target, as another tool may have chosen any.
    pub is_in_its_group: bool,
    pub set: Set<'static>,
}

impl Message {
    /// When the set was first sent.
    pub fn first_sent(&self) -> u64 {
        self.set
            .first_sent
            .map_or(self.sent, |first| first.min(self.sent))
    }

    /// Whether a flush made the set.
    pub fn is_ours(&self) -> bool {
        self.set.by == OURSELVES
    }
}

/// Reads a message; returns its message group with it.
pub fn read(record: &SqsMessage) -> Result<(String, Message), Unreadable> {
    let attribute = |name: &str| record.attributes.get(name).cloned();
    let group = attribute("MessageGroupId").unwrap_or_default();
    let body = record.body.as_deref().unwrap_or_default();
    if group == UNREADABLE_GROUP {
        let why = unpack(body).err().map(|error| error.to_string());
        let why =
            why.unwrap_or_else(|| "another version of the function could not read it".to_owned());
        return Err(Unreadable::in_buffer_queue(&why));
    }
    let mut set = Set::from_json(body)
        .map_err(|error| Unreadable::in_submit_queue(&group, &error.to_string()))?;
    let mut set_id = attribute("MessageDeduplicationId").unwrap_or_else(|| record.id());
    if set.by != OURSELVES {
        // Other tools may reuse an id for another request, and CloudFront would answer with the first one.
        set_id = format!("{set_id}/{}", record.id());
    }
    let is_in_its_group = Lane::groups(&set.target).contains(&group);
    if !is_in_its_group {
        // A lost call is sent to the group of its target. Anybody else's reference would keep this message at
        // the head of a group that is not its own.
        set.caller_reference = None;
    }
    let message = Message {
        id: record.id(),
        receipt_handle: record.handle(),
        set_id: SetId::known(set_id),
        receives: record.receive_count(),
        sent: record.time("SentTimestamp").unwrap_or(u64::MAX),
        is_in_its_group,
        set,
    };
    Ok((group, message))
}

/// Whether a message that cannot be read may hold what a flush sent: a set of a newer version of the function,
/// or changes that were in the buffer.
pub fn may_be_ours(record: &SqsMessage) -> bool {
    let group = record.attributes.get("MessageGroupId");
    let body = record.body.as_deref().unwrap_or_default();
    group.is_some_and(|group| group == UNREADABLE_GROUP) || !Set::is_of_another(body)
}
