//! What a bucket's past would have cost, before anything is connected.
//!
//! A list of versions tells when each key was uploaded and deleted. So the flushes that would have been are
//! made again, one after another: planned by the same [`plan`](crate::plan::plan), paid for by the same
//! [`decide`](super::collapse::decide), [`cheapest_cover`](super::cover::cheapest_cover),
//! [`admit`](super::collapse::admit) and [`skip`](super::skip). Nothing is decided a second time here.
//!
//! * [`history`]: what happened to the keys of a bucket, kept in few bytes
//! * [`flushes`]: which changes a flush would have taken
//! * [`look`]: what listing the bucket would have told of other keys
//! * [`cells`]: paths by target and top folder
//! * [`flush`]: the paths of a flush, exact and covered
//! * [`unchanged`]: which keys of a flush would have been skipped
//! * [`way`]: the ways to pay
//! * [`spender`]: what one of them has ordered so far
//! * [`rules`]: what all of this goes by
//! * [`replay`]: all flushes, in each way
//!
//! # What a list cannot tell
//!
//! Versions that were removed for good are not there, so the changes that made them are missing, and what was
//! above them may look like a first upload. Where a bucket keeps no versions only the last upload of each
//! key is there. Both make the numbers too low. Headers and tags are not in the list: what is called
//! unchanged here may differ in them, and would then be paid for.

mod cells;
mod flush;
mod flushes;
pub mod history;
pub mod look;
pub mod replay;
pub mod rules;
pub mod spender;
mod unchanged;
pub mod way;
