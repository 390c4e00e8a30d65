//! What TypeScript has asked for: endpoints with their sockets, flows, meters. Control writes it, threads read it.

use crate::address::{Address, Family};
use crate::flow::{Flow, RemoteFlows, Source};
use crate::meter::{Meter, TokenBucket};
use crate::slab::Slab;
use crate::socket::Socket;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
pub struct Endpoint {
    /// TypeScript's name for it.
    pub id: u64,
    /// Whether all that arrives counts as known.
    pub is_deliver: bool,
    /// Whether a flow takes only what arrives on its own local address.
    pub separates_locals: bool,
    /// The only peer that is heard.
    pub remote: Option<Address>,
    /// Most sockets for one local address.
    pub threads: u32,
    pub locals: Vec<Local>,
    pub strangers: Budget,
    pub known: Budget,
    /// How many ends of flows are here, so that closing one without flows is quick.
    pub flow_ends: u32,
}

impl Endpoint {
    /// Where what goes to this family leaves from: this local address, by default the first.
    pub fn local_for(&self, family: Family, number: Option<u32>) -> Option<&Local> {
        self.locals
            .iter()
            .find(|local| local.family == family && number.is_none_or(|number| local.number == number))
    }

    /// The local address by which flows are found of what arrives on this one.
    pub fn source_local(&self, number: u32) -> u32 {
        if self.separates_locals {
            number
        } else {
            Source::EVERY_LOCAL
        }
    }
}

/// A local address of an endpoint.
#[derive(Debug)]
pub struct Local {
    /// TypeScript's number for it.
    pub number: u32,
    pub family: Family,
    /// Slots of its sockets; more than one share the port.
    pub sockets: Vec<u32>,
}

impl Local {
    /// A socket for what `thread` sends: its own where there is one.
    pub fn socket_for(&self, thread: usize) -> u32 {
        self.sockets[thread % self.sockets.len()]
    }
}

/// A socket, and whose it is.
#[derive(Debug)]
pub struct Bound {
    pub socket: Socket,
    /// Slot of the endpoint.
    pub endpoint: u32,
    pub local: u32,
    /// The thread that reads from it.
    pub thread: usize,
    /// Whether what it reads comes in bursts, as far as its thread has seen.
    pub is_bursty: AtomicBool,
}

/// A token bucket that threads share.
#[derive(Debug)]
pub struct Budget(Mutex<TokenBucket>);

impl Budget {
    pub fn new(bucket: TokenBucket) -> Budget {
        Budget(Mutex::new(bucket))
    }

    /// Takes one from both budgets, or from none.
    pub fn take_with(&self, other: &Budget, now_ms: f64) -> bool {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !own.has(1.0, now_ms) {
            return false;
        }
        let mut other = other.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !other.has(1.0, now_ms) {
            return false;
        }
        other.spend(1.0);
        own.spend(1.0);
        true
    }
}

#[derive(Debug)]
pub struct Table {
    pub endpoints: Slab<Endpoint>,
    pub sockets: Slab<Bound>,
    pub flows: Slab<Flow>,
    pub meters: HashMap<u64, Arc<Meter>>,
    endpoint_slots: HashMap<u64, u32>,
    flow_slots: HashMap<u64, u32>,
    remotes: HashMap<Source, RemoteFlows>,
}

impl Table {
    pub fn new() -> Table {
        Table {
            endpoints: Slab::new(),
            sockets: Slab::new(),
            flows: Slab::new(),
            meters: HashMap::new(),
            endpoint_slots: HashMap::new(),
            flow_slots: HashMap::new(),
            remotes: HashMap::new(),
        }
    }

    pub fn endpoint_slot(&self, id: u64) -> Option<u32> {
        self.endpoint_slots.get(&id).copied()
    }

    pub fn flow(&self, id: u64) -> Option<&Flow> {
        self.flows.get(*self.flow_slots.get(&id)?)
    }

    pub fn flow_mut(&mut self, id: u64) -> Option<&mut Flow> {
        self.flows.get_mut(*self.flow_slots.get(&id)?)
    }

    /// The flows of a remote whose datagrams arrive on this socket.
    pub fn flows_at(&self, bound: &Bound, endpoint: &Endpoint, remote: Address) -> Option<&RemoteFlows> {
        let local = endpoint.source_local(bound.local);
        self.remotes.get(&Source { endpoint: bound.endpoint, local, remote })
    }

    /// False when there is one of this name.
    pub fn add_endpoint(&mut self, endpoint: Endpoint) -> bool {
        let id = endpoint.id;
        if self.endpoint_slots.contains_key(&id) {
            return false;
        }
        let slot = self.endpoints.insert(endpoint);
        self.endpoint_slots.insert(id, slot);
        true
    }

    /// Removes an endpoint, with flows that come from it or go out of it. Its sockets are the caller's to drop, once no
    /// thread uses them.
    pub fn remove_endpoint(&mut self, id: u64) -> Vec<Bound> {
        let Some(slot) = self.endpoint_slots.remove(&id) else { return Vec::new() };
        if self.endpoints.get(slot).is_some_and(|endpoint| endpoint.flow_ends > 0) {
            let touches = |flow: &Flow| {
                flow.source.endpoint == slot
                    || flow.action.target().is_some_and(|target| target.endpoint == slot)
            };
            let ids: Vec<u64> =
                self.flows.iter().filter(|(_, flow)| touches(flow)).map(|(_, flow)| flow.id).collect();
            ids.into_iter().for_each(|id| self.remove_flow(id));
        }
        let Some(endpoint) = self.endpoints.remove(slot) else { return Vec::new() };
        let sockets = endpoint.locals.iter().flat_map(|local| &local.sockets);
        sockets.filter_map(|slot| self.sockets.remove(*slot)).collect()
    }

    /// Takes a local address away from an endpoint; as of `remove_endpoint`.
    pub fn remove_local(&mut self, endpoint: u32, number: u32) -> Vec<Bound> {
        let Some(endpoint) = self.endpoints.get_mut(endpoint) else { return Vec::new() };
        let (gone, kept): (Vec<Local>, Vec<Local>) =
            std::mem::take(&mut endpoint.locals).into_iter().partition(|local| local.number == number);
        endpoint.locals = kept;
        let slots = gone.into_iter().flat_map(|local| local.sockets);
        slots.filter_map(|slot| self.sockets.remove(slot)).collect()
    }

    /// False when a flow has this name, or this source.
    pub fn add_flow(&mut self, flow: Flow) -> bool {
        if self.flow_slots.contains_key(&flow.id) {
            return false;
        }
        let (id, source, selector) = (flow.id, flow.source, flow.selector);
        let ends = [Some(source.endpoint), flow.action.target().map(|target| target.endpoint)];
        let slot = self.flows.insert(flow);
        let flows = self.remotes.entry(source).or_default();
        if !flows.add(selector, slot) {
            self.flows.remove(slot);
            return false;
        }
        self.flow_slots.insert(id, slot);
        for end in ends.into_iter().flatten() {
            self.count_end(end, 1);
        }
        true
    }

    pub fn remove_flow(&mut self, id: u64) {
        let Some(flow) = self.flow_slots.remove(&id).and_then(|slot| self.flows.remove(slot)) else { return };
        if let Some(flows) = self.remotes.get_mut(&flow.source) {
            flows.remove(flow.selector);
            if flows.is_empty() {
                self.remotes.remove(&flow.source);
            }
        }
        self.count_end(flow.source.endpoint, -1);
        if let Some(target) = flow.action.target() {
            self.count_end(target.endpoint, -1);
        }
    }

    fn count_end(&mut self, endpoint: u32, by: i32) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.flow_ends = endpoint.flow_ends.saturating_add_signed(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Action, Counters, Selector, Target};

    fn endpoint(id: u64) -> Endpoint {
        let budget = || Budget::new(TokenBucket::new(1.0, 1.0, 0.0));
        Endpoint {
            id,
            is_deliver: false,
            separates_locals: false,
            remote: None,
            threads: 1,
            locals: Vec::new(),
            strangers: budget(),
            known: budget(),
            flow_ends: 0,
        }
    }

    fn flow(id: u64, from: u32, port: u16, to: u32) -> Flow {
        let remote = Address::new("127.0.0.1".parse().unwrap(), port);
        Flow {
            id,
            source: Source { endpoint: from, local: Source::EVERY_LOCAL, remote },
            selector: Selector::Any,
            action: Action::Forward { to: Target::new(to, None, remote), copies_stun: false },
            is_paused: false,
            meters: Default::default(),
            counters: Counters::default(),
            segment_limit: Flow::UNLIMITED,
        }
    }

    #[test]
    fn an_endpoint_takes_its_flows_along_and_leaves_the_others() {
        let mut table = Table::new();
        assert!(table.add_endpoint(endpoint(1)) && table.add_endpoint(endpoint(2)));
        assert!(!table.add_endpoint(endpoint(2)));
        let (one, two) = (table.endpoint_slot(1).unwrap(), table.endpoint_slot(2).unwrap());
        assert!(table.add_flow(flow(10, one, 1, one)));
        assert!(table.add_flow(flow(11, one, 2, two)));
        assert!(table.add_flow(flow(12, two, 1, one)));
        assert!(!table.add_flow(flow(13, two, 1, one)), "the same source");
        assert!(!table.add_flow(flow(10, two, 9, one)), "the same name");
        table.remove_endpoint(2);
        assert!(table.flow(10).is_some() && table.flow(11).is_none() && table.flow(12).is_none());
        assert_eq!(table.endpoints.get(one).unwrap().flow_ends, 2);
        table.remove_endpoint(1);
        table.remove_endpoint(1);
        assert!(table.remotes.is_empty() && table.flow_slots.is_empty() && table.flows.iter().count() == 0);
    }
}
