import { type FlvTag, FlvTagType, type MediaClass } from '../../../protocols/flv/index.ts'

/** Bounds of a `GopCache`. Above either the group is let go, and players start at the next key frame. */
export interface GopCacheLimits {
  /** Most payload bytes of the group of pictures. */
  readonly maxBytes: number
  /** Most tags of the group of pictures. */
  readonly maxTags: number
}

/**
 * What a player who joins late is given first: metadata, decoder set-up, and all since the last key frame, with the
 * payloads and timestamps they had.
 */
export class GopCache {
  readonly #limits: GopCacheLimits
  readonly #setUp = new Map<string, FlvTag>()
  #group: FlvTag[] = []
  #groupBytes = 0
  #setUpBytes = 0

  constructor(limits: GopCacheLimits) {
    this.#limits = limits
  }

  add(tag: FlvTag, { kind, slot }: MediaClass): void {
    if (kind === 'config' || kind === 'metadata') {
      this.#addSetUp(tag, slot)
      return
    }
    if (kind === 'keyframe') this.#startGroup()
    else if (this.#group.length === 0) return
    this.#group.push(tag)
    this.#groupBytes += tag.payload.length
    const { maxBytes, maxTags } = this.#limits
    if (this.#groupBytes > maxBytes || this.#group.length > maxTags) this.#startGroup()
  }

  /**
   * What to send to a player who joins now. Set-up of decoders bears the time of what follows it; metadata bears time 0, or
   * ffmpeg takes it for a text track.
   */
  tags(): FlvTag[] {
    const groupTime = this.#group[0]?.timestamp ?? 0
    const setUp = [...this.#setUp.values()].map(({ type, payload }) => ({
      type,
      timestamp: type === FlvTagType.script ? 0 : groupTime,
      payload,
    }))
    return [...setUp, ...this.#group]
  }

  #addSetUp(tag: FlvTag, slot: string): void {
    const bytes = this.#setUpBytes + tag.payload.length - (this.#setUp.get(slot)?.payload.length ?? 0)
    // Real set-up is a few hundred bytes; what is far beyond that is passed on but not kept.
    if (bytes > MAX_SET_UP_BYTES || (this.#setUp.size >= MAX_SET_UP_TAGS && !this.#setUp.has(slot))) return
    this.#setUpBytes = bytes
    this.#setUp.set(slot, tag)
  }

  #startGroup(): void {
    this.#group = []
    this.#groupBytes = 0
  }
}

const MAX_SET_UP_BYTES = 1024 * 1024
const MAX_SET_UP_TAGS = 64
