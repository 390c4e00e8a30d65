import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import {
  descriptorOf,
  readIntoBuffers,
  resetSocket,
  startReading,
  stopReading,
  wasReset,
} from '../net/socket-inside.ts'
import { noSink } from './no-sink.ts'
import { ReadBuffers } from './read-buffers.ts'

/**
 * A connected TCP or TLS socket (its handshake over) as a stream, which owns it from now on: nobody else reads, writes or
 * listens for data. What it had read and nobody took comes first.
 */
export function socketStream(socket: Socket | TLSSocket): ByteStream {
  return new SocketStream(socket)
}

/** Read by sockets that have moved little so far; what it gets is copied out. */
const sharedBuffer = Buffer.allocUnsafeSlow(65_536)
/** A socket reads into a buffer of its own from its first read of so many bytes on, or once it has read so many in all. */
const bulkReadBytes = 16_384
const bulkTotalBytes = 65_536
/** After so many small reads in a row it gives its own buffer back. */
const smallReads = 64
const smallReadBytes = 4096
/** What TLS decrypts at once is one record at most. */
const tlsRecordBytes = 16_384
/**
 * Records of one turn of the event loop are handed on together, up to so much: behind a yamux session, each record by itself would
 * be a write to a user. Copying them costs less (bulk over 64 streams: 1.15 of the rate; with 64 KB 1.1, with 256 KB no more).
 */
const gatherBytes = 131_072
/** 32 MB and 4 MB for the process; sockets beyond that copy. */
const plainBuffers = new ReadBuffers(sharedBuffer.length, 512)
const gatherBuffers = new ReadBuffers(gatherBytes, 32)
const empty = new Uint8Array(0)

/** A stream that knows its socket, so that a join can hand both to the engine. */
export class SocketStream implements ByteStream {
  readonly #socket: Socket
  readonly #isTls: boolean
  /** Whether it is read into buffers; otherwise by `data` events. */
  readonly #isBuffered: boolean
  #sink: ByteSink = noSink
  #isPaused = true
  /** To be read before what the socket has. */
  readonly #held: Uint8Array[] = []
  #own: Buffer | undefined
  /** Records of TLS that arrived in this turn, and how many bytes they are. */
  #gather: Buffer | undefined
  #gathered = 0
  /** The sink keeps what is in `#own` until it resumes. */
  #isOwnKept = false
  #totalBytes = 0
  #smallReads = 0
  #owesDrain = false
  #isEnding = false
  #hasPeerEnded: boolean
  #isEndGiven = false
  #isDestroyed = false
  #isClosed = false
  /** Who was told that it has closed. */
  #toldSink: ByteSink | undefined
  #error: Error | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    this.#isTls = socket instanceof TLSSocket
    socket.pause()
    const leftover: unknown = socket.read()
    if (leftover instanceof Uint8Array) this.#held.push(leftover)
    this.#hasPeerEnded = socket.readableEnded
    socket.allowHalfOpen = true
    socket.setTimeout(0)
    this.#isBuffered = readIntoBuffers(socket, sharedBuffer, (length, buffer) => this.#onRead(length, buffer))
    if (!this.#isBuffered) socket.on('data', (bytes: Uint8Array) => this.#onData(bytes))
    socket.on('end', () => this.#onEnd())
    socket.on('drain', this.#onWritten)
    socket.on('error', (error) => {
      this.#error ??= error
    })
    // It may have closed before; then there is no further event.
    if (socket.closed) this.#isClosed = true
    else socket.on('close', () => this.#onClose())
  }

  /**
   * The descriptor of a plain TCP socket of which nothing is held here in either direction; none when something is. It is
   * the stream's still.
   */
  get descriptor(): number | undefined {
    if (this.#isTls || this.#held.length > 0 || this.#owesDrain || this.#isDestroyed) return undefined
    const hasSent = this.#isEnding ? this.#socket.writableFinished : this.#socket.writableLength === 0
    if (!hasSent) return undefined
    return descriptorOf(this.#socket)
  }

  attach(sink: ByteSink): void {
    this.#sink = sink
    if (this.#isClosed) queueMicrotask(() => this.#tellClosed())
  }

  pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    if (this.#isBuffered) stopReading(this.#socket)
    else this.#socket.pause()
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#isOwnKept = false
    this.#giveHeld()
    if (this.#isPaused || this.#isDestroyed) return
    if (this.#hasPeerEnded) {
      this.#giveEnd()
      if (this.#isClosed) queueMicrotask(() => this.#tellClosed())
    } else if (this.#isBuffered) {
      startReading(this.#socket)
    } else {
      this.#socket.resume()
    }
  }

  unread(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#held.unshift(Buffer.from(bytes))
  }

  write(bytes: Uint8Array): boolean {
    const socket = this.#socket
    if (this.#isEnding || !socket.writable) return true
    socket.write(bytes)
    if (socket.writableLength === 0) return true
    if (!this.#owesDrain) {
      this.#owesDrain = true
      this.#awaitWritten()
    }
    return false
  }

  end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    // Only once all has gone, of which a socket that is ending says nothing any more.
    if (!this.#owesDrain) this.#endSocket()
  }

  destroy(error?: Error): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    this.#held.length = 0
    if (this.#isClosed) {
      // It closed in order while nobody read: who waits for its last bytes is told now.
      queueMicrotask(() => this.#tellClosed())
      return
    }
    this.#error ??= error
    if (error === undefined) this.#socket.destroy()
    else resetSocket(this.#socket)
  }

  #onRead(length: number, buffer: Uint8Array): Uint8Array | undefined {
    if (this.#isTls) {
      this.#onRecord(length, buffer)
      return undefined
    }
    if (buffer === this.#own) return this.#onReadOwn(length, this.#own)
    const bytes = Buffer.allocUnsafe(length)
    bytes.set(buffer.length === length ? buffer : buffer.subarray(0, length))
    this.#totalBytes += length
    this.#onData(bytes)
    if (length < bulkReadBytes && this.#totalBytes < bulkTotalBytes) return undefined
    this.#own = plainBuffers.take()
    return this.#own
  }

  /** Small ones are handed on at once, unless they follow others. */
  #onRecord(length: number, buffer: Uint8Array): void {
    if (this.#gather === undefined) {
      if (length >= smallReadBytes && !this.#isPaused) this.#gather = gatherBuffers.take()
      if (this.#gather === undefined) {
        this.#onData(Buffer.from(buffer.subarray(0, length)))
        return
      }
      this.#gathered = 0
      setImmediate(this.#giveGathered)
    }
    this.#gather.set(length === buffer.length ? buffer : buffer.subarray(0, length), this.#gathered)
    this.#gathered += length
    if (this.#gathered + tlsRecordBytes > gatherBytes) this.#giveGathered()
  }

  readonly #giveGathered = (): void => {
    const gather = this.#gather
    if (gather === undefined) return
    this.#gather = undefined
    const bytes = gather.subarray(0, this.#gathered)
    if (this.#isDestroyed) {
      gatherBuffers.give(gather)
    } else if (this.#isPaused || this.#held.length > 0) {
      // TLS gives all it had decrypted, also after a pause.
      gatherBuffers.lose()
      this.#held.push(bytes)
    } else if (this.#sink.onBytes(bytes)) {
      gatherBuffers.give(gather)
    } else {
      gatherBuffers.lose()
    }
  }

  #onReadOwn(length: number, own: Buffer): Uint8Array | undefined {
    if (this.#isPaused || this.#isDestroyed) {
      if (!this.#isDestroyed) this.#held.push(Buffer.from(own.subarray(0, length)))
      return undefined
    }
    this.#smallReads = length < smallReadBytes ? this.#smallReads + 1 : 0
    if (this.#sink.onBytes(own.subarray(0, length))) {
      if (this.#smallReads < smallReads || this.#isClosed) return undefined
      this.#giveBack()
      return sharedBuffer
    }
    if (this.#isPaused) {
      this.#isOwnKept = true
      return undefined
    }
    // It is the sink's, for good.
    plainBuffers.lose()
    this.#own = plainBuffers.take()
    return this.#own ?? sharedBuffer
  }

  /** Bytes whose memory nobody else uses. */
  #onData(bytes: Uint8Array): void {
    if (this.#isDestroyed) return
    if (this.#isPaused || this.#held.length > 0) this.#held.push(bytes)
    else this.#sink.onBytes(bytes)
  }

  #giveHeld(): void {
    while (!this.#isPaused) {
      const bytes = this.#held.shift()
      if (bytes === undefined) return
      this.#sink.onBytes(bytes)
    }
  }

  #onEnd(): void {
    if (!this.#isEnding && wasReset(this.#socket)) {
      this.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
      return
    }
    this.#giveGathered()
    this.#hasPeerEnded = true
    if (!this.#isPaused && this.#held.length === 0) this.#giveEnd()
  }

  #giveEnd(): void {
    if (this.#isEndGiven || this.#isDestroyed) return
    this.#isEndGiven = true
    this.#sink.onEnd()
  }

  /** A socket says `drain` only after much; after less an empty write tells when the rest has gone. */
  #awaitWritten(): void {
    if (!this.#socket.writableNeedDrain && this.#socket.writable) this.#socket.write(empty, this.#onWritten)
  }

  readonly #onWritten = (): void => {
    if (!this.#owesDrain || this.#socket.destroyed) return
    if (this.#socket.writableLength > 0) {
      this.#awaitWritten()
      return
    }
    this.#owesDrain = false
    if (this.#isEnding) this.#endSocket()
    this.#sink.onDrain()
  }

  #endSocket(): void {
    // The last to end a connection may as well close it: what was written still goes out, then the end, by one call of the
    // system and one turn less. TLS has a last record to send.
    if (this.#isEndGiven && !this.#isTls) this.#socket.destroy()
    else this.#socket.end()
  }

  #onClose(): void {
    this.#giveGathered()
    this.#isClosed = true
    if (!this.#isOwnKept) this.#giveBack()
    else plainBuffers.lose()
    this.#tellClosed()
  }

  /** Unless it has closed in order, and the sink has not been given all that had come before. */
  #tellClosed(): void {
    if (this.#error === undefined && !this.#isDestroyed && this.#hasPeerEnded && !this.#isEndGiven) return
    if (this.#toldSink === this.#sink) return
    this.#toldSink = this.#sink
    this.#sink.onClose(this.#error)
  }

  #giveBack(): void {
    if (this.#own !== undefined) plainBuffers.give(this.#own)
    this.#own = undefined
    this.#totalBytes = 0
    this.#smallReads = 0
  }
}
