import type { Socket } from 'node:net'
import { errorCode, errorMessage, SluiceError } from '../../../foundation/errors.ts'
import type { SessionInfo } from '../../../foundation/session-info.ts'
import type { StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { Refusal, StreamRequest } from '../../../protocols/rtmp/index.ts'
import { ClientConnection } from './client-connection.ts'
import { rtmpServiceError, type RtmpServiceErrorCode } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'
import { findOrigin, type OriginFound } from './origin-search.ts'
import { RtmpJoin } from './rtmp-join.ts'

/** What a session asks and tells its service. */
export interface RtmpSessionHost {
  onError(code: string): void
  /** Whether a client publishes the stream at present. */
  isPublished(key: StreamKey): boolean
}

/** What a joined session is known by. */
interface Joined {
  readonly join: RtmpJoin
  readonly info: Omit<SessionInfo, 'bytesIn' | 'bytesOut'>
}

/**
 * One client from its first byte to its last: what it wants, the origin for it, and the two joined. Ends in all cases,
 * with both sockets closed.
 */
export class RtmpSession {
  readonly id: string
  readonly #options: CompleteRtmpOptions
  readonly #log: Logger
  readonly #host: RtmpSessionHost
  readonly #socket: Socket
  readonly #client: ClientConnection
  readonly #closed: Promise<void>
  #request: StreamRequest | undefined
  #joined: Joined | undefined

  constructor(id: string, socket: Socket, options: CompleteRtmpOptions, log: Logger, host: RtmpSessionHost) {
    this.id = id
    this.#options = options
    this.#log = log.child({ session: id })
    this.#host = host
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()))
    this.#client = new ClientConnection(socket, options)
  }

  /** Undefined until the client is joined to an origin. */
  get info(): SessionInfo | undefined {
    if (this.#joined === undefined) return undefined
    const { join, info } = this.#joined
    return { ...info, bytesIn: join.bytesIn, bytesOut: join.bytesOut }
  }

  /** Resolves when the session is over; what went wrong has been reported then. */
  async run(): Promise<void> {
    try {
      const request = await this.#client.identify()
      this.#request = request
      const key = this.#options.streamKeyOf(request)
      const found = await findOrigin(key, request, this.#options, this.#client.signal, {
        log: this.#log,
        onError: (code) => this.#host.onError(code),
      })
      if (found.kind === 'refused') this.#passRefusal(request, key, found.refusal)
      else await this.#join(request, key, found)
    } catch (error) {
      this.#fail(error)
    }
    // A client that was refused may still be reading why.
    await this.#closed
  }

  /** Ends the session at once. */
  cut(code: Extract<RtmpServiceErrorCode, 'RTMP_SESSION_KICKED' | 'RTMP_CLOSED'>): void {
    const error = rtmpServiceError(code, 'ended by us', { side: 'self', retryable: true })
    if (this.#joined === undefined) this.#client.destroy(error)
    else this.#joined.join.destroy(error)
  }

  async #join(
    request: StreamRequest,
    key: StreamKey,
    found: Extract<OriginFound, { kind: 'ready' }>,
  ): Promise<void> {
    const { origin, hold, link, messages } = found
    this.#client.pass(messages, link.streamId, request.streamId)
    const join = new RtmpJoin(
      { socket: this.#socket, link: this.#client.detach() },
      { socket: found.socket, link },
      this.#options,
    )
    this.#joined = {
      join,
      info: {
        id: this.id,
        protocol: 'rtmp',
        role: request.action,
        streamKey: key,
        originId: origin.id,
        sinceMs: this.#options.clock.wallMs(),
      },
    }
    const log = this.#log.child({ key, role: request.action, origin: origin.id })
    log.debug('stream begins')
    try {
      await join.run()
      log.debug({ bytesIn: join.bytesIn, bytesOut: join.bytesOut }, 'stream ended')
    } catch (error) {
      this.#host.onError(errorCode(error))
      log.debug({ code: errorCode(error), reason: errorMessage(error) }, 'stream broke')
    } finally {
      hold.end()
    }
  }

  #passRefusal(request: StreamRequest, key: StreamKey, refusal: Refusal | undefined): void {
    this.#host.onError('RTMP_ORIGIN_REFUSED')
    this.#log.debug({ code: refusal?.code, reason: refusal?.description }, 'origin refused')
    if (refusal !== undefined) this.#client.passRefusal(refusal, request.streamId)
    // SRS only closes the connection of a second publisher.
    else if (request.action === 'publish' && this.#host.isPublished(key))
      this.#client.refuse('NetStream.Publish.BadName', 'the stream is published already')
    else this.#client.refuse(statusOf(request, 'RTMP_ORIGIN_REFUSED'), 'refused')
  }

  #fail(error: unknown): void {
    const code = errorCode(error)
    this.#host.onError(code)
    const request = this.#request
    if (request === undefined || this.#client.signal.aborted) {
      this.#log.debug({ code, reason: errorMessage(error) }, 'client dropped')
      this.#client.destroy(error)
      return
    }
    const level = error instanceof SluiceError && error.side === 'client' ? 'debug' : 'warn'
    this.#log[level]({ code, reason: errorMessage(error) }, 'client refused')
    this.#client.refuse(statusOf(request, code), descriptions[code] ?? 'no origin can serve the stream now')
  }
}

const descriptions: Readonly<Record<string, string>> = {
  BALANCER_BAD_STREAM_KEY: 'not a usable stream name',
  BALANCER_PROTOCOL_NOT_OFFERED: 'the stream cannot be played by RTMP',
}

/** The status that encoders and players understand for what went wrong. */
function statusOf({ action }: StreamRequest, code: string): string {
  const isNamed = code === 'BALANCER_BAD_STREAM_KEY' || code === 'BALANCER_PROTOCOL_NOT_OFFERED'
  if (action === 'publish') return isNamed ? 'NetStream.Publish.BadName' : 'NetStream.Publish.Denied'
  return isNamed ? 'NetStream.Play.StreamNotFound' : 'NetStream.Play.Failed'
}
