import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { AddressRanges } from './address-ranges.ts'
import { plainAddress } from './connection-info.ts'
import { type ForwardedHop, readForwarded, readForwardedFor, readList } from './forwarded-hops.ts'

/** Who made an HTTP request, as far as proxies before us can be trusted. */
export interface HttpClient {
  /** IPv4 without an IPv6 prefix; empty when the connection is gone already. */
  readonly address: string
  readonly isSecure: boolean
  /** Headers that tell an origin of the client: X-Forwarded-For, -Proto, -Host, X-Real-IP and Forwarded (RFC 7239). */
  readonly headers: readonly HttpClientHeader[]
}

export interface HttpClientHeader {
  readonly name: string
  readonly value: string
}

/** Reads who a client is. */
export type HttpClientOf = (request: IncomingMessage) => HttpClient

/**
 * Reads clients past the proxies within `trusted`: the nearest address of the chain that is not one of them. A header that
 * somebody else sent is not believed and not passed on. RFC 7239 §7.4 (a chain is as good as its weakest member).
 *
 * Of the headers that say the chain the first of these counts: X-Forwarded-For, Forwarded, X-Real-IP. A trusted proxy
 * must write the one that counts itself, or drop what its client sent of it. Never throws.
 */
export function httpClientOf(trusted: AddressRanges): HttpClientOf {
  // Most requests of a connection bring nothing that could change the answer: segments of HLS, above all.
  const known = new WeakMap<Socket, KnownClient>()
  return ({ socket, headers }) => {
    const before = known.get(socket)
    if (before !== undefined && before.host === headers.host && !(before.isTrusted && says(headers))) {
      return before.client
    }
    const peer = plainAddress(socket.remoteAddress ?? '')
    const isTrusted = trusted.has(peer)
    const connection = { peer, isSecure: 'encrypted' in socket, host: usableHost(headers.host) }
    if (isTrusted && says(headers)) return forwardedClient(headers, trusted, connection)
    const client = clientOf({ ...connection, address: peer, proxies: [] })
    known.set(socket, { host: headers.host, isTrusted, client })
    return client
  }
}

/** Who is at the other end of a connection, as long as it says no more than the same `Host`. */
interface KnownClient {
  readonly host: string | undefined
  readonly isTrusted: boolean
  readonly client: HttpClient
}

type Headers = IncomingMessage['headers']

function says(headers: Headers): boolean {
  return (
    headers['x-forwarded-for'] !== undefined ||
    headers.forwarded !== undefined ||
    headers['x-real-ip'] !== undefined ||
    headers['x-forwarded-proto'] !== undefined ||
    headers['x-forwarded-host'] !== undefined
  )
}

interface Connection {
  readonly peer: string
  readonly isSecure: boolean
  readonly host: string | undefined
}

function forwardedClient(headers: Headers, trusted: AddressRanges, connection: Connection): HttpClient {
  const hops = hopsOf(headers)
  let address = connection.peer
  let hop: ForwardedHop | undefined
  // Nearest first.
  const proxies: string[] = []
  while (trusted.has(address)) {
    const next = hops[hops.length - 1 - proxies.length]
    // Whoever stands behind a proxy that does not tell is not known; the proxy is.
    if (next?.address === undefined) break
    proxies.push(address)
    address = next.address
    hop = next
  }
  const depth = proxies.length
  const proto = hop?.proto ?? valueAt(headers['x-forwarded-proto'], depth)?.toLowerCase()
  const host = usableHost(hop?.host) ?? usableHost(valueAt(headers['x-forwarded-host'], depth))
  return clientOf({
    address,
    isSecure: proto === undefined ? connection.isSecure : proto === 'https' || proto === 'wss',
    host: host ?? connection.host,
    proxies: proxies.toReversed(),
  })
}

/** The farthest first. */
function hopsOf(headers: Headers): readonly ForwardedHop[] {
  const chain = textOf(headers['x-forwarded-for'])
  if (chain !== undefined) return readForwardedFor(chain)
  if (headers.forwarded !== undefined) return readForwarded(headers.forwarded)
  return readForwardedFor(textOf(headers['x-real-ip']) ?? '')
}

/** What a list says of the client that is `depth` proxies away; a shorter one says the same of all. */
function valueAt(header: string | string[] | undefined, depth: number): string | undefined {
  const values = readList(textOf(header) ?? '')
  return values[Math.max(0, values.length - Math.max(1, depth))]
}

function textOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header
}

interface ClientParts {
  readonly address: string
  readonly isSecure: boolean
  readonly host: string | undefined
  /** Between the client and us, the farthest first. */
  readonly proxies: readonly string[]
}

function clientOf({ address, isSecure, host, proxies }: ClientParts): HttpClient {
  const proto = isSecure ? 'https' : 'http'
  const headers: HttpClientHeader[] = []
  if (address !== '') {
    headers.push(
      { name: 'X-Forwarded-For', value: [address, ...proxies].join(', ') },
      { name: 'X-Real-IP', value: address },
    )
  }
  headers.push({ name: 'X-Forwarded-Proto', value: proto })
  if (host !== undefined) headers.push({ name: 'X-Forwarded-Host', value: host })
  const own = `for=${nodeName(address)}${host === undefined ? '' : `;host="${host}"`};proto=${proto}`
  const forwarded = [own, ...proxies.map((proxy) => `for=${nodeName(proxy)}`)].join(', ')
  headers.push({ name: 'Forwarded', value: forwarded })
  return { address, isSecure, headers }
}

/** RFC 7239 §6. */
function nodeName(address: string): string {
  if (address === '') return 'unknown'
  return address.includes(':') ? `"[${address}]"` : address
}

/** A host, with or without port, that can stand in a header and within quotes; other texts are none. */
function usableHost(host: string | undefined): string | undefined {
  return host !== undefined && host.length <= MAX_HOST && /^[\w.:[\]-]+$/.test(host) ? host : undefined
}

/** A domain name of DNS with a port. */
const MAX_HOST = 261
