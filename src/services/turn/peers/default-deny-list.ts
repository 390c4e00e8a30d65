/** A range that no client reaches unless a rule allows it. */
export interface DeniedRange {
  readonly range: string
  readonly why: string
}

/**
 * What `byDefault: 'public'` refuses: what is no host of the public internet (RFC 6890 and its registries), and what
 * leads back to this machine or into its network. IPv4-mapped addresses are IPv4 here, and the IPv4 addresses that
 * other IPv6 addresses carry are looked up as well.
 */
export const defaultDenyList: readonly DeniedRange[] = [
  { range: '0.0.0.0/8', why: 'this host: 0.0.0.0 reaches loopback (CVE-2020-26262)' },
  { range: '10.0.0.0/8', why: 'private networks' },
  { range: '100.64.0.0/10', why: 'shared space behind carrier NAT, and metadata of some clouds' },
  { range: '127.0.0.0/8', why: 'loopback' },
  {
    range: '169.254.0.0/16',
    why: 'link-local, with the metadata services 169.254.169.254 and 169.254.170.2',
  },
  { range: '172.16.0.0/12', why: 'private networks' },
  { range: '192.0.0.0/24', why: 'IETF protocol assignments, and metadata of some clouds' },
  { range: '192.0.2.0/24', why: 'documentation' },
  { range: '192.88.99.0/24', why: 'former 6to4 relays' },
  { range: '192.168.0.0/16', why: 'private networks' },
  { range: '198.18.0.0/15', why: 'benchmarks between networks' },
  { range: '198.51.100.0/24', why: 'documentation' },
  { range: '203.0.113.0/24', why: 'documentation' },
  { range: '224.0.0.0/4', why: 'multicast' },
  { range: '240.0.0.0/4', why: 'reserved' },
  { range: '255.255.255.255', why: 'broadcast' },
  { range: '::', why: 'unspecified: reaches loopback (CVE-2020-26262)' },
  { range: '::1', why: 'loopback' },
  { range: '64:ff9b::/96', why: 'NAT64: a translator reaches IPv4 networks with it' },
  { range: '64:ff9b:1::/48', why: 'NAT64 for local use' },
  { range: '100::/64', why: 'discarded' },
  { range: '2001::/23', why: 'IETF protocol assignments, with Teredo' },
  { range: '2001:db8::/32', why: 'documentation' },
  { range: '2002::/16', why: '6to4: a tunnel reaches IPv4 networks with it' },
  { range: 'fc00::/7', why: 'private networks, with the metadata service fd00:ec2::254' },
  { range: 'fe80::/10', why: 'link-local' },
  { range: 'fec0::/10', why: 'former site-local networks' },
  { range: 'ff00::/8', why: 'multicast' },
]
