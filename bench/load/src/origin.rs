//! The media server's UDP port.

use crate::args::Result;
use crate::socket::bind;
use crate::stun;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How often a waiting origin looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

pub struct Origin {
    pub socket: UdpSocket,
}

impl Origin {
    pub fn bind(port: u16) -> Result<Origin> {
        let socket = bind(port)?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Origin { socket })
    }

    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Answers Binding requests until it is to end; gives where each session is, in the order of their names.
    pub fn answer(&self, password: &str, end: &AtomicBool) -> Result<Vec<SocketAddr>> {
        let mut sessions = BTreeMap::new();
        let mut buffer = [0; 2048];
        while !end.load(Relaxed) {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let bytes = &buffer[..length];
            if !bytes.starts_with(&stun::BINDING_REQUEST) || bytes.len() < stun::HEADER_BYTES {
                continue;
            }
            if let Some(name) = stun::username(bytes) {
                sessions.insert(name.to_string(), from);
            }
            self.socket.send_to(&stun::binding_success(bytes, from, password), from)?;
        }
        Ok(sessions.into_values().collect())
    }
}
