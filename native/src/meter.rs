//! Budgets that refill with time. The same arithmetic as `token-bucket.ts` and `meter.ts`, to which the two
//! engines are compared.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A budget up to its burst; starts full. A burst of 0 lets nothing pass.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_ms: f64,
    burst: f64,
    tokens: f64,
    filled_ms: f64,
}

impl TokenBucket {
    pub fn new(per_second: f64, burst: f64, now_ms: f64) -> TokenBucket {
        TokenBucket { per_ms: per_second / 1000.0, burst, tokens: burst, filled_ms: now_ms }
    }

    /// Whether `amount` is there now. An amount above the burst passes when the bucket is full.
    pub fn has(&mut self, amount: f64, now_ms: f64) -> bool {
        if now_ms > self.filled_ms {
            self.tokens = self.burst.min(self.tokens + (now_ms - self.filled_ms) * self.per_ms);
            self.filled_ms = now_ms;
        }
        self.burst > 0.0 && self.tokens >= amount.min(self.burst)
    }

    /// Takes `amount`, which `has` said is there; what exceeds the burst is owed.
    pub fn spend(&mut self, amount: f64) {
        self.tokens -= amount;
    }
}

/// A budget of bytes and packets that flows on any thread share.
#[derive(Debug)]
pub struct Meter(Mutex<Budgets>);

/// What is left of a meter.
#[derive(Debug)]
pub struct Budgets {
    bytes: Option<TokenBucket>,
    packets: Option<TokenBucket>,
}

impl Budgets {
    pub fn has(&mut self, bytes: usize, now_ms: f64) -> bool {
        self.bytes.as_mut().is_none_or(|bucket| bucket.has(bytes as f64, now_ms))
            && self.packets.as_mut().is_none_or(|bucket| bucket.has(1.0, now_ms))
    }

    /// Takes what `has` said is there.
    pub fn spend(&mut self, bytes: usize) {
        if let Some(bucket) = &mut self.bytes {
            bucket.spend(bytes as f64);
        }
        if let Some(bucket) = &mut self.packets {
            bucket.spend(1.0);
        }
    }
}

impl Meter {
    /// Rates per second; `None` does not limit.
    pub fn new(bytes: Option<f64>, packets: Option<f64>, burst_seconds: f64, now_ms: f64) -> Meter {
        let bucket = |rate: Option<f64>| {
            rate.map(|rate| {
                let burst = if rate == 0.0 { 0.0 } else { (rate * burst_seconds).max(1.0) };
                TokenBucket::new(rate, burst, now_ms)
            })
        };
        Meter(Mutex::new(Budgets { bytes: bucket(bytes), packets: bucket(packets) }))
    }

    /// From now on it refuses nothing.
    pub fn close(&self) {
        let mut budgets = self.budgets();
        budgets.bytes = None;
        budgets.packets = None;
    }

    /// Nobody else changes them meanwhile.
    pub fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refills_up_to_its_burst() {
        let mut bucket = TokenBucket::new(10.0, 2.0, 0.0);
        for expected in [true, true, false] {
            assert_eq!(bucket.has(1.0, 0.0), expected);
            if expected {
                bucket.spend(1.0);
            }
        }
        assert!(bucket.has(1.0, 100.0));
        assert!(bucket.has(2.0, 10_000.0) && bucket.has(50.0, 10_000.0));
        bucket.spend(50.0);
        assert!(!bucket.has(1.0, 14_000.0), "what exceeded the burst is owed");
    }

    #[test]
    fn refuses_all_at_rate_0_and_nothing_when_closed() {
        let meter = Meter::new(Some(0.0), None, 1.0, 0.0);
        assert!(!meter.budgets().has(0, 1e9));
        meter.close();
        assert!(meter.budgets().has(1_000_000, 0.0));
    }
}
