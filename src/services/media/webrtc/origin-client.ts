import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import { Agent, type buildConnector } from 'undici'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { OriginFailure } from './errors.ts'
import type { CompleteWebRtcOptions } from './options.ts'

/** An HTTP response of an origin, read to its end. */
export interface OriginResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Where an origin's HTTP API is. */
export interface OriginApi {
  readonly scheme: 'http' | 'https'
  /** As registered or configured, a literal address or a name: its certificate is checked by it. */
  readonly host: string
  /** What is dialled: the literal address of the host. */
  readonly address: string
  readonly port: number
}

export interface OriginRequest {
  readonly method: 'POST' | 'PATCH' | 'DELETE'
  /** Path and query. */
  readonly target: string
  /** With a `host`, whose name is what an https origin must prove to be. */
  readonly headers: Readonly<Record<string, string>> & { readonly host: string }
  readonly body?: Uint8Array
  readonly signal?: AbortSignal
}

/** What came of a request to an origin. */
export type OriginResult =
  | { readonly ok: true; readonly response: OriginResponse }
  | { readonly ok: false; readonly failure: OriginFailure; readonly cause: unknown }

/** Connections to one origin at a time; further requests wait for one, also behind those that the origin lets hang. */
const maxConnectionsPerOrigin = 1024

/**
 * Asks origins over HTTP, with a bound on every time and size. Redirects are not followed. Connections are not kept:
 * signalling is rare, and a kept one that the origin is just closing would look like an origin that is gone.
 */
export class OriginClient {
  readonly #agent: Agent
  readonly #maxAnswerBytes: number

  constructor(options: CompleteWebRtcOptions) {
    const { headersTimeoutMs, bodyTimeoutMs, maxAnswerBytes } = options
    this.#maxAnswerBytes = maxAnswerBytes
    this.#agent = new Agent({
      connect: connector(options),
      headersTimeout: headersTimeoutMs,
      bodyTimeout: bodyTimeoutMs,
      connections: maxConnectionsPerOrigin,
      pipelining: 0,
    })
  }

  /** Never rejects. */
  async ask({ scheme, address, port }: OriginApi, options: OriginRequest): Promise<OriginResult> {
    try {
      const { statusCode, headers, body } = await this.#agent.request({
        origin: `${scheme}://${authorityOf(address, port)}`,
        path: options.target,
        method: options.method,
        headers: options.headers,
        body: options.body ?? null,
        signal: options.signal ?? null,
      })
      const chunks: Buffer[] = []
      let bytes = 0
      for await (const chunk of body) {
        if (!Buffer.isBuffer(chunk)) continue
        bytes += chunk.length
        if (bytes > this.#maxAnswerBytes) {
          return { ok: false, failure: 'broken', cause: { code: 'too-large' } }
        }
        chunks.push(chunk)
      }
      return { ok: true, response: { status: statusCode, headers, body: Buffer.concat(chunks) } }
    } catch (cause) {
      return { ok: false, failure: failureOf(cause, options.signal), cause }
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}

/** How an origin is called in a Host header: without the port that its scheme implies. */
export function hostHeaderOf({ scheme, host, port }: Pick<OriginApi, 'scheme' | 'host' | 'port'>): string {
  const authority = authorityOf(host, port)
  return port === (scheme === 'https' ? 443 : 80) ? authority.slice(0, authority.lastIndexOf(':')) : authority
}

/** The form of a host and a port in URLs. */
export function authorityOf(host: string, port: number): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

/** Tells that there was no connection from all that can go wrong on one. */
class NoConnection extends Error {
  readonly code: string

  constructor(cause: unknown) {
    super(errorMessage(cause), { cause })
    this.code = errorCode(cause)
  }
}

function connector({ dial, connectTimeoutMs, clock }: CompleteWebRtcOptions): buildConnector.connector {
  return ({ hostname, port, protocol, servername }, callback) => {
    const isSecure = protocol === 'https:'
    const connected = isSecure ? 'secureConnect' : 'connect'
    const socket = dial({
      host: hostname.replace(/^\[|\]$/g, ''),
      // Of a URL with the port that its scheme implies nothing is left.
      port: Number(port) || (isSecure ? 443 : 80),
      noDelay: true,
      // An address is no server name (RFC 6066 §3); certificates are checked by it all the same.
      ...(isSecure && { tls: { ALPNProtocols: ['http/1.1'], ...(servername && { servername }) } }),
    })
    const timer = clock.after(connectTimeoutMs, () => {
      socket.destroy(Object.assign(new Error('connecting takes too long'), { code: 'ETIMEDOUT' }))
    })
    const onConnect = (): void => {
      timer.cancel()
      socket.off('error', onError)
      callback(null, socket)
    }
    const onError = (error: Error): void => {
      timer.cancel()
      socket.off(connected, onConnect)
      callback(new NoConnection(error), null)
    }
    socket.once(connected, onConnect).once('error', onError)
  }
}

function failureOf(error: unknown, signal: AbortSignal | undefined): OriginFailure {
  if (signal?.aborted === true) return 'aborted'
  if (error instanceof NoConnection) return 'unreachable'
  return errorCode(error) === 'UND_ERR_HEADERS_TIMEOUT' ? 'silent' : 'broken'
}
