//! What is set on a bucket, and how it is changed without losing what others have set.
//!
//! * [`settings`]: reads the notifications and the tags, and refuses what it could not write back whole
//! * [`change`]: what connecting and disconnecting would change, and what bars it
//! * [`record`]: what was changed, so that exactly that can be undone
//! * [`apply`]: writes, if nothing changed in the meantime
//! * [`permission`]: whether S3 may invoke the function; [`event_bridge`]: who else gets the events
//! * [`report`]: what was changed, for a person or a machine

pub mod apply;
pub mod change;
pub mod event_bridge;
pub mod permission;
pub mod record;
pub mod report;
pub mod settings;
