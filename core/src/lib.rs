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
//! * [`rejection`]: why CloudFront did not accept a set
//! * [`error_file`]: the file and the mail about rejected paths

pub mod bucket_tags;
pub mod buffered;
pub mod distributions;
pub mod error_file;
pub mod event;
pub mod path;
pub mod pattern;
pub mod plan;
pub mod rejection;
pub mod target;
pub mod tick;
