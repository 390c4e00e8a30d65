import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CloseOptions, Lifecycle } from '../../../foundation/lifecycle.ts'
import type { SessionDirectory, SessionInfo } from '../../../foundation/session-info.ts'
import type { LocalAddress } from '../../../mechanisms/datapath/index.ts'
import { declareMetrics, declareSharedMetrics } from './metrics.ts'
import { completeOptions, type WebRtcOptions } from './options.ts'
import { OriginClient } from './origin-client.ts'
import { OriginDialogue } from './origin-dialogue.ts'
import { OriginLinks } from './origin-links.ts'
import type { TcpLocal } from './public-addresses.ts'
import { routeOf } from './route.ts'
import { SessionLookups } from './session-lookups.ts'
import { SessionTakeover } from './session-takeover.ts'
import { Sessions } from './sessions.ts'
import { Signalling } from './signalling.ts'

/** How long origins are told of sessions that are cut, before the gateway goes without. */
const noticeMs = 2000

/**
 * WHIP and WHEP, SRS's older JSON form of them, and the media that comes of them. The HTTP listener is somebody else's: it
 * hands requests for paths that `matches` to `handle`. The ports of media are opened by `start`.
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
  /** Undefined when no other gateway has sessions. */
  readonly #takeover: SessionTakeover | undefined

  constructor(options: WebRtcOptions) {
    const complete = completeOptions(options)
    this.#origins = new OriginClient(complete)
    const links = new OriginLinks(complete)
    const dialogue = new OriginDialogue(this.#origins, links)
    this.#sessions = new Sessions(complete, dialogue)
    const lookups = new SessionLookups(complete)
    this.#signalling = new Signalling(complete, dialogue, links, this.#sessions, lookups)
    if (complete.sessionStore.isShared) {
      this.#takeover = new SessionTakeover(complete, links, this.#sessions, lookups)
      this.#sessions.elsewhere = this.#takeover
      declareSharedMetrics(options.registry, lookups, this.#takeover)
    }
    declareMetrics(options.registry, this.#sessions, this.#signalling.errors)
  }

  /** Binds the media ports. @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE, and what `TcpListener.start` throws */
  async start(): Promise<void> {
    this.#takeover?.start()
    await this.#sessions.start()
  }

  /**
   * Refuses new offers (503), lets running sessions go on for `graceMs`, then ends them and tells their origins, or leaves
   * them to other gateways (`leaveOnClose`).
   * DELETE and PATCH are answered all the time.
   */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    this.#signalling.drain()
    await this.#sessions.drained(graceMs)
    this.#signalling.stop()
    this.#takeover?.stop()
    await this.#sessions.endAll('drained', noticeMs)
    await this.#sessions.close()
    await this.#origins.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Whether a path, without its query, is one of WHIP, WHEP or SRS's older JSON. */
  matches(path: string): boolean {
    return routeOf(path) !== undefined
  }

  /** Answers a request whose path `matches`; never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    return this.#signalling.handle(request, response)
  }

  /** Where clients' media is heard over UDP at present; empty when not started. */
  get mediaAddresses(): readonly LocalAddress[] {
    return this.#sessions.media.locals
  }

  /** Where clients connect for ICE-TCP. */
  get tcpAddresses(): readonly TcpLocal[] {
    return this.#sessions.tcp.locals
  }

  /** ICE-TCP connections that have not proved a session yet. */
  get unprovenTcp(): number {
    return this.#sessions.tcp.unproven
  }

  get sessionCount(): number {
    return this.#sessions.table.servingSize
  }

  listSessions(): readonly SessionInfo[] {
    this.#sessions.media.count()
    return Array.from(this.#sessions.table.serving(), (session) => ({
      id: session.id,
      protocol: 'webrtc',
      role: session.role,
      streamKey: session.streamKey,
      originId: session.originId,
      // Where its media goes, once that is known.
      address: session.aim?.path.address ?? session.clientAddress,
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
