import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { Http2Answer } from './http2-answer.ts'
import { WINDOW_BYTES } from './http2-windows.ts'
import { endToEndTrailers, rawOfObject } from './raw-headers.ts'
import { readRequestTarget } from './request-target.ts'
import type { UserConnection } from './user-connection.ts'
import { reply, type UserAnswer, type UserRequest } from './user-exchange.ts'

export interface Http2FrontOptions {
  /** How long a connection may be without requests, in milliseconds. */
  readonly keepAliveMs: number
  readonly maxHeaderBytes: number
  readonly clock: Clock
  readonly onRequest: (request: UserRequest, answer: UserAnswer, user: UserConnection) => void
  readonly onStatus: (status: number) => void
}

/** Requests of one connection at a time. */
const MAX_STREAMS = 128
/** What node:http2 may use for one connection, in megabytes. */
const MAX_SESSION_MEGABYTES = 4
const END_STREAM = constants.NGHTTP2_FLAG_END_STREAM

/** Reads requests in cleartext HTTP/2, of users who know beforehand that it is spoken here. */
export class Http2Front {
  readonly #options: Http2FrontOptions
  readonly #sessions = new Map<ServerHttp2Session, UserConnection>()

  constructor(options: Http2FrontOptions) {
    this.#options = options
  }

  /** Reads the connection from now on. */
  take(user: UserConnection): void {
    const { maxHeaderBytes } = this.#options
    const session = performServerHandshake(user.socket, {
      maxSessionMemory: MAX_SESSION_MEGABYTES,
      maxHeaderListPairs: 1000,
      settings: {
        maxConcurrentStreams: MAX_STREAMS,
        maxHeaderListSize: maxHeaderBytes,
        initialWindowSize: WINDOW_BYTES,
      },
    })
    this.#sessions.set(session, user)
    session.setLocalWindowSize(WINDOW_BYTES)
    const idle = new IdleTimer(this.#options.clock, this.#options.keepAliveMs, () => session.close())
    session.on('error', () => undefined)
    session.once('close', () => {
      idle.stop()
      this.#sessions.delete(session)
      user.socket.destroy()
    })
    // The socket would stay open for writing, and a user who has left would not be noticed.
    user.socket.once('end', () => session.destroy())
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => {
      user.busy++
      idle.stop()
      stream.once('close', () => {
        if (--user.busy === 0) idle.start()
      })
      this.#serve(stream, headers, (flags & END_STREAM) === 0, user)
    })
    idle.start()
  }

  /** Takes no further requests; each connection ends behind those that it has under way. */
  stop(): void {
    for (const session of this.#sessions.keys()) session.close()
  }

  #serve(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    hasBody: boolean,
    user: UserConnection,
  ): void {
    const answer = new Http2Answer(stream, hasBody, this.#options.onStatus)
    const method = headers[':method'] ?? ''
    if (!hasBody) stream.resume()
    if (method === 'CONNECT') {
      reply(answer, method, 501, { reason: 'Not Implemented' })
      return
    }
    const host = headers[':authority'] ?? headers.host ?? ''
    const target = readRequestTarget(method, headers[':path'] ?? '', host)
    if (target === undefined || target.isProxyForm) {
      reply(answer, method, 400, { reason: 'Bad Request' })
      return
    }
    let trailers: string[] = []
    stream.on('trailers', (late: object) => {
      trailers = endToEndTrailers(rawOfObject(late).raw)
    })
    const request: UserRequest = {
      method,
      target,
      headers: rawOfObject(headers).raw,
      body: hasBody ? stream : undefined,
      trailers: () => trailers,
      expectsContinue: hasBody && headers.expect?.toLowerCase() === '100-continue',
      upgrade: undefined,
      isHttp2: true,
    }
    this.#options.onRequest(request, answer, user)
  }
}

/** Fires once when it was not stopped for so long. */
class IdleTimer {
  readonly #clock: Clock
  readonly #delayMs: number
  readonly #onIdle: () => void
  #timer: Timer | undefined

  constructor(clock: Clock, delayMs: number, onIdle: () => void) {
    this.#clock = clock
    this.#delayMs = delayMs
    this.#onIdle = onIdle
  }

  start(): void {
    this.stop()
    this.#timer = this.#clock.after(this.#delayMs, this.#onIdle)
  }

  stop(): void {
    this.#timer?.cancel()
  }
}
