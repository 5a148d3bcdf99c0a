//! How fast CloudFront's configuration is read when CloudFront says that it is too fast.
//!
//! CloudFront publishes no rates for reading. So calls are made at once until one is throttled, and from then on
//! one after another, with a pause that all of them share. It becomes longer with each throttled call, and a
//! little shorter with each answer, so it stays near the rate that CloudFront allows. Pauses of each call alone
//! (1, 2, 4, 8, 16 s) would use a small part of that rate.

use std::time::Duration;

/// The pause after the first throttled call.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// A shorter one is none.
const SHORTEST: Duration = Duration::from_millis(5);

/// After so long without a call, nothing is known any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// The pace of reading. Times are counted from any fixed moment.
#[derive(Clone, Debug, Default)]
pub struct ReadPace {
    /// The time from one call to the next.
    pause: Duration,
    /// When the next call may begin.
    next: Duration,
    /// When the pause last became longer.
    slowed: Duration,
    /// How often it became longer since the last answer.
    in_a_row: u32,
}

impl ReadPace {
    /// Begins a call, or returns when to ask again.
    ///
    /// # Errors
    /// If it is too early.
    pub fn begin(&mut self, now: Duration) -> Result<(), Duration> {
        if now < self.next {
            return Err(self.next);
        }
        if now > self.next + FORGOTTEN_AFTER {
            self.pause = Duration::ZERO;
        }
        self.next = now + self.pause;
        Ok(())
    }

    /// A call was answered.
    pub fn answered(&mut self) {
        self.in_a_row = 0;
        self.pause = self.pause.mul_f64(0.99);
        if self.pause < SHORTEST {
            self.pause = Duration::ZERO;
        }
    }

    /// A call that began then was throttled. If others have slowed reading down since, that is enough.
    pub fn throttled(&mut self, began: Duration, now: Duration) {
        if began < self.slowed {
            return;
        }
        let factor = if self.in_a_row == 0 { 1.08 } else { 1.5 };
        self.in_a_row += 1;
        self.pause = self.pause.mul_f64(factor).clamp(FIRST, LONGEST);
        self.slowed = now;
        self.next = self.next.max(began + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    /// A service that allows so many calls a second, and so many at once.
    struct Bucket {
        per_second: f64,
        burst: f64,
        tokens: f64,
        at: f64,
    }

    impl Bucket {
        fn allows(&mut self, now: f64) -> bool {
            self.tokens = (self.tokens + (now - self.at) * self.per_second).min(self.burst);
            self.at = now;
            let is_allowed = self.tokens >= 1.0;
            self.tokens -= f64::from(is_allowed);
            is_allowed
        }
    }

    /// How long so many reads take with four calls at once, each of which takes `latency`, and how many calls
    /// that are.
    fn time_for(reads: u32, per_second: f64, burst: f64, latency: Duration) -> (f64, u32) {
        let mut bucket = Bucket {
            per_second,
            burst,
            tokens: burst,
            at: 0.0,
        };
        let mut pace = ReadPace::default();
        let (mut done, mut calls) = (0, 0);
        let mut now = Duration::ZERO;
        // Each of the four: when it asks. A call is judged when it begins, and answered later.
        let mut asking: Vec<Duration> = vec![now; 4];
        let mut answers: Vec<(Duration, Duration, bool)> = Vec::new();
        while done < reads {
            asking.sort();
            answers.sort();
            let asks = asking.first().copied();
            let answer = answers.first().copied();
            match (asks, answer) {
                (Some(at), answer) if answer.is_none_or(|(answered, ..)| at <= answered) => {
                    asking.remove(0);
                    now = at;
                    match pace.begin(at) {
                        Err(later) => asking.push(later),
                        Ok(()) => {
                            calls += 1;
                            let is_allowed = bucket.allows(at.as_secs_f64());
                            answers.push((at + latency, at, is_allowed));
                        }
                    }
                }
                (_, Some((at, began, is_allowed))) => {
                    answers.remove(0);
                    now = at;
                    if is_allowed {
                        pace.answered();
                        done += 1;
                    } else {
                        pace.throttled(began, at);
                    }
                    asking.push(at);
                }
                _ => unreachable!("nothing is under way"),
            }
        }
        (now.as_secs_f64(), calls)
    }

    #[test]
    fn without_throttling_nothing_waits() {
        let latency = Duration::from_millis(50);
        let (time, calls) = time_for(400, 1e9, 1e9, latency);
        assert!((4.9..5.1).contains(&time), "{time}");
        assert_eq!(calls, 400 + 3, "those that were under way at the end");
    }

    #[test]
    fn ten_reads_a_second_are_used() {
        for (latency, burst) in [(5, 1.0), (50, 1.0), (50, 10.0), (200, 5.0)] {
            let (time, calls) = time_for(510, 10.0, burst, Duration::from_millis(latency));
            assert!(time < 1.2 * 51.0, "{time} s, {latency} ms, {burst}");
            assert!(calls < 510 * 2, "{calls}");
        }
    }

    #[test]
    fn a_pause_is_forgotten() {
        let mut pace = ReadPace::default();
        let at = Duration::from_secs;
        assert_eq!(pace.begin(at(1)), Ok(()));
        pace.throttled(at(1), at(1));
        assert_eq!(pace.begin(at(1)), Err(at(1) + FIRST));
        assert_eq!(pace.begin(at(2)), Ok(()));
        assert_eq!(pace.begin(at(2)), Err(at(2) + FIRST));
        for _ in 0..2 {
            assert_eq!(pace.begin(at(60)), Ok(()), "at once again");
        }
    }

    proptest! {
        #[test]
        fn most_of_any_rate_is_used(
            per_second in 0.5_f64..60.0,
            burst in 2.0_f64..30.0,
            latency in 1_u64..300,
        ) {
            let latency = Duration::from_millis(latency);
            let (time, calls) = time_for(500, per_second, burst, latency);
            let by_latency = 500.0 / 4.0 * latency.as_secs_f64();
            // In the first seconds the rate is not known yet.
            let most = 1.2 * (500.0 / per_second).max(by_latency) + 5.0;
            prop_assert!(time < most, "{} s of {}", time, most);
            prop_assert!(calls < 1_500, "{} calls", calls);
        }
    }
}
