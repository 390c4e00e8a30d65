//! One client: its UDP socket, its allocation and its channel.

use super::credentials::Credentials;
use crate::args::Result;
use crate::socket::bind;
use crate::stun::{self, attribute, header, xor_address};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

pub const ALLOCATE_SUCCESS: [u8; 2] = [1, 0x03];
pub const ALLOCATE_ERROR: [u8; 2] = [1, 0x13];
pub const UNAUTHENTICATED: u16 = 401;
pub const REFRESH_SUCCESS: [u8; 2] = [1, 0x04];
/// Every client has its own five-tuple, so all may use the same.
pub const CHANNEL: [u8; 2] = [0x40, 0];
/// A transaction id; the last four bytes tell transactions of a socket apart.
pub const TRANSACTION: [u8; 12] = *b"load-of-turn";
pub const XOR_PEER_ADDRESS: u16 = 0x0012;

const ALLOCATE: [u8; 2] = [0, 0x03];
const REFRESH: [u8; 2] = [0, 0x04];
const CREATE_PERMISSION: [u8; 2] = [0, 0x08];
const CHANNEL_BIND: [u8; 2] = [0, 0x09];
/// The bit of a message type that tells errors from successes.
const ERROR_BIT: u8 = 0x10;
const CHANNEL_NUMBER: u16 = 0x000c;
const LIFETIME: u16 = 0x000d;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const UDP: [u8; 4] = [17, 0, 0, 0];
/// Longer than any bench, so that nothing needs to be refreshed for its sake. pion takes 3600 for too much, and
/// then gives 600.
const LIFETIME_SECONDS: u32 = 3500;
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
const TRIES: u32 = 20;

/// The shortest Allocate, which every server challenges: 28 bytes.
pub fn allocate_request() -> Vec<u8> {
    let mut request = header(ALLOCATE, &TRANSACTION);
    attribute(&mut request, REQUESTED_TRANSPORT, &UDP);
    request
}

pub fn refresh_request(lifetime_seconds: u32) -> Vec<u8> {
    let mut request = header(REFRESH, &TRANSACTION);
    attribute(&mut request, LIFETIME, &lifetime_seconds.to_be_bytes());
    request
}

pub struct Client {
    pub socket: UdpSocket,
    /// Where peers reach it.
    pub relayed: SocketAddr,
    /// None where no server is between.
    credentials: Option<Credentials>,
    transactions: u32,
}

impl Client {
    /// Gets an allocation of the server.
    pub fn allocate(server: SocketAddr) -> Result<Client> {
        let mut client = Client::direct(server)?;
        client.socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut request = allocate_request();
        attribute(&mut request, LIFETIME, &LIFETIME_SECONDS.to_be_bytes());
        let success = client.request(request)?;
        let relayed = stun::find(&success, XOR_RELAYED_ADDRESS).and_then(stun::address);
        client.relayed = relayed.ok_or("an allocation without an address of IPv4")?;
        Ok(client)
    }

    /// A client that meets its peer itself.
    pub fn direct(peer: SocketAddr) -> Result<Client> {
        let socket = bind(0)?;
        socket.connect(peer)?;
        let relayed = socket.local_addr()?;
        Ok(Client { socket, relayed, credentials: None, transactions: 0 })
    }

    /// Lets every peer of this address through.
    pub fn permit(&mut self, peer: SocketAddr) -> Result<()> {
        let mut request = header(CREATE_PERMISSION, &TRANSACTION);
        attribute(&mut request, XOR_PEER_ADDRESS, &xor_address(peer));
        self.request(request).map(drop)
    }

    /// Binds the channel to a peer; a second time is a refresh, of the permission too.
    pub fn bind_channel(&mut self, peer: SocketAddr) -> Result<()> {
        let mut request = header(CHANNEL_BIND, &TRANSACTION);
        attribute(&mut request, CHANNEL_NUMBER, &[CHANNEL[0], CHANNEL[1], 0, 0]);
        attribute(&mut request, XOR_PEER_ADDRESS, &xor_address(peer));
        self.request(request).map(drop)
    }

    /// The success of a request. A challenge, which a nonce that has become stale brings too, is met once.
    fn request(&mut self, mut request: Vec<u8>) -> Result<Vec<u8>> {
        let mut refusal = String::new();
        for _ in 0..2 {
            // An answer to an earlier request is not one to this.
            self.transactions += 1;
            request[16..20].copy_from_slice(&self.transactions.to_be_bytes());
            let answer = match &self.credentials {
                Some(credentials) => self.exchange(&credentials.prove(request.clone()))?,
                None => self.exchange(&request)?,
            };
            if answer[1] & ERROR_BIT == 0 {
                return Ok(answer);
            }
            let code = stun::error_code(&answer).unwrap_or(0);
            refusal = format!("the server refuses a request of method {} with {code}", request[1]);
            match Credentials::of(&answer) {
                Some(credentials) => self.credentials = Some(credentials),
                None => break,
            }
        }
        Err(refusal.into())
    }

    /// Sends until there is an answer; other datagrams that wait in the socket are passed over.
    fn exchange(&self, request: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = [0; 2048];
        for _ in 0..TRIES {
            self.socket.send(request)?;
            while let Ok(length) = self.socket.recv(&mut buffer) {
                if length >= stun::HEADER_BYTES && buffer[8..20] == request[8..20] {
                    return Ok(buffer[..length].to_vec());
                }
            }
        }
        Err("the server does not answer".into())
    }
}
