//! One viewer's UDP socket.

use crate::args::Result;
use crate::socket::bind;
use crate::stun;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
const TRIES: usize = 20;

pub struct Viewer {
    pub socket: UdpSocket,
    username: String,
}

impl Viewer {
    pub fn new(gateway: SocketAddr, username: String) -> Result<Viewer> {
        let socket = bind(0)?;
        socket.connect(gateway)?;
        Ok(Viewer { socket, username })
    }

    /// Proves its address with a Binding request, and waits for the origin's answer through what is between.
    pub fn prove(&self, index: usize, password: &str) -> Result<()> {
        let request = stun::binding_request(index as u32, &self.username, password);
        self.socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut answer = [0; 2048];
        let is_answered = (0..TRIES).any(|_| {
            self.socket.send(&request).is_ok()
                && self.socket.recv(&mut answer).is_ok_and(|_| answer.starts_with(&stun::BINDING_SUCCESS))
        });
        match is_answered {
            true => Ok(()),
            false => Err(format!("no STUN answer for {}", self.username).into()),
        }
    }
}
