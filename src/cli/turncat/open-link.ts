import { errorCode, errorMessage } from '../../foundation/errors.ts'
import { openDtlsLink } from './dtls-link.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import type { Link, LinkHandlers, LinkOptions } from './link.ts'
import { openStreamLink } from './stream-link.ts'
import type { TurnServer } from './turn-uri.ts'
import { openUdpLink } from './udp-link.ts'

/**
 * Opens a way to the server, in at most 10 seconds.
 *
 * @throws TURNCAT_SERVER_UNREACHABLE, TURNCAT_DTLS_UNVERIFIED
 */
export async function openLink(options: LinkOptions, handlers: LinkHandlers): Promise<Link> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(openTimeoutMs)])
  try {
    return await openers[options.server.transport]({ ...options, signal }, handlers)
  } catch (error) {
    if (error instanceof TurncatError) throw error
    const why = signal.aborted ? `no connection within ${openTimeoutMs / 1000} seconds` : reasonOf(error)
    throw unreachable(options.server, why, error)
  }
}

/** The error for a server that was never heard of. */
export function unreachable(
  { host, port, transport }: TurnServer,
  why: string,
  cause: unknown,
): TurncatError {
  return new TurncatError(
    TurncatErrorCode.serverUnreachable,
    `${transport} to ${host.includes(':') ? `[${host}]` : host}:${port} failed: ${why}`,
    cause,
  )
}

/** What went wrong on a way to the server, for people. */
export function reasonOf(error: unknown): string {
  // Node leaves the message of several failed addresses empty.
  return errorMessage(error) || errorCode(error)
}

const openers = { udp: openUdpLink, tcp: openStreamLink, tls: openStreamLink, dtls: openDtlsLink } as const

const openTimeoutMs = 10_000
