import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../../../foundation/clock.ts'
import type { SluiceError } from '../../../../foundation/errors.ts'
import { errorCode, errorMessage } from '../../../../foundation/errors.ts'
import type { Dial, DialOptions } from '../../../../mechanisms/net/index.ts'
import { type BodyFraming, type ResponseHead, ResponseHeadParser } from '../../../../protocols/http/index.ts'
import { httpError } from '../errors.ts'
import { ReadBuffer, roomyCopy } from '../read-buffer.ts'

export interface OriginExchangeOptions {
  /** How the origin is dialled, plain or by TLS. */
  readonly where: DialOptions
  readonly dial: Dial
  readonly method: string
  /** The request as it goes out, sent as soon as the connection stands. */
  readonly request: Buffer
  readonly connectTimeoutMs: number
  /** From the connection to the end of the response head. A live origin may answer only when the stream begins. */
  readonly headTimeoutMs: number
  readonly clock: Clock
  /** Aborted when nobody wants the answer any more. */
  readonly signal: AbortSignal
}

/** Where the bytes of a body go. */
export interface BodySink {
  /**
   * Takes bytes that are valid during the call, and beyond it until `resume` when it answers false: then nothing more
   * comes before `resume`. `ROOM_BEFORE` bytes before them and `ROOM_BEHIND` behind them, in their buffer, may be written over.
   */
  bytes(bytes: Uint8Array): boolean
  /** The connection ended; `error` says why, if it did not end in order. Called once, the last call. */
  ended(error: unknown): void
}

const NOTHING = Buffer.alloc(0)

/**
 * One request to an origin over a connection of its own. The socket reads into one reused buffer (`onread`), past
 * node's streams: that is what makes a live body cheap to pass on. `open` resolves when the response head is read; the body waits
 * until `deliver`.
 */
export class OriginExchange {
  readonly #socket: Socket
  readonly #parser: ResponseHeadParser
  readonly #onHead: (result: { head: ResponseHead; framing: BodyFraming } | SluiceError) => void
  #leftover: Buffer = NOTHING
  #state: 'head' | 'held' | 'body' | 'over' = 'head'
  #sink: BodySink | undefined
  #error: unknown
  #isConnected = false

  /**
   * @throws HTTP_ORIGIN_UNREACHABLE when there is no connection
   * @throws HTTP_ORIGIN_SILENT when there is one, and no head in time
   * @throws HTTP_ORIGIN_BAD_RESPONSE
   * @throws HTTP_CLIENT_GONE when the signal was aborted
   */
  static async open(
    options: OriginExchangeOptions,
  ): Promise<{ exchange: OriginExchange; head: ResponseHead; framing: BodyFraming }> {
    const { clock, signal, where } = options
    if (signal.aborted) throw clientGone()
    return new Promise((resolve, reject) => {
      let timer: Timer
      const settle = (result: { head: ResponseHead; framing: BodyFraming } | SluiceError): void => {
        timer.cancel()
        signal.removeEventListener('abort', abort)
        if (result instanceof Error) {
          exchange.destroy()
          reject(result)
        } else resolve({ exchange, ...result })
      }
      const abort = (): void => settle(clientGone())
      const late = (code: OriginErrorCode, what: string, ms: number): Timer =>
        clock.after(ms, () => settle(originError(code, `no ${what} within ${ms} ms`, options)))
      signal.addEventListener('abort', abort)
      timer = late('HTTP_ORIGIN_UNREACHABLE', 'connection', options.connectTimeoutMs)
      const exchange = new OriginExchange(options, settle)
      exchange.#socket.once(where.tls === undefined ? 'connect' : 'secureConnect', () => {
        exchange.#isConnected = true
        timer.cancel()
        timer = late('HTTP_ORIGIN_SILENT', 'response head', options.headTimeoutMs)
      })
    })
  }

  private constructor(
    options: OriginExchangeOptions,
    onHead: (result: { head: ResponseHead; framing: BodyFraming } | SluiceError) => void,
  ) {
    this.#parser = new ResponseHeadParser(options.method)
    this.#onHead = onHead
    const buffer = new ReadBuffer()
    this.#socket = options.dial({
      ...options.where,
      noDelay: true,
      onread: {
        // Asked for after each read, for the next one.
        buffer: () => buffer.current,
        callback: (length, bytes) => {
          const read = length === bytes.length ? bytes : bytes.subarray(0, length)
          // What TLS has decrypted comes in a buffer of its own, without room.
          if (options.where.tls !== undefined) return this.#onRead(roomyCopy(read), options)
          buffer.wasRead(length)
          return this.#onRead(read, options)
        },
      },
    })
    this.#socket.on('error', (error) => {
      this.#error = error
    })
    this.#socket.once('end', () => this.#onOver(undefined, options))
    this.#socket.once('close', () => this.#onOver(this.#error ?? new Error('connection cut'), options))
    this.#socket.write(options.request)
  }

  /** Starts the body: first what came with the head, then the rest as it comes. */
  deliver(sink: BodySink): void {
    if (this.#state !== 'held') {
      sink.ended(this.#error ?? new Error('connection cut'))
      return
    }
    this.#state = 'body'
    this.#sink = sink
    const leftover = this.#leftover
    this.#leftover = NOTHING
    if (leftover.length === 0 || sink.bytes(leftover)) this.#socket.resume()
  }

  /** Goes on after the sink answered false. */
  resume(): void {
    this.#socket.resume()
  }

  /** Cuts the connection; the sink is not told. */
  destroy(): void {
    this.#state = 'over'
    this.#sink = undefined
    this.#socket.destroy()
  }

  /** False pauses the socket. */
  #onRead(bytes: Uint8Array, options: OriginExchangeOptions): boolean {
    if (this.#state === 'body') return this.#sink?.bytes(bytes) ?? false
    if (this.#state !== 'head') return false
    const progress = this.#parser.push(bytes)
    switch (progress.kind) {
      case 'more':
        return true
      case 'bad':
        this.#state = 'over'
        this.#onHead(originError('HTTP_ORIGIN_BAD_RESPONSE', progress.reason, options))
        return false
      case 'head':
        this.#state = 'held'
        this.#leftover = roomyCopy(bytes.subarray(progress.consumed))
        this.#onHead({ head: progress.head, framing: progress.framing })
        return false
      default:
        return progress satisfies never
    }
  }

  #onOver(error: unknown, options: OriginExchangeOptions): void {
    const state = this.#state
    this.#state = 'over'
    if (state === 'head') {
      this.#onHead(
        error === undefined
          ? originError('HTTP_ORIGIN_BAD_RESPONSE', 'connection ended before the response head', options)
          : originError(
              this.#isConnected ? 'HTTP_ORIGIN_BAD_RESPONSE' : 'HTTP_ORIGIN_UNREACHABLE',
              `${errorCode(error)}: ${errorMessage(error)}`,
              options,
              error,
            ),
      )
    }
    const sink = this.#sink
    this.#sink = undefined
    sink?.ended(error)
  }
}

type OriginErrorCode = 'HTTP_ORIGIN_UNREACHABLE' | 'HTTP_ORIGIN_SILENT' | 'HTTP_ORIGIN_BAD_RESPONSE'

function originError(
  code: OriginErrorCode,
  what: string,
  { where: { host, port } }: OriginExchangeOptions,
  cause?: unknown,
): SluiceError {
  return httpError(code, `origin ${host} port ${port}: ${what}`, {
    side: 'origin',
    retryable: true,
    status: code === 'HTTP_ORIGIN_SILENT' ? 504 : 502,
    cause,
  })
}

function clientGone(): SluiceError {
  return httpError('HTTP_CLIENT_GONE', 'the client left', { side: 'client', retryable: false, status: 499 })
}
