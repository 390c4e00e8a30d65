//! Interfaces that receive as those with hardware do.

use crate::offload::{switch, Offload};
use crate::topology::{Topology, DIRECT, TO_CLIENTS, TO_ORIGIN};
use crate::Result;

/// While it lives, the gateway's interfaces, and those past it, receive by NAPI and GRO, which a veth pair needs in order to take
/// frames from XDP.
pub struct Hardware<'load>(&'load Topology);

impl Hardware<'_> {
    pub fn imitate(topology: &Topology) -> Result<Hardware<'_>> {
        let hardware = Hardware(topology);
        hardware.switch(true)?;
        Ok(hardware)
    }

    fn switch(&self, on: bool) -> Result<()> {
        let Topology { origin, gateway, clients } = self.0;
        let receivers = [(gateway, TO_ORIGIN), (gateway, TO_CLIENTS), (origin, DIRECT), (clients, DIRECT)];
        for (namespace, interface) in receivers {
            namespace.run(|| switch(interface, Offload::ReceiveTrains, on))?;
        }
        Ok(())
    }
}

impl Drop for Hardware<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.switch(false) {
            eprintln!("GRO stays on: {error}");
        }
    }
}
