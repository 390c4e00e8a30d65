//! Many datagrams per system call.

mod receive;
mod send;

pub use receive::{ReceiveBatch, Received, SLOTS};
pub use send::{Outgoing, Route, SendBatch, SendEvent};

/// Most datagrams in one message (UDP GSO). Newer kernels take 128, all of them 64.
pub const MAX_SEGMENTS: usize = 64;
/// Longest UDP payload over IPv4, whether one datagram or several in one message.
pub const MAX_PAYLOAD: usize = 65_507;
