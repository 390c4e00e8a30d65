import { classifyMedia, FlvTagType } from '../../../protocols/flv/index.ts'
import type { FlvTag, MediaKind } from '../../../protocols/flv/index.ts'
import { GopCache } from './gop-cache.ts'
import type { GopCacheLimits } from './gop-cache.ts'

/** Somebody who watches a `LiveStream`. */
export interface Player {
  /** Bytes that were sent and have not left this process. */
  readonly queuedBytes: number
  send(tag: FlvTag): void
  /** The publisher left, or the player is too slow. */
  end(reason: 'unpublished' | 'too-slow'): void
}

export interface LiveStreamOptions extends GopCacheLimits {
  /**
   * A player with more bytes than this in its queue gets nothing but decoder set-up until a key frame finds the queue
   * half empty; with four times as many it is cut.
   */
  readonly maxQueuedBytes: number
}

/** One published stream and its players: what the publisher sends goes to each of them. */
export class LiveStream {
  readonly #options: LiveStreamOptions
  readonly #cache: GopCache
  readonly #players = new Map<Player, { isSkipping: boolean }>()
  #hasAudio = false
  #hasVideo = false
  #isEnded = false

  constructor(options: LiveStreamOptions) {
    this.#options = options
    this.#cache = new GopCache(options)
  }

  get playerCount(): number {
    return this.#players.size
  }

  /** What kinds of media were seen; both while nothing was, so that no player leaves one out. */
  get content(): { readonly audio: boolean; readonly video: boolean } {
    const isUnknown = !this.#hasAudio && !this.#hasVideo
    return { audio: this.#hasAudio || isUnknown, video: this.#hasVideo || isUnknown }
  }

  /** Takes a tag of the publisher; its payload must not change afterwards. */
  publish(tag: FlvTag): void {
    if (this.#isEnded) return
    if (tag.type === FlvTagType.audio) this.#hasAudio = true
    if (tag.type === FlvTagType.video) this.#hasVideo = true
    const media = classifyMedia(tag.type, tag.payload)
    this.#cache.add(tag, media)
    for (const [player, state] of this.#players) {
      if (player.queuedBytes > 4 * this.#options.maxQueuedBytes) {
        this.#players.delete(player)
        player.end('too-slow')
        continue
      }
      state.isSkipping = this.#isSkipping(player, state.isSkipping, media.kind)
      if (!state.isSkipping || media.kind === 'config' || media.kind === 'metadata') player.send(tag)
    }
  }

  /** Sends `player` what is cached, and from now on what is published. Gives the way to leave. */
  join(player: Player): () => void {
    if (this.#isEnded) {
      player.end('unpublished')
      return () => undefined
    }
    for (const tag of this.#cache.tags()) player.send(tag)
    this.#players.set(player, { isSkipping: false })
    return () => this.#players.delete(player)
  }

  /** The publisher left: all players are told. */
  end(): void {
    this.#isEnded = true
    const players = [...this.#players.keys()]
    this.#players.clear()
    for (const player of players) player.end('unpublished')
  }

  #isSkipping(player: Player, wasSkipping: boolean, kind: MediaKind): boolean {
    const { maxQueuedBytes } = this.#options
    if (!wasSkipping) return player.queuedBytes > maxQueuedBytes
    const mayResume = kind === 'keyframe' || (kind === 'audio' && !this.#hasVideo)
    return !(mayResume && player.queuedBytes <= maxQueuedBytes / 2)
  }
}
