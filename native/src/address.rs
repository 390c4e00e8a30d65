//! Transport addresses: as flows compare them, and as the system takes them.

use std::hash::{Hash, Hasher};

#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

/// An IP address and a port, with the interface number of a link-local one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    pub family: Family,
    pub port: u16,
    pub scope: u32,
    /// An IPv4 address fills the first four bytes, the others are zero.
    pub ip: [u8; 16],
}

impl Hash for Address {
    /// In two words, for each message that arrives: as derived it takes six, and twice the time.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Address { family, port, scope, ip } = self;
        hasher.write_u64(u64::from(*scope) << 32 | u64::from(*port) << 16 | *family as u64);
        hasher.write_u128(u128::from_ne_bytes(*ip));
    }
}

/// Bytes of an address in records: family (4 or 6), 0, port, scope, ip; numbers little-endian.
pub const PACKED_BYTES: usize = 24;

impl Address {
    /// Reads a packed address; `None` when the family is neither 4 nor 6.
    pub fn unpack(bytes: &[u8; PACKED_BYTES]) -> Option<Address> {
        let family = match bytes[0] {
            4 => Family::V4,
            6 => Family::V6,
            _ => return None,
        };
        let mut ip = [0; 16];
        let length = if family == Family::V4 { 4 } else { 16 };
        ip[..length].copy_from_slice(&bytes[8..8 + length]);
        let scope = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        Some(Address { family, port: u16::from_le_bytes([bytes[2], bytes[3]]), scope, ip })
    }

    pub fn pack(&self) -> [u8; PACKED_BYTES] {
        let mut bytes = [0; PACKED_BYTES];
        bytes[0] = if self.family == Family::V4 { 4 } else { 6 };
        bytes[2..4].copy_from_slice(&self.port.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.scope.to_le_bytes());
        bytes[8..].copy_from_slice(&self.ip);
        bytes
    }
}

const RAW_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// A `sockaddr_in` or `sockaddr_in6`, in the room of the larger one.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawAddress {
    bytes: [u8; RAW_BYTES],
    length: u8,
}

impl RawAddress {
    pub const EMPTY: RawAddress = RawAddress { bytes: [0; RAW_BYTES], length: RAW_BYTES as u8 };

    pub fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// Where the system writes an address of at most `RawAddress::EMPTY.len()` bytes.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    pub fn len(&self) -> libc::socklen_t {
        self.length.into()
    }

    /// What the system wrote; `None` when it is no IP address.
    pub fn address(&self) -> Option<Address> {
        let bytes = &self.bytes;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        let mut ip = [0; 16];
        match i32::from(u16::from_ne_bytes([bytes[0], bytes[1]])) {
            libc::AF_INET => {
                ip[..4].copy_from_slice(&bytes[4..8]);
                Some(Address { family: Family::V4, port, scope: 0, ip })
            }
            libc::AF_INET6 => {
                ip.copy_from_slice(&bytes[8..24]);
                let scope = u32::from_ne_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
                Some(Address { family: Family::V6, port, scope, ip })
            }
            _ => None,
        }
    }
}

impl From<&Address> for RawAddress {
    fn from(address: &Address) -> RawAddress {
        let mut raw = RawAddress::EMPTY;
        raw.bytes[2..4].copy_from_slice(&address.port.to_be_bytes());
        match address.family {
            Family::V4 => {
                raw.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                raw.bytes[4..8].copy_from_slice(&address.ip[..4]);
                raw.length = size_of::<libc::sockaddr_in>() as u8;
            }
            Family::V6 => {
                raw.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                raw.bytes[8..24].copy_from_slice(&address.ip);
                raw.bytes[24..28].copy_from_slice(&address.scope.to_ne_bytes());
            }
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    impl Address {
        pub fn new(ip: IpAddr, port: u16) -> Address {
            let mut bytes = [0; 16];
            let family = match ip {
                IpAddr::V4(v4) => {
                    bytes[..4].copy_from_slice(&v4.octets());
                    Family::V4
                }
                IpAddr::V6(v6) => {
                    bytes = v6.octets();
                    Family::V6
                }
            };
            Address { family, port, scope: 0, ip: bytes }
        }

        pub fn ip(&self) -> IpAddr {
            match self.family {
                Family::V4 => Ipv4Addr::new(self.ip[0], self.ip[1], self.ip[2], self.ip[3]).into(),
                Family::V6 => Ipv6Addr::from(self.ip).into(),
            }
        }
    }

    #[test]
    fn survives_packing_and_the_system_form() {
        for ip in ["127.0.0.1", "255.1.2.3", "::1", "fe80::1234"] {
            let mut address = Address::new(ip.parse().unwrap(), 49_152);
            if ip.starts_with("fe80") {
                address.scope = 3;
            }
            assert_eq!(Address::unpack(&address.pack()), Some(address));
            assert_eq!(RawAddress::from(&address).address(), Some(address));
            assert_eq!(address.ip().to_string(), ip);
        }
    }

    #[test]
    fn refuses_other_families() {
        assert_eq!(Address::unpack(&[5; PACKED_BYTES]), None);
        assert_eq!(RawAddress::EMPTY.address(), None);
    }
}
