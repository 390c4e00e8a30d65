import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Timer } from '../../../../foundation/clock.ts'
import type { SluiceError } from '../../../../foundation/errors.ts'
import type { HttpClient } from '../../../../mechanisms/net/index.ts'
import type { Logger } from '../../../../mechanisms/telemetry/index.ts'
import { isPlaylist, rewriteManifest, rewritePlaylist } from '../../../../protocols/hls/index.ts'
import type { HeaderField } from '../../../../protocols/http/index.ts'
import { ClientBody } from './client-body.ts'
import { clientHeaders } from '../client-response.ts'
import { rawOfFields } from '../end-to-end-headers.ts'
import { httpError } from '../errors.ts'
import { dropBody, gatherBody } from './gather-body.ts'
import type { HlsIds } from './hls-ids.ts'
import type { HlsMetrics } from './hls-metrics.ts'
import type { HlsNames } from './hls-names.ts'
import type { HlsSettings } from './hls-options.ts'
import { OriginPaths } from './hls-origin-path.ts'
import type { HlsRoute, HlsRoutes } from './hls-routes.ts'
import type { HlsAnswer } from './hls-search.ts'
import { HlsUris } from './hls-uris.ts'
import type { HlsViewer } from './hls-viewer.ts'
import { replyRefusal } from '../origin-refusal.ts'
import type { RequestTarget } from '../request-target.ts'

/** One request, with what is known of it. */
export interface Asked {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly target: RequestTarget
  readonly client: HttpClient
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
}

export interface HlsRepliesParts {
  readonly ids: HlsIds
  readonly names: HlsNames
  readonly routes: HlsRoutes
  readonly metrics: HlsMetrics
  readonly log: Logger
  /** Notes a failure of an origin. */
  readonly tell: (originId: string, error: unknown) => void
  /** A body that was on its way is over, and the viewer's request with it. */
  readonly onDone: (viewer: HlsViewer) => void
}

/** Headers that speak of the very bytes of a body: wrong when they were changed. */
const OF_THE_BYTES = new Set([
  'accept-ranges',
  'content-digest',
  'content-encoding',
  'content-length',
  'content-md5',
  'content-range',
  'digest',
  'etag',
  'repr-digest',
])

/** Answers players with what an origin answered: texts with their URIs changed, media as it comes. */
export class HlsReplies {
  readonly #options: HlsSettings
  readonly #parts: HlsRepliesParts
  readonly #bodies = new Set<ClientBody>()
  #sweep: Timer | undefined

  constructor(options: HlsSettings, parts: HlsRepliesParts) {
    this.#options = options
    this.#parts = parts
  }

  /** Bodies on their way. */
  get bodies(): Iterable<ClientBody> {
    return this.#bodies
  }

  /** Stops looking after bodies. */
  close(): void {
    this.#sweep?.cancel()
    this.#sweep = undefined
  }

  /**
   * True when the body is on its way, and the viewer's request with it.
   *
   * @throws HTTP_SESSION_KICKED, HTTP_ACCESS_ENDED when the viewer was ended meanwhile
   * @throws what `gatherBody` throws
   */
  async reply(asked: Asked, route: HlsRoute, viewer: HlsViewer, found: HlsAnswer): Promise<boolean> {
    try {
      return await this.#reply(asked, route, viewer, found)
    } catch (error) {
      // Or its connection would wait for somebody to take the body.
      found.answer.destroy()
      throw error
    }
  }

  async #reply(asked: Asked, route: HlsRoute, viewer: HlsViewer, found: HlsAnswer): Promise<boolean> {
    const { request, response } = asked
    const { answer } = found
    const { status } = answer.head
    if (viewer.isOver) throw endedError(viewer)
    if (status >= 400) {
      this.#refuse(response, route, found)
      return false
    }
    const headers = await this.#headers(asked, route, found)
    if (response.destroyed) {
      answer.destroy()
      return false
    }
    if (route.kind !== 'segment' && status === 200) {
      await this.#replyText(asked, route, viewer, found, headers)
      return false
    }
    if (answer.framing.kind === 'none') {
      dropBody(answer)
      response.writeHead(status, answer.head.reason, rawOfFields(headers))
      response.end()
      return false
    }
    this.#pass(response, viewer, found, headers, request.httpVersion === '1.0')
    return true
  }

  /** The headers for the client; a Location leads back to us. */
  async #headers(asked: Asked, route: HlsRoute, found: HlsAnswer): Promise<HeaderField[]> {
    const { head } = found.answer
    const clientHost = asked.request.headers.host
    const headers = clientHeaders(head, { originHost: found.place.host, clientHost })
    if (headers.some(({ name }) => name.toLowerCase() === 'date')) asked.response.sendDate = false
    const location = head.headers.find(({ name }) => name.toLowerCase() === 'location')?.value
    if (location === undefined) return headers
    const mapped = (await this.#uris(asked, route, found)).inLocation(location)
    if (mapped === undefined) return headers
    return [
      ...headers.filter(({ name }) => name.toLowerCase() !== 'location'),
      { name: 'Location', value: mapped },
    ]
  }

  async #replyText(
    asked: Asked,
    route: HlsRoute,
    viewer: HlsViewer,
    found: HlsAnswer,
    headers: readonly HeaderField[],
  ): Promise<void> {
    const { request, response, signal } = asked
    const { answer } = found
    if (request.method === 'HEAD') {
      dropBody(answer)
      // Of a length that may not be that of the text which a GET gets.
      response.writeHead(200, answer.head.reason, rawOfFields(withoutBytes(headers)))
      response.end()
      return
    }
    const text = await this.#gather(found, signal)
    const { bytes, isChanged } = await this.#rewritten(asked, route, found, text)
    if (response.destroyed) return
    viewer.endedBytes += bytes.length
    for (const limit of viewer.limits) limit.charge(bytes.length)
    this.#parts.metrics.bytes += bytes.length
    const rest = (isChanged ? withoutBytes(headers) : headers).filter(
      ({ name }) => name.toLowerCase() !== 'content-length',
    )
    response.writeHead(200, answer.head.reason, [
      ...rawOfFields(rest),
      'Content-Length',
      String(bytes.length),
    ])
    // As text, which node writes in one piece with the head.
    response.end(bytes.toString('latin1'), 'latin1')
  }

  async #gather(found: HlsAnswer, signal: AbortSignal): Promise<Buffer> {
    const { headTimeoutMs: timeoutMs, maxPlaylistBytes: maxBytes } = this.#options
    const { answer, origin } = found
    try {
      const encoding = answer.head.headers.find(
        ({ name }) => name.toLowerCase() === 'content-encoding',
      )?.value
      if (encoding !== undefined && !/^identity$/i.test(encoding)) {
        answer.destroy()
        throw badText(`a playlist in ${encoding}, which was not asked for`)
      }
      return await gatherBody(answer, { maxBytes, timeoutMs, clock: this.#options.clock, signal })
    } catch (error) {
      if (!signal.aborted) this.#parts.tell(origin.id, error)
      throw error
    }
  }

  async #rewritten(
    asked: Asked,
    route: HlsRoute,
    found: HlsAnswer,
    text: Buffer,
  ): Promise<{ readonly bytes: Buffer; readonly isChanged: boolean }> {
    if (route.kind === 'playlist' && !isPlaylist(text)) return { bytes: text, isChanged: false }
    const uris = await this.#uris(asked, route, found)
    uris.notePlaylist()
    if (route.kind === 'manifest') return rewriteManifest(text, (uri) => uris.inManifest(uri))
    const { maxPlaylistBytes: maxBytes } = this.#options
    const result = rewritePlaylist(text, (uri, kind) => uris.inPlaylist(uri, kind), { maxBytes })
    if (result.kind === 'playlist') return result
    const error = badText(result.kind === 'too-large' ? result.reason : result.kind)
    this.#parts.tell(found.origin.id, error)
    throw error
  }

  async #uris(
    { request, target, client }: Asked,
    route: HlsRoute,
    { place, url }: HlsAnswer,
  ): Promise<HlsUris> {
    const { key, playlistPath } = route
    const { host } = request.headers
    const fullUrl = `${client.isSecure ? 'https' : 'http'}://${(host ?? '').replace(/:\d*$/, '')}${playlistPath}`
    const session = await this.#parts.ids.open(key, fullUrl)
    return new HlsUris({
      route,
      url,
      // The names that clients have follow from the playlist that the id stands for.
      paths: new OriginPaths(playlistPath, place, key),
      clientHost: host,
      target,
      spbhid: session?.id,
      names: this.#parts.names,
      vhost: this.#parts.routes.vhostOf(host),
    })
  }

  /** Answers with the origin's status and our own words; its words go to the log. */
  #refuse(response: ServerResponse, route: HlsRoute, { answer, origin, url }: HlsAnswer): void {
    const { head } = answer
    dropBody(answer)
    const { status, reason } = head
    this.#parts.log.debug(
      { streamKey: route.key, originId: origin.id, path: url.pathAndQuery, status, reason },
      'origin refused',
    )
    replyRefusal(response, head)
  }

  /** Passes a body on as it comes. */
  #pass(
    response: ServerResponse,
    viewer: HlsViewer,
    { answer }: HlsAnswer,
    headers: readonly HeaderField[],
    isOld: boolean,
  ): void {
    const { head, framing } = answer
    // Node frames what has no length; a client of HTTP/1.0 sees its end at that of the connection.
    if (framing.kind !== 'length' && isOld) response.shouldKeepAlive = false
    const body = new ClientBody({
      answer,
      response,
      limits: viewer.limits,
      clock: this.#options.clock,
      stallMs: this.#options.stallMs,
      onOver: (code) => {
        this.#bodies.delete(body)
        viewer.bodies.delete(body)
        viewer.endedBytes += body.bytesOut
        this.#parts.metrics.bytes += body.bytesOut
        this.#parts.onDone(viewer)
        if (code !== undefined && code !== 'HTTP_CLIENT_GONE') this.#parts.metrics.errors.inc({ code })
        this.#parts.log.debug({ id: viewer.id, streamKey: viewer.key, code }, 'body ended')
      },
    })
    this.#bodies.add(body)
    viewer.bodies.add(body)
    this.#sweepLater()
    const { socket } = response
    // Head and first bytes in one write.
    socket?.cork()
    response.writeHead(head.status, head.reason, rawOfFields(headers))
    response.flushHeaders()
    body.start()
    socket?.uncork()
  }

  /** One timer looks after all bodies, instead of one for each that would be reset with each packet. */
  #sweepLater(): void {
    this.#sweep ??= this.#options.clock.after(Math.max(10, Math.min(1000, this.#options.stallMs / 4)), () => {
      this.#sweep = undefined
      const nowMs = this.#options.clock.nowMs()
      for (const body of this.#bodies) body.check(nowMs)
      if (this.#bodies.size > 0) this.#sweepLater()
    })
  }
}

function endedError({ id, isKicked }: HlsViewer): SluiceError {
  const code = isKicked ? 'HTTP_SESSION_KICKED' : 'HTTP_ACCESS_ENDED'
  return httpError(code, `session ${id} was ended`, { side: 'client', retryable: false, status: 403 })
}

function badText(what: string): SluiceError {
  return httpError('HTTP_ORIGIN_BAD_RESPONSE', what, { side: 'origin', retryable: true, status: 502 })
}

function withoutBytes(headers: readonly HeaderField[]): HeaderField[] {
  return headers.filter(({ name }) => !OF_THE_BYTES.has(name.toLowerCase()))
}
