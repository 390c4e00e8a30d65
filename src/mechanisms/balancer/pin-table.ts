import { tooManyStreams } from './errors.ts'
import type { OriginRecord } from './origin-record.ts'
import type { StreamKey } from './stream-key.ts'

/** An operator's word on where a stream shall be. */
export interface Pin {
  readonly record: OriginRecord
  /** Wall time, in milliseconds. */
  readonly sinceMs: number
}

/** Streams that operators pinned to an origin. */
export class PinTable {
  readonly #pins = new Map<StreamKey, Pin>()
  readonly #maxPins: number

  constructor(maxPins: number) {
    this.#maxPins = maxPins
  }

  get size(): number {
    return this.#pins.size
  }

  get(key: StreamKey): OriginRecord | undefined {
    return this.#pins.get(key)?.record
  }

  all(): Iterable<readonly [StreamKey, Pin]> {
    return this.#pins
  }

  /** @throws BALANCER_TOO_MANY_STREAMS when the table is full */
  set(key: StreamKey, pin: Pin): void {
    if (this.#pins.size >= this.#maxPins && !this.#pins.has(key)) {
      throw tooManyStreams(`${this.#pins.size} streams are pinned`)
    }
    this.#pins.set(key, pin)
  }

  delete(key: StreamKey): boolean {
    return this.#pins.delete(key)
  }

  /** An origin is gone: its pins go too, or to the later run of it. */
  moveAll(from: OriginRecord, to: OriginRecord | undefined): void {
    for (const [key, pin] of this.#pins) {
      if (pin.record !== from) continue
      if (to === undefined) this.#pins.delete(key)
      else this.#pins.set(key, { ...pin, record: to })
    }
  }
}
