//! What decides which paths CloudFront has to drop. Pure: no AWS crate, no clock, no randomness, no IO.
//!
//! # Layout
//!
//! In the order in which data flows:
//!
//! * [`event`]: every event shape, read into changes
//! * [`bucket_tags`]: bucket tags, read into rules
//! * [`buffered`]: changes packed into messages of BufferQueue, and back
//! * [`tick`]: which window a tick is for
//! * [`distributions`]: CloudFront's configuration, as planning needs it
//! * [`pattern`]: path patterns
//! * [`path`]: from a key to invalidation paths
//! * [`target`]: what an invalidation is made for
//! * [`plan`]: changes and distributions in, sets of paths out
//! * [`set`]: a set of paths, as a message of SubmitQueue
//! * [`merge`]: sets that wait for one target, merged
//! * [`caller_reference`]: identities that stay the same when something is done again
//! * [`retry`]: all timing of retries
//! * [`rejection`]: why CloudFront did not accept a set
//! * [`error_file`]: the file and the mail about rejected paths

// The other packages, and the tools that send sets, are written against these docs.
#![warn(missing_docs)]

pub mod bucket_tags;
pub mod buffered;
pub mod caller_reference;
pub mod distributions;
pub mod error_file;
pub mod event;
pub mod merge;
pub mod path;
pub mod pattern;
pub mod plan;
pub mod rejection;
pub mod retry;
pub mod set;
pub mod target;
pub mod tick;
