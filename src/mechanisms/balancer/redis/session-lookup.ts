import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'
import { type Fleet, isGatewayId } from '../../fleet/index.ts'
import type { OriginId, RtcSession } from '../contract.ts'
import type { StreamKey } from '../stream-key.ts'
import type { SessionCodec } from './session-codec.ts'
import type { SessionKeys } from './session-keys.ts'
import { MAX_USERNAME_LENGTH } from './srs-rtc-value.ts'

export interface SessionLookupOptions {
  readonly keys: SessionKeys
  readonly codec: SessionCodec
  readonly fleet: Pick<Fleet, 'id' | 'gone'>
  readonly clock: Clock
  /**
   * Where a session of a Go proxy has its media, as that does not say: the origin where the stream is. Undefined when
   * nobody knows.
   */
  readonly originOf: (key: StreamKey) => Promise<OriginOfStream | undefined>
  /** Called for what is of no use. */
  readonly complain: (message: string) => void
}

/** An origin, and where it takes WebRTC media: a literal address and a UDP port. */
export interface OriginOfStream {
  readonly originId: OriginId
  readonly address: string
  readonly rtcPort: number
}

/** A session that was found in Redis. */
export interface Found {
  readonly session: RtcSession
  /** The gateway that its value names. */
  readonly gateway: string | undefined
  /** That gateway is another one, and lives. */
  readonly isServed: boolean
  readonly atMs: number
}

const MAX_FOUND = 10_000
/** For how long what was found may be taken without another look, in milliseconds. */
const FOUND_MS = 30_000

/** Sessions that this gateway does not serve, as Redis has them. */
export class SessionLookup {
  /** Look-ups by how they ended; `unusable` is there and of no use. */
  readonly counts: Record<'found' | 'unknown' | 'unusable', number> = { found: 0, unknown: 0, unusable: 0 }
  readonly #options: SessionLookupOptions
  readonly #found = new LRUCache<string, Found>({ max: MAX_FOUND })

  constructor(options: SessionLookupOptions) {
    this.#options = options
  }

  /** Asks Redis. Fails as a command does. */
  async look(username: string): Promise<Found | undefined> {
    if (username.length > MAX_USERNAME_LENGTH) return undefined
    const text = await this.#options.keys.read(username)
    if (text === undefined) {
      this.counts.unknown++
      return undefined
    }
    const found = await this.#read(text, username)
    if (found === undefined) {
      this.counts.unusable++
      return undefined
    }
    this.counts.found++
    this.#found.set(username, found)
    return found
  }

  /** What was found a moment ago. */
  recall(username: string): Found | undefined {
    const found = this.#found.get(username)
    return found !== undefined && this.#options.clock.nowMs() - found.atMs < FOUND_MS ? found : undefined
  }

  forget(username: string): void {
    this.#found.delete(username)
  }

  async #read(text: string, username: string): Promise<Found | undefined> {
    const { clock, codec, complain } = this.#options
    const read = codec.read(text)
    if (read === undefined || (read.by === 'sluice' ? read.session : read).username !== username) {
      complain('session in Redis is of no use')
      return undefined
    }
    if (read.by === 'srs-proxy') {
      const session = await this.#ofGoProxy(read)
      return session && { session, gateway: undefined, isServed: false, atMs: clock.nowMs() }
    }
    const { session, gateway, isLocked } = read
    if (isLocked) complain('session in Redis is sealed with another secret')
    return { session, gateway, isServed: await this.#isOfAnother(gateway), atMs: clock.nowMs() }
  }

  /** A Go proxy writes neither the origin nor the role; a player more keeps nobody from publishing. */
  async #ofGoProxy({
    streamKey,
    username,
  }: Pick<RtcSession, 'streamKey' | 'username'>): Promise<RtcSession | undefined> {
    const origin = await this.#options.originOf(streamKey)
    if (origin === undefined) {
      this.#options.complain('session of another program is for a stream that is nowhere')
      return undefined
    }
    const { originId, address, rtcPort } = origin
    return { streamKey, username, role: 'play', originId, originAddress: address, originPort: rtcPort }
  }

  /** Whether that is another gateway, which lives. */
  async #isOfAnother(gateway: string): Promise<boolean> {
    const { fleet } = this.#options
    if (gateway === fleet.id || !isGatewayId(gateway)) return false
    return !(await fleet.gone([gateway])).has(gateway)
  }
}
