//! The functions that `addon.ts` declares.

use super::command::{self, FlowKind, Reader};
use super::joins;
use super::napi::{exact, export, Answer, Bell, Call, Env, Function, Result, Value};
use crate::engine::Engine;
use crate::flow::{Action, Counters, Flow, Source, Target, COUNTERS};
use crate::punt::MAX_RECORD_BYTES;
use crate::socket;
use crate::totals::NUMBERS;
use std::collections::HashMap;
use std::ffi::{c_void, CStr};
use std::io;
use std::os::fd::IntoRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Called once for each JavaScript environment that loads the addon.
///
/// # Safety
/// Only Node calls it.
#[no_mangle]
pub unsafe extern "C" fn napi_register_module_v1(env: Env, exports: Value) -> Value {
    for (name, function) in FUNCTIONS.iter().chain(joins::FUNCTIONS) {
        // SAFETY: Node has given both.
        unsafe { export(env, exports, name, function) };
    }
    exports
}

static FUNCTIONS: &[(&CStr, Function)] = &[
    (c"open", open),
    (c"close", close),
    (c"addThread", add_thread),
    (c"addEndpoint", add_endpoint),
    (c"removeEndpoint", remove_endpoint),
    (c"bind", bind),
    (c"unbind", unbind),
    (c"bindTcp", bind_tcp),
    (c"addFlow", add_flow),
    (c"aimFlow", aim_flow),
    (c"pauseFlow", pause_flow),
    (c"removeFlow", remove_flow),
    (c"addMeter", add_meter),
    (c"removeMeter", remove_meter),
    (c"charge", charge),
    (c"send", send),
    (c"take", take),
    (c"failure", failure),
    (c"readCounters", read_counters),
    (c"readTotals", read_totals),
    (c"crash", crash),
];

struct Open {
    engine: Arc<Engine>,
    bell: Bell,
}

struct Engines {
    last: usize,
    open: Option<HashMap<usize, Open>>,
}

/// Of all environments of the process.
static ENGINES: Mutex<Engines> = Mutex::new(Engines { last: 0, open: None });

fn engines() -> MutexGuard<'static, Engines> {
    ENGINES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn engine(call: &Call) -> std::result::Result<Arc<Engine>, String> {
    let id = call.id(0)? as usize;
    let engines = engines();
    let open = engines.open.as_ref().and_then(|open| open.get(&id));
    open.map(|open| open.engine.clone()).ok_or_else(|| format!("no engine {id}"))
}

/// (options, function to call) → engine
fn open(call: &Call) -> Result {
    let options = command::engine_options(call.numbers(0)?)?;
    let bell = call.bell(1)?;
    let engine = Arc::new(Engine::new(options, Box::new(move || bell.ring())));
    let mut engines = engines();
    engines.last += 1;
    let id = engines.last;
    engines.open.get_or_insert_default().insert(id, Open { engine, bell });
    call.at_end(end, id);
    Ok(Answer::Number(id as f64))
}

/// The environment ends, and its bells with it: threads must have stopped by then.
unsafe extern "C" fn end(id: *mut c_void) {
    let open = engines().open.as_mut().and_then(|open| open.remove(&(id as usize)));
    if let Some(open) = open {
        open.engine.close();
    }
}

/// (engine)
fn close(call: &Call) -> Result {
    let id = call.id(0)? as usize;
    let open = engines().open.as_mut().and_then(|open| open.remove(&id));
    if let Some(open) = open {
        call.not_at_end(end, id);
        open.engine.close();
        open.bell.release();
    }
    Ok(Answer::Nothing)
}

/// (engine) → 0, or an errno
fn add_thread(call: &Call) -> Result {
    Ok(status(engine(call)?.add_thread()))
}

/// (engine, endpoint)
fn add_endpoint(call: &Call) -> Result {
    match engine(call)?.add_endpoint(&command::endpoint(call.bytes(1)?)?) {
        true => Ok(Answer::Nothing),
        false => Err("there is an endpoint of this name".to_string()),
    }
}

/// (engine, endpoint's id)
fn remove_endpoint(call: &Call) -> Result {
    engine(call)?.remove_endpoint(call.id(1)?);
    Ok(Answer::Nothing)
}

/// (engine, local address, bytes for the address that was bound) → bytes of the receive buffer, or an errno below 0
fn bind(call: &Call) -> Result {
    let (endpoint, number, options) = command::local_address(call.bytes(1)?)?;
    let room = call.bytes(2)?.first_chunk_mut().ok_or("argument 2: too short")?;
    Ok(match engine(call)?.bind(endpoint, number, options) {
        Ok(bound) => {
            *room = bound.address.pack();
            Answer::Number(bound.receive_buffer_bytes.into())
        }
        error => status(error),
    })
}

/// (engine, endpoint's id, local address's number)
fn unbind(call: &Call) -> Result {
    engine(call)?.unbind(call.id(1)?, call.id(2)? as u32);
    Ok(Answer::Nothing)
}

/// (address) → a descriptor that is the caller's to close, or an errno below 0
fn bind_tcp(call: &Call) -> Result {
    let address = command::address(call.bytes(0)?)?;
    Ok(match socket::bind_tcp(&address) {
        Ok(fd) => Answer::Number(fd.into_raw_fd().into()),
        error => status(error),
    })
}

/// (engine, flow) → whether it was added: no other has its source
fn add_flow(call: &Call) -> Result {
    let engine = engine(call)?;
    let flow = command::flow(call.bytes(1)?)?;
    let slot = |id| engine.endpoint_slot(id).ok_or_else(|| format!("no endpoint {id}"));
    let to = match &flow.to {
        Some(to) => Some(Target::new(slot(to.endpoint)?, to.local, to.remote)),
        None => None,
    };
    let action = match (flow.kind, to) {
        (FlowKind::Forward { copies_stun }, Some(to)) => Action::Forward { to, copies_stun },
        (FlowKind::AddChannel(channel), Some(to)) => Action::AddChannel { to, channel },
        (FlowKind::StripChannel, Some(to)) => Action::StripChannel { to },
        (FlowKind::AddIndication(peer), Some(to)) => Action::AddIndication { to, peer },
        (FlowKind::StripIndication(_), Some(to)) => Action::StripIndication { to },
        (FlowKind::Deliver, _) | (_, None) => Action::Deliver,
    };
    let mut meters = [const { None }; crate::flow::MAX_METERS];
    let mut ids: Vec<u64> = flow.meters.iter().flatten().copied().collect();
    // The order in which threads take them; once each, as nobody can take one twice.
    ids.sort_unstable();
    ids.dedup();
    for (meter, id) in meters.iter_mut().zip(ids) {
        *meter = Some(engine.meter(id).ok_or_else(|| format!("no meter {id}"))?);
    }
    let is_added = engine.add_flow(Flow {
        id: flow.id,
        source: Source {
            endpoint: slot(flow.from)?,
            local: flow.from_local.unwrap_or(Source::EVERY_LOCAL),
            remote: flow.remote,
        },
        selector: flow.selector,
        action,
        is_paused: false,
        meters,
        counters: Counters::default(),
        segment_limit: Flow::UNLIMITED,
    });
    Ok(boolean(is_added))
}

/// (engine, flow's id, target) → whether there is such a flow
fn aim_flow(call: &Call) -> Result {
    let (local, remote) = command::aim(call.bytes(2)?)?;
    Ok(boolean(engine(call)?.aim(call.id(1)?, remote, local)))
}

/// (engine, flow's id, 1 or 0) → whether there is such a flow
fn pause_flow(call: &Call) -> Result {
    Ok(boolean(engine(call)?.pause(call.id(1)?, call.number(2)? != 0.0)))
}

/// (engine, flow's id)
fn remove_flow(call: &Call) -> Result {
    engine(call)?.remove_flow(call.id(1)?);
    Ok(Answer::Nothing)
}

/// (engine, meter's id, bytes per second, packets per second, seconds of burst); a negative rate does not limit
fn add_meter(call: &Call) -> Result {
    let rate = |at| Ok::<_, String>(Some(call.number(at)?).filter(|rate| *rate >= 0.0));
    match engine(call)?.add_meter(call.id(1)?, rate(2)?, rate(3)?, call.number(4)?) {
        true => Ok(Answer::Nothing),
        false => Err("there is a meter of this name".to_string()),
    }
}

/// (engine, meter's id)
fn remove_meter(call: &Call) -> Result {
    engine(call)?.remove_meter(call.id(1)?);
    Ok(Answer::Nothing)
}

/// (engine, meter's id, bytes of a packet) → whether the meter passes it
fn charge(call: &Call) -> Result {
    Ok(boolean(engine(call)?.charge(call.id(1)?, call.id(2)? as usize)))
}

/// (engine, datagrams, how many bytes of them)
fn send(call: &Call) -> Result {
    let length = call.id(2)? as usize;
    let mut reader = Reader::new(call.bytes(1)?.get(..length).ok_or("argument 2: more than there is")?);
    let mut failure = None;
    let datagrams = std::iter::from_fn(|| {
        if reader.is_at_end() {
            return None;
        }
        command::own_datagram(&mut reader).map_err(|error| failure = Some(error)).ok()
    });
    engine(call)?.send(datagrams);
    failure.map_or(Ok(Answer::Nothing), Err)
}

/// (engine, room for records) → how many bytes it has now; negative when more wait
fn take(call: &Call) -> Result {
    let room = call.bytes(1)?;
    if room.len() < MAX_RECORD_BYTES {
        return Err(format!("argument 1: records need {MAX_RECORD_BYTES} bytes"));
    }
    let (bytes, has_more) = engine(call)?.take(room);
    Ok(Answer::Number(if has_more { -(bytes as f64) } else { bytes as f64 }))
}

/// (engine) → why a thread has died, or nothing
fn failure(call: &Call) -> Result {
    Ok(engine(call)?.failure().map_or(Answer::Nothing, Answer::Text))
}

/// (engine, flows' ids, room for `COUNTERS` numbers each)
fn read_counters(call: &Call) -> Result {
    let (ids, into) = (call.numbers(1)?, call.numbers(2)?);
    if into.len() < COUNTERS * ids.len() {
        return Err("argument 2: too short".to_string());
    }
    let mut rows = into.chunks_exact_mut(COUNTERS);
    // What is no name is not the name of a flow.
    let ids = ids.iter().map(|id| exact(*id).unwrap_or(0));
    engine(call)?.counters(ids, |counters| {
        if let Some(row) = rows.next() {
            row.copy_from_slice(&counters);
        }
    });
    Ok(Answer::Nothing)
}

/// (engine, room for the totals and for the nanoseconds of each thread) → threads
fn read_totals(call: &Call) -> Result {
    let (sums, busy) = engine(call)?.totals();
    let into = call.numbers(1)?;
    let (totals, threads) = into.split_at_mut_checked(NUMBERS).ok_or("argument 1: too short")?;
    totals.copy_from_slice(&sums);
    threads.iter_mut().zip(&busy).for_each(|(room, ns)| *room = *ns);
    Ok(Answer::Number(busy.len() as f64))
}

/// (engine)
fn crash(call: &Call) -> Result {
    engine(call)?.crash();
    Ok(Answer::Nothing)
}

fn boolean(value: bool) -> Answer {
    Answer::Number(if value { 1.0 } else { 0.0 })
}

/// 0, or the errno below 0.
fn status<T>(result: io::Result<T>) -> Answer {
    Answer::Number(result.err().map_or(0.0, |error| -f64::from(error.raw_os_error().unwrap_or(libc::EIO))))
}
