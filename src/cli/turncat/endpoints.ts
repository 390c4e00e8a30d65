import { TurncatError, TurncatErrorCode } from './errors.ts'

/** The local end of a tunnel. */
export type ClientEndpoint =
  | { readonly kind: 'stdio' }
  | { readonly kind: 'udp' | 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** The far end. */
export interface PeerEndpoint {
  readonly kind: 'udp' | 'tcp'
  /** A name or an address, without brackets. */
  readonly host: string
  readonly port: number
}

/** Reads `-`, `udp://ip:port`, `tcp://ip:port` (port 0 takes a free one) or `unix:///path`. @throws TURNCAT_URI_INVALID */
export function parseClient(text: string): ClientEndpoint {
  if (text === '-' || text === 'file://-') return { kind: 'stdio' }
  const path = /^unix:\/\/(\/.+)$/i.exec(text)?.[1]
  if (path !== undefined) return { kind: 'unix', path }
  const endpoint = parseHostPort(text, 0)
  if (endpoint !== undefined) return endpoint
  throw new TurncatError(
    TurncatErrorCode.uriInvalid,
    `CLIENT "${text}" is none of -, udp://ip:port, tcp://ip:port and unix:///path`,
  )
}

/** Reads `udp://host:port` or `tcp://host:port`. @throws TURNCAT_URI_INVALID */
export function parsePeer(text: string): PeerEndpoint {
  const endpoint = parseHostPort(text, 1)
  if (endpoint !== undefined) return endpoint
  throw new TurncatError(
    TurncatErrorCode.uriInvalid,
    `PEER "${text}" is neither udp://host:port nor tcp://host:port`,
  )
}

function parseHostPort(text: string, minPort: number): PeerEndpoint | undefined {
  const match = /^(udp|tcp):\/\/(?:\[([^\]]+)\]|([^:/?#@[\]]+)):(\d{1,5})\/?$/i.exec(text)
  if (match === null) return undefined
  const port = Number(match[4])
  if (port < minPort || port > 65_535) return undefined
  return {
    kind: match[1]?.toLowerCase() === 'tcp' ? 'tcp' : 'udp',
    host: match[2] ?? match[3] ?? '',
    port,
  }
}
