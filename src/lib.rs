//! Keeps CloudFront fresh when S3 objects change.
//!
//! ```text
//!  S3 event ──► ingest ──► BufferQueue (standard) ───────────┐
//!  (direct, SNS,   │                                         ▼
//!   SQS, Event-    └────► TickQueue (FIFO, delay 10 s) ──► flush: load, drain, plan
//!   Bridge)                                                  │ sets of paths
//!                                                            ▼
//!                              SubmitQueue (FIFO, one group per target and lane)
//!                                                            ▼
//!                              submit: merge ──► CloudFront
//!                                ├── later: the messages stay in the queue, only their group waits
//!                                └── rejected: error bucket + SNS
//! ```
//!
//! One function with three stages. Each stage is idempotent, because each input can arrive twice. All
//! decisions are made in [`invalidator_core`], which uses no client, no clock and no randomness; this
//! crate makes the calls.
//!
//! # Layout
//!
//! In the order in which data flows:
//!
//! * [`handler`]: passes an event to its stage
//! * [`ingest`]: the stage that buffers changes
//! * [`flush`]: the stage that turns changes into sets of paths
//! * [`submit`]: the stage that turns sets into invalidations
//!
//! What the stages share:
//!
//! * [`app`]: the state that an environment keeps from one invocation to the next
//! * [`tags`]: reads the tags of buckets
//! * [`catalog`]: reads CloudFront's configuration
//! * [`queue`], [`ticker`]: the calls on SQS
//! * [`last_flush`]: what an environment remembers about its last flush
//! * [`state`]: the objects that outlive an environment and a deployment
//! * [`ledger`]: what was spent, and which targets are trusted
//! * [`others`]: counts what others have ordered in the account
//! * [`rations`]: how often wildcards that names need are submitted
//! * [`worth`]: in which buckets looking before paying has been worth it
//! * [`rejections`]: error files; [`incidents`], [`incident_memory`]: the mails about them
//! * [`mode`]: reads whether the stack is live; [`pauses`]: which changes are held back
//! * [`fences`]: writes what the fences of `invalidatorctl wait` have met
//! * [`metrics`]: CloudWatch embedded metric format; `counters`: the counts that become metrics
//! * [`aws`]: the SDK clients, and what their errors mean
//! * [`config`]: the settings
//! * [`clock`]: the time of day
//! * [`logging`]: what is logged, and how

pub mod app;
pub mod aws;
pub mod catalog;
pub mod clock;
pub mod config;
mod counters;
pub mod decisions;
pub mod fences;
pub mod flush;
pub mod handler;
pub mod incident_memory;
pub mod incidents;
pub mod ingest;
pub mod last_flush;
pub mod ledger;
pub mod logging;
pub mod metrics;
pub mod mode;
pub mod others;
pub mod pauses;
pub mod queue;
pub mod rations;
pub mod rejections;
pub mod state;
pub mod submit;
pub mod tags;
pub mod ticker;
pub mod worth;
