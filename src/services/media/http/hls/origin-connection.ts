import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../../../foundation/clock.ts'
import { errorCode, errorMessage, SluiceError } from '../../../../foundation/errors.ts'
import type { Dial, DialOptionsOf } from '../../../../mechanisms/net/index.ts'
import {
  type BodyFraming,
  ChunkedBody,
  type ResponseHead,
  ResponseHeadParser,
} from '../../../../protocols/http/index.ts'
import { httpError } from '../errors.ts'
import type { OriginUrl } from '../origin-url.ts'
import { ReadBuffer } from '../read-buffer.ts'

/** Takes the data of a body, without its framing. */
export interface BodyReader {
  /**
   * Takes bytes that are valid during the call, and beyond it until `resume` when it answers false: then nothing more
   * comes before `resume`, not even the end.
   */
  bytes(bytes: Uint8Array): boolean
  /** The last call. Undefined: the body came to its end; otherwise the connection broke within it. */
  ended(error: unknown): void
}

/** A response whose head is read. Its body waits for `deliver`; whoever does not want it calls `destroy`. */
export interface OriginAnswer {
  readonly head: ResponseHead
  readonly framing: BodyFraming
  deliver(reader: BodyReader): void
  /** Goes on after the reader answered false. */
  resume(): void
  /** Cuts the connection unless the body has ended; the reader is not told. */
  destroy(): void
}

/** One request, and what an origin may take for it. */
export interface OriginCall {
  readonly method: string
  /** The whole request, which asks to keep the connection. */
  readonly request: Buffer
  readonly headTimeoutMs: number
  /** Aborted when nobody wants the answer any more. Looked at until the head is read. */
  readonly signal: AbortSignal
}

export interface OriginConnectionOptions {
  readonly url: OriginUrl
  readonly dial: Dial
  readonly dialOptionsOf: DialOptionsOf
  readonly clock: Clock
  readonly connectTimeoutMs: number
  /** How long the connection may rest, if the origin does not say less. */
  readonly idleMs: number
  /** The body was read to its end: the connection can be used again for so many milliseconds. */
  readonly onIdle: (connection: OriginConnection, idleMs: number) => void
  readonly onClosed: (connection: OriginConnection) => void
}

type HeadResult = { readonly head: ResponseHead; readonly framing: BodyFraming } | SluiceError

interface Exchange {
  readonly parser: ResponseHeadParser
  readonly onHead: (result: HeadResult) => void
}

/** A kept connection to an origin: one request after another, each body read into one reused buffer. */
export class OriginConnection {
  readonly #options: OriginConnectionOptions
  readonly #socket: Socket
  #state: 'idle' | 'head' | 'held' | 'body' | 'over' = 'idle'
  #exchange: Exchange | undefined
  #reader: BodyReader | undefined
  #leftover: Uint8Array = NOTHING
  #chunked: ChunkedBody | undefined
  /** Bytes until the end of a body of known length; Infinity for other framings. */
  #left = 0
  /** The last bytes are with the reader. */
  #isComplete = false
  /** For how long the connection may rest behind the current body; 0: it may not be used again. */
  #restMs = 0
  #isConnected = false
  /** How many answers were read. */
  #answers = 0
  #error: unknown

  constructor(options: OriginConnectionOptions) {
    this.#options = options
    const dialled = { ...options.dialOptionsOf(options.url), noDelay: true }
    // TLS goes on giving what it has decrypted after a pause, and would write over what is still being sent.
    this.#socket = dialled.tls === undefined ? this.#dialReused(dialled) : options.dial(dialled)
    const socket = this.#socket
    if (dialled.tls !== undefined) {
      socket.on('data', (bytes: Buffer) => {
        if (!this.#onRead(bytes)) socket.pause()
      })
    }
    socket.once(dialled.tls === undefined ? 'connect' : 'secureConnect', () => {
      this.#isConnected = true
    })
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.once('end', () => this.#onOver(undefined))
    socket.once('close', () => this.#onOver(this.#error ?? new Error('connection cut')))
  }

  /** Whether it has given an answer before: then the next request may meet the end of its rest at the origin. */
  get wasUsed(): boolean {
    return this.#answers > 0
  }

  /**
   * Sends a request on a connection at rest; resolves with the head of its answer.
   *
   * @throws HTTP_ORIGIN_UNREACHABLE when there is no connection
   * @throws HTTP_ORIGIN_SILENT when there is one, and no head in time
   * @throws HTTP_ORIGIN_BAD_RESPONSE
   * @throws HTTP_CLIENT_GONE when the signal was aborted
   */
  ask(call: OriginCall): Promise<OriginAnswer> {
    const { clock, connectTimeoutMs } = this.#options
    const { signal } = call
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        this.destroy()
        reject(clientGone())
        return
      }
      let timer: Timer | undefined
      const onConnect = (): void => {
        timer?.cancel()
        timer = late('HTTP_ORIGIN_SILENT', 'response head', call.headTimeoutMs)
      }
      const settle = (result: HeadResult): void => {
        timer?.cancel()
        signal.removeEventListener('abort', onAbort)
        this.#socket.off('connect', onConnect)
        this.#exchange = undefined
        if (result instanceof SluiceError) {
          this.destroy()
          reject(result)
          return
        }
        // Behind the end of its body the connection may be another request's.
        const isCurrent = (): boolean => this.#answers === answer && this.#state !== 'idle'
        const answer = ++this.#answers
        resolve({
          ...result,
          deliver: (reader) => this.#deliver(reader),
          resume: () => isCurrent() && this.#resume(),
          destroy: () => isCurrent() && this.destroy(),
        })
      }
      const onAbort = (): void => settle(clientGone())
      const late = (code: OriginErrorCode, what: string, ms: number): Timer =>
        clock.after(ms, () => settle(this.#failure(code, `no ${what} within ${ms} ms`)))
      signal.addEventListener('abort', onAbort)
      if (this.#isConnected) onConnect()
      else {
        timer = late('HTTP_ORIGIN_UNREACHABLE', 'connection', connectTimeoutMs)
        this.#socket.once(this.#options.url.scheme === 'http' ? 'connect' : 'secureConnect', onConnect)
      }
      this.#exchange = { parser: new ResponseHeadParser(call.method), onHead: settle }
      this.#state = 'head'
      this.#socket.write(call.request)
      this.#socket.resume()
    })
  }

  /** Closes the connection now. */
  destroy(): void {
    this.#reader = undefined
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#socket.destroy()
    this.#options.onClosed(this)
  }

  #dialReused(dialled: Parameters<Dial>[0]): Socket {
    const buffer = new ReadBuffer()
    return this.#options.dial({
      ...dialled,
      onread: {
        // Asked for after each read, for the next one.
        buffer: () => buffer.current,
        callback: (length, bytes) => {
          buffer.wasRead(length)
          return this.#onRead(length === bytes.length ? bytes : bytes.subarray(0, length))
        },
      },
    })
  }

  /** False pauses the socket. */
  #onRead(bytes: Uint8Array): boolean {
    switch (this.#state) {
      case 'head':
        return this.#readHead(bytes)
      case 'body':
        return this.#readBody(bytes)
      case 'held':
        // A TLS socket gave more after its pause.
        this.#leftover = Buffer.concat([this.#leftover, bytes])
        return false
      case 'idle':
        // Nothing was asked for.
        this.destroy()
        return false
      case 'over':
        return false
      default:
        return this.#state satisfies never
    }
  }

  #readHead(bytes: Uint8Array): boolean {
    const progress = this.#exchange?.parser.push(bytes)
    if (progress === undefined || progress.kind === 'more') return true
    if (progress.kind === 'bad') {
      this.#exchange?.onHead(this.#failure('HTTP_ORIGIN_BAD_RESPONSE', progress.reason))
      return false
    }
    const { head, framing, consumed } = progress
    this.#state = 'held'
    // A copy: the read buffer may be filled again before the body is delivered.
    this.#leftover = Buffer.from(bytes.subarray(consumed))
    this.#chunked = framing.kind === 'chunked' ? new ChunkedBody() : undefined
    this.#left = framing.kind === 'length' ? framing.bytes : framing.kind === 'none' ? 0 : Infinity
    this.#restMs = framing.kind === 'until-close' ? 0 : restMs(head, this.#options.idleMs)
    this.#isComplete = false
    this.#exchange?.onHead({ head, framing })
    return false
  }

  #deliver(reader: BodyReader): void {
    if (this.#state !== 'held') {
      reader.ended(this.#error ?? new Error('connection cut'))
      return
    }
    this.#state = 'body'
    this.#reader = reader
    const leftover = this.#leftover
    this.#leftover = NOTHING
    if (this.#readBody(leftover)) this.#socket.resume()
  }

  #readBody(bytes: Uint8Array): boolean {
    const reader = this.#reader
    if (reader === undefined || this.#isComplete) return false
    const data = this.#take(bytes)
    if (data === undefined) {
      this.destroy()
      reader.ended(new Error('bad chunked framing'))
      return false
    }
    const isTaken = data.length === 0 || reader.bytes(data)
    if (!this.#isComplete) return isTaken
    // The bytes are in the read buffer until the reader is done with them: no other answer before.
    if (isTaken) this.#finish()
    return false
  }

  /** The data among bytes of the body; undefined when its framing is broken. */
  #take(bytes: Uint8Array): Uint8Array | undefined {
    if (this.#chunked === undefined) {
      const data = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes
      this.#left -= data.length
      if (this.#left === 0) this.#isComplete = true
      if (data.length < bytes.length) this.#restMs = 0
      return data
    }
    const { start, end, progress } = this.#chunked.decode(bytes)
    if (progress.kind === 'bad') return undefined
    if (progress.kind === 'end') {
      this.#isComplete = true
      if (progress.consumed < bytes.length) this.#restMs = 0
    }
    return bytes.subarray(start, end)
  }

  #resume(): void {
    if (this.#state !== 'body') return
    if (this.#isComplete) this.#finish()
    else this.#socket.resume()
  }

  #finish(): void {
    const reader = this.#reader
    this.#reader = undefined
    if (this.#restMs > 0) {
      this.#state = 'idle'
      // It reads on, to see when the origin closes.
      this.#socket.resume()
      this.#options.onIdle(this, this.#restMs)
    } else {
      this.destroy()
    }
    reader?.ended(undefined)
  }

  #onOver(error: unknown): void {
    const state = this.#state
    const reader = this.#reader
    this.destroy()
    if (state === 'head') this.#exchange?.onHead(this.#headless(error))
    const isEnd = error === undefined && this.#left === Infinity && this.#chunked === undefined
    reader?.ended(isEnd ? undefined : (error ?? new Error('connection ended within the body')))
  }

  #headless(error: unknown): SluiceError {
    if (error === undefined)
      return this.#failure('HTTP_ORIGIN_BAD_RESPONSE', 'connection ended before the response head')
    const code = this.#isConnected ? 'HTTP_ORIGIN_BAD_RESPONSE' : 'HTTP_ORIGIN_UNREACHABLE'
    return this.#failure(code, `${errorCode(error)}: ${errorMessage(error)}`, error)
  }

  #failure(code: OriginErrorCode, what: string, cause?: unknown): SluiceError {
    const { host, port } = this.#options.url
    return httpError(code, `origin ${host} port ${port}: ${what}`, {
      side: 'origin',
      retryable: true,
      status: code === 'HTTP_ORIGIN_SILENT' ? 504 : 502,
      cause,
    })
  }
}

type OriginErrorCode = 'HTTP_ORIGIN_UNREACHABLE' | 'HTTP_ORIGIN_SILENT' | 'HTTP_ORIGIN_BAD_RESPONSE'

const NOTHING = new Uint8Array(0)

/** For how long a connection may rest behind this response; 0 when it is to be closed (RFC 9112 §9.3). */
function restMs({ minorVersion, headers }: ResponseHead, idleMs: number): number {
  let isKept = minorVersion > 0
  let leftMs = idleMs
  for (const { name, value } of headers) {
    const lower = name.toLowerCase()
    if (lower === 'connection')
      isKept = !/\bclose\b/i.test(value) && (isKept || /\bkeep-alive\b/i.test(value))
    // Half a second less, so that no request meets the close on its way.
    const seconds = lower === 'keep-alive' ? /\btimeout=(\d{1,6})/i.exec(value)?.[1] : undefined
    if (seconds !== undefined) leftMs = Math.min(leftMs, Number(seconds) * 1000 - 500)
  }
  return isKept ? Math.max(0, leftMs) : 0
}

function clientGone(): SluiceError {
  return httpError('HTTP_CLIENT_GONE', 'the client left', { side: 'client', retryable: false, status: 499 })
}
