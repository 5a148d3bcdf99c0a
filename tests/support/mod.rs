//! Shared support for the tests. Each test file uses a part of it.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod account;
pub mod aws;
pub mod calls;
pub mod emulator;
pub mod function;
pub mod large;
pub mod objects;
pub mod queue;
pub mod refusals;
pub mod tags;
pub mod tls;
