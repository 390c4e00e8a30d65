//! Clients of a TURN server and the peers that they reach through it. With clients, datagrams flow both ways at
//! once; the other runs ask the server for what it does before there is anything to relay.

mod answers;
mod arrivals;
mod client;
mod credentials;
mod cycles;
mod flow;
mod frame;
mod junk;
mod relay;

use crate::args::{Args, Result};
use crate::run::serve;
use crate::stun;
use relay::{Relays, Traffic};
use std::net::SocketAddr;

pub fn main(args: &Args) -> Result<()> {
    let server: SocketAddr = args.text("relay")?.parse()?;
    let clients = args.number("clients", 100)? as usize;
    let mut relays = Relays::open(server, clients, args.number("origin-port", 0)? as u16)?;
    serve(args, |options, duration| match options.get("do").unwrap_or("relay") {
        "relay" => relays.run(&Traffic::parse(options)?, duration),
        "allocate" => cycles::run(server, duration),
        "challenge" => {
            let is_challenge = |head: &[u8]| stun::error_code(head) == Some(client::UNAUTHENTICATED);
            answers::run(server, &client::allocate_request(), is_challenge, duration)
        }
        "binding" => {
            let request = stun::header(stun::BINDING_REQUEST, &client::TRANSACTION);
            answers::run(server, &request, |head| head.starts_with(&stun::BINDING_SUCCESS), duration)
        }
        other => Err(format!("--do {other}: it is relay, allocate, challenge or binding").into()),
    })
}
