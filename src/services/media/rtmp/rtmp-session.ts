import type { Socket } from 'node:net'
import { errorCode, errorMessage, SluiceError } from '../../../foundation/errors.ts'
import type { SessionInfo } from '../../../foundation/session-info.ts'
import { sourceOf } from '../../../foundation/source-of.ts'
import type { StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { ConnectionInfo } from '../../../mechanisms/net/index.ts'
import type { LinePace, Logger } from '../../../mechanisms/telemetry/index.ts'
import type { Refusal, StreamRequest } from '../../../protocols/rtmp/index.ts'
import type { Admission } from '../access/index.ts'
import { accessRequest } from './access-request.ts'
import { CarriedStream } from './carried-stream.ts'
import { ClientConnection } from './client-connection.ts'
import { rtmpServiceError, type RtmpServiceErrorCode } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'
import { findOrigin, type OriginFound, type OriginReady } from './origin-search.ts'

/** What a session asks and tells its service. */
export interface RtmpSessionHost {
  readonly log: Logger
  readonly pace: LinePace
  onError(code: string): void
  /** Whether a client publishes the stream at present. */
  isPublished(key: StreamKey): boolean
}

/** What a session whose stream runs is known by. */
interface Carried {
  readonly stream: CarriedStream
  readonly info: Omit<SessionInfo, 'originId' | 'bytesIn' | 'bytesOut'>
}

/** A client that has been let in, and what it wants. */
interface Admitted {
  readonly request: StreamRequest
  readonly key: StreamKey
  readonly admission: Admission
}

/**
 * One client from its first byte to its last: what it wants, whether it may, the origin for it, and the two joined. Ends in
 * all cases, with both sockets closed.
 */
export class RtmpSession {
  readonly id: string
  readonly #options: CompleteRtmpOptions
  readonly #log: Logger
  readonly #host: RtmpSessionHost
  readonly #socket: Socket
  readonly #from: ConnectionInfo
  readonly #client: ClientConnection
  readonly #closed: Promise<void>
  #request: StreamRequest | undefined
  #carried: Carried | undefined

  constructor(
    id: string,
    socket: Socket,
    from: ConnectionInfo,
    options: CompleteRtmpOptions,
    host: RtmpSessionHost,
  ) {
    this.id = id
    this.#options = options
    this.#log = host.log.child({ session: id })
    this.#host = host
    this.#socket = socket
    this.#from = from
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()))
    this.#client = new ClientConnection(socket, options)
  }

  /** Undefined until the client is joined to an origin. */
  get info(): SessionInfo | undefined {
    if (this.#carried === undefined) return undefined
    const { stream, info } = this.#carried
    const { originId, bytesIn, bytesOut } = stream
    return { ...info, originId, bytesIn, bytesOut }
  }

  /** Resolves when the session is over; what went wrong has been reported then. */
  async run(): Promise<void> {
    try {
      const request = await this.#client.identify()
      this.#request = request
      const key = this.#options.streamKeyOf(request)
      const admission = await this.#admit(request, key)
      try {
        await this.#serve({ request, key, admission })
      } finally {
        admission.end()
      }
    } catch (error) {
      this.#fail(error)
    }
    // A client that was refused may still be reading why.
    await this.#closed
  }

  /** Ends the session at once. */
  cut(code: Extract<RtmpServiceErrorCode, 'RTMP_SESSION_KICKED' | 'RTMP_CLOSED'>): void {
    this.#end(rtmpServiceError(code, 'ended by us', { side: 'self', retryable: true }))
  }

  #end(error: SluiceError): void {
    if (this.#carried === undefined) this.#client.destroy(error)
    else this.#carried.stream.destroy(error)
  }

  #admit(request: StreamRequest, key: StreamKey): Promise<Admission> {
    const { signal } = this.#client
    const client = { address: this.#from.remoteAddress, sessionId: this.id, signal }
    return this.#options.access.admit(accessRequest(request, key, client))
  }

  async #serve(admitted: Admitted): Promise<void> {
    const { signal } = admitted.admission
    const onEnd = (): void => this.#end(endedByAccess(signal))
    signal.addEventListener('abort', onEnd)
    try {
      if (signal.aborted) throw endedByAccess(signal)
      const found = await this.#search(admitted, this.#client.signal)
      if (found.kind === 'refused') this.#passRefusal(admitted, found.refusal)
      else await this.#carry(admitted, found)
    } finally {
      signal.removeEventListener('abort', onEnd)
    }
  }

  #search({ request, key }: Admitted, signal: AbortSignal): Promise<OriginFound> {
    const question = { request, client: this.#from, signal }
    return findOrigin(key, question, this.#options, {
      log: this.#log,
      pace: this.#host.pace,
      onError: (code) => this.#host.onError(code),
    })
  }

  async #carry(admitted: Admitted, found: OriginReady): Promise<void> {
    const { request, key, admission } = admitted
    const { link, messages } = found
    const role = request.action
    this.#client.pass(messages, link.streamId, request.streamId)
    const log = this.#log.child({ key, role })
    const stream = new CarriedStream(
      {
        role,
        client: { socket: this.#socket, link: this.#client.detach() },
        found,
        limits: admission.limits,
        log,
        search: (signal) => this.#search(admitted, signal),
        onError: (code) => this.#host.onError(code),
      },
      this.#options,
    )
    this.#carried = {
      stream,
      info: {
        id: this.id,
        protocol: 'rtmp',
        role,
        streamKey: key,
        address: this.#from.remoteAddress,
        sinceMs: this.#options.clock.wallMs(),
      },
    }
    log.debug({ origin: stream.originId }, 'stream begins')
    try {
      await stream.run()
      log.debug({ bytesIn: stream.bytesIn, bytesOut: stream.bytesOut }, 'stream ended')
    } catch (error) {
      this.#host.onError(errorCode(error))
      log.debug({ code: errorCode(error), reason: errorMessage(error) }, 'stream broke')
    }
  }

  #passRefusal({ request, key }: Admitted, refusal: Refusal | undefined): void {
    this.#host.onError('RTMP_ORIGIN_REFUSED')
    this.#log.debug({ code: refusal?.code, reason: refusal?.description }, 'origin refused')
    if (refusal !== undefined) this.#client.passRefusal(refusal, request.streamId)
    // SRS only closes the connection of a second publisher.
    else if (request.action === 'publish' && this.#host.isPublished(key))
      this.#client.refuse('NetStream.Publish.BadName', 'the stream is published already')
    else this.#client.refuse(statusOf(request, 'RTMP_ORIGIN_REFUSED'), 'refused')
  }

  #fail(thrown: unknown): void {
    const { signal } = this.#client
    const error: unknown = signal.aborted ? signal.reason : thrown
    const code = errorCode(error)
    this.#host.onError(code)
    const request = this.#request
    const isKnown = request !== undefined && !signal.aborted
    const level = levelOf(error, isKnown)
    // Strangers can cause each of them as often as they like.
    const due = level === 'debug' ? undefined : this.#host.pace.due(sourceOf(this.#from.remoteAddress))
    this.#log[due === undefined ? 'debug' : level](
      { code, reason: errorMessage(error), ...due },
      isKnown ? 'client refused' : 'client dropped',
    )
    if (isKnown) this.#client.refuse(statusOf(request, code), descriptionOf(error))
    else this.#client.destroy(error)
  }
}

/** What a person should see: what is not the client's doing, and who speaks something else than RTMP. */
function levelOf(error: unknown, isKnown: boolean): 'debug' | 'info' | 'warn' {
  if (!isKnown) return errorCode(error) === 'RTMP_HANDSHAKE' ? 'info' : 'debug'
  // Access tells of its own refusals.
  if (errorCode(error).startsWith('ACCESS_')) return 'debug'
  return error instanceof SluiceError && error.side === 'client' ? 'debug' : 'warn'
}

function endedByAccess({ reason }: AbortSignal): SluiceError {
  if (reason instanceof SluiceError) return reason
  return rtmpServiceError('RTMP_SESSION_KICKED', 'it may go on no longer', {
    side: 'self',
    retryable: false,
    cause: reason,
  })
}

function descriptionOf(error: unknown): string {
  const code = errorCode(error)
  // What access says is written for clients.
  if (code.startsWith('ACCESS_')) return errorMessage(error)
  return descriptions[code] ?? 'no origin can serve the stream now'
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
