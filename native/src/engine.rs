//! The engine: what TypeScript may ask of it, and the threads that do it.

use crate::address::Address;
use crate::flow::{Flow, Target, COUNTERS};
use crate::meter::{Meter, TokenBucket};
use crate::path::Path;
use crate::punt::Punts;
use crate::reactor::{self, Command, Worker};
use crate::socket::{set_dont_fragment, Socket, SocketOptions};
use crate::table::{Bound, Budget, Endpoint, Local, Table};
use crate::totals::{Totals, NUMBERS};
use std::any::Any;
use std::io;
use std::os::fd::RawFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Instant;

/// Datagrams per second that are handed over, and how many at once after silence.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: f64,
    pub burst: f64,
}

/// What an engine is made with.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// What TypeScript's clock shows, in milliseconds.
    pub now_ms: f64,
    pub strangers_per_endpoint: Rate,
    pub strangers: Rate,
    pub known_per_endpoint: Rate,
    pub known: Rate,
    pub send_buffer_bytes: u32,
}

/// What threads and control share.
pub struct Shared {
    table: RwLock<Table>,
    pub punts: Punts,
    pub strangers: Budget,
    pub known: Budget,
    epoch: Instant,
    epoch_ms: f64,
    /// Why a thread has died.
    failure: Mutex<Option<String>>,
}

impl Shared {
    pub fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What TypeScript's clock shows then, in milliseconds.
    pub fn ms_at(&self, at: Instant) -> f64 {
        self.epoch_ms + at.duration_since(self.epoch).as_secs_f64() * 1000.0
    }

    fn fail(&self, panic: &(dyn Any + Send)) {
        let text = (panic.downcast_ref::<&str>().map(|text| (*text).to_string()))
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown panic".to_string());
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        // It looks for a failure when there is nothing to take.
        self.punts.ring_anyway();
    }
}

/// Which endpoint to add.
#[derive(Clone, Copy, Debug)]
pub struct EndpointOptions {
    pub id: u64,
    pub is_deliver: bool,
    /// Whether a flow takes only what arrives on its own local address.
    pub separates_locals: bool,
    pub remote: Option<Address>,
    /// Most sockets for one local address.
    pub threads: u32,
}

/// What was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundAddress {
    pub address: Address,
    pub receive_buffer_bytes: u32,
}

/// A datagram of TypeScript's.
#[derive(Clone, Copy, Debug)]
pub struct OwnDatagram<'bytes> {
    pub endpoint: u64,
    pub local: Option<u32>,
    pub remote: Address,
    pub dont_fragment: bool,
    pub bytes: &'bytes [u8],
}

/// Called by one thread at a time, TypeScript's; the locks in it make any other use safe too.
pub struct Engine {
    options: EngineOptions,
    shared: Arc<Shared>,
    control: Mutex<Control>,
}

struct Control {
    workers: Vec<(Arc<Worker>, JoinHandle<()>)>,
    /// Sockets by thread.
    loads: Vec<usize>,
    /// For what TypeScript sends.
    path: Path,
    totals: Arc<Totals>,
}

/// TypeScript's thread in place of a worker's number: it sends by the first socket.
const CONTROL_THREAD: usize = 0;

impl Engine {
    /// Without a thread yet; `ring` is called from any thread when there is something to take.
    pub fn new(options: EngineOptions, bell: Box<dyn Fn() + Send + Sync>) -> Engine {
        let shared = Arc::new(Shared {
            table: RwLock::new(Table::new()),
            punts: Punts::new(bell),
            strangers: budget(options.strangers, options.now_ms),
            known: budget(options.known, options.now_ms),
            epoch: Instant::now(),
            epoch_ms: options.now_ms,
            failure: Mutex::new(None),
        });
        let totals = Arc::<Totals>::default();
        let path = Path::new(shared.clone(), totals.clone(), CONTROL_THREAD);
        let control = Mutex::new(Control { workers: Vec::new(), loads: Vec::new(), path, totals });
        Engine { options, shared, control }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> f64 {
        self.shared.ms_at(Instant::now())
    }

    /// Adds a thread, which takes its share of the sockets.
    pub fn add_thread(&self) -> io::Result<()> {
        let mut control = self.control();
        let worker = Arc::new(Worker::new()?);
        let number = control.workers.len();
        let (shared, of_thread) = (self.shared.clone(), worker.clone());
        let thread = std::thread::Builder::new().name(format!("datapath-{number}")).spawn(move || {
            let running = catch_unwind(AssertUnwindSafe(|| reactor::run(shared.clone(), &of_thread, number)));
            if let Err(panic) = running {
                shared.fail(&*panic);
            }
        })?;
        control.workers.push((worker, thread));
        control.loads.push(0);
        let moved = control.spread(&mut self.shared.table_mut(), number)?;
        // Its old thread has let go of each, so that nothing overtakes what it still had in hand.
        control.quiesce();
        moved.into_iter().try_for_each(|(fd, slot)| control.workers[number].0.add(fd, slot))
    }

    /// False when there is one of this name.
    pub fn add_endpoint(&self, options: &EndpointOptions) -> bool {
        let now_ms = self.now_ms();
        self.shared.table_mut().add_endpoint(Endpoint {
            id: options.id,
            is_deliver: options.is_deliver,
            separates_locals: options.separates_locals,
            remote: options.remote,
            threads: options.threads.max(1),
            locals: Vec::new(),
            strangers: budget(self.options.strangers_per_endpoint, now_ms),
            known: budget(self.options.known_per_endpoint, now_ms),
            flow_ends: 0,
        })
    }

    /// Binds a local address of an endpoint, with a socket for each of its threads.
    pub fn bind(&self, endpoint: u64, number: u32, options: SocketOptions) -> io::Result<BoundAddress> {
        let mut control = self.control();
        let remote = {
            let table = self.shared.table();
            let slot = table.endpoint_slot(endpoint).and_then(|slot| table.endpoints.get(slot));
            slot.ok_or_else(gone)?.remote
        };
        // Media comes in at the others, and is sent from them.
        let send_buffer_bytes = if remote.is_none() { self.options.send_buffer_bytes } else { 0 };
        let socket = Socket::open(SocketOptions { remote, send_buffer_bytes, ..options })?;
        let bound = BoundAddress {
            address: socket.local_address()?,
            receive_buffer_bytes: socket.receive_buffer_bytes()?,
        };
        let unused = {
            let mut table = self.shared.table_mut();
            let slot = table.endpoint_slot(endpoint).ok_or_else(gone)?;
            match control.add_local(&mut table, slot, number, socket) {
                Ok(()) => return Ok(bound),
                Err(error) => (error, table.remove_local(slot, number)),
            }
        };
        control.retire(unused.1);
        Err(unused.0)
    }

    /// Closes a local address of an endpoint.
    pub fn unbind(&self, endpoint: u64, number: u32) {
        let mut control = self.control();
        let unused = {
            let mut table = self.shared.table_mut();
            let Some(slot) = table.endpoint_slot(endpoint) else { return };
            table.remove_local(slot, number)
        };
        control.retire(unused);
    }

    /// Closes an endpoint with its sockets and its flows.
    pub fn remove_endpoint(&self, id: u64) {
        let mut control = self.control();
        let unused = self.shared.table_mut().remove_endpoint(id);
        control.retire(unused);
    }

    /// What an endpoint is called in targets and sources.
    pub fn endpoint_slot(&self, id: u64) -> Option<u32> {
        self.shared.table().endpoint_slot(id)
    }

    /// False when a flow has this name or this source.
    pub fn add_flow(&self, flow: Flow) -> bool {
        self.shared.table_mut().add_flow(flow)
    }

    /// False when there is no such flow, or none that sends.
    pub fn aim(&self, id: u64, remote: Address, local: Option<u32>) -> bool {
        let mut table = self.shared.table_mut();
        let Some(flow) = table.flow_mut(id) else { return false };
        let Some(to) = flow.action.target_mut() else { return false };
        *to = Target::new(to.endpoint, local, remote);
        // It was learnt on another way.
        flow.segment_limit = Flow::UNLIMITED;
        true
    }

    pub fn pause(&self, id: u64, is_paused: bool) -> bool {
        let mut table = self.shared.table_mut();
        table.flow_mut(id).map(|flow| flow.is_paused = is_paused).is_some()
    }

    pub fn remove_flow(&self, id: u64) {
        self.shared.table_mut().remove_flow(id);
    }

    /// False when there is one of this name.
    pub fn add_meter(&self, id: u64, bytes: Option<f64>, packets: Option<f64>, burst_seconds: f64) -> bool {
        let meter = Arc::new(Meter::new(bytes, packets, burst_seconds, self.now_ms()));
        let mut table = self.shared.table_mut();
        let is_new = !table.meters.contains_key(&id);
        if is_new {
            table.meters.insert(id, meter);
        }
        is_new
    }

    pub fn remove_meter(&self, id: u64) {
        if let Some(meter) = self.shared.table_mut().meters.remove(&id) {
            meter.close();
        }
    }

    /// Whether the meter had so many bytes of one packet, which it then has no more. One that is not there refuses nothing.
    pub fn charge(&self, id: u64, bytes: usize) -> bool {
        let Some(meter) = self.meter(id) else { return true };
        let mut budgets = meter.budgets();
        let is_there = budgets.has(bytes, self.now_ms());
        if is_there {
            budgets.spend(bytes);
        }
        is_there
    }

    pub fn meter(&self, id: u64) -> Option<Arc<Meter>> {
        self.shared.table().meters.get(&id).cloned()
    }

    /// Sends datagrams of TypeScript's; what cannot be sent is counted.
    pub fn send<'bytes>(&self, datagrams: impl Iterator<Item = OwnDatagram<'bytes>>) {
        let mut control = self.control();
        let path = &mut control.path;
        let now_ms = self.now_ms();
        for datagram in datagrams {
            if datagram.dont_fragment {
                // It is an option of the socket, so what has gathered goes first, without it.
                path.flush(now_ms);
            }
            let table = self.shared.table();
            // Closed since it was queued.
            let Some(endpoint) = table.endpoint_slot(datagram.endpoint) else { continue };
            let to = Target::new(endpoint, datagram.local, datagram.remote);
            // SAFETY: the bytes live longer than this call, which flushes.
            let fd = unsafe { path.send(&table, &to, datagram.bytes) };
            std::mem::drop(table);
            if let Some(fd) = fd.filter(|_| datagram.dont_fragment) {
                // What another thread sends from the socket just now has it too.
                let _ = set_dont_fragment(fd, to.remote.family, true);
                path.flush(now_ms);
                let _ = set_dont_fragment(fd, to.remote.family, false);
            }
        }
        path.flush(now_ms);
    }

    /// Moves records for TypeScript into `into`. Gives their bytes, and whether there are more.
    pub fn take(&self, into: &mut [u8]) -> (usize, bool) {
        self.shared.punts.take(into)
    }

    /// Why a thread has died, when one has.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Packets, bytes, drops, last seen and bytes of framing of a flow; zeros when there is none.
    pub fn counters(&self, ids: impl Iterator<Item = u64>, mut each: impl FnMut([f64; COUNTERS])) {
        let table = self.shared.table();
        ids.for_each(|id| each(table.flow(id).map_or([0.0; COUNTERS], |flow| flow.counters.read())));
    }

    /// The sums that `totals::NUMBERS` says, and nanoseconds that each thread has worked.
    pub fn totals(&self) -> ([f64; NUMBERS], Vec<f64>) {
        let control = self.control();
        let mut sums = [0.0; NUMBERS];
        control.totals.add_to(&mut sums);
        let mut busy = Vec::new();
        for (worker, _) in &control.workers {
            worker.totals.add_to(&mut sums);
            busy.push(worker.totals.busy_ns.load(Ordering::Relaxed) as f64);
        }
        (sums, busy)
    }

    /// Lets the first thread panic: for tests of what then happens.
    pub fn crash(&self) {
        if let Some((worker, _)) = self.control().workers.first() {
            worker.command(Command::Panic);
        }
    }

    /// Stops the threads and closes all sockets.
    pub fn close(&self) {
        let workers = {
            let mut control = self.control();
            control.loads.clear();
            std::mem::take(&mut control.workers)
        };
        workers.iter().for_each(|(worker, _)| worker.command(Command::Stop));
        for (_, thread) in workers {
            // It has said why, if it has panicked.
            let _ = thread.join();
        }
        *self.shared.table_mut() = Table::new();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Control {
    /// Returns when no thread uses a socket that is no longer in the table. Nobody may hold the table meanwhile.
    fn quiesce(&self) {
        self.workers.iter().for_each(|(worker, _)| worker.quiesce());
    }

    /// Adds a local address to an endpoint, with its first socket and those beside it that its threads want.
    fn add_local(&mut self, table: &mut Table, endpoint: u32, number: u32, socket: Socket) -> io::Result<()> {
        let Some(owner) = table.endpoints.get_mut(endpoint) else { return Err(gone()) };
        let (threads, at) = (owner.threads as usize, owner.locals.len());
        let family = socket.options.address.family;
        owner.locals.push(Local { number, family, sockets: Vec::new() });
        // A set has its first socket at the first thread, and so on.
        let alone = (0..self.loads.len()).min_by_key(|thread| self.loads[*thread]);
        let thread = if threads > 1 { 0 } else { alone.ok_or_else(gone)? };
        self.add_socket(table, endpoint, at, socket, thread)?;
        (1..self.workers.len().min(threads))
            .try_for_each(|thread| self.open_beside(table, endpoint, at, thread))
    }

    /// Adds a socket to a local address of an endpoint, read by `thread`.
    fn add_socket(
        &mut self,
        table: &mut Table,
        endpoint: u32,
        at: usize,
        socket: Socket,
        thread: usize,
    ) -> io::Result<()> {
        let fd = socket.fd();
        let local = table.endpoints.get_mut(endpoint).and_then(|endpoint| endpoint.locals.get_mut(at));
        let (Some(local), Some((worker, _))) = (local, self.workers.get(thread)) else { return Err(gone()) };
        let is_bursty = AtomicBool::new(false);
        let slot = table.sockets.insert(Bound { socket, endpoint, local: local.number, thread, is_bursty });
        local.sockets.push(slot);
        self.loads[thread] += 1;
        worker.add(fd, slot)
    }

    /// Adds a socket on the port of the first one of a local address.
    fn open_beside(&mut self, table: &mut Table, endpoint: u32, at: usize, thread: usize) -> io::Result<()> {
        let first = (table.endpoints.get(endpoint))
            .and_then(|endpoint| table.sockets.get(*endpoint.locals.get(at)?.sockets.first()?));
        let Some(first) = first else { return Ok(()) };
        let socket = Socket::open_beside(&first.socket)?;
        self.add_socket(table, endpoint, at, socket, thread)
    }

    /// Closes sockets that are no longer in the table, which nobody may hold meanwhile. The ports are free when it returns, and no
    /// thread takes a descriptor for another's.
    fn retire(&mut self, unused: Vec<Bound>) {
        if unused.is_empty() {
            return;
        }
        for bound in &unused {
            self.loads[bound.thread] -= 1;
            // Else the system may still look at it for the thread, and keep it for so long.
            let _ = self.workers[bound.thread].0.remove(bound.socket.fd());
        }
        self.quiesce();
    }

    /// Gives a new thread a socket of each set, and its share of those that are alone, which it is still to be told of.
    fn spread(&mut self, table: &mut Table, number: usize) -> io::Result<Vec<(RawFd, u32)>> {
        let sets: Vec<(u32, usize)> = (table.endpoints.iter())
            .filter(|(_, endpoint)| endpoint.threads as usize > number)
            .flat_map(|(slot, endpoint)| (0..endpoint.locals.len()).map(move |at| (slot, at)))
            .collect();
        for (endpoint, at) in sets {
            self.open_beside(table, endpoint, at, number)?;
        }
        let alone: Vec<u32> = (table.endpoints.iter())
            .filter(|(_, endpoint)| endpoint.threads == 1)
            .flat_map(|(_, endpoint)| &endpoint.locals)
            .flat_map(|local| local.sockets.iter().copied())
            .collect();
        let mut moved = Vec::new();
        for slot in alone.into_iter().skip(number).step_by(number + 1) {
            let Some(bound) = table.sockets.get_mut(slot) else { continue };
            let fd = bound.socket.fd();
            self.workers[bound.thread].0.remove(fd)?;
            self.loads[bound.thread] -= 1;
            bound.thread = number;
            self.loads[number] += 1;
            moved.push((fd, slot));
        }
        Ok(moved)
    }
}

/// What was to be changed is not there any more.
fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

fn budget(rate: Rate, now_ms: f64) -> Budget {
    Budget::new(TokenBucket::new(rate.per_second, rate.burst, now_ms))
}
