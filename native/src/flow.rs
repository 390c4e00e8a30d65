//! Flows: which datagrams one takes and what becomes of them.

use crate::address::{Address, RawAddress};
use crate::indication::SendIndication;
use crate::meter::Meter;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

/// Where a flow's datagrams come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// Slot of the endpoint.
    pub endpoint: u32,
    /// The local address on which they arrive; `EVERY_LOCAL` where the endpoint does not separate them.
    pub local: u32,
    pub remote: Address,
}

impl Source {
    /// No local address has this number.
    pub const EVERY_LOCAL: u32 = u32::MAX;
}

impl Hash for Source {
    /// In three words; see that of the remote.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Source { endpoint, local, remote } = self;
        hasher.write_u64(u64::from(*endpoint) << 32 | u64::from(*local));
        remote.hash(hasher);
    }
}

/// Which datagrams of a remote a flow takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selector {
    /// Those that no other flow claims.
    Any,
    /// Those that begin with this channel number, big-endian.
    Channel(u16),
    /// Send indications to this peer that say nothing unusual.
    Indication(Address),
    /// Those that have this big-endian value at this offset.
    Match { offset: u16, value: u32 },
}

/// Where a flow's datagrams go out.
#[derive(Clone, Debug)]
pub struct Target {
    /// Slot of the endpoint.
    pub endpoint: u32,
    /// The local address they leave from; `None`: the first of the remote's family.
    pub local: Option<u32>,
    pub remote: Address,
    pub raw: RawAddress,
}

impl Target {
    pub fn new(endpoint: u32, local: Option<u32>, remote: Address) -> Target {
        Target { endpoint, local, remote, raw: RawAddress::from(&remote) }
    }
}

/// What becomes of a datagram.
#[derive(Clone, Debug)]
pub enum Action {
    Deliver,
    Forward {
        to: Target,
        /// STUN requests are delivered besides.
        copies_stun: bool,
    },
    /// RFC 8656 §12.4: the channel header is put before it, or taken off.
    AddChannel {
        to: Target,
        channel: u16,
    },
    StripChannel {
        to: Target,
    },
    /// RFC 8656 §11: it becomes a Data indication of this peer.
    AddIndication {
        to: Target,
        peer: Address,
    },
    /// Of a Send indication only the data goes on.
    StripIndication {
        to: Target,
    },
}

impl Action {
    pub fn target(&self) -> Option<&Target> {
        match self {
            Action::Deliver => None,
            Action::Forward { to, .. }
            | Action::AddChannel { to, .. }
            | Action::StripChannel { to }
            | Action::AddIndication { to, .. }
            | Action::StripIndication { to } => Some(to),
        }
    }

    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Action::Deliver => None,
            Action::Forward { to, .. }
            | Action::AddChannel { to, .. }
            | Action::StripChannel { to }
            | Action::AddIndication { to, .. }
            | Action::StripIndication { to } => Some(to),
        }
    }
}

/// At most so many meters limit one flow.
pub const MAX_METERS: usize = 3;

#[derive(Debug)]
pub struct Flow {
    /// TypeScript's name for it.
    pub id: u64,
    pub source: Source,
    pub selector: Selector,
    pub action: Action,
    pub is_paused: bool,
    pub meters: [Option<Arc<Meter>>; MAX_METERS],
    pub counters: Counters,
    /// Longest datagram of which several go out in one message; lowered when the system refuses on the way to the target.
    pub segment_limit: AtomicUsize,
}

impl Flow {
    #[allow(clippy::declare_interior_mutable_const)]
    pub const UNLIMITED: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Whether it passes on all of a train without a look at each datagram.
    pub fn is_plain_forward(&self) -> bool {
        !self.is_paused && self.meters[0].is_none() && matches!(self.action, Action::Forward { .. })
    }

    /// Charges all meters, or none when one of them refuses. They are in the order of their names, in which every thread takes them.
    pub fn spend(&self, bytes: usize, now_ms: f64) -> bool {
        let mut budgets = [const { None }; MAX_METERS];
        for (budget, meter) in budgets.iter_mut().zip(self.meters.iter().flatten()) {
            *budget = Some(meter.budgets());
        }
        let is_there = budgets.iter_mut().flatten().all(|budget| budget.has(bytes, now_ms));
        if is_there {
            budgets.iter_mut().flatten().for_each(|budget| budget.spend(bytes));
        }
        is_there
    }
}

/// How many numbers `Counters::read` gives.
pub const COUNTERS: usize = 5;

/// What a flow has done; added to by any thread.
#[derive(Debug, Default)]
pub struct Counters {
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    pub drops: AtomicU64,
    /// Bytes that it put around data, or took off.
    pub framing: AtomicU64,
    /// A float's bits: milliseconds of the engine's clock; 0: never.
    last_seen_ms: AtomicU64,
}

impl Counters {
    pub fn passed(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub fn framed(&self, bytes: u64) {
        self.framing.fetch_add(bytes, Relaxed);
    }

    /// Takes back what `passed` and `framed` said of datagrams that the system then refused.
    pub fn refused(&self, packets: u64, bytes: u64, framing: u64) {
        self.packets.fetch_sub(packets, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
        self.framing.fetch_sub(framing, Relaxed);
        self.drops.fetch_add(packets, Relaxed);
    }

    pub fn dropped(&self, packets: u64) {
        self.drops.fetch_add(packets, Relaxed);
    }

    pub fn seen(&self, now_ms: f64) {
        self.last_seen_ms.store(now_ms.to_bits(), Relaxed);
    }

    /// Packets, bytes, drops, last seen, bytes of framing.
    pub fn read(&self) -> [f64; COUNTERS] {
        let of = |counter: &AtomicU64| counter.load(Relaxed) as f64;
        let seen = f64::from_bits(self.last_seen_ms.load(Relaxed));
        [of(&self.packets), of(&self.bytes), of(&self.drops), seen, of(&self.framing)]
    }
}

/// The flows of one remote: one that takes anything, any number that select.
#[derive(Debug, Default)]
pub struct RemoteFlows {
    /// Slot of the flow that takes what no other claims.
    pub any: Option<u32>,
    /// Absent where there are none, as is usual.
    pub selecting: Option<Box<Selecting>>,
}

/// Slots of flows that select.
#[derive(Debug, Default)]
pub struct Selecting {
    channels: HashMap<u16, u32>,
    /// By the peer.
    indications: HashMap<Address, u32>,
    /// By offset in the order of the first flow with it; then by value.
    matches: Vec<(u16, HashMap<u32, u32>)>,
}

impl RemoteFlows {
    /// Slot of the flow that takes this datagram.
    pub fn find(&self, bytes: &[u8]) -> Option<u32> {
        self.selecting.as_ref().and_then(|selecting| selecting.find(bytes)).or(self.any)
    }

    /// False when another flow has this selector.
    pub fn add(&mut self, selector: Selector, slot: u32) -> bool {
        if selector == Selector::Any {
            if self.any.is_some() {
                return false;
            }
            self.any = Some(slot);
            return true;
        }
        let selecting = self.selecting.get_or_insert_default();
        match selector {
            Selector::Any => unreachable!("returned above"),
            Selector::Channel(channel) => add_to(selecting.channels.entry(channel), slot),
            Selector::Indication(peer) => add_to(selecting.indications.entry(peer), slot),
            Selector::Match { offset, value } => {
                let matches = &mut selecting.matches;
                let at = matches.iter().position(|(known, _)| *known == offset).unwrap_or_else(|| {
                    matches.push((offset, HashMap::new()));
                    matches.len() - 1
                });
                add_to(matches[at].1.entry(value), slot)
            }
        }
    }

    pub fn remove(&mut self, selector: Selector) {
        let Some(selecting) = &mut self.selecting else {
            self.any = None;
            return;
        };
        match selector {
            Selector::Any => self.any = None,
            Selector::Channel(channel) => {
                selecting.channels.remove(&channel);
            }
            Selector::Indication(peer) => {
                selecting.indications.remove(&peer);
            }
            Selector::Match { offset, value } => {
                selecting.matches.retain_mut(|(known, by_value)| {
                    if *known == offset {
                        by_value.remove(&value);
                    }
                    !by_value.is_empty()
                });
            }
        }
        if selecting.is_empty() {
            self.selecting = None;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.any.is_none() && self.selecting.is_none()
    }
}

impl Selecting {
    fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.indications.is_empty() && self.matches.is_empty()
    }

    fn find(&self, bytes: &[u8]) -> Option<u32> {
        if let Some(&[high, low]) = bytes.first_chunk::<2>() {
            if let Some(slot) = self.channels.get(&u16::from_be_bytes([high, low])) {
                return Some(*slot);
            }
        }
        if !self.indications.is_empty() {
            let indication = SendIndication::parse(bytes);
            if let Some(slot) = indication.and_then(|indication| self.indications.get(&indication.peer)) {
                return Some(*slot);
            }
        }
        self.matches.iter().find_map(|(offset, by_value)| {
            let value = bytes.get(usize::from(*offset)..)?.first_chunk::<4>()?;
            by_value.get(&u32::from_be_bytes(*value)).copied()
        })
    }
}

fn add_to<K: std::hash::Hash + Eq>(place: std::collections::hash_map::Entry<'_, K, u32>, slot: u32) -> bool {
    use std::collections::hash_map::Entry::{Occupied, Vacant};
    match place {
        Occupied(_) => false,
        Vacant(vacant) => {
            vacant.insert(slot);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indication::{write_data_header, MAX_DATA_HEADER_BYTES};

    #[test]
    fn a_flow_that_selects_wins() {
        let mut flows = RemoteFlows::default();
        let far = Selector::Match { offset: 4, value: 0xfffe_fdfc };
        assert!(flows.add(Selector::Any, 1) && flows.add(far, 2) && flows.add(Selector::Channel(0x4001), 3));
        assert!(
            !flows.add(Selector::Any, 9) && !flows.add(far, 9) && !flows.add(Selector::Channel(0x4001), 9)
        );
        assert_eq!(flows.find(&[0, 0, 0, 0, 0xff, 0xfe, 0xfd, 0xfc]), Some(2));
        assert_eq!(flows.find(&[0x40, 1, 0, 0, 0xff, 0xfe, 0xfd, 0xfc]), Some(3));
        assert_eq!(flows.find(&[0, 0, 0, 0, 0xff, 0xfe, 0xfd]), Some(1));
        assert_eq!(flows.find(&[]), Some(1));
        flows.remove(Selector::Any);
        assert_eq!(flows.find(&[]), None);
        flows.remove(far);
        assert_eq!(flows.find(&[0, 0, 0, 0, 0xff, 0xfe, 0xfd, 0xfc]), None);
        assert!(!flows.is_empty());
        flows.remove(Selector::Channel(0x4001));
        assert!(flows.is_empty());
    }

    #[test]
    fn finds_the_flow_of_an_indication_by_its_peer() {
        let peer = |ip: &str, port| Address::new(ip.parse().unwrap(), port);
        let send = |peer: &Address| {
            let mut room = [0; MAX_DATA_HEADER_BYTES];
            let (header, _) = write_data_header(&mut room, peer, [7; 12], 0).unwrap();
            room[1] = 0x16;
            room[..header].to_vec()
        };
        let (one, other, v6) = (peer("192.0.2.1", 9), peer("192.0.2.1", 10), peer("2001:db8::1", 9));
        let mut flows = RemoteFlows::default();
        for (slot, peer) in (1..).zip([one, other, v6]) {
            assert!(flows.add(Selector::Indication(peer), slot));
            assert!(!flows.add(Selector::Indication(peer), 99));
        }
        assert!(flows.add(Selector::Any, 4));
        let found = [one, other, v6, peer("192.0.2.2", 9)].map(|peer| flows.find(&send(&peer)));
        assert_eq!(found, [Some(1), Some(2), Some(3), Some(4)]);
        flows.remove(Selector::Indication(one));
        assert_eq!([one, other].map(|peer| flows.find(&send(&peer))), [Some(4), Some(2)]);
        for selector in [Selector::Any, Selector::Indication(other), Selector::Indication(v6)] {
            assert!(!flows.is_empty());
            flows.remove(selector);
        }
        assert!(flows.is_empty());
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut flows = RemoteFlows::default();
        flows.remove(Selector::Channel(1));
        assert!(flows.add(Selector::Match { offset: 0, value: 1 }, 1));
        flows.remove(Selector::Match { offset: 9, value: 1 });
        assert_eq!(flows.find(&[0, 0, 0, 1]), Some(1));
    }
}
