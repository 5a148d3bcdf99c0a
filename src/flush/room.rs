//! How much one round may hold: as many bytes as fit into memory, and as much work as fits into the
//! remaining time.

use std::time::Duration;

use crate::queue::CALLS_AT_ONCE;

/// The bytes of one round, as [`bytes_of_change`], [`bytes_of_version_id`] and [`bytes_of_message`]
/// count them. Together with the
/// sets being sent and the distributions of a large account, a round of this size stays well below
/// 128 MiB.
pub const BYTES: usize = 24 * 1024 * 1024;

/// The part of the remaining time that a round may use. The rest allows for calls that are slower than
/// earlier ones.
const USED_TIME: f64 = 0.5;

/// How long a call is assumed to take before the first one was made.
pub const USUAL_CALL: Duration = Duration::from_millis(250);

/// Paths of a set.
const PATHS_OF_A_SET: f64 = 3_000.0;

/// Sets of a batch call, where they are small.
const SETS_OF_A_CALL: f64 = 10.0;

/// Messages of a batch call.
const MESSAGES_OF_A_CALL: f64 = 10.0;

/// The most memory that a change takes while its round is processed: its key, a path with every byte
/// encoded as three, and the entries that belong to them.
pub fn bytes_of_change(key_bytes: usize) -> usize {
    4 * key_bytes + 110
}

/// The most memory that the id of a version takes in addition to its change: its text, and its entries, in
/// lists that may be half empty.
pub fn bytes_of_version_id(bytes: usize) -> usize {
    2 * bytes + 56
}

/// The memory that a message takes in addition to its changes.
pub fn bytes_of_message(id_bytes: usize, receipt_handle_bytes: usize) -> usize {
    id_bytes + receipt_handle_bytes + 96
}

/// How much one round may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    bytes: usize,
    changes: usize,
    calls: f64,
}

impl Room {
    /// The room for a round of this time and at most this many changes, if calls take as long as `call`.
    pub fn new(time: Duration, call: Duration, changes: usize) -> Self {
        let calls =
            USED_TIME * time.as_secs_f64() / call.as_secs_f64().max(0.001) * CALLS_AT_ONCE as f64;
        Self {
            bytes: BYTES,
            changes,
            calls,
        }
    }

    /// How many bytes a round may have while `taken` bytes are taken by what earlier rounds have left. A
    /// message that was received before makes it smaller, so that the next attempt differs: the size of its
    /// round may have killed a flush. `receives` is the highest receive count of the round's messages,
    /// including this time.
    pub fn bytes(&self, receives: u32, taken: usize) -> usize {
        let halved = self.bytes >> receives.saturating_sub(1).min(12);
        halved.min(self.bytes.saturating_sub(taken))
    }

    /// Whether there is time for more than this many changes, which concern at most this many targets, and to
    /// delete this many messages.
    pub fn has_work_left(&self, changes: usize, messages: usize, targets: usize) -> bool {
        let sets = targets as f64 * (1.0 / SETS_OF_A_CALL + changes as f64 / PATHS_OF_A_SET);
        let deletes = messages as f64 / MESSAGES_OF_A_CALL;
        changes < self.changes && sets + deletes < self.calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Duration = Duration::from_secs(120);

    #[test]
    fn a_burst_of_a_set_fits_whatever_its_keys_are() {
        let room = Room::new(FLUSH, USUAL_CALL, 200_000);
        let message = bytes_of_message(36, 400);
        assert!(3_000 * (bytes_of_change(1_024) + message) < room.bytes(1, 0));
        assert!(room.has_work_left(2_999, 2_999, 500));
    }

    #[test]
    fn what_comes_back_makes_the_round_smaller() {
        let room = Room::new(FLUSH, USUAL_CALL, 200_000);
        let bytes: Vec<usize> = (1..5).map(|receives| room.bytes(receives, 0)).collect();
        assert_eq!(bytes, [BYTES, BYTES / 2, BYTES / 4, BYTES / 8]);
        assert!(room.bytes(1_000, 0) > 0);
    }

    #[test]
    fn receipt_handles_of_earlier_rounds_make_the_round_smaller() {
        let room = Room::new(FLUSH, USUAL_CALL, 200_000);
        assert_eq!(room.bytes(1, BYTES / 4), BYTES / 4 * 3);
        assert_eq!(room.bytes(2, BYTES / 4), BYTES / 2, "it is small already");
        assert_eq!(room.bytes(1, 2 * BYTES), 0);
    }

    #[test]
    fn work_is_bounded_by_the_time_it_takes() {
        for (targets, call, most) in [
            (1, USUAL_CALL, 76_000..79_000),
            (100, USUAL_CALL * 2, 100_000..116_000),
            (500, USUAL_CALL, 40_000..50_000),
            (10_000, USUAL_CALL, 1_400..2_100),
            (100, USUAL_CALL * 8, 20_000..30_000),
        ] {
            let room = Room::new(FLUSH, call, 200_000);
            // One change in each message, where there is one target; packed otherwise.
            let messages = |changes: usize| if targets == 1 { changes } else { changes / 100 };
            let changes = (0..200_000)
                .step_by(100)
                .take_while(|changes| room.has_work_left(*changes, messages(*changes), targets))
                .last()
                .unwrap_or(0);
            assert!(most.contains(&changes), "{targets} targets: {changes}");
        }
    }
}
