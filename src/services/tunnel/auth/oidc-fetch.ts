import { readFileSync } from 'node:fs'
import { Agent, type Dispatcher, EnvHttpProxyAgent, fetch, ProxyAgent } from 'undici'
import { errorMessage } from '../../../foundation/errors.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'

/** How the identity provider is reached. */
export interface OidcHttpOptions {
  /** PEM file of the authorities that are trusted instead of the usual ones; empty: the usual ones. */
  readonly trustedCaFile: string
  /** Takes any certificate. */
  readonly insecureSkipVerify: boolean
  /** `http://`, `https://` or `socks5://`, with `user:password@` where needed; empty: none. */
  readonly proxyURL: string
}

/** `fetch` as the OIDC libraries call it. */
export type OidcFetch = (
  url: string,
  options: {
    readonly method: string
    readonly headers: Headers | Record<string, string>
    readonly body?: unknown
    readonly redirect: 'manual'
    readonly signal?: AbortSignal
  },
) => Promise<Response>

/** More than any provider's keys take. */
const MAX_BODY_BYTES = 1_048_576
/** How long a connection, an answer's head, and then each piece of it may take. */
const TIMEOUT_MS = 10_000

/**
 * `fetch` towards an identity provider, whose answers are bounded in size and time. Without options of its own it goes
 * through the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`), as frp does.
 *
 * @throws TunnelError TUNNEL_BAD_OPTION for a file or an address that cannot be used
 */
export function oidcFetch(options: OidcHttpOptions): OidcFetch {
  const dispatcher = dispatcherOf(options)
  return async (url, { method, headers, body, redirect, signal }) => {
    const response = await fetch(url, {
      method,
      headers: Object.fromEntries(new Headers(headers)),
      ...(body !== undefined && body !== null && { body: formText(body) }),
      redirect,
      signal: signal ?? AbortSignal.timeout(TIMEOUT_MS),
      dispatcher,
    })
    const bytes = await readBounded(response.body)
    const { status, statusText } = response
    return new Response(status === 204 || status === 304 ? null : bytes, {
      status,
      statusText,
      headers: Object.fromEntries(response.headers),
    })
  }
}

function dispatcherOf({ trustedCaFile, insecureSkipVerify, proxyURL }: OidcHttpOptions): Dispatcher {
  const times = { headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS, connectTimeout: TIMEOUT_MS }
  if (trustedCaFile === '' && !insecureSkipVerify && proxyURL === '') return new EnvHttpProxyAgent(times)
  const tls = insecureSkipVerify
    ? { rejectUnauthorized: false }
    : trustedCaFile === ''
      ? {}
      : { ca: readCa(trustedCaFile) }
  if (proxyURL === '') return new Agent({ ...times, connect: tls })
  try {
    return new ProxyAgent({ ...times, uri: proxyURL, requestTls: tls, proxyTls: tls })
  } catch (cause) {
    // The address may hold a password: it is not repeated.
    throw badOption(
      `auth.oidc.proxyURL cannot be used: ${errorMessage(cause).replaceAll(proxyURL, '...')}`,
      cause,
    )
  }
}

function readCa(path: string): string {
  try {
    const pem = readFileSync(path, 'utf8')
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem
  } catch (cause) {
    throw badOption(`failed to read OIDC CA certificate file "${path}": ${errorMessage(cause)}`, cause)
  }
  throw badOption(`failed to parse OIDC CA certificate from file "${path}"`)
}

function formText(body: unknown): string {
  if (typeof body === 'string' || body instanceof URLSearchParams) return body.toString()
  throw new TypeError('a form was expected')
}

async function readBounded(body: AsyncIterable<Uint8Array> | null): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    length += chunk.length
    if (length > MAX_BODY_BYTES) throw new Error(`the answer has more than ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function badOption(message: string, cause?: unknown): TunnelError {
  return new TunnelError(TunnelErrorCode.badOption, message, { side: 'self', cause })
}
