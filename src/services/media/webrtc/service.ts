import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CloseOptions, Lifecycle } from '../../../foundation/lifecycle.ts'
import type { SessionDirectory, SessionInfo } from '../../../foundation/session-info.ts'
import type { LocalAddress } from '../../../mechanisms/datapath/index.ts'
import { declareMetrics } from './metrics.ts'
import { completeOptions, type WebRtcOptions } from './options.ts'
import { OriginClient } from './origin-client.ts'
import { routeOf } from './route.ts'
import { Sessions } from './sessions.ts'
import { Signalling } from './signalling.ts'

/** How long origins are told of sessions that are cut, before the gateway goes without. */
const noticeMs = 2000

/**
 * WHIP and WHEP, and the media that comes of them. The HTTP listener is somebody else's: it hands requests for
 * paths that `matches` to `handle`. The UDP port of media is opened by `start`.
 *
 * @example
 *   const webrtc = new WebRtcService({ datapath, balancer, sessionStore, streamKeyOf, logger, registry })
 *   await webrtc.start()
 *   if (webrtc.matches(path)) await webrtc.handle(request, response)
 */
export class WebRtcService implements Lifecycle, SessionDirectory {
  readonly #origins: OriginClient
  readonly #sessions: Sessions
  readonly #signalling: Signalling

  constructor(options: WebRtcOptions) {
    const complete = completeOptions(options)
    this.#origins = new OriginClient(complete)
    this.#sessions = new Sessions(complete, this.#origins)
    this.#signalling = new Signalling(complete, this.#origins, this.#sessions)
    declareMetrics(options.registry, this.#sessions, this.#signalling.errors)
  }

  /** Binds the media port. @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE */
  start(): Promise<void> {
    return this.#sessions.start()
  }

  /**
   * Refuses new offers (503), lets running sessions go on for `graceMs`, then ends them and tells their origins.
   * DELETE and PATCH are answered all the time.
   */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    this.#signalling.drain()
    await this.#sessions.drained(graceMs)
    this.#signalling.stop()
    await this.#sessions.endAll('drained', noticeMs)
    this.#sessions.close()
    await this.#origins.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Whether a path, without its query, is one of WHIP or WHEP. */
  matches(path: string): boolean {
    return routeOf(path) !== undefined
  }

  /** Answers a request whose path `matches`; never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    return this.#signalling.handle(request, response)
  }

  /** Where clients' media is heard at present; empty when not started. */
  get mediaAddresses(): readonly LocalAddress[] {
    return this.#sessions.media.locals
  }

  listSessions(): readonly SessionInfo[] {
    this.#sessions.media.count()
    return Array.from(this.#sessions.table, (session) => ({
      id: session.id,
      protocol: 'webrtc',
      role: session.role,
      streamKey: session.streamKey,
      originId: session.originId,
      sinceMs: session.sinceMs,
      bytesIn: session.fromClient.bytes,
      bytesOut: session.fromOrigin.bytes,
    }))
  }

  kickSession(id: string): boolean {
    const session = this.#sessions.table.byId(id)
    if (session === undefined) return false
    void this.#sessions.end(session, 'kicked')
    return true
  }
}
