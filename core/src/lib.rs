//! Decides which paths CloudFront has to invalidate. Pure: no AWS crate, no clock, no randomness, no IO.
//!
//! # Layout
//!
//! In the order in which data flows:
//!
//! * [`event`]: reads every event shape into changes
//! * [`bucket_tags`]: reads bucket tags into rules
//! * [`buffered`]: packs changes into messages of BufferQueue, and unpacks them
//! * [`fence`]: how one learns that all earlier changes were accepted or rejected
//! * [`tick`]: the time window that a tick belongs to
//! * [`distributions`]: CloudFront's configuration, as planning needs it
//! * [`pattern`]: path patterns
//! * [`path`]: from a key to invalidation paths
//! * [`name`]: names that AWS gives to what an account holds
//! * [`target`]: a distribution or tenant, for which an invalidation is created
//! * [`plan`]: changes and distributions in, sets of paths out
//! * [`cost`]: what paths cost, and how to pay for fewer
//! * [`wildcards`]: how wide wildcards may be, and how many are submitted at once
//! * [`ration`]: rations of the wildcards that names need
//! * [`set`]: a set of paths, as a message of SubmitQueue
//! * [`merge`]: merges the sets that wait for one target
//! * [`caller_reference`]: ids of sets and calls that stay the same when they are repeated
//! * [`retry`]: the timing of all retries
//! * [`read_pace`]: how fast CloudFront's configuration is read when it is throttled
//! * [`service_error`]: what the errors of AWS mean, and how they are shown
//! * [`problems`]: what is wrong with an input, bounded
//! * [`text`]: texts from outside, made safe to show
//! * [`defang`]: texts from outside in a mail, which must not become links
//! * [`shell`]: words of a command line that people paste
//! * [`rejection`]: paths that CloudFront did not accept
//! * [`error_file`]: the file of rejected paths
//! * [`replay`]: reads such a file again, without believing it
//! * [`state`]: the objects that outlive an environment and a deployment
//! * [`incident`]: when a mail about rejected paths is due
//! * [`incident_mail`]: what the mail says
//! * [`mode`]: whether the stack invalidates, only plans, or waits
//! * [`pause`]: changes that are held back
//! * [`allowance`]: how many lines of a kind may be logged
//! * [`endpoint`]: where calls may go
//! * [`tls_roots`]: the age of the root certificates

// The other packages, and the tools that send sets, are written against these docs.
#![warn(missing_docs)]

pub mod allowance;
pub mod bucket_tags;
pub mod buffered;
pub mod caller_reference;
pub mod cost;
pub mod defang;
pub mod distributions;
pub mod endpoint;
pub mod error_file;
pub mod event;
pub mod fence;
pub mod incident;
pub mod incident_mail;
mod index;
pub mod merge;
pub mod mode;
pub mod name;
pub mod path;
pub mod pattern;
pub mod pause;
pub mod plan;
pub mod problems;
pub mod ration;
pub mod read_pace;
pub mod rejection;
pub mod replay;
pub mod retry;
pub mod service_error;
pub mod set;
pub mod shell;
pub mod state;
pub mod target;
pub mod text;
pub mod tick;
pub mod tls_roots;
pub mod wildcards;
