//! A token bucket on whatever clock it is given.

use std::time::Duration;

/// Refills steadily up to its burst. It starts full.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Duration,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            tokens: burst,
            at: Duration::ZERO,
        }
    }

    /// Are there so many tokens now?
    pub fn has(&mut self, tokens: f64, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        self.tokens >= tokens
    }

    /// Takes tokens that [`Self::has`] said are there.
    pub fn take(&mut self, tokens: f64) {
        self.tokens -= tokens;
    }
}

/// CloudFront's rates for invalidations, each if it is set.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// Calls.
    pub calls: Option<TokenBucket>,
    /// Paths without a wildcard.
    pub paths: Option<TokenBucket>,
    /// Paths with one.
    pub wildcards: Option<TokenBucket>,
    /// Calls that read something.
    pub reads: Option<TokenBucket>,
}

impl Rates {
    /// Whether something may be read now.
    pub fn allow_read(&mut self, now: Duration) -> bool {
        let Some(reads) = &mut self.reads else {
            return true;
        };
        let allowed = reads.has(1.0, now);
        if allowed {
            reads.take(1.0);
        }
        allowed
    }

    /// Takes what a batch needs from every bucket, or nothing from any.
    pub fn allow(&mut self, paths: usize, wildcards: usize, now: Duration) -> bool {
        let needs = [1, paths, wildcards].map(|count| count as f64);
        let buckets = [&mut self.calls, &mut self.paths, &mut self.wildcards];
        let mut set: Vec<_> = buckets
            .into_iter()
            .zip(needs)
            .filter_map(|(bucket, need)| Some((bucket.as_mut()?, need)))
            .collect();
        let allowed = set.iter_mut().all(|(bucket, need)| bucket.has(*need, now));
        if allowed {
            set.iter_mut().for_each(|(bucket, need)| bucket.take(*need));
        }
        allowed
    }
}
