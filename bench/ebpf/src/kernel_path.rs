//! Flows in the kernel: the map that holds them, and the program on the gateway's interfaces.

use crate::bpf::syscall::{HashMap, Link, PerCpuArray, Program, Purpose};
use crate::flow::{Counters, FlowKey, Rewrite};
use crate::program::{self, Way};
use crate::topology::{interface_index, Topology, TO_CLIENTS, TO_ORIGIN};
use crate::Result;

const MAX_FLOWS: u32 = 65_536;

pub struct KernelPath {
    flows: HashMap<FlowKey, Rewrite>,
    counters: PerCpuArray<Counters>,
    programs: Vec<(Way, Program)>,
}

impl KernelPath {
    pub fn new() -> Result<KernelPath> {
        let flows = HashMap::new(MAX_FLOWS)?;
        let counters = PerCpuArray::new(MAX_FLOWS)?;
        let programs = [Way::Redirect, Way::RedirectNeighbour, Way::RedirectPeer]
            .into_iter()
            .map(|way| {
                let instructions = program::forward(flows.descriptor(), counters.descriptor(), way);
                Ok((way, Program::load(Purpose::TrafficControl, "sluice_forward", &instructions)?))
            })
            .collect::<Result<_>>()?;
        Ok(KernelPath { flows, counters, programs })
    }

    /// The kernel forwards until the links are dropped.
    pub fn attach(&self, topology: &Topology, way: Way) -> Result<Vec<Link>> {
        let (_, program) = self.programs.iter().find(|(known, _)| *known == way).ok_or("no such program")?;
        topology.gateway.run(|| {
            [TO_ORIGIN, TO_CLIENTS].into_iter().map(|name| program.attach(interface_index(name)?)).collect()
        })
    }

    pub fn add(&self, key: &FlowKey, rewrite: &Rewrite) -> Result<()> {
        self.flows.insert(key, rewrite)
    }

    pub fn remove(&self, key: &FlowKey) -> Result<()> {
        self.flows.remove(key)
    }

    /// What all processors have counted together.
    pub fn counters(&self, id: u32) -> Result<Counters> {
        let values = self.counters.get(id)?;
        Ok(values.iter().fold(Counters::default(), |sum, value| Counters {
            packets: sum.packets + value.packets,
            bytes: sum.bytes + value.bytes,
            last_seen_ns: sum.last_seen_ns.max(value.last_seen_ns),
        }))
    }
}
