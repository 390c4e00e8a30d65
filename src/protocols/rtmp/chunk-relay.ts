import {
  ChunkHeaderReader,
  type ChunkLimits,
  ChunkStream,
  MAX_CHUNK_HEADER_BYTES,
  needsExtended,
  writeContinuationHeader,
  writeDeltaHeader,
  writeFullHeader,
} from './chunk-header.ts'
import type { ChunkReaderState } from './chunk-reader.ts'
import { isCommand } from './command.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'
import { type FarSide, FarStream, Passage } from './far-side.ts'
import { abortedChunkStream, announcedChunkSize, announcedWindow } from './message-control.ts'
import { MessageGathering } from './message-gathering.ts'
import { abortMessage, CONTROL_CHUNK_STREAM_ID, MessageType, setChunkSizeMessage } from './message.ts'
import type { RtmpMessage } from './message.ts'
import { ResumedTimeline } from './resumed-timeline.ts'
import { mapEventStream } from './stream-event.ts'

/** Least chunk size that a relay writes with, in bytes. */
export const RELAY_CHUNK_SIZE = 60_000

/** One direction of two joined RTMP connections. Limits as in `ChunkLimits`. */
export interface ChunkRelayOptions extends ChunkLimits {
  /** Where the reader of the near side stopped; the relay takes it over. */
  readonly state: ChunkReaderState
  /** Chunk size that has been announced to the far side, in bytes. */
  readonly outgoingChunkSize: number
  /**
   * Called with what goes to the far side, in order. The bytes may be views of a pushed buffer, so they
   * are valid during the call, or for as long as the owner leaves that buffer alone.
   */
  readonly sink: (bytes: Uint8Array) => void
  /**
   * Message stream id of the near side to the one of the far side, in headers and in stream events of User
   * Control; ids not in it stay. @defaultValue none
   */
  readonly streamIds?: ReadonlyMap<number, number>
  /**
   * Acknowledgement window of the near side in bytes, until it announces another: half of it received
   * makes an Acknowledgement due. @defaultValue 2,500,000, what common servers announce
   */
  readonly windowBytes?: number
  /**
   * An Acknowledgement with this sequence number is due to the near side: `inject` it into the relay
   * of the other direction. Called at most once per push.
   */
  readonly onAcknowledgementDue?: (sequence: number) => void
  /**
   * Shown each whole command of the near side; false: it ends here. @defaultValue all are forwarded
   * @throws what ends the relay
   */
  readonly inspect?: (command: RtmpMessage) => boolean
  /**
   * What the far side remembers of the relay before, whose near side is gone. Times go on from there: the first frame
   * comes 1 ms behind the latest, and nothing comes before that. @defaultValue a far side that has just been joined
   */
  readonly resumed?: FarSide
  /** Whether a message of a resumed stream is a frame, whose time is that of the stream; headers of sequences may have any. */
  readonly isFrame?: (type: number, payload: Uint8Array) => boolean
}

/**
 * Forwards the messages of one RTMP connection to another at chunk level. Where both chunk sizes agree, and
 * for messages of a single chunk, what goes out are the incoming bytes themselves; only headers that the far
 * side could not understand are written anew. Messages in smaller chunks are gathered and cut at
 * `RELAY_CHUNK_SIZE` or more. Set Chunk Size, Abort, Acknowledgement, Window Acknowledgement Size and Set
 * Peer Bandwidth hold for one connection only and end here; all else is forwarded. RTMP 1.0 §5.3 and §5.4.
 */
export class ChunkRelay {
  readonly #headers: ChunkHeaderReader
  readonly #sink: (bytes: Uint8Array) => void
  readonly #streamIds: ReadonlyMap<number, number>
  readonly #changesStreamIds: boolean
  readonly #onAcknowledgementDue: ((sequence: number) => void) | undefined
  readonly #inspect: ((command: RtmpMessage) => boolean) | undefined
  readonly #isFrame: (type: number, payload: Uint8Array) => boolean
  readonly #timeline: ResumedTimeline | undefined
  readonly #farStreams: Map<number, FarStream>
  /** Control messages that wait for a chunk boundary; one of each type, since only the latest counts. */
  readonly #pending = new Map<number, RtmpMessage>()
  #incomingChunkSize: number
  #outgoingChunkSize: number
  #windowBytes: number
  #bytesReceived: number
  #bytesAcknowledged = 0
  #gatheredBytes = 0
  #messages = 0
  #failure: Error | undefined

  /** What is being read. The bytes from `#run` to `#at` go out as they are and have not been given to the sink. */
  #bytes: Uint8Array
  #at = 0
  #run = 0
  /** The chunk whose payload is being read. */
  #open: ChunkStream | undefined
  #openFar: FarStream = new FarStream()
  #openRemaining: number

  constructor(options: ChunkRelayOptions) {
    const { state } = options
    this.#headers = new ChunkHeaderReader(options, state.streams)
    this.#sink = options.sink
    this.#streamIds = options.streamIds ?? new Map()
    this.#changesStreamIds = [...this.#streamIds].some(([near, far]) => near !== far)
    this.#onAcknowledgementDue = options.onAcknowledgementDue
    this.#inspect = options.inspect
    this.#isFrame = options.isFrame ?? (() => true)
    this.#timeline = options.resumed && new ResumedTimeline(options.resumed.timestamp)
    this.#farStreams = options.resumed?.streams ?? new Map<number, FarStream>()
    this.#windowBytes = options.windowBytes ?? 2_500_000
    this.#incomingChunkSize = this.#usefulChunkSize(state.chunkSize)
    this.#outgoingChunkSize = options.outgoingChunkSize
    this.#bytesReceived = state.bytesReceived
    this.#bytes = state.unread
    this.#open = state.openChunk?.stream
    this.#openRemaining = state.openChunk?.remaining ?? 0
    for (const stream of state.streams.values()) {
      if (stream.remaining === 0) continue
      const far = this.#farOf(stream.id)
      const isWhole = (stream.gathering?.received ?? 0) + stream.remaining === stream.length
      if (isHopByHop(stream.type)) far.passage = Passage.consumed
      else far.passage = isWhole ? Passage.gathered : Passage.dropped
      this.#gatheredBytes += stream.gathering?.received ?? 0
      if (stream === this.#open) this.#openFar = far
    }
  }

  /** Bytes received from the near side, those of the reader before included. */
  get bytesReceived(): number {
    return this.#bytesReceived
  }

  /** Messages forwarded. */
  get messages(): number {
    return this.#messages
  }

  get incomingChunkSize(): number {
    return this.#incomingChunkSize
  }

  get outgoingChunkSize(): number {
    return this.#outgoingChunkSize
  }

  /** Acknowledgement window in force for the near side, in bytes. */
  get windowBytes(): number {
    return this.#windowBytes
  }

  /**
   * Announces the chunk size to the far side, and forwards `early`, messages that came before the reader stopped, and what
   * the reader left over. Call it once, first.
   */
  start(early: readonly RtmpMessage[] = []): void {
    this.#guard(() => {
      this.#announceChunkSize(CONTROL_CHUNK_STREAM_ID)
      for (const message of early) this.#sendEarly(message)
      this.#forward()
    })
  }

  /**
   * Forwards `bytes`, cut anywhere. Message stream ids are changed in place.
   * @throws RtmpError on a violation or above a limit; every later call throws the same.
   */
  push(bytes: Uint8Array): void {
    this.#guard(() => {
      this.#bytesReceived += bytes.length
      // What is left is at most a part of a header.
      this.#bytes = this.#bytes.length > 0 ? Buffer.concat([this.#bytes, bytes]) : bytes
      this.#forward()
    })
    if (this.#bytesReceived - this.#bytesAcknowledged >= this.#windowBytes / 2) {
      this.#bytesAcknowledged = this.#bytesReceived
      this.#onAcknowledgementDue?.(this.#bytesReceived % 2 ** 32)
    }
  }

  /**
   * Sends a control message of our own to the far side at the next chunk boundary, which may be now. While
   * one waits, a later one of its type takes its place.
   * @throws RtmpError `RTMP_MESSAGE_UNWRITABLE` for Set Chunk Size and Abort, which are the relay's own, and
   * for more than one chunk.
   */
  inject(message: RtmpMessage): void {
    if (
      message.type === MessageType.setChunkSize ||
      message.type === MessageType.abort ||
      message.payload.length > RELAY_CHUNK_SIZE
    ) {
      throw new RtmpError(
        RtmpErrorCode.messageUnwritable,
        `message type ${message.type} cannot be injected`,
        {
          side: 'self',
        },
      )
    }
    this.#pending.set(message.type, message)
    if (this.#open === undefined || this.#openFar.passage !== Passage.through) this.#sendPending()
  }

  /** Ends the relay and gives where its near side's reader stands, for another relay to another far side. */
  detachNear(): ChunkReaderState {
    const stream = this.#open
    return {
      chunkSize: this.#incomingChunkSize,
      streams: this.#headers.streams,
      openChunk: stream === undefined ? undefined : { stream, remaining: this.#openRemaining },
      unread: this.#bytes,
      bytesReceived: this.#bytesReceived,
    }
  }

  /**
   * Ends the relay and gives what its far side remembers, for a relay that goes on with another near side. Messages of
   * which the far side has seen a part are filled up with zeros: common players do not know Abort, and take what comes
   * next for the rest of the message.
   */
  detachFar(): FarSide {
    const open = this.#open
    if (open !== undefined && this.#openFar.passage === Passage.through) {
      this.#sendZeros(this.#openRemaining)
      open.remaining -= this.#openRemaining
    }
    this.#open = undefined
    let timestamp: number | undefined
    for (const [id, far] of this.#farStreams) {
      const stream = this.#headers.streams.get(id)
      if (far.isOpen && stream !== undefined) this.#fillMessage(stream, far)
      far.isOpen = false
      far.isInStep = false
      if (far.isMedia && far.isKnown && isAfter(far.timestamp, timestamp)) timestamp = far.timestamp
    }
    return { streams: this.#farStreams, chunkSize: this.#outgoingChunkSize, timestamp }
  }

  #fillMessage(stream: ChunkStream, far: FarStream): void {
    let left = stream.remaining + (stream.gathering?.received ?? 0)
    while (left > 0) {
      this.#sendContinuation(stream, far)
      const length = Math.min(left, this.#outgoingChunkSize)
      this.#sendZeros(length)
      left -= length
    }
  }

  #sendZeros(length: number): void {
    for (let left = length; left > 0; left -= ZEROS.length) this.#sink(ZEROS.subarray(0, left))
  }

  #guard(action: () => void): void {
    if (this.#failure !== undefined) throw this.#failure
    try {
      action()
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      this.#bytes = EMPTY
      throw error
    }
  }

  /** Reads all of `#bytes`; leaves there a copy of an unfinished header. */
  #forward(): void {
    const end = this.#bytes.length
    this.#at = 0
    this.#run = 0
    for (;;) {
      if (this.#open === undefined) {
        const headerBytes = this.#headers.read(this.#bytes, this.#at, end)
        if (headerBytes === 0) break
        this.#openChunk(headerBytes)
      }
      const take = Math.min(this.#openRemaining, end - this.#at)
      if (take > 0) this.#payload(this.#open!, take)
      if (this.#openRemaining > 0) break
      this.#closeChunk(this.#open!)
    }
    this.#flush()
    this.#bytes = this.#at < end ? Buffer.from(this.#bytes.subarray(this.#at)) : EMPTY
    this.#at = 0
    this.#run = 0
  }

  #openChunk(headerBytes: number): void {
    const { stream } = this.#headers
    const far = this.#farOf(stream.id)
    this.#open = stream
    this.#openFar = far
    this.#openRemaining = Math.min(this.#incomingChunkSize, stream.remaining)
    if (this.#headers.startsMessage) {
      this.#startMessage(stream, far, headerBytes)
    } else if (far.passage !== Passage.through) {
      this.#skip(headerBytes)
    } else if (this.#isUncut(stream)) {
      this.#continueMessage(stream, far, headerBytes)
    } else {
      // The near side went to smaller chunks within the message: what is left of it is gathered.
      far.passage = Passage.gathered
      this.#skip(headerBytes)
    }
  }

  #startMessage(stream: ChunkStream, far: FarStream, headerBytes: number): void {
    const { format } = this.#headers
    far.startFormat = format
    far.isMedia = isMedia(stream.type)
    if (isHopByHop(stream.type)) {
      far.passage = Passage.consumed
      far.isInStep = false
      this.#skip(headerBytes)
    } else if (!this.#isUncut(stream) || this.#isWantedWhole(stream)) {
      far.passage = Passage.gathered
      this.#skip(headerBytes)
    } else {
      far.passage = Passage.through
      const isExact = this.#timeline?.isExact(stream.timestamp) ?? true
      const isSame = format === 0 ? this.#timeline === undefined : far.isInStep && isExact
      if (isSame && !this.#headers.lacksExtended) {
        if (format === 0) this.#translateStreamId(stream, far)
        far.timestamp = this.#timeline?.at(stream.timestamp) ?? stream.timestamp
        far.timestampField = stream.timestampField
        far.isExtended = stream.isExtended
        far.isKnown = true
        far.isInStep = true
        far.isOpen = true
        this.#at += headerBytes
      } else {
        this.#skip(headerBytes)
        this.#sendStart(stream, far)
      }
    }
  }

  /** Whether the rest of the message crosses in chunks that are the same on both sides. */
  #isUncut(stream: ChunkStream): boolean {
    return this.#incomingChunkSize === this.#outgoingChunkSize || stream.remaining <= this.#incomingChunkSize
  }

  /** Whether more than the header of the message has to be seen. */
  #isWantedWhole(stream: ChunkStream): boolean {
    return (
      this.#isChanged(stream) ||
      (this.#inspect !== undefined && isCommand(stream)) ||
      this.#timeline?.isSettled === false
    )
  }

  /** Whether the payload may name a message stream that the far side knows by another id. */
  #isChanged(stream: ChunkStream): boolean {
    return this.#changesStreamIds && stream.type === MessageType.userControl
  }

  #continueMessage(stream: ChunkStream, far: FarStream, headerBytes: number): void {
    const isSame =
      far.isExtended === stream.isExtended &&
      (!far.isExtended || (far.timestampField === stream.timestampField && !this.#headers.lacksExtended))
    if (isSame) {
      this.#at += headerBytes
    } else {
      this.#skip(headerBytes)
      this.#sendContinuation(stream, far)
    }
  }

  #payload(stream: ChunkStream, take: number): void {
    if (this.#openFar.passage === Passage.through) {
      this.#at += take
    } else if (this.#openFar.passage === Passage.dropped) {
      this.#skip(take)
    } else {
      if (this.#gatheredBytes + take > this.#headers.maxMessageBytes) {
        throw this.#headers.tooLarge(this.#gatheredBytes + take)
      }
      stream.gathering ??= new MessageGathering(stream.remaining)
      stream.gathering.append(this.#bytes, this.#at, this.#at + take)
      this.#gatheredBytes += take
      this.#skip(take)
    }
    stream.remaining -= take
    this.#openRemaining -= take
  }

  #closeChunk(stream: ChunkStream): void {
    const far = this.#openFar
    this.#open = undefined
    if (stream.remaining === 0) {
      const payload = stream.gathering?.bytes() ?? EMPTY
      this.#forget(stream)
      if (far.passage === Passage.consumed) {
        this.#control(stream, payload)
      } else if (far.passage === Passage.dropped || this.#isStopped(stream, far, payload)) {
        far.isInStep = false
      } else {
        if (this.#isChanged(stream)) mapEventStream(payload, this.#streamIds)
        if (far.passage === Passage.gathered) this.#sendGathered(stream, far, payload)
        far.isOpen = false
        this.#messages++
      }
    }
    if (this.#pending.size > 0) this.#sendPending()
  }

  #isStopped(stream: ChunkStream, far: FarStream, payload: Uint8Array): boolean {
    if (this.#inspect === undefined || far.passage !== Passage.gathered || !isCommand(stream)) return false
    const { id, type, streamId, timestamp } = stream
    return !this.#inspect({ chunkStreamId: id, type, streamId, timestamp, payload })
  }

  #control(stream: ChunkStream, payload: Uint8Array): void {
    const { side } = this.#headers
    switch (stream.type) {
      case MessageType.setChunkSize:
        this.#incomingChunkSize = this.#usefulChunkSize(announcedChunkSize(payload, side))
        this.#announceChunkSize(stream.id)
        break
      case MessageType.abort:
        this.#abort(abortedChunkStream(payload, side), stream.id)
        break
      case MessageType.windowAcknowledgementSize:
        this.#windowBytes = announcedWindow(payload, side) ?? this.#windowBytes
        break
      default:
      // Acknowledgement and Set Peer Bandwidth: TCP's own flow control does their work here.
    }
  }

  /** A chunk holds one message at most, so a larger size means nothing more; some receivers refuse it. */
  #usefulChunkSize(chunkSize: number): number {
    return Math.min(chunkSize, this.#headers.maxMessageBytes)
  }

  #announceChunkSize(chunkStreamId: number): void {
    const chunkSize =
      this.#incomingChunkSize >= RELAY_CHUNK_SIZE
        ? this.#incomingChunkSize
        : Math.max(this.#outgoingChunkSize, RELAY_CHUNK_SIZE)
    if (chunkSize === this.#outgoingChunkSize) return
    this.#send({ ...setChunkSizeMessage(chunkSize), chunkStreamId })
    this.#outgoingChunkSize = chunkSize
  }

  #abort(abortedId: number, chunkStreamId: number): void {
    const stream = this.#headers.streams.get(abortedId)
    if (stream === undefined || stream.remaining === 0) return
    const far = this.#farOf(abortedId)
    if (far.isOpen) this.#send({ ...abortMessage(abortedId), chunkStreamId })
    else far.isInStep = false
    far.isOpen = false
    this.#forget(stream)
    stream.remaining = 0
  }

  #forget(stream: ChunkStream): void {
    this.#gatheredBytes -= stream.gathering?.received ?? 0
    stream.gathering = undefined
  }

  #sendPending(): void {
    for (const [type, message] of this.#pending) {
      if (this.#farOf(message.chunkStreamId).isOpen) continue
      this.#pending.delete(type)
      this.#send(message)
    }
  }

  /** Writes a message of our own, of one chunk, at a chunk boundary. Its chunk stream must not be in a message. */
  #send(message: RtmpMessage): void {
    const { chunkStreamId: id, payload } = message
    const far = this.#farOf(id)
    const out = Buffer.allocUnsafe(MAX_CHUNK_HEADER_BYTES + payload.length)
    const header = { id, length: payload.length, type: message.type }
    const at = writeFullHeader(out, 0, header, message.streamId, message.timestamp)
    out.set(payload, at)
    far.remember(message.streamId, message.timestamp, message.timestamp)
    far.isInStep = false
    this.#flush()
    this.#sink(out.subarray(0, at + payload.length))
  }

  /**
   * Writes the first header of the current message in a form that is right whatever the far side
   * remembers: type 1 with the delta from what it saw last (so that the two are in step again), or type 0.
   */
  #sendStart(stream: ChunkStream, far: FarStream): void {
    const out = Buffer.allocUnsafe(MAX_CHUNK_HEADER_BYTES)
    const streamId = this.#streamIds.get(stream.streamId) ?? stream.streamId
    const timestamp = this.#timeline?.at(stream.timestamp) ?? stream.timestamp
    const delta = (timestamp - far.timestamp) >>> 0
    let end: number
    if (far.startFormat !== 0 && far.isKnown && far.streamId === streamId && !needsExtended(delta)) {
      end = writeDeltaHeader(out, 0, stream, delta)
      far.remember(streamId, timestamp, delta)
    } else {
      end = writeFullHeader(out, 0, stream, streamId, timestamp)
      far.remember(streamId, timestamp, timestamp)
    }
    const isExact = this.#timeline?.isExact(stream.timestamp) ?? true
    far.isInStep =
      isExact && far.timestampField === stream.timestampField && far.isExtended === stream.isExtended
    far.isOpen = true
    this.#sink(out.subarray(0, end))
  }

  #sendContinuation(stream: ChunkStream, far: FarStream): void {
    const out = Buffer.allocUnsafe(MAX_CHUNK_HEADER_BYTES)
    this.#sink(
      out.subarray(0, writeContinuationHeader(out, 0, stream.id, far.timestampField, far.isExtended)),
    )
  }

  #sendGathered(stream: ChunkStream, far: FarStream, payload: Uint8Array): void {
    if (this.#timeline?.isSettled === false && isMedia(stream.type) && this.#isFrame(stream.type, payload))
      this.#timeline.settle(stream.timestamp)
    far.isMedia = isMedia(stream.type)
    let from = 0
    do {
      if (far.isOpen) this.#sendContinuation(stream, far)
      else this.#sendStart(stream, far)
      this.#sink(payload.subarray(from, from + this.#outgoingChunkSize))
      from += this.#outgoingChunkSize
    } while (from < payload.length)
  }

  #sendEarly({ chunkStreamId, type, streamId, timestamp, payload }: RtmpMessage): void {
    const stream = new ChunkStream(chunkStreamId)
    stream.type = type
    stream.length = payload.length
    stream.streamId = streamId
    stream.timestamp = timestamp
    const far = this.#farOf(chunkStreamId)
    far.startFormat = 0
    this.#sendGathered(stream, far, payload)
    far.isOpen = false
    // What comes next on the chunk stream counts from what its reader has seen.
    far.isInStep = false
    this.#messages++
  }

  #translateStreamId(stream: ChunkStream, far: FarStream): void {
    far.streamId = this.#streamIds.get(stream.streamId) ?? stream.streamId
    if (far.streamId === stream.streamId) return
    const at = this.#at + this.#headers.basicBytes + 7
    new DataView(this.#bytes.buffer, this.#bytes.byteOffset).setUint32(at, far.streamId, true)
  }

  #farOf(chunkStreamId: number): FarStream {
    let far = this.#farStreams.get(chunkStreamId)
    if (far === undefined) {
      far = new FarStream()
      this.#farStreams.set(chunkStreamId, far)
    }
    return far
  }

  #flush(): void {
    const isAll = this.#run === 0 && this.#at === this.#bytes.length
    if (this.#run < this.#at) this.#sink(isAll ? this.#bytes : this.#bytes.subarray(this.#run, this.#at))
    this.#run = this.#at
  }

  #skip(count: number): void {
    this.#flush()
    this.#at += count
    this.#run = this.#at
  }
}

const EMPTY = new Uint8Array(0)
const ZEROS: Uint8Array = Buffer.alloc(65_536)

function isMedia(type: number): boolean {
  return type === MessageType.audio || type === MessageType.video || type === MessageType.aggregate
}

function isAfter(timestamp: number, other: number | undefined): boolean {
  return other === undefined || ((timestamp - other) | 0) > 0
}

function isHopByHop(type: number): boolean {
  return (
    type <= MessageType.setPeerBandwidth &&
    type !== MessageType.userControl &&
    type >= MessageType.setChunkSize
  )
}
