//! The time window that a tick belongs to.
//!
//! TickQueue delays every message by the debounce, and a window is [`SLACK`] shorter. For a change
//! buffered at time t, the tick of the window that contains t' >= t is requested. If that tick was
//! already sent, then no earlier than the window's beginning, so it arrives at least [`SLACK`] after
//! the window's end. So it arrives after t, and clocks may differ by [`SLACK`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much shorter a window is than the delay of TickQueue.
pub const SLACK: Duration = Duration::from_secs(2);

/// The beginning of a deduplication id, which is the body of the tick too.
const PREFIX: &str = "window-";

/// The number of a window. All ticks of a window have the same deduplication id, so the queue keeps
/// only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window(u64);

impl Window {
    /// The window that contains `now`.
    pub fn at(now: SystemTime, debounce: Duration) -> Self {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let length = debounce.saturating_sub(SLACK).as_secs().max(1);
        Self(since_epoch.as_secs() / length)
    }

    /// The deduplication id of this window's tick.
    pub fn deduplication_id(self) -> String {
        format!("{PREFIX}{}", self.0)
    }

    /// Whether this is the body of a tick that was sent because a change was buffered. That of the sweep is
    /// sent in any case, and that of a flush for what it has put back.
    pub fn is_body_of_tick(body: &str) -> bool {
        body.starts_with(PREFIX)
    }

    /// The number of the window.
    pub fn number(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        let debounce = Duration::from_secs(10);
        assert_eq!(Window::at(at(0), debounce), Window(0));
        assert_eq!(Window::at(at(7), debounce), Window(0));
        assert_eq!(Window::at(at(8), debounce), Window(1));
        let id = Window::at(at(80), debounce).deduplication_id();
        assert_eq!(id, "window-10");
        assert!(Window::is_body_of_tick(&id));
        assert!(!Window::is_body_of_tick(
            r#"{"sweep":"2026-11-21T02:03:04Z"}"#
        ));
    }

    /// Checks the module's argument for every second of a change and of an earlier tick of its window.
    #[test]
    fn a_tick_that_was_sent_before_a_change_fires_after_it() {
        for seconds in [3, 4, 10, 60, 900] {
            let debounce = Duration::from_secs(seconds);
            for change in 10_000..12_000 {
                let window = Window::at(at(change), debounce);
                let earliest_tick = (0..=change)
                    .rev()
                    .take_while(|t| Window::at(at(*t), debounce) == window)
                    .last()
                    .unwrap();
                assert!(
                    at(earliest_tick) + debounce >= at(change) + SLACK,
                    "{seconds} {change}"
                );
            }
        }
    }
}
