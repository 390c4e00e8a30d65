//! A service and its users, who reach it through a tunnel's server and client.

mod datagrams;
mod streams;
mod visits;

use crate::args::{Args, Result};
use crate::run::serve;
use datagrams::Datagrams;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};
use streams::{Direction, Streams};

/// How long the tunnel may take until it lets users through.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

pub fn main(args: &Args) -> Result<()> {
    // Streams and datagrams have the same port at the users' end, and the same at the service's.
    let users: SocketAddr = args.text("relay")?.parse()?;
    let port = args.number("origin-port", 0)? as u16;
    let service = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    service.set_nonblocking(true)?;
    let mut streams = until_let_through(|| Streams::open(users, &service))?;
    let datagrams = Datagrams::bind(users, service.local_addr()?.port())?;
    until_let_through(|| datagrams.pass())?;
    serve(args, |options, duration| match options.get("do").unwrap_or("bulk") {
        "bulk" => {
            let count = options.number("streams", 1)? as usize;
            streams.run(count, Direction::parse(options)?, duration)
        }
        "connect" => visits::run(users, &service, options.number("window", 32)? as usize, duration),
        "udp" => datagrams.run(options, duration),
        other => Err(format!("--do {other}: it is bulk, connect or udp").into()),
    })
}

fn until_let_through<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(PAUSE),
            Err(error) => return Err(format!("nothing gets through: {error}").into()),
            Ok(done) => return Ok(done),
        }
    }
}
