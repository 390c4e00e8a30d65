//! How long datagrams took.

const STEP_BITS: u32 = 5;
/// Buckets per doubling: a bucket is at most 3 % wide.
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = STEPS * (u64::BITS - STEP_BITS + 1) as usize;

pub struct Latencies(Box<[u64; BUCKETS]>);

impl Latencies {
    pub fn new() -> Latencies {
        Latencies(Box::new([0; BUCKETS]))
    }

    pub fn record(&mut self, nanoseconds: u64, count: u64) {
        self.0[bucket(nanoseconds)] += count;
    }

    /// Those of both.
    pub fn with(mut self, others: &Latencies) -> Latencies {
        self.0.iter_mut().zip(others.0.iter()).for_each(|(count, other)| *count += other);
        self
    }

    /// The upper end of the bucket below which this part of all lies, in microseconds.
    pub fn quantile_us(&self, part: f64) -> f64 {
        let total: u64 = self.0.iter().sum();
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            if seen > 0 && seen as f64 >= part * total as f64 {
                return upper_end(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Small values have a bucket each, further up the leading bit and the five after it choose.
fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    (shift as usize + 1) * STEPS + (value >> shift) as usize % STEPS
}

fn upper_end(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    (((STEPS + bucket % STEPS) as u64) << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for at in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper_end(at)), at);
            assert_eq!(bucket(upper_end(at) + 1), at + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|microseconds| latencies.record(microseconds * 1000, 1));
        for (part, exact) in [(0.5, 500.0), (0.99, 990.0)] {
            let error = latencies.quantile_us(part) / exact - 1.0;
            assert!((0.0..0.04).contains(&error), "{part}: {error}");
        }
    }
}
