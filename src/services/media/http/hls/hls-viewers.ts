import { createHash, randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../../../../foundation/clock.ts'
import type { SessionInfo } from '../../../../foundation/session-info.ts'
import { sourceOf } from '../../../../foundation/source-of.ts'
import type { StreamKey } from '../../../../mechanisms/balancer/index.ts'
import type { Access, AccessRequest } from '../../access/index.ts'
import { httpError } from '../errors.ts'
import { HlsViewer } from './hls-viewer.ts'

/** Who asks. */
export interface ViewerRequest {
  readonly key: StreamKey
  readonly address: string
  /** See `credentialsOf`. */
  readonly credentials: string
  readonly bearer: string | undefined
  readonly context: string | undefined
  /** For a part of what a playlist led to: any viewer of the address that plays the stream speaks for it. */
  readonly isCovered: boolean
  readonly access: Pick<AccessRequest, 'query' | 'tcUrl' | 'pageUrl'>
}

export interface HlsViewersOptions {
  readonly access: Access
  readonly clock: Clock
  readonly sessionTtlMs: number
  readonly maxViewers: number
  readonly maxViewersPerAddress: number
}

/** Longer texts are kept by their digest, so that a viewer costs the same whatever it sends. */
const MAX_KEPT_TEXT = 64

/**
 * The viewers of HLS and DASH. One is an address that plays a stream with the same credentials and, at SRS, the same
 * `hls_ctx`. It is let in once, and is over when it has asked for nothing for a while.
 */
export class HlsViewers {
  readonly #options: HlsViewersOptions
  /** In the order of use, as far as the last sweep saw it. */
  readonly #viewers = new Map<string, HlsViewer>()
  /** By address and stream. */
  readonly #groups = new Map<string, Set<HlsViewer>>()
  readonly #perAddress = new Map<string, number>()
  #sweep: Timer | undefined

  constructor(options: HlsViewersOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#viewers.size
  }

  /**
   * The viewer that a request belongs to, let in. `done` is to be called when the request is over.
   *
   * @throws what `Access.admit` throws, HTTP_SESSION_KICKED, HTTP_TOO_MANY_VIEWERS
   */
  async enter(request: ViewerRequest): Promise<HlsViewer> {
    const viewer = this.#find(request) ?? this.#add(request)
    if (viewer.isKicked) {
      throw httpError('HTTP_SESSION_KICKED', 'the session was ended', {
        side: 'client',
        retryable: false,
        status: 403,
      })
    }
    viewer.usedMs = this.#options.clock.nowMs()
    viewer.running++
    try {
      await viewer.admitted
    } catch (error) {
      this.done(viewer)
      throw error
    }
    return viewer
  }

  /** A request is over. A viewer that no origin has given anything is forgotten. */
  done(viewer: HlsViewer): void {
    viewer.running--
    viewer.usedMs = this.#options.clock.nowMs()
    if (!viewer.isServed && viewer.running === 0) this.#remove(viewer)
  }

  list(): readonly SessionInfo[] {
    return [...this.#viewers.values()]
      .filter(({ isServed, isOver }) => isServed && !isOver)
      .map(({ id, key, origin, address, sinceMs, bytesOut }) => ({
        id,
        protocol: 'hls',
        role: 'play',
        streamKey: key,
        originId: origin?.id ?? '',
        address,
        sinceMs,
        bytesIn: 0,
        bytesOut,
      }))
  }

  /** Ends a session. Its player, which goes on asking, gets 403 until it would have expired. */
  kick(id: string): boolean {
    const viewer = this.#viewers.get(id)
    if (viewer === undefined || viewer.isOver) return false
    viewer.isKicked = true
    viewer.usedMs = this.#options.clock.nowMs()
    viewer.end('HTTP_SESSION_KICKED')
    return true
  }

  /** Ends all of them. */
  close(): void {
    this.#sweep?.cancel()
    this.#sweep = undefined
    for (const viewer of this.#viewers.values()) this.#remove(viewer)
  }

  #find(request: ViewerRequest): HlsViewer | undefined {
    const group = this.#groups.get(groupName(request))
    if (group === undefined) return undefined
    const viewers = [...group]
    const context = bounded(request.context)
    const credentials = credentialText(request)
    const exact = viewers.find((viewer) => viewer.credentials === credentials && viewer.context === context)
    if (exact !== undefined) return exact
    if (context !== undefined && !request.isCovered) {
      // The first playlist of SRS gives the context; what asked for it is the same viewer.
      const unbound = viewers.find(
        (viewer) => viewer.credentials === credentials && viewer.context === undefined,
      )
      if (unbound !== undefined) unbound.context = context
      return unbound
    }
    if (!request.isCovered) return undefined
    const same = context === undefined ? undefined : viewers.find((viewer) => viewer.context === context)
    return same ?? viewers.find(({ isKicked }) => !isKicked) ?? viewers[0]
  }

  #add(request: ViewerRequest): HlsViewer {
    const { clock, maxViewers, maxViewersPerAddress } = this.#options
    const { address, key } = request
    const source = sourceOf(address)
    if ((this.#perAddress.get(source) ?? 0) >= maxViewersPerAddress) {
      throw httpError('HTTP_TOO_MANY_VIEWERS', `${address} has ${maxViewersPerAddress} viewers`, {
        side: 'client',
        retryable: true,
        status: 429,
      })
    }
    if (this.#viewers.size >= maxViewers) this.#removeOldest()
    const viewer = new HlsViewer({
      id: randomBytes(8).toString('hex'),
      key,
      address,
      credentials: credentialText(request),
      context: bounded(request.context),
      sinceMs: clock.wallMs(),
    })
    this.#viewers.set(viewer.id, viewer)
    const group = this.#groups.get(groupName(request)) ?? new Set()
    this.#groups.set(groupName(request), group.add(viewer))
    this.#perAddress.set(source, (this.#perAddress.get(source) ?? 0) + 1)
    viewer.admitted = this.#admit(viewer, request)
    this.#sweepLater()
    return viewer
  }

  async #admit(viewer: HlsViewer, { bearer, access }: ViewerRequest): Promise<void> {
    try {
      const admission = await this.#options.access.admit({
        protocol: 'hls',
        role: 'play',
        key: viewer.key,
        address: viewer.address,
        ...access,
        ...(bearer === undefined ? {} : { bearer }),
        sessionId: viewer.id,
      })
      viewer.letIn(admission)
      const onAbort = (): void => this.#remove(viewer)
      if (admission.signal.aborted) onAbort()
      else admission.signal.addEventListener('abort', onAbort, { once: true })
    } catch (error) {
      this.#remove(viewer)
      throw error
    }
  }

  #remove(viewer: HlsViewer): void {
    viewer.end('HTTP_ACCESS_ENDED')
    if (!this.#viewers.delete(viewer.id)) return
    const group = this.#groups.get(groupName(viewer))
    group?.delete(viewer)
    if (group?.size === 0) this.#groups.delete(groupName(viewer))
    const source = sourceOf(viewer.address)
    const others = (this.#perAddress.get(source) ?? 1) - 1
    if (others === 0) this.#perAddress.delete(source)
    else this.#perAddress.set(source, others)
  }

  #removeOldest(): void {
    const [oldest] = this.#viewers.values()
    if (oldest !== undefined) this.#remove(oldest)
  }

  #sweepLater(): void {
    this.#sweep ??= this.#options.clock.after(Math.max(10, this.#options.sessionTtlMs / 24), () => {
      this.#sweep = undefined
      this.#expire()
      if (this.#viewers.size > 0) this.#sweepLater()
    })
  }

  #expire(): void {
    const nowMs = this.#options.clock.nowMs()
    const used: HlsViewer[] = []
    for (const viewer of this.#viewers.values()) {
      if (viewer.running === 0 && nowMs - viewer.usedMs >= this.#options.sessionTtlMs) this.#remove(viewer)
      else if (nowMs - viewer.usedMs < this.#options.sessionTtlMs / 24) used.push(viewer)
    }
    // To the end of the order, so that the first one is one unused for longest.
    for (const viewer of used) {
      this.#viewers.delete(viewer.id)
      this.#viewers.set(viewer.id, viewer)
    }
  }
}

function groupName({ address, key }: { readonly address: string; readonly key: StreamKey }): string {
  return `${address} ${key}`
}

function credentialText({ credentials, bearer }: ViewerRequest): string {
  return bounded(bearer === undefined ? credentials : `${credentials} ${bearer}`) ?? ''
}

function bounded(text: string | undefined): string | undefined {
  if (text === undefined || text.length <= MAX_KEPT_TEXT) return text
  return createHash('sha256').update(text).digest('base64')
}
