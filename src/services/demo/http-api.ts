import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorCode, SluiceError } from '../../foundation/errors.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { DemoError, DemoErrorCode } from './errors.ts'
import { playFlv } from './live/flv-response.ts'
import type { LiveStreams } from './live/live-streams.ts'
import { streamName } from './stream-name.ts'
import type { WebRtcStreams } from './webrtc/webrtc-streams.ts'

export interface HttpApiOptions {
  readonly log: Logger
  readonly webrtc: WebRtcStreams
  readonly live: LiveStreams
  /** A viewer who takes nothing for so long is cut, in milliseconds. */
  readonly idleTimeoutMs: number
}

/**
 * The HTTP side of the origin, at the paths of an SRS origin:
 *
 * - `POST /rtc/v1/whip/?app=&stream=` and `/rtc/v1/whep/`: offer in, 201 with answer and Location out.
 * - `DELETE` on that Location ends the session. There is no PATCH: the agent is ICE-lite and neither trickles nor restarts.
 * - `GET /{app}/{stream}.flv`: what is published by RTMP; 404 when nobody publishes it.
 * - `GET /api/v1/streams`: all live streams as JSON.
 */
export class HttpApi {
  readonly #options: HttpApiOptions

  constructor(options: HttpApiOptions) {
    this.#options = options
  }

  /** Answers one request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('server', 'sluice-demo')
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('access-control-expose-headers', 'location')
    try {
      await this.#route(request, response)
    } catch (error) {
      const known = error instanceof SluiceError ? error : undefined
      this.#options.log.debug({ code: errorCode(error), err: error }, 'demo request refused')
      if (response.headersSent) {
        response.destroy()
        return
      }
      sendJson(response, known?.status ?? 500, {
        code: known?.code ?? 'DEMO_INTERNAL',
        message: known?.message ?? 'internal error',
      })
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = urlOf(request)
    const method = request.method ?? 'GET'
    const signalling = /^\/rtc\/v1\/(whip|whep)\/?$/.exec(url.pathname)?.[1]
    if (signalling !== undefined) {
      await this.#signal(signalling === 'whip' ? 'whip' : 'whep', method, url, request, response)
      return
    }
    if (method === 'GET' && url.pathname === '/api/v1/streams') {
      sendJson(response, 200, [...this.#options.webrtc.list(), ...this.#options.live.list()])
      return
    }
    const [, app, stream] = /^\/(.+)\/([^/]+)\.flv$/.exec(url.pathname) ?? []
    if (method !== 'GET' || app === undefined || stream === undefined) {
      throw new DemoError(DemoErrorCode.notServed, 'not served here', 404)
    }
    const live = this.#options.live.get(streamName(decode(app), decode(stream)))
    if (live === undefined)
      throw new DemoError(DemoErrorCode.streamNotFound, 'nobody publishes this stream', 404)
    playFlv(response, live, this.#options.idleTimeoutMs)
  }

  async #signal(
    kind: 'whip' | 'whep',
    method: string,
    url: URL,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { webrtc } = this.#options
    switch (method) {
      case 'OPTIONS':
        response.writeHead(204, {
          allow: SIGNALLING_METHODS,
          'access-control-allow-methods': SIGNALLING_METHODS,
          'access-control-allow-headers': '*',
          'accept-post': 'application/sdp',
        })
        response.end()
        return
      case 'POST': {
        const name = streamName(url.searchParams.get('app'), url.searchParams.get('stream'))
        const offer = await readBody(request)
        const { answer, token } = await (kind === 'whip'
          ? webrtc.publish(name, offer)
          : webrtc.watch(name, offer))
        const location = new URLSearchParams({ action: 'delete', token, ...name })
        response.writeHead(201, {
          'content-type': 'application/sdp',
          location: `/rtc/v1/${kind}/?${location.toString()}`,
        })
        response.end(answer)
        return
      }
      case 'DELETE':
        await webrtc.end(url.searchParams.get('token') ?? '')
        response.writeHead(200).end()
        return
      default:
        response.setHeader('allow', SIGNALLING_METHODS)
        throw new DemoError(
          DemoErrorCode.notServed,
          `${method} is not served; neither trickle nor ICE restart`,
          405,
        )
    }
  }
}

const SIGNALLING_METHODS = 'OPTIONS, POST, DELETE'
const MAX_BODY_BYTES = 64 * 1024

function urlOf(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'http://origin')
  } catch (cause) {
    throw new DemoError(DemoErrorCode.notServed, 'the request target is no URL', 400, cause)
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw new DemoError(DemoErrorCode.streamNameInvalid, 'bad escapes in the path', 400, cause)
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length
    if (length > MAX_BODY_BYTES) {
      throw new DemoError(DemoErrorCode.bodyTooLarge, `offers have at most ${MAX_BODY_BYTES} bytes`, 413)
    }
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
