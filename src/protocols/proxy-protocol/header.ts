/** One end of the client's connection. */
export interface ProxyEndpoint {
  /** An IP address as text, without brackets or zone. */
  readonly address: string
  readonly port: number
}

/** The connection that the client made. */
export interface ProxyAddresses {
  /** The client. */
  readonly source: ProxyEndpoint
  /** What the client connected to. */
  readonly destination: ProxyEndpoint
}

/** What a PROXY protocol header says. */
export interface ProxyHeader {
  readonly version: 1 | 2
  /** `local`: the sender speaks for itself, for instance to check health; version 1 knows `proxy` only. */
  readonly command: 'local' | 'proxy'
  /** Absent when the header names none that TCP/IP knows: the addresses of the connection itself hold. */
  readonly addresses?: ProxyAddresses
  /** What the client agreed on by ALPN with the sender, who ended its TLS. Version 2 only. */
  readonly alpn?: string
  /** The server name (SNI) that the client asked the sender for. Version 2 only. */
  readonly authority?: string
}

/** What the bytes that came so far are. Once it is not `more`, further bytes do not change it. */
export type ProxyHeaderResult =
  /** The beginning of a header. */
  | { readonly kind: 'more' }
  /** Something else: the peer does not speak the PROXY protocol. */
  | { readonly kind: 'none' }
  | { readonly kind: 'malformed'; readonly reason: string }
  /** `bytes` is the length of the header; what follows is the client's. */
  | { readonly kind: 'header'; readonly header: ProxyHeader; readonly bytes: number }

export function malformed(reason: string): ProxyHeaderResult {
  return { kind: 'malformed', reason }
}

export const needMore: ProxyHeaderResult = { kind: 'more' }
