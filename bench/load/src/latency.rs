//! How long datagrams took, in buckets of an eighth of a power of two.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const BUCKETS: usize = 256;
/// Buckets per doubling.
const STEPS: f64 = 8.0;

pub struct Latencies([AtomicU64; BUCKETS]);

impl Latencies {
    pub fn new() -> Latencies {
        Latencies([const { AtomicU64::new(0) }; BUCKETS])
    }

    pub fn record(&self, microseconds: u64) {
        let bucket = (microseconds.max(1) as f64).log2() * STEPS;
        self.0[(bucket as usize).min(BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    /// The upper end of the bucket below which this part of all lies, in microseconds.
    pub fn quantile(&self, part: f64) -> u64 {
        let total: u64 = self.0.iter().map(|count| count.load(Relaxed)).sum();
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count.load(Relaxed);
            if seen as f64 >= part * total as f64 {
                return ((bucket + 1) as f64 / STEPS).exp2() as u64;
            }
        }
        0
    }
}
