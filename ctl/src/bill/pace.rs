//! How fast CloudFront may be read. Its rates are not published, so the pace is found by trying: faster
//! while calls succeed, half as fast after each throttled one.

use std::time::Duration;

use tokio::time::Instant;

/// The time from one call to the next, at first.
const FIRST: Duration = Duration::from_millis(100);

/// It never becomes shorter than this: more calls at once than a person's own tools would make.
const SHORTEST: Duration = Duration::from_millis(25);

/// Nor longer.
const LONGEST: Duration = Duration::from_secs(16);

/// So many calls in a row must succeed before the next ones are a tenth faster.
const SUCCESSES: u32 = 20;

/// How long nothing may succeed before the reading is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// The pace of calls that several tasks make.
#[derive(Clone, Debug)]
pub struct Pace {
    interval: Duration,
    next: Instant,
    successes: u32,
    last_success: Instant,
    /// No throttled answer counts until then: the calls that were on their way at the last one.
    deaf_until: Instant,
}

impl Pace {
    /// Begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            interval: FIRST,
            next: now,
            successes: 0,
            last_success: now,
            deaf_until: now,
        }
    }

    /// When the next call may be made. It is taken by that: the one after it comes later.
    pub fn take_turn(&mut self, now: Instant) -> Instant {
        let turn = self.next.max(now);
        self.next = turn + self.interval;
        turn
    }

    /// A call was answered.
    pub fn succeeded(&mut self, now: Instant) {
        self.last_success = now;
        self.successes += 1;
        if self.successes >= SUCCESSES {
            self.successes = 0;
            self.interval = self.interval.mul_f64(0.9).max(SHORTEST);
        }
    }

    /// A call was throttled, or not answered as it should be. Returns whether to try it again.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.successes = 0;
        if now >= self.deaf_until {
            self.interval = (self.interval * 2).min(LONGEST);
            self.next = self.next.max(now + self.interval);
            self.deaf_until = self.next;
        }
        now.duration_since(self.last_success) < PATIENCE
    }

    /// Calls a second.
    pub fn per_second(&self) -> f64 {
        1.0 / self.interval.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_becomes_faster_while_calls_succeed_and_never_too_fast() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let before = pace.per_second();
        for _ in 0..1_000 {
            now = pace.take_turn(now);
            pace.succeeded(now);
        }
        assert!(pace.per_second() > before);
        assert!(pace.interval >= SHORTEST);
        assert_eq!(
            pace.take_turn(now + Duration::from_secs(5)),
            now + Duration::from_secs(5)
        );
    }

    #[tokio::test]
    async fn calls_that_are_throttled_together_halve_the_pace_once() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..4 {
            assert!(pace.failed(now));
        }
        assert_eq!(pace.interval, FIRST * 2);
        assert!(pace.take_turn(now) >= now + FIRST * 2);
    }

    #[tokio::test]
    async fn it_gives_up_only_after_ten_minutes_without_any_answer() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        let mut calls = 0;
        loop {
            now = pace.take_turn(now);
            calls += 1;
            if !pace.failed(now) {
                break;
            }
        }
        assert!(now.duration_since(start) >= PATIENCE);
        assert!(calls < 60, "{calls} calls in vain");
        assert_eq!(pace.interval, LONGEST);
    }
}
