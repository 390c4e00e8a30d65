import type { Socket } from 'node:net'
import { errorMessage, type SluiceError } from '../../../foundation/errors.ts'
import { type MakeTransform, type PipeEnd, SocketPipe } from '../../../mechanisms/net/index.ts'
import { classifyMedia } from '../../../protocols/flv/index.ts'
import {
  acknowledgementMessage,
  ChunkRelay,
  type DetachedLink,
  type FarSide,
  MessageType,
  type RtmpMessage,
} from '../../../protocols/rtmp/index.ts'
import type { BandwidthLimit } from '../access/index.ts'
import { rtmpServiceError, type RtmpServiceErrorCode } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'
import { SecondStreamGuard } from './second-stream-guard.ts'

/** One of the two connections that are joined: its socket, paused, and where its dialogue stopped. */
export interface JoinSide {
  readonly socket: Socket
  readonly link: DetachedLink
}

/** What a join is to do besides. */
export interface JoinOptions
  extends Pick<CompleteRtmpOptions, 'clock' | 'idleMs' | 'lingerMs' | 'maxMessageBytes'> {
  readonly role: 'publish' | 'play'
  /** Bounds on media: of a publisher what comes from it, of a player what comes from the origin. */
  readonly limits: readonly BandwidthLimit[]
  /** Asked when the origin is lost and the client is there; true: another one will follow by `resume`. */
  readonly onOriginGone: (error: unknown) => boolean
}

/** A client and an origin joined: what comes from one goes to the other through a `ChunkRelay`. */
export class RtmpJoin {
  readonly #pipe: SocketPipe
  readonly #options: JoinOptions
  readonly #client: DetachedLink
  readonly #guard: SecondStreamGuard
  #relays: Relays | undefined
  #playerSaw: FarSide | undefined

  constructor(client: JoinSide, origin: JoinSide, options: JoinOptions) {
    this.#options = options
    this.#client = client.link
    this.#guard = new SecondStreamGuard((status) => this.#relays?.down.inject(status))
    const { clock, idleMs, lingerMs } = options
    this.#pipe = new SocketPipe(client.socket, origin.socket, {
      transform: this.#transform(origin.link, [], client.link.reader),
      throttle: { [options.role === 'publish' ? 'fromFirst' : 'fromSecond']: throttleOf(options.limits) },
      onSecondGone: (error) => this.#onOriginGone(error),
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

  /**
   * Joins the client to another origin after the one before was lost. Of what that origin has said so far the client, who
   * believes to play already, is told the media.
   */
  resume(origin: JoinSide, said: readonly RtmpMessage[]): void {
    const reader = this.#relays?.up.detachNear() ?? this.#client.reader
    const early = said.filter(({ type }) => mediaTypes.has(type))
    this.#pipe.resume(origin.socket, this.#transform(origin.link, early, reader))
  }

  /** Leaves the origin as if it had broken off. */
  dropOrigin(): void {
    this.#pipe.dropSecond()
  }

  destroy(error: SluiceError): void {
    this.#pipe.destroy(error)
  }

  #onOriginGone(error: unknown): boolean {
    if (!this.#options.onOriginGone(error)) return false
    // At once, so that what is said to the client meanwhile comes between messages.
    this.#playerSaw = this.#relays?.down.detachFar()
    return true
  }

  #transform(
    origin: DetachedLink,
    early: readonly RtmpMessage[],
    reader: DetachedLink['reader'],
  ): MakeTransform {
    const client = this.#client
    const { maxMessageBytes } = this.#options
    return (toClient, toOrigin) => {
      const resumed = this.#playerSaw
      const up: ChunkRelay = new ChunkRelay({
        state: reader,
        outgoingChunkSize: origin.writeChunkSize,
        streamIds: new Map([[client.streamId, origin.streamId]]),
        windowBytes: client.windowBytes,
        onAcknowledgementDue: (sequence) => down.inject(acknowledgementMessage(sequence)),
        inspect: (command) => this.#guard.lets(command),
        sink: toOrigin,
        maxMessageBytes,
      })
      const down: ChunkRelay = new ChunkRelay({
        state: origin.reader,
        outgoingChunkSize: resumed?.chunkSize ?? client.writeChunkSize,
        streamIds: new Map([[origin.streamId, client.streamId]]),
        windowBytes: origin.windowBytes,
        onAcknowledgementDue: (sequence) => up.inject(acknowledgementMessage(sequence)),
        ...(resumed !== undefined && { resumed, isFrame }),
        sink: toClient,
        maxMessageBytes,
        side: 'origin',
      })
      this.#relays = { up, down }
      up.start()
      down.start(early)
      return { fromFirst: (bytes) => up.push(bytes), fromSecond: (bytes) => down.push(bytes) }
    }
  }
}

interface Relays {
  readonly up: ChunkRelay
  readonly down: ChunkRelay
}

const mediaTypes: ReadonlySet<number> = new Set([
  MessageType.audio,
  MessageType.video,
  MessageType.data,
  MessageType.dataAmf3,
  MessageType.aggregate,
])

/** Whether the message's time is that of the stream; set-up of decoders is often sent with another. */
function isFrame(type: number, payload: Uint8Array): boolean {
  if (type === MessageType.aggregate) return true
  const { kind } = classifyMedia(type, payload)
  return kind === 'audio' || kind === 'keyframe' || kind === 'interframe'
}

function throttleOf(limits: readonly BandwidthLimit[]): ((bytes: number) => number) | undefined {
  if (limits.length === 0) return undefined
  return (bytes) => Math.max(...limits.map((limit) => limit.charge(bytes)))
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
      if (error instanceof Error) return error
      return failure('RTMP_BROKEN', `the join failed: ${errorMessage(error)}`, 'client', error)
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
