//! The little network of the experiment:
//!
//! ```text
//! origin 10.99.0.2 ── 10.99.0.1 gateway 10.99.1.1 ── 10.99.1.2 clients
//!        10.99.2.2 ───────────────────────────────── 10.99.2.1
//! ```
//!
//! Each line is a veth pair. The lower one goes past the gateway: what the same load costs without any.

use crate::flow::Exit;
use crate::load::Direction;
use crate::namespace::Namespace;
use crate::{system, Result};
use std::ffi::CString;
use std::net::Ipv4Addr;

pub const ORIGIN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// The gateway as the origin sees it.
pub const INNER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The gateway as clients see it.
pub const EDGE: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
pub const ORIGIN_DIRECT: Ipv4Addr = Ipv4Addr::new(10, 99, 2, 2);
pub const CLIENTS_DIRECT: Ipv4Addr = Ipv4Addr::new(10, 99, 2, 1);
pub const MTU: u16 = 1500;

/// Names of the gateway's interfaces, and of those at their far ends.
pub const TO_ORIGIN: &str = "to-origin";
pub const TO_CLIENTS: &str = "to-clients";
pub const TO_GATEWAY: &str = "to-gateway";
pub const DIRECT: &str = "direct";

pub struct Topology {
    pub origin: Namespace,
    pub gateway: Namespace,
    pub clients: Namespace,
}

impl Topology {
    pub fn new() -> Result<Topology> {
        let topology =
            Topology { origin: Namespace::new()?, gateway: Namespace::new()?, clients: Namespace::new()? };
        let Topology { origin, gateway, clients } = &topology;
        pair((gateway, TO_ORIGIN, INNER, 1), (origin, TO_GATEWAY, ORIGIN, 2))?;
        pair((gateway, TO_CLIENTS, EDGE, 3), (clients, TO_GATEWAY, CLIENTS, 4))?;
        pair((origin, DIRECT, ORIGIN_DIRECT, 5), (clients, DIRECT, CLIENTS_DIRECT, 6))?;
        Ok(topology)
    }

    pub fn exit_to_origin(&self) -> Result<Exit> {
        self.exit(TO_ORIGIN, 1)
    }

    pub fn exit_to_clients(&self) -> Result<Exit> {
        self.exit(TO_CLIENTS, 3)
    }

    /// Destination and source of a frame that the origin or the clients send to the gateway.
    pub fn macs_to_gateway(&self, direction: Direction) -> [[u8; 6]; 2] {
        match direction {
            Direction::Down => [mac(1), mac(2)],
            Direction::Up => [mac(3), mac(4)],
        }
    }

    /// The same, over the line that goes past it.
    pub fn macs_past_gateway(&self, direction: Direction) -> [[u8; 6]; 2] {
        match direction {
            Direction::Down => [mac(6), mac(5)],
            Direction::Up => [mac(5), mac(6)],
        }
    }

    fn exit(&self, interface: &str, number: u8) -> Result<Exit> {
        let interface = self.gateway.run(|| interface_index(interface))?;
        Ok(Exit { interface, mac: mac(number), next_hop_mac: mac(number + 1), mtu: MTU })
    }
}

type End<'a> = (&'a Namespace, &'a str, Ipv4Addr, u8);

fn pair(near: End, far: End) -> Result<()> {
    near.0.ip(&format!(
        "link add {} address {} type veth peer name {} address {} netns {}",
        near.1,
        text(mac(near.3)),
        far.1,
        text(mac(far.3)),
        far.0.path(),
    ))?;
    for (namespace, name, address, _) in [near, far] {
        namespace.ip(&format!("address add {address}/24 dev {name}"))?;
        namespace.ip(&format!("link set {name} up"))?;
    }
    // Neighbours are known from the start, as they are on a gateway that has been running.
    for (namespace, name, address, number) in [(near.0, near.1, far.2, far.3), (far.0, far.1, near.2, near.3)]
    {
        let mac = text(mac(number));
        namespace.ip(&format!("neighbour replace {address} lladdr {mac} dev {name} nud permanent"))?;
    }
    Ok(())
}

fn mac(number: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 0, number]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// In the namespace of the calling thread.
pub fn interface_index(name: &str) -> Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: a string that ends with zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    system(index as i32 - 1)?;
    Ok(index)
}
