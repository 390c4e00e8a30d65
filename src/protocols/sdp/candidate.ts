import { attributeValue, type SdpLine, type SessionDescription } from './session-description.ts'

/** One `a=candidate` line (RFC 8839 §5.1), as far as a relay reads it. */
export interface IceCandidate {
  readonly component: number
  /** Lower case. */
  readonly transport: string
  /** An IP address, a host name or an mDNS name. */
  readonly address: string
  readonly port: number
  /** `host`, `srflx`, `prflx` or `relay`. */
  readonly type: string
}

/** A transport address that clients are told. */
export interface PublicAddress {
  /** A literal IPv4 or IPv6 address. */
  readonly address: string
  readonly port: number
  /** `tcp`: clients connect there (a passive candidate of RFC 6544). @defaultValue `udp` */
  readonly transport?: 'udp' | 'tcp'
}

/**
 * Whether a line carries a candidate: well-formed or not, and also where only a lenient parser sees one, which trims
 * lines, ignores case, or ends lines at other characters than CR and LF (VT, FF, NEL, U+2028).
 */
export function isCandidateLine(line: SdpLine): boolean {
  return CANDIDATE.test(line.text)
}

const CANDIDATE = /(?:^|[^\t -~])[\t ]*a[\t ]*=[\t ]*(?:remote-)?candidates?[\t ]*:/i

/** The well-formed UDP candidates of component 1, in their order and of whatever type: where an origin takes media. */
export function udpCandidates(description: SessionDescription): readonly IceCandidate[] {
  return description.lines.flatMap((line) => {
    const candidate = parseCandidate(line)
    return candidate?.transport === 'udp' && candidate.component === 1 ? [candidate] : []
  })
}

/** `undefined` for a line that is no candidate or is malformed. */
export function parseCandidate(line: SdpLine): IceCandidate | undefined {
  const value = attributeValue(line, 'candidate')
  if (value === undefined) return undefined
  const [, component, transport, , address, port, typ, type] = value.split(' ', 8)
  const portNumber = decimal(port, 65_535)
  const componentNumber = decimal(component, 256)
  if (transport === undefined || address === undefined || typ !== 'typ' || type === undefined)
    return undefined
  if (portNumber === undefined || componentNumber === undefined) return undefined
  return { component: componentNumber, transport: transport.toLowerCase(), address, port: portNumber, type }
}

/**
 * The text of a host candidate of component 1. `index` counts the candidates of one description: the first is
 * preferred (RFC 8445 §5.1.2.1: type preference 126, then a local preference that falls). TCP comes behind all UDP, and
 * waits for the client to connect (RFC 6544 §4.2: direction preference 4 of passive candidates).
 */
export function hostCandidateText(
  { address, port, transport = 'udp' }: PublicAddress,
  index: number,
): string {
  const isTcp = transport === 'tcp'
  const typePreference = isTcp ? 90 : 126
  const localPreference = Math.max(0, (isTcp ? 4 * 2 ** 13 + 2 ** 13 - 1 : 65_535) - index)
  const priority = typePreference * 2 ** 24 + localPreference * 2 ** 8 + 255
  const text = `a=candidate:${index + 1} 1 ${transport} ${priority} ${address} ${port} typ host`
  return isTcp ? `${text} tcptype passive` : text
}

function decimal(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return undefined
  const value = Number(text)
  return value <= max ? value : undefined
}
