//! Commands and records that come from TypeScript as bytes; numbers are little-endian. `addon-records.ts` writes them.

use crate::address::{Address, PACKED_BYTES};
use crate::binding::napi::exact;
use crate::engine::{EndpointOptions, EngineOptions, OwnDatagram, Rate};
use crate::flow::{Selector, MAX_METERS};
use crate::socket::SocketOptions;

/// Reads a record from its start; every read says when there is too little.
pub struct Reader<'bytes>(&'bytes [u8]);

type Read<T> = Result<T, String>;

impl<'bytes> Reader<'bytes> {
    pub fn new(bytes: &'bytes [u8]) -> Reader<'bytes> {
        Reader(bytes)
    }

    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn chunk<const N: usize>(&mut self) -> Read<&'bytes [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or("a record ends too early")?;
        self.0 = rest;
        Ok(chunk)
    }

    fn bytes(&mut self, count: usize) -> Read<&'bytes [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or("a record ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(self.chunk::<1>()?[0])
    }

    fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_le_bytes(*self.chunk()?))
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(*self.chunk()?))
    }

    fn f64(&mut self) -> Read<f64> {
        Ok(f64::from_le_bytes(*self.chunk()?))
    }

    fn id(&mut self) -> Read<u64> {
        exact(self.f64()?).ok_or_else(|| "an id is not a whole number".to_string())
    }

    fn flag(&mut self) -> Read<bool> {
        Ok(self.u8()? != 0)
    }

    fn address(&mut self) -> Read<Address> {
        Address::unpack(self.chunk::<PACKED_BYTES>()?).ok_or_else(|| "not an address".to_string())
    }

    /// A local address's number, of which the greatest stands for none.
    fn local(&mut self) -> Read<Option<u32>> {
        Ok(Some(self.u32()?).filter(|local| *local != u32::MAX))
    }
}

/// An engine: now, four pairs of rate and burst (strangers of an endpoint, of all, the known of an endpoint, of all),
/// bytes of a send buffer.
pub fn engine_options(numbers: &[f64]) -> Read<EngineOptions> {
    let [now_ms, a, b, c, d, e, f, g, h, send_buffer_bytes] = *numbers else {
        return Err("an engine takes ten numbers".to_string());
    };
    let rate = |per_second, burst| Rate { per_second, burst };
    Ok(EngineOptions {
        now_ms,
        strangers_per_endpoint: rate(a, b),
        strangers: rate(c, d),
        known_per_endpoint: rate(e, f),
        known: rate(g, h),
        send_buffer_bytes: send_buffer_bytes as u32,
    })
}

/// An endpoint: id f64, threads u32, whether it delivers u8, whether it has a remote u8, whether it
/// separates its local addresses u8, a zero, the remote.
pub fn endpoint(bytes: &[u8]) -> Read<EndpointOptions> {
    let mut reader = Reader::new(bytes);
    let (id, threads) = (reader.id()?, reader.u32()?);
    let (is_deliver, has_remote, separates_locals) = (reader.flag()?, reader.flag()?, reader.flag()?);
    reader.u8()?;
    let remote = if has_remote { Some(reader.address()?) } else { None };
    Ok(EndpointOptions { id, is_deliver, separates_locals, remote, threads })
}

/// A local address: endpoint f64, its number u32, bytes of the receive buffer u32 (0: the system's), DSCP u8 (255: the
/// system's), whether it reports ICMP errors u8, six zeros, the address.
pub fn local_address(bytes: &[u8]) -> Read<(u64, u32, SocketOptions)> {
    let mut reader = Reader::new(bytes);
    let (endpoint, number, receive_buffer_bytes) = (reader.id()?, reader.u32()?, reader.u32()?);
    let dscp = Some(reader.u8()?).filter(|dscp| *dscp < 64);
    let icmp_errors = reader.flag()?;
    reader.bytes(6)?;
    let address = reader.address()?;
    let (remote, send_buffer_bytes) = (None, 0);
    Ok((
        endpoint,
        number,
        SocketOptions { address, remote, receive_buffer_bytes, send_buffer_bytes, dscp, icmp_errors },
    ))
}

/// An address by itself.
pub fn address(bytes: &[u8]) -> Read<Address> {
    Reader::new(bytes).address()
}

/// What a flow is to be; endpoints and meters by TypeScript's names.
#[derive(Debug)]
pub struct FlowCommand {
    pub id: u64,
    pub from: u64,
    /// Of an endpoint that separates them.
    pub from_local: Option<u32>,
    pub remote: Address,
    pub selector: Selector,
    pub kind: FlowKind,
    pub to: Option<FlowTo>,
    pub meters: [Option<u64>; MAX_METERS],
}

/// Where a flow leads.
#[derive(Debug)]
pub struct FlowTo {
    pub endpoint: u64,
    pub local: Option<u32>,
    pub remote: Address,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowKind {
    Deliver,
    Forward { copies_stun: bool },
    AddChannel(u16),
    StripChannel,
    AddIndication(Address),
    StripIndication(Address),
}

/// A flow: id f64, endpoint f64, remote, kind u8 (0 deliver, 1 forward, 2 forward and copy STUN requests, 3 add a channel
/// header, 4 strip it, 5 add that of an indication, 6 strip it), how many meters u8, channel u16, whether it matches u8, a
/// zero, offset of the match u16, value u32, local of the source u32, local of the target u32, four zeros; three meters f64;
/// then, unless it delivers, the target's endpoint f64 and remote; of 5 and 6 the peer, an address.
pub fn flow(bytes: &[u8]) -> Read<FlowCommand> {
    let mut reader = Reader::new(bytes);
    let (id, from, remote) = (reader.id()?, reader.id()?, reader.address()?);
    let (kind, meter_count, channel) = (reader.u8()?, reader.u8()?, reader.u16()?);
    let (is_matching, _, offset, value) = (reader.flag()?, reader.u8()?, reader.u16()?, reader.u32()?);
    let (from_local, local) = (reader.local()?, reader.local()?);
    reader.u32()?;
    let mut meters = [None; MAX_METERS];
    for (at, meter) in meters.iter_mut().enumerate() {
        let named = reader.id()?;
        *meter = Some(named).filter(|_| at < usize::from(meter_count));
    }
    if usize::from(meter_count) > MAX_METERS {
        return Err("too many meters".to_string());
    }
    let to = match kind {
        0 => None,
        _ => Some(FlowTo { endpoint: reader.id()?, local, remote: reader.address()? }),
    };
    let kind = match kind {
        0 => FlowKind::Deliver,
        1 => FlowKind::Forward { copies_stun: false },
        2 => FlowKind::Forward { copies_stun: true },
        3 => FlowKind::AddChannel(channel),
        4 => FlowKind::StripChannel,
        5 => FlowKind::AddIndication(reader.address()?),
        6 => FlowKind::StripIndication(reader.address()?),
        _ => return Err("no such kind of flow".to_string()),
    };
    let selector = match (kind, is_matching) {
        (FlowKind::StripChannel, _) => Selector::Channel(channel),
        (FlowKind::StripIndication(peer), _) => Selector::Indication(peer),
        (_, true) => Selector::Match { offset, value },
        (_, false) => Selector::Any,
    };
    Ok(FlowCommand { id, from, from_local, remote, selector, kind, to, meters })
}

/// A flow's new target: local u32, four zeros, remote.
pub fn aim(bytes: &[u8]) -> Read<(Option<u32>, Address)> {
    let mut reader = Reader::new(bytes);
    let local = reader.local()?;
    reader.u32()?;
    Ok((local, reader.address()?))
}

/// The next datagram that is to be sent: endpoint f64, local u32, length u32, whether it must not be fragmented u8, seven
/// zeros, remote, the bytes, zeros up to a multiple of eight.
pub fn own_datagram<'bytes>(reader: &mut Reader<'bytes>) -> Read<OwnDatagram<'bytes>> {
    let (endpoint, local, length) = (reader.id()?, reader.local()?, reader.u32()? as usize);
    let dont_fragment = reader.flag()?;
    reader.bytes(7)?;
    let remote = reader.address()?;
    let bytes = reader.bytes(length)?;
    reader.bytes(length.next_multiple_of(8) - length)?;
    Ok(OwnDatagram { endpoint, local, remote, dont_fragment, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that looks random, the same in every run.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn refuses_bytes_that_are_no_command_without_a_panic() {
        let mut state = 88_172_645_463_325_252;
        for _ in 0..20_000 {
            let length = (random(&mut state) % 160) as usize;
            // Few ones, so that numbers are often whole and lengths short.
            let bytes: Vec<u8> = (0..length)
                .map(|_| (random(&mut state) & random(&mut state) & random(&mut state) & 7) as u8)
                .collect();
            let _ = (endpoint(&bytes), local_address(&bytes), address(&bytes), flow(&bytes), aim(&bytes));
            let mut reader = Reader::new(&bytes);
            while !reader.is_at_end() && own_datagram(&mut reader).is_ok() {}
        }
    }
}
