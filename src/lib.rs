//! Keeps CloudFront fresh when S3 objects change.
//!
//! ```text
//!  S3 event ──► ingest ──► BufferQueue (standard) ─────────┐
//!  (direct, SNS,   │                                       ▼
//!   SQS, Event-    └────► TickQueue (FIFO, delay 10 s) ─► flush: drain ─► plan ─► submit ──► CloudFront
//!   Bridge)                                                                        │
//!                           RetryQueue (FIFO, a group a distribution)◄─ later
//!                                  └─► resubmit ──► CloudFront     │
//!                                           └─► error bucket + SNS ◄── never
//! ```
//!
//! One function, three stages, each of them idempotent, because each input can come twice. What
//! decides (`event`, `exceptions`, `pattern`, `path`, `plan`, the formats of `failure`) is pure: it
//! knows no client, no clock and no randomness.
//!
//! # Layout
//!
//! In the order in which data flows:
//!
//! * [`handler`]: which stage does this event belong to
//! * [`ingest`]: the stage that buffers changes
//!   * [`event`]: every event shape, read into changes
//!   * [`exceptions`]: bucket tags, read into rules
//!   * [`buffer`]: messages in and out of BufferQueue, and ticks
//! * [`flush`]: the stage that works the buffer off
//!   * [`distributions`]: CloudFront's configuration
//!   * [`pattern`]: path patterns
//!   * [`path`]: from a key to invalidation paths
//!   * [`plan`]: changes and distributions in, sets of paths out
//!   * [`submit`]: a set, to CloudFront, and what came of it
//!   * [`failure`]: what CloudFront refused for good
//! * [`resubmit`]: the stage for what CloudFront held back
//! * [`metrics`]: CloudWatch embedded metric format
//! * [`aws`]: the SDK clients
//! * [`config`]: the settings
//! * [`clock`]: the time of day

pub mod aws;
pub mod buffer;
pub mod clock;
pub mod config;
pub mod distributions;
pub mod event;
pub mod exceptions;
pub mod failure;
pub mod flush;
pub mod handler;
pub mod ingest;
pub mod metrics;
pub mod path;
pub mod pattern;
pub mod plan;
pub mod resubmit;
pub mod submit;
