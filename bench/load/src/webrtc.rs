//! WHEP viewers of one stream: the origin answers the offers, each viewer proves itself with STUN, then
//! datagrams flow one way. With `--relay` there is no signalling: a bare relay learns sessions from STUN. If
//! that is the origin's own port, nothing is between the two ends.

use crate::args::{Args, Result};
use crate::ends::{Ends, Heads};
use crate::origin::Origin;
use crate::run::serve;
use crate::viewer::{of_relay, prove};
use crate::whep::open_sessions;

pub fn main(args: &Args) -> Result<()> {
    let count = args.number("clients", 200)? as usize;
    let origin = Origin::bind(args.number("origin-port", 0)? as u16)?;
    let port = origin.port()?;
    let (viewers, seen_at) = match args.get("relay") {
        Some(relay) => prove(&origin, || of_relay(relay, count)),
        None => prove(&origin, || open_sessions(args, count, port)),
    }?;
    let ends = Ends::new(origin, viewers, &seen_at, |_| Heads { to_viewer: [], to_origin: [] })?;
    serve(args, |options, duration| ends.run(options, duration))
}
