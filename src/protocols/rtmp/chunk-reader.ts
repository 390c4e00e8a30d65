import { ChunkHeaderReader, DEFAULT_CHUNK_SIZE } from './chunk-header.ts'
import type { ChunkLimits, ChunkStream } from './chunk-header.ts'
import { abortedChunkStream, announcedChunkSize } from './message-control.ts'
import { MessageGathering } from './message-gathering.ts'
import { MessageType } from './message.ts'
import type { RtmpMessage } from './message.ts'

/** Bounds of a `ChunkReader`; beyond them it throws. */
export type ChunkReaderOptions = ChunkLimits

/** Where a `ChunkReader` stopped; a `ChunkRelay` goes on from it. */
export interface ChunkReaderState {
  readonly chunkSize: number
  /** Header and unfinished message of each chunk stream. */
  readonly streams: Map<number, ChunkStream>
  /** Chunk stream whose chunk is being read, and how much of the chunk's payload is to come. */
  readonly openChunk: { readonly stream: ChunkStream; readonly remaining: number } | undefined
  /** Bytes that were pushed but not read. */
  readonly unread: Uint8Array
  readonly bytesReceived: number
}

/**
 * Reads messages from a byte stream cut anywhere. Set Chunk Size and Abort take effect here; both are
 * handed out as well. Payloads handed out are copies. RTMP 1.0 §5.3.
 *
 * @example
 * reader.push(bytes)
 * for (let message = reader.next(); message; message = reader.next()) handle(message)
 */
export class ChunkReader {
  #headers: ChunkHeaderReader
  readonly #limits: ChunkReaderOptions
  #chunkSize = DEFAULT_CHUNK_SIZE
  #bytes: Uint8Array = EMPTY
  #at = 0
  #openStream: ChunkStream | undefined = undefined
  #openRemaining = 0
  #gatheredBytes = 0
  #bytesReceived = 0
  #failure: Error | undefined

  constructor(options: ChunkReaderOptions = {}) {
    this.#limits = options
    this.#headers = new ChunkHeaderReader(options)
  }

  /** Longest chunk payload of the peer, in bytes. */
  get chunkSize(): number {
    return this.#chunkSize
  }

  /** All bytes ever pushed; what an Acknowledgement carries, modulo 2^32. */
  get bytesReceived(): number {
    return this.#bytesReceived
  }

  /** Adds bytes. They are used until `next` returns undefined and must not change before. */
  push(bytes: Uint8Array): void {
    this.#bytesReceived += bytes.length
    this.#bytes = this.#at < this.#bytes.length ? Buffer.concat([this.#unread(), bytes]) : bytes
    this.#at = 0
  }

  /**
   * The next message, or undefined when more bytes are needed.
   * @throws RtmpError on a violation or above a limit; every later call throws the same.
   */
  next(): RtmpMessage | undefined {
    if (this.#failure !== undefined) throw this.#failure
    try {
      const message = this.#read()
      if (message === undefined) {
        // At most a part of a header is left; kept as a copy so that the pushed buffer can be reused.
        this.#bytes = this.#at < this.#bytes.length ? Buffer.from(this.#unread()) : EMPTY
        this.#at = 0
      }
      return message
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      throw error
    }
  }

  /** Ends this reader and gives all it holds; it is empty afterwards. */
  detach(): ChunkReaderState {
    const stream = this.#openStream
    const state: ChunkReaderState = {
      chunkSize: this.#chunkSize,
      streams: this.#headers.streams,
      openChunk: stream === undefined ? undefined : { stream, remaining: this.#openRemaining },
      unread: Buffer.from(this.#unread()),
      bytesReceived: this.#bytesReceived,
    }
    this.#headers = new ChunkHeaderReader(this.#limits)
    this.#openStream = undefined
    this.#bytes = EMPTY
    this.#at = 0
    this.#gatheredBytes = 0
    return state
  }

  #unread(): Uint8Array {
    return this.#bytes.subarray(this.#at)
  }

  #read(): RtmpMessage | undefined {
    for (;;) {
      if (this.#openStream === undefined) {
        const headerBytes = this.#headers.read(this.#bytes, this.#at, this.#bytes.length)
        if (headerBytes === 0) return undefined
        this.#at += headerBytes
        this.#openStream = this.#headers.stream
        this.#openRemaining = Math.min(this.#chunkSize, this.#openStream.remaining)
      }
      const stream = this.#openStream
      const take = Math.min(this.#openRemaining, this.#bytes.length - this.#at)
      if (take > 0) this.#take(stream, take)
      if (this.#openRemaining > 0) return undefined
      this.#openStream = undefined
      if (stream.remaining === 0) return this.#finish(stream)
    }
  }

  #take(stream: ChunkStream, take: number): void {
    if (this.#gatheredBytes + take > this.#headers.maxMessageBytes) {
      throw this.#headers.tooLarge(this.#gatheredBytes + take)
    }
    stream.gathering ??= new MessageGathering(stream.length)
    stream.gathering.append(this.#bytes, this.#at, this.#at + take)
    this.#gatheredBytes += take
    this.#at += take
    this.#openRemaining -= take
    stream.remaining -= take
  }

  #finish(stream: ChunkStream): RtmpMessage {
    const payload = stream.gathering?.bytes() ?? EMPTY
    this.#forget(stream)
    if (stream.type === MessageType.setChunkSize) {
      this.#chunkSize = announcedChunkSize(payload, this.#headers.side)
    } else if (stream.type === MessageType.abort) {
      const aborted = this.#headers.streams.get(abortedChunkStream(payload, this.#headers.side))
      if (aborted !== undefined) this.#forget(aborted)
    }
    return {
      chunkStreamId: stream.id,
      type: stream.type,
      streamId: stream.streamId,
      timestamp: stream.timestamp,
      payload,
    }
  }

  #forget(stream: ChunkStream): void {
    this.#gatheredBytes -= stream.gathering?.received ?? 0
    stream.gathering = undefined
    stream.remaining = 0
  }
}

const EMPTY = new Uint8Array(0)
