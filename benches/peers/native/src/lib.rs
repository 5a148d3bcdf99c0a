//! HTTP and Lambda's Runtime API by hand, over one blocking connection each.

pub mod http;
pub mod runtime_api;
