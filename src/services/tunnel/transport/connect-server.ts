import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { FrpcCommonConfig } from '../../../mechanisms/frp-config/index.ts'
import { type Dial, dialTcp } from '../../../mechanisms/net/index.ts'
import { Mux } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { TunnelError } from '../errors.ts'
import { readClientTls } from './client-tls.ts'
import type { ServerLink } from './contract.ts'
import { DialAttempt } from './dial-attempt.ts'
import { type CarrierPlan, dialCarrier } from './dial-carrier.ts'
import { formatEndpoint, withoutBrackets } from './endpoint.ts'
import { lookupBy } from './lookup.ts'
import { parseProxyUrl } from './proxy-url.ts'

/** What `connectServer` needs besides the configuration. */
export interface ConnectParts {
  readonly clock: Clock
  readonly logger: Logger
  /** Aborted when the link is no longer wanted: dialling stops with TUNNEL_CLOSED; what is open stays. */
  readonly signal?: AbortSignal
  /** @defaultValue that of the machine */
  readonly dial?: Dial
  /** Authorities for a proxy by https, in PEM. @defaultValue those of the system */
  readonly proxyAuthorities?: string
}

type LinkConfig = Pick<FrpcCommonConfig, 'serverAddr' | 'serverPort' | 'dnsServer' | 'transport'>

/**
 * The way to a server: with tcpMux a yamux session upon one connection, which is open when the promise resolves; without it
 * nothing is dialled before `open`. Dialling takes `dialServerTimeout` at most, with all proxies, handshakes and requests.
 *
 * @throws TunnelError TUNNEL_UNREACHABLE, TUNNEL_TIMEOUT, TUNNEL_CLOSED; TUNNEL_BAD_OPTION, TUNNEL_UNSUPPORTED for
 * settings and their files
 */
export async function connectServer(config: LinkConfig, parts: ConnectParts): Promise<ServerLink> {
  const { transport, serverAddr, dnsServer } = config
  const plan: CarrierPlan = {
    config,
    proxy: transport.proxyURL === '' ? undefined : parseProxyUrl(transport.proxyURL),
    tls: await readClientTls(transport, withoutBrackets(serverAddr)),
    proxyAuthorities: parts.proxyAuthorities,
    dial: parts.dial ?? dialTcp,
  }
  if (dnsServer !== '') lookupBy(dnsServer)
  const dialler = new Dialler(plan, parts)
  if (!transport.tcpMux) return new SeparateLink(dialler)
  const carrier = await dialler.dial()
  const keepaliveMs = transport.tcpMuxKeepaliveInterval * 1000
  return new MuxLink(new Mux(carrier, { role: 'client', keepaliveMs, clock: parts.clock }))
}

/** Dials within the time limit, and says what went wrong in the tunnel's words. */
class Dialler {
  readonly #plan: CarrierPlan
  readonly #parts: ConnectParts
  readonly #attempts = new Set<DialAttempt>()
  #isClosed = false

  constructor(plan: CarrierPlan, parts: ConnectParts) {
    this.#plan = plan
    this.#parts = parts
  }

  async dial(): Promise<ByteStream> {
    const { clock, logger, signal } = this.#parts
    const { serverAddr, serverPort, transport } = this.#plan.config
    const server = formatEndpoint({ host: withoutBrackets(serverAddr), port: serverPort })
    const attempt = new DialAttempt()
    const seconds = transport.dialServerTimeout
    const timer = clock.after(seconds * 1000, () =>
      attempt.giveUp(
        new TunnelError('TUNNEL_TIMEOUT', `connecting to ${server} took longer than ${seconds} s`, {
          side: 'origin',
          retryable: true,
        }),
      ),
    )
    if (this.#isClosed || signal?.aborted === true) attempt.giveUp(closedError())
    // One listener for all that is being dialled: without tcpMux that can be many.
    if (this.#attempts.size === 0) signal?.addEventListener('abort', this.#giveUp)
    this.#attempts.add(attempt)
    try {
      const carrier = await dialCarrier(this.#plan, attempt)
      logger.debug({ server, protocol: transport.protocol }, 'connected to the server')
      return carrier
    } catch (cause) {
      throw attempt.reason ?? unreachable(server, cause)
    } finally {
      timer.cancel()
      this.#attempts.delete(attempt)
      if (this.#attempts.size === 0) signal?.removeEventListener('abort', this.#giveUp)
    }
  }

  /** What is being dialled, and will be, ends with TUNNEL_CLOSED. */
  close(): void {
    this.#isClosed = true
    this.#giveUp()
  }

  readonly #giveUp = (): void => {
    for (const attempt of this.#attempts) attempt.giveUp(closedError())
  }
}

class MuxLink implements ServerLink {
  readonly #mux: Mux

  constructor(mux: Mux) {
    this.#mux = mux
  }

  async open(): Promise<ByteStream> {
    try {
      return await this.#mux.open()
    } catch (cause) {
      throw closedError(cause)
    }
  }

  onClose(callback: (error?: Error) => void): void {
    this.#mux.onClose(callback)
  }

  close(error?: Error): void {
    this.#mux.destroy(error)
  }
}

class SeparateLink implements ServerLink {
  readonly #dialler: Dialler

  constructor(dialler: Dialler) {
    this.#dialler = dialler
  }

  open(): Promise<ByteStream> {
    return this.#dialler.dial()
  }

  /** Each connection ends by itself. */
  onClose(): void {}

  close(): void {
    this.#dialler.close()
  }
}

function closedError(cause?: unknown): TunnelError {
  const reason = cause === undefined ? '' : `: ${errorMessage(cause)}`
  return new TunnelError('TUNNEL_CLOSED', `the link to the server is closed${reason}`, {
    side: 'origin',
    retryable: true,
    cause,
  })
}

function unreachable(server: string, cause: unknown): TunnelError {
  if (cause instanceof TunnelError) return cause
  // Of several addresses each has its own error, and all together no message.
  const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause
  const message = `cannot connect to ${server}: ${errorMessage(first) || errorCode(first)}`
  return new TunnelError('TUNNEL_UNREACHABLE', message, { side: 'origin', retryable: true, cause })
}
