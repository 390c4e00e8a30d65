//! The functions of `addon.ts` that join sockets.

use super::napi::{Answer, Bell, Call, Function, Result};
use crate::join::{Event, Joiner};
use std::collections::HashMap;
use std::ffi::{c_void, CStr};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub static FUNCTIONS: &[(&CStr, Function)] = &[
    (c"openJoiner", open),
    (c"closeJoiner", close),
    (c"join", join),
    (c"removeJoin", remove),
    (c"takeJoinEvents", take),
    (c"readJoin", read),
    (c"crashJoiner", crash),
];

/// Numbers of an event: join's id, side, 0 for its end or the errno.
const EVENT_NUMBERS: usize = 3;

struct Open {
    joiner: Arc<Joiner>,
    bell: Bell,
}

struct Joiners {
    last: usize,
    open: Option<HashMap<usize, Open>>,
}

/// Of all environments of the process.
static JOINERS: Mutex<Joiners> = Mutex::new(Joiners { last: 0, open: None });

fn joiners() -> MutexGuard<'static, Joiners> {
    JOINERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn joiner(call: &Call) -> std::result::Result<Arc<Joiner>, String> {
    let id = call.id(0)? as usize;
    let joiners = joiners();
    let open = joiners.open.as_ref().and_then(|open| open.get(&id));
    open.map(|open| open.joiner.clone()).ok_or_else(|| format!("no joiner {id}"))
}

/// (most joins, function to call) → joiner, or an errno below 0
fn open(call: &Call) -> Result {
    let most = call.id(0)? as usize;
    let bell = call.bell(1)?;
    let joiner = match Joiner::start(most, Box::new(move || bell.ring())) {
        Ok(joiner) => Arc::new(joiner),
        Err(error) => {
            bell.release();
            return Ok(errno(&error));
        }
    };
    let mut joiners = joiners();
    joiners.last += 1;
    let id = joiners.last;
    joiners.open.get_or_insert_default().insert(id, Open { joiner, bell });
    call.at_end(end, id);
    Ok(Answer::Number(id as f64))
}

/// The environment ends, and its bells with it: the thread must have stopped by then.
unsafe extern "C" fn end(id: *mut c_void) {
    let open = joiners().open.as_mut().and_then(|open| open.remove(&(id as usize)));
    if let Some(open) = open {
        open.joiner.close();
    }
}

/// (joiner)
fn close(call: &Call) -> Result {
    let id = call.id(0)? as usize;
    let open = joiners().open.as_mut().and_then(|open| open.remove(&id));
    if let Some(open) = open {
        call.not_at_end(end, id);
        open.joiner.close();
        open.bell.release();
    }
    Ok(Answer::Nothing)
}

/// (joiner, join's id, first descriptor, second descriptor, whether the first has ended, whether the second has) → 0, or an
/// errno below 0
fn join(call: &Call) -> Result {
    let side = |fd: usize, ended: usize| {
        let fd = RawFd::try_from(call.id(fd)?).map_err(|_| format!("argument {fd}: not a descriptor"))?;
        Ok::<_, String>((fd, call.number(ended)? != 0.0))
    };
    let sides = [side(2, 4)?, side(3, 5)?];
    Ok(joiner(call)?.join(call.id(1)?, sides).map_or_else(|error| errno(&error), |()| Answer::Number(0.0)))
}

/// (joiner, join's id)
fn remove(call: &Call) -> Result {
    joiner(call)?.remove(call.id(1)?);
    Ok(Answer::Nothing)
}

/// (joiner, room for events) → how many numbers it has now; negative when more wait
fn take(call: &Call) -> Result {
    let room = call.numbers(1)?;
    let mut events = Vec::new();
    let has_more = joiner(call)?.take(&mut events, room.len() / EVENT_NUMBERS);
    for (row, event) in room.chunks_exact_mut(EVENT_NUMBERS).zip(&events) {
        row.copy_from_slice(&match *event {
            Event::Ended { id, side } => [id as f64, side as f64, 0.0],
            Event::Broken { id, side, errno } => [id as f64, side as f64, -f64::from(errno)],
        });
    }
    let numbers = (events.len() * EVENT_NUMBERS) as f64;
    Ok(Answer::Number(if has_more { -numbers } else { numbers }))
}

/// (joiner, join's id, room for two numbers)
fn read(call: &Call) -> Result {
    let into = call.numbers(2)?.first_chunk_mut().ok_or("argument 2: too short")?;
    *into = joiner(call)?.moved(call.id(1)?).map(|bytes| bytes as f64);
    Ok(Answer::Nothing)
}

/// (joiner)
fn crash(call: &Call) -> Result {
    joiner(call)?.crash();
    Ok(Answer::Nothing)
}

fn errno(error: &std::io::Error) -> Answer {
    Answer::Number(-f64::from(error.raw_os_error().unwrap_or(libc::EIO)))
}
