//! What is handed to TypeScript: records in two bounded queues, the known apart from strangers.

use crate::address::Address;
use crate::socket::IcmpError;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A record, numbers little-endian: length of all of it u32, kind u8 (0 data, 1 ICMP error), three zeros; endpoint f64;
/// flow f64 (0: a stranger); local u32; length of what follows the head u32; address as `Address::pack`; then the bytes, of
/// an ICMP error type u8, code u8, whether they are known u8, 0, MTU u32; zeros up to a multiple of eight.
const HEAD_BYTES: usize = 56;
/// The longest record; whoever takes records needs room for one.
pub const MAX_RECORD_BYTES: usize = HEAD_BYTES + 65_536;
/// How much may wait.
const KNOWN_BYTES: usize = 16 << 20;
const STRANGER_BYTES: usize = 4 << 20;
/// How much room an empty queue keeps.
const KEPT_BYTES: usize = 256 << 10;

/// Records of one turn of a thread, or all that wait.
#[derive(Debug)]
struct Records {
    bytes: VecDeque<u8>,
    most: usize,
}

impl Records {
    /// Moves as many whole records as fit; says how many bytes.
    fn take(&mut self, into: &mut [u8]) -> usize {
        let mut end = 0;
        while let Some(length) = self.length_at(end) {
            if end + length > into.len() {
                break;
            }
            end += length;
        }
        let (front, back) = self.bytes.as_slices();
        let split = front.len().min(end);
        into[..split].copy_from_slice(&front[..split]);
        into[split..end].copy_from_slice(&back[..end - split]);
        self.bytes.drain(..end);
        end
    }

    fn length_at(&self, at: usize) -> Option<usize> {
        let byte = |offset: usize| self.bytes.get(at + offset).copied();
        Some(u32::from_le_bytes([byte(0)?, byte(1)?, byte(2)?, byte(3)?]) as usize)
    }
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub endpoint: u64,
    /// 0: a stranger.
    pub flow: u64,
    pub local: u32,
    pub remote: Address,
}

/// What a record says.
#[derive(Clone, Copy, Debug)]
pub enum Content<'bytes> {
    Data(&'bytes [u8]),
    /// `None`: the peer of a connected socket is gone, and no more is known.
    Icmp(Option<IcmpError>),
}

/// The queues, and the bell that calls TypeScript.
pub struct Punts {
    queues: Mutex<Queues>,
    is_called: AtomicBool,
    bell: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug)]
struct Queues {
    known: Records,
    strangers: Records,
}

/// What became of records that were handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Punts {
    pub fn new(bell: Box<dyn Fn() + Send + Sync>) -> Punts {
        let records = |most| Records { bytes: VecDeque::new(), most };
        let queues = Queues { known: records(KNOWN_BYTES), strangers: records(STRANGER_BYTES) };
        Punts { queues: Mutex::new(queues), is_called: AtomicBool::new(false), bell }
    }

    /// Queues a record; refuses it when the queue is full. `ring` calls TypeScript afterwards.
    pub fn push(&self, is_known: bool, origin: &Origin, content: Content<'_>) -> Result<(), Full> {
        let mut icmp = [0; 8];
        let (kind, bytes) = match content {
            Content::Data(bytes) => (0, bytes),
            Content::Icmp(error) => {
                if let Some(error) = error {
                    icmp[..3].copy_from_slice(&[error.kind, error.code, 1]);
                    icmp[4..].copy_from_slice(&error.mtu.to_le_bytes());
                }
                (1, &icmp[..])
            }
        };
        let length = (HEAD_BYTES + bytes.len()).next_multiple_of(8);
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&(length as u32).to_le_bytes());
        head[4] = kind;
        head[8..16].copy_from_slice(&(origin.endpoint as f64).to_le_bytes());
        head[16..24].copy_from_slice(&(origin.flow as f64).to_le_bytes());
        head[24..28].copy_from_slice(&origin.local.to_le_bytes());
        head[28..32].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        head[32..].copy_from_slice(&origin.remote.pack());

        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let records = if is_known { &mut queues.known } else { &mut queues.strangers };
        if records.bytes.len() + length > records.most {
            return Err(Full);
        }
        records.bytes.extend(&head);
        records.bytes.extend(bytes);
        records.bytes.extend(&[0; 8][..length - HEAD_BYTES - bytes.len()]);
        Ok(())
    }

    /// Calls TypeScript, unless it was called and has not taken all since.
    pub fn ring(&self) {
        if !self.is_called.swap(true, Ordering::AcqRel) {
            (self.bell)();
        }
    }

    /// Calls TypeScript in any case, also if it takes nothing then.
    pub fn ring_anyway(&self) {
        (self.bell)();
    }

    /// Moves whole records into `into`, of the known first. Gives their bytes, and whether there are more.
    pub fn take(&self, into: &mut [u8]) -> (usize, bool) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let known = queues.known.take(into);
        let all =
            known + if queues.known.bytes.is_empty() { queues.strangers.take(&mut into[known..]) } else { 0 };
        let has_more = !(queues.known.bytes.is_empty() && queues.strangers.bytes.is_empty());
        if !has_more {
            // Under the lock: what is pushed from here on rings again.
            self.is_called.store(false, Ordering::Release);
            // A flood may have made them large; they seldom are.
            queues.known.bytes.shrink_to(KEPT_BYTES);
            queues.strangers.bytes.shrink_to(KEPT_BYTES);
        }
        (all, has_more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::Arc;

    fn origin(flow: u64) -> Origin {
        Origin { endpoint: 7, flow, local: 2, remote: Address::new("127.0.0.1".parse().unwrap(), 9) }
    }

    fn punts() -> (Punts, Arc<AtomicUsize>) {
        let rung = Arc::new(AtomicUsize::new(0));
        let counter = rung.clone();
        let bell = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        (Punts::new(Box::new(bell)), rung)
    }

    #[test]
    fn gives_the_known_first_and_rings_once_until_all_is_taken() {
        let (punts, rung) = punts();
        for (is_known, flow) in [(false, 0), (true, 5), (false, 0)] {
            punts.push(is_known, &origin(flow), Content::Data(b"hello")).unwrap();
            punts.ring();
        }
        assert_eq!(rung.load(Ordering::Relaxed), 1);
        let mut room = [0; 130];
        assert_eq!(punts.take(&mut room), (128, true));
        assert_eq!(room[16..24], 5f64.to_le_bytes());
        assert_eq!(room[56..61], *b"hello");
        assert_eq!(room[64 + 16..64 + 24], 0f64.to_le_bytes());
        punts.ring();
        assert_eq!(punts.take(&mut room), (64, false));
        assert_eq!(punts.take(&mut room), (0, false));
        assert_eq!(rung.load(Ordering::Relaxed), 1);
        punts.ring();
        assert_eq!(rung.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn refuses_strangers_when_full_and_still_takes_the_known() {
        let (punts, _) = punts();
        let bytes = vec![1; 60_000];
        let taken = (0..200).filter(|_| punts.push(false, &origin(0), Content::Data(&bytes)).is_ok()).count();
        assert_eq!(taken, STRANGER_BYTES / (HEAD_BYTES + 60_000));
        assert_eq!(punts.push(true, &origin(1), Content::Data(&bytes)), Ok(()));
    }

    #[test]
    fn says_what_is_known_of_an_icmp_error() {
        let (punts, _) = punts();
        let to = origin(0).remote;
        punts
            .push(true, &origin(1), Content::Icmp(Some(IcmpError { to, kind: 3, code: 4, mtu: 1400 })))
            .unwrap();
        punts.push(true, &origin(1), Content::Icmp(None)).unwrap();
        let mut room = [0; 128];
        assert_eq!(punts.take(&mut room), (128, false));
        assert_eq!(
            (room[4], &room[56..60], u32::from_le_bytes(*room[60..].first_chunk().unwrap())),
            (1, &[3, 4, 1, 0][..], 1400)
        );
        assert_eq!(room[64 + 56..128], [0; 8]);
    }
}
