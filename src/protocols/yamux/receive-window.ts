import { initialWindowBytes } from './frame.ts'

/** What the windows of a session may grow by, together. */
export class WindowPool {
  #leftBytes: number

  constructor(bytes: number) {
    this.#leftBytes = bytes
  }

  /** How many of those are to be had. */
  take(bytes: number): number {
    const taken = Math.min(bytes, this.#leftBytes)
    this.#leftBytes -= taken
    return taken
  }

  give(bytes: number): void {
    this.#leftBytes += bytes
  }
}

/**
 * What the peer may send in one stream. It begins with what the protocol gives. When half of it is read within two round
 * trips, the window and not the reader is what limits the stream, and it doubles; when the reader is behind and half the size
 * would serve him as well, it halves.
 */
export class ReceiveWindow {
  readonly #pool: WindowPool
  readonly #maxBytes: number
  #sizeBytes = initialWindowBytes
  /** What the peer may still send. */
  #grantedBytes = initialWindowBytes
  /** Taken out of the pool. */
  #pooledBytes = 0
  #settledAtMs: number | undefined

  constructor(pool: WindowPool, maxBytes: number) {
    this.#pool = pool
    this.#maxBytes = maxBytes
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get grantedBytes(): number {
    return this.#grantedBytes
  }

  /** The peer sends so many; false when that is more than it may. */
  take(bytes: number): boolean {
    if (bytes > this.#grantedBytes) return false
    this.#grantedBytes -= bytes
    return true
  }

  /** What to give the peer now that `keptBytes` are still unread; 0 while it is less than half the window. */
  settle(keptBytes: number, nowMs: number, roundTripMs: number | undefined): number {
    if (this.#dueBytes(keptBytes) * 2 < this.#sizeBytes) return 0
    const elapsedMs = this.#settledAtMs === undefined ? undefined : nowMs - this.#settledAtMs
    this.#settledAtMs = nowMs
    if (elapsedMs !== undefined && roundTripMs !== undefined) this.#adapt(keptBytes, elapsedMs / roundTripMs)
    const bytes = Math.max(0, this.#dueBytes(keptBytes))
    this.#grantedBytes += bytes
    return bytes
  }

  /** Nothing will be granted any more; what was taken out of the pool goes back. */
  release(): void {
    this.#pool.give(this.#pooledBytes)
    this.#pooledBytes = 0
    this.#sizeBytes = 0
  }

  #dueBytes(keptBytes: number): number {
    return this.#sizeBytes - this.#grantedBytes - keptBytes
  }

  #adapt(keptBytes: number, roundTrips: number): void {
    const size = this.#sizeBytes
    if (roundTrips < 2 && keptBytes === 0) {
      const taken = this.#pool.take(Math.min(size, this.#maxBytes - size))
      this.#pooledBytes += taken
      this.#sizeBytes += taken
    } else if (roundTrips > 8 && keptBytes > 0 && size > initialWindowBytes) {
      this.#sizeBytes = Math.max(initialWindowBytes, size >>> 1)
    }
    this.#givePooled(keptBytes)
  }

  /** What a smaller size freed goes back only once the peer can no longer use it. */
  #givePooled(keptBytes: number): void {
    const neededBytes = Math.max(this.#sizeBytes, this.#grantedBytes + keptBytes) - initialWindowBytes
    if (neededBytes >= this.#pooledBytes) return
    this.#pool.give(this.#pooledBytes - neededBytes)
    this.#pooledBytes = neededBytes
  }
}
