//! Switches what an interface does for the stack, as `ethtool -K` would.

use crate::{system, Result};
use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// What can be switched, by the command that does (`linux/ethtool.h`).
#[derive(Clone, Copy)]
pub enum Offload {
    /// Leaves transmit checksums to the hardware, which a veth pair does not have: they stay unfinished.
    TransmitChecksum = 0x17,
    /// Joins received packets of one flow to trains. Of veth it also decides whether packets are received by NAPI.
    ReceiveTrains = 0x2c,
}

#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// For an interface of the calling thread's network namespace.
pub fn switch(interface: &str, offload: Offload, on: bool) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut value = EthtoolValue { command: offload as u32, data: u32::from(on) };
    // SAFETY: all zeros are a request without name and data.
    let mut request: libc::ifreq = unsafe { zeroed() };
    assert!(interface.len() < request.ifr_name.len());
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the name ends with zero, and the data is what these commands take; both outlive the call.
    system(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) })?;
    Ok(())
}
