//! What one thread has done. Written by that thread, read by control.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a datagram was dropped; in the order of `DROP_REASONS` in `contract.ts`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drop {
    Stranger,
    Known,
    Meter,
    Paused,
    Queue,
    Error,
    Malformed,
}

const DROPS: usize = 7;
/// 1, 2 to 3, 4 to 7, ... 64 and more; and the sum of all sizes.
const SIZES: usize = 8;

/// How many times something was of a size, by powers of two.
#[derive(Debug, Default)]
pub struct Sizes([AtomicU64; SIZES]);

impl Sizes {
    /// Counts one of a size of 1 or more.
    pub fn add(&self, size: usize) {
        let power = size.max(1).ilog2() as usize;
        self.0[power.min(SIZES - 2)].fetch_add(1, Relaxed);
        self.0[SIZES - 1].fetch_add(size as u64, Relaxed);
    }
}

/// A cache line of its own: threads would slow each other down.
#[repr(align(128))]
#[derive(Debug, Default)]
pub struct Totals {
    forwarded: [AtomicU64; 2],
    sent: [AtomicU64; 2],
    dropped: [AtomicU64; DROPS],
    /// Datagrams per receive call.
    pub receive_sizes: Sizes,
    /// Messages per send call.
    pub send_sizes: Sizes,
    /// Datagrams per message.
    pub segments: Sizes,
    pub busy_ns: AtomicU64,
}

/// How many numbers `Totals::add_to` adds to: packets and bytes forwarded, packets and bytes sent, drops by reason, the sizes
/// of received batches, of sent batches, of segments.
pub const NUMBERS: usize = 4 + DROPS + 3 * SIZES;

impl Totals {
    pub fn forwarded(&self, packets: u64, bytes: u64) {
        self.forwarded[0].fetch_add(packets, Relaxed);
        self.forwarded[1].fetch_add(bytes, Relaxed);
    }

    /// Takes back what `forwarded` said of datagrams that the system then refused.
    pub fn not_forwarded(&self, packets: u64, bytes: u64) {
        self.forwarded[0].fetch_sub(packets, Relaxed);
        self.forwarded[1].fetch_sub(bytes, Relaxed);
    }

    pub fn sent(&self, packets: u64, bytes: u64) {
        self.sent[0].fetch_add(packets, Relaxed);
        self.sent[1].fetch_add(bytes, Relaxed);
    }

    /// As `not_forwarded`, of `sent`.
    pub fn not_sent(&self, packets: u64, bytes: u64) {
        self.sent[0].fetch_sub(packets, Relaxed);
        self.sent[1].fetch_sub(bytes, Relaxed);
    }

    pub fn dropped(&self, reason: Drop, packets: u64) {
        self.dropped[reason as usize].fetch_add(packets, Relaxed);
    }

    /// Adds all counters to `sums`, in the order that `NUMBERS` says.
    pub fn add_to(&self, sums: &mut [f64; NUMBERS]) {
        let counters = self
            .forwarded
            .iter()
            .chain(&self.sent)
            .chain(&self.dropped)
            .chain(&self.receive_sizes.0)
            .chain(&self.send_sizes.0)
            .chain(&self.segments.0);
        for (sum, counter) in sums.iter_mut().zip(counters) {
            *sum += counter.load(Relaxed) as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_each_counter_in_its_place() {
        let totals = Totals::default();
        totals.forwarded(3, 30);
        totals.not_forwarded(1, 10);
        totals.sent(1, 7);
        totals.dropped(Drop::Malformed, 2);
        for size in [1, 3, 64, 1000] {
            totals.segments.add(size);
        }
        let mut sums = [1.0; NUMBERS];
        totals.add_to(&mut sums);
        assert_eq!(sums[..4], [3.0, 21.0, 2.0, 8.0]);
        assert_eq!(sums[4 + Drop::Malformed as usize], 3.0);
        assert_eq!(sums[NUMBERS - SIZES..], [2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1069.0]);
    }
}
