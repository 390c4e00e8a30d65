import type { Socket } from 'node:net'
import type { SluiceError } from '../../../foundation/errors.ts'
import { type PipeEnd, type PipeTransform, type Sink, SocketPipe } from '../../../mechanisms/net/index.ts'
import { acknowledgementMessage, ChunkRelay, type DetachedLink } from '../../../protocols/rtmp/index.ts'
import { rtmpServiceError, type RtmpServiceErrorCode } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'

/** One of the two connections that are joined: its socket, paused, and where its dialogue stopped. */
export interface JoinSide {
  readonly socket: Socket
  readonly link: DetachedLink
}

/** A client and an origin joined: what comes from one goes to the other through a `ChunkRelay`. */
export class RtmpJoin {
  readonly #pipe: SocketPipe

  constructor(client: JoinSide, origin: JoinSide, options: CompleteRtmpOptions) {
    const { clock, idleMs, lingerMs, maxMessageBytes } = options
    this.#pipe = new SocketPipe(client.socket, origin.socket, {
      transform: (toClient, toOrigin) => relayBetween(client, origin, toClient, toOrigin, maxMessageBytes),
      clock,
      idleTimeoutMs: idleMs,
      lingerMs,
    })
  }

  /** Bytes that came from the client since the join. */
  get bytesIn(): number {
    return this.#pipe.bytesFromFirst
  }

  /** Bytes that the client has taken. */
  get bytesOut(): number {
    return this.#pipe.bytesTakenByFirst
  }

  /** Resolves when both have ended, or the client has left. @throws RtmpError, RTMP_BROKEN, RTMP_IDLE, RTMP_STALLED, or what `destroy` was given */
  async run(): Promise<void> {
    const end = await this.#pipe.done
    const error = errorOf(end)
    if (error !== undefined) throw error
  }

  destroy(error: SluiceError): void {
    this.#pipe.destroy(error)
  }
}

function relayBetween(
  client: JoinSide,
  origin: JoinSide,
  toClient: Sink,
  toOrigin: Sink,
  maxMessageBytes: number,
): PipeTransform {
  const up: ChunkRelay = new ChunkRelay({
    state: client.link.reader,
    outgoingChunkSize: origin.link.writeChunkSize,
    streamIds: new Map([[client.link.streamId, origin.link.streamId]]),
    windowBytes: client.link.windowBytes,
    onAcknowledgementDue: (sequence) => down.inject(acknowledgementMessage(sequence)),
    sink: toOrigin,
    maxMessageBytes,
  })
  const down: ChunkRelay = new ChunkRelay({
    state: origin.link.reader,
    outgoingChunkSize: client.link.writeChunkSize,
    streamIds: new Map([[origin.link.streamId, client.link.streamId]]),
    windowBytes: origin.link.windowBytes,
    onAcknowledgementDue: (sequence) => up.inject(acknowledgementMessage(sequence)),
    sink: toClient,
    maxMessageBytes,
    side: 'origin',
  })
  up.start()
  down.start()
  return { fromFirst: (bytes) => up.push(bytes), fromSecond: (bytes) => down.push(bytes) }
}

function errorOf({ reason, error }: PipeEnd): Error | undefined {
  switch (reason) {
    case 'ended':
    case 'lingered':
    // Encoders and players end so too: what they have not read resets the connection as they close it.
    case 'first-broken':
      return undefined
    case 'second-broken':
      return failure('RTMP_BROKEN', 'the origin broke off', 'origin', error)
    case 'idle':
      return failure('RTMP_IDLE', 'nothing came from either side', 'client')
    case 'stalled':
      return failure('RTMP_STALLED', 'one side took nothing of what it was sent', 'client')
    case 'transform-failed':
    case 'destroyed':
    default:
      return error instanceof Error ? error : failure('RTMP_BROKEN', 'the join failed', 'client', error)
  }
}

function failure(
  code: RtmpServiceErrorCode,
  message: string,
  side: 'client' | 'origin',
  cause?: unknown,
): SluiceError {
  return rtmpServiceError(code, message, { side, retryable: true, cause })
}
