//! Messages in and out of BufferQueue, and the ticks that start a flush.
//!
//! * [`message`]: changes packed into message bodies, and back
//! * [`tick`]: which window a tick is for
//! * [`queue`]: the calls

pub mod message;
pub mod queue;
pub mod tick;
