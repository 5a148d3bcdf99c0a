//! What invalidations cost, and how to pay less without being staler. Pure, like all of the core.
//!
//! * [`ledger`]: how many paths were ordered this month, and which targets may be trusted

pub mod ledger;
