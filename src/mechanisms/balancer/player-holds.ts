import type { OriginRecord } from './origin-record.ts'
import type { StreamKey } from './stream-key.ts'

interface PlayerHold {
  readonly record: OriginRecord
  readonly onMoved: () => void
}

/** Players that want to hear when their stream goes live at another origin than theirs. */
export class PlayerHolds {
  readonly #holds = new Map<StreamKey, Set<PlayerHold>>()

  /** The function ends it; it may be called twice. */
  add(key: StreamKey, record: OriginRecord, onMoved: () => void): () => void {
    const hold = { record, onMoved }
    const holds = this.#holds.get(key) ?? new Set()
    this.#holds.set(key, holds.add(hold))
    return () => {
      if (holds.delete(hold) && holds.size === 0) this.#holds.delete(key)
    }
  }

  /**
   * A publisher of the key is live at this origin: whoever plays it at another is told, once. That happens a little later,
   * so that a callback never runs inside a call of the store; who ended meanwhile is not told.
   */
  tell(key: StreamKey, record: OriginRecord): void {
    const holds = this.#holds.get(key)
    const elsewhere = [...(holds ?? [])].filter((hold) => hold.record !== record)
    if (holds === undefined || elsewhere.length === 0) return
    setImmediate(() => {
      for (const hold of elsewhere) {
        if (!holds.delete(hold)) continue
        if (holds.size === 0 && this.#holds.get(key) === holds) this.#holds.delete(key)
        hold.onMoved()
      }
    })
  }
}
