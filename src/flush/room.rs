//! How much one round may hold: so many bytes as fit into memory, and so much work as fits into the
//! time that is left.

use std::time::Duration;

/// Bytes of one round, as [`bytes_of_change`] and [`bytes_of_message`] count them. With the sets that
/// are on their way and the distributions of a large account, a round of this size stays well below
/// 128 MiB.
const BYTES: usize = 24 * 1024 * 1024;

/// Calls that send or delete, at once.
const CALLS_AT_ONCE: f64 = 16.0;

/// Of the time that is left, this part is planned for. The rest is for calls that are slower than those
/// before them.
const USED_TIME: f64 = 0.5;

/// A call is assumed to take this long before any was made.
pub const USUAL_CALL: Duration = Duration::from_millis(250);

/// Paths of a set.
const PATHS_OF_A_SET: f64 = 3_000.0;

/// Sets of a batch call, where they are small.
const SETS_OF_A_CALL: f64 = 10.0;

/// Messages of a batch call.
const MESSAGES_OF_A_CALL: f64 = 10.0;

/// What a change takes at most while its round is processed: its key, a path of it with every byte
/// encoded as three, and the entries that go with them.
pub fn bytes_of_change(key_bytes: usize) -> usize {
    4 * key_bytes + 110
}

/// What a message takes beside its changes.
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
    /// The room for a round that has so much time, if calls take as long as `call`, and no more than so
    /// many changes.
    pub fn new(time: Duration, call: Duration, changes: usize) -> Self {
        let calls = USED_TIME * time.as_secs_f64() / call.as_secs_f64().max(0.001) * CALLS_AT_ONCE;
        Self {
            bytes: BYTES,
            changes,
            calls,
        }
    }

    /// The bytes a round may have. A message that was received before makes it smaller: a flush may
    /// have died of it, so the next attempt is different. `receives` counts the most often received
    /// message of the round, this time included.
    pub fn bytes(&self, receives: u32) -> usize {
        self.bytes >> receives.saturating_sub(1).min(12)
    }

    /// Whether there is room for more, after so many changes in so many messages, which at most so many
    /// targets have to be told of.
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
        assert!(3_000 * (bytes_of_change(1_024) + message) < room.bytes(1));
        assert!(room.has_work_left(2_999, 2_999, 500));
    }

    #[test]
    fn what_comes_back_makes_the_round_smaller() {
        let room = Room::new(FLUSH, USUAL_CALL, 200_000);
        let bytes: Vec<usize> = (1..5).map(|receives| room.bytes(receives)).collect();
        assert_eq!(bytes, [BYTES, BYTES / 2, BYTES / 4, BYTES / 8]);
        assert!(room.bytes(1_000) > 0);
    }

    #[test]
    fn work_is_bounded_by_the_time_it_takes() {
        for (targets, call, most) in [
            (1, USUAL_CALL, 38_000..39_500),
            (100, USUAL_CALL, 100_000..116_000),
            (500, USUAL_CALL, 20_000..25_000),
            (10_000, USUAL_CALL, 700..1_000),
            (100, USUAL_CALL * 4, 20_000..30_000),
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
