//! What invalidations cost, and how to pay less without being staler. Pure, like all of the core.
//!
//! A path costs as much as 1,000 LISTs or 12,500 HEADs of S3, so looking before paying is nearly free.
//! Every saving is a decision that says its reason and its amount. A rule that cannot be sure
//! invalidates.
//!
//! * [`amount`]: amounts of money, and how they and numbers are shown
//! * [`price`]: the prices of AWS that decide
//! * [`month`]: a month of the bill
//! * [`bars`]: where a wildcard may not be used
//! * [`limits`]: what else a wildcard may not do
//! * [`sources`]: which objects a wildcard clears
//! * [`folders`]: where a wildcard could replace paths, and what else it would clear
//! * [`cover`]: the cheapest cover of a set of paths
//! * [`choose`]: how it is found
//! * [`mode`]: what the operator prefers
//! * [`account`]: what was ordered so far, and the forecast
//! * [`share`]: fair shares of something scarce
//! * [`collapse`]: whether paths are exact, covered, or wait
//! * [`order`]: what a flush orders for each target
//! * [`ledger`]: how many paths were ordered this month, and which targets may be trusted
//! * [`others`]: which invalidations are read to count what others have ordered
//! * [`skip`]: which uploads change nothing that viewers get
//! * [`estimate`]: what a bucket's past would have cost

pub mod account;
pub mod amount;
pub mod bars;
mod choose;
pub mod collapse;
pub mod cover;
pub mod estimate;
pub mod folders;
pub mod ledger;
pub mod limits;
pub mod mode;
pub mod month;
pub mod order;
pub mod others;
pub mod price;
pub mod share;
pub mod skip;
pub mod sources;
