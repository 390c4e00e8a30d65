import { isIP } from 'node:net'
import { ipToBytes } from '../../../foundation/ip-text.ts'
import type { PeerProtocol } from './contract.ts'
import { isMapped } from './embedded-ipv4.ts'
import { PeersError } from './errors.ts'
import { allPorts, type PortRanges } from './port-ranges.ts'

/** A set of peers, as it is written in a configuration. */
export interface PeerRule {
  /**
   * An address, a range or a DNS name, and ports unless all are meant: `192.0.2.1`, `10.0.0.0/8:1000-2000`,
   * `10.0.0.0/8:<1000-2000>`, `media.example.org:5004`, `fd00::/8:<1000-2000>`, `[fd00::1]:5004`. An IPv6 address
   * takes its ports in angle brackets, or stands in square ones itself. An address text that is IPv4-mapped is IPv4.
   */
  readonly to: string
  /** @defaultValue both */
  readonly protocol?: PeerProtocol
}

/** A range of addresses; bits beyond the prefix are zero. */
export interface AddressRange {
  /** 4 or 16 bytes, never an IPv4-mapped address. */
  readonly ip: Uint8Array
  readonly bits: number
}

/** A rule that was read. */
export interface ParsedPeerRule {
  /** A range, or a DNS name in lower case; with a final dot no search domain is tried for it. */
  readonly target: AddressRange | string
  readonly ports: PortRanges
  readonly protocol?: PeerProtocol
}

const forms =
  'a rule is an address, a range such as 10.0.0.0/8 or fd00::/8, or a DNS name, then nothing or ports such as ' +
  ':5004, :1000-2000 or :<1000-2000>'

/**
 * Reads a rule; a text is one for both protocols.
 *
 * @param where names the rule in the error, such as `allow[2]`
 * @throws PEERS_BAD_RULE
 */
export function parsePeerRule(rule: string | PeerRule, where: string): ParsedPeerRule {
  const { to, protocol } = typeof rule === 'string' ? { to: rule } : rule
  const fail = (why: string): never => {
    throw new PeersError('PEERS_BAD_RULE', `${where} "${to}": ${why}; ${forms}`)
  }
  if (protocol !== undefined && protocol !== 'udp' && protocol !== 'tcp') {
    fail(`protocol "${String(protocol)}" is neither udp nor tcp`)
  }
  const [text, portText] = splitPorts(to)
  const ports =
    portText === undefined ? allPorts : (parsePorts(portText) ?? fail(`ports "${portText}" are none`))
  const target =
    /[/[\]]/.test(text) || isIP(text) !== 0
      ? (parseAddressRange(text) ?? fail('the range is none'))
      : (parseName(text) ?? fail('it is neither an address nor a name'))
  return { target, ports, ...(protocol === undefined ? {} : { protocol }) }
}

/** Reads an address, or a range with a prefix length; bits beyond the prefix do not matter. Undefined for others. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const match = /^(?:\[([^[\]/]+)\]|([^[\]/]+))(?:\/(\d{1,3}))?$/.exec(text)
  const bracketed = match?.[1]
  const ip = ipToBytes(bracketed ?? match?.[2] ?? '')
  if (ip === undefined || (bracketed !== undefined && ip.length === 4)) return undefined
  const most = ip.length * 8
  const bits = match?.[3] === undefined ? most : Number(match[3])
  if (bits > most) return undefined
  // A mapped range with less than its 96 bits is a range of IPv6, as ::/0 is.
  if (bits >= 96 && isMapped(ip)) return { ip: maskIp(ip.subarray(12), bits - 96), bits: bits - 96 }
  return { ip: maskIp(ip, bits), bits }
}

function maskIp(ip: Uint8Array, bits: number): Uint8Array {
  return ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))))
}

/** The ports come after the last colon, unless that is one of a bare IPv6 address. */
function splitPorts(text: string): [target: string, ports: string | undefined] {
  const angled = /^(.*):<([^<>]*)>$/.exec(text)
  if (angled) return [angled[1] ?? '', angled[2]]
  const plain = /^([^:]*|.*[\]/][^:]*):([^:\]]*)$/.exec(text)
  return plain ? [plain[1] ?? '', plain[2]] : [text, undefined]
}

function parsePorts(text: string): PortRanges | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  if (!match) return undefined
  const to = Number(match[2] ?? match[1])
  // Nothing is ever sent to port 0, so that a range from 0, as others write it, begins at 1.
  const from = Math.max(1, Number(match[1]))
  return from <= to && to <= 65_535 ? [from, to] : undefined
}

/** A host name (RFC 1123 §2.1), also with the underscores of container networks. */
function parseName(text: string): string | undefined {
  const name = text.toLowerCase()
  const labels = name.replace(/\.$/, '').split('.')
  const isName =
    name.length <= 254 &&
    labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label)) &&
    // No name ends in a number: 10.0.0 and 1.2.3.256 are addresses gone wrong, which resolvers may even accept.
    !/^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')
  return isName ? name : undefined
}
