import type { OriginRecord } from './origin-record.ts'
import type { StreamKey } from './stream-key.ts'

type Told = () => void

/** Players that want to hear when their stream goes live at another origin than theirs. */
export class PlayerHolds {
  readonly #waiting = new Map<StreamKey, Map<OriginRecord, Set<Told>>>()

  /** The function ends it; it may be called twice. */
  add(key: StreamKey, record: OriginRecord, onMoved: () => void): () => void {
    const byOrigin = this.#waiting.get(key) ?? new Map<OriginRecord, Set<Told>>()
    const holds = byOrigin.get(record) ?? new Set()
    // The same function may wait more than once.
    const told = (): void => onMoved()
    this.#waiting.set(key, byOrigin.set(record, holds.add(told)))
    return () => {
      if (!holds.delete(told) || holds.size > 0 || byOrigin.get(record) !== holds) return
      byOrigin.delete(record)
      if (byOrigin.size === 0 && this.#waiting.get(key) === byOrigin) this.#waiting.delete(key)
    }
  }

  /**
   * A publisher of the key is live at this origin: whoever plays it at another is told, once. That happens a little later,
   * so that a callback never runs inside a call of the store; who ends meanwhile is not told.
   */
  tell(key: StreamKey, record: OriginRecord): void {
    const byOrigin = this.#waiting.get(key)
    if (byOrigin === undefined) return
    for (const [elsewhere, holds] of byOrigin) {
      if (elsewhere === record) continue
      byOrigin.delete(elsewhere)
      setImmediate(() => {
        for (const told of holds) {
          holds.delete(told)
          told()
        }
      })
    }
    if (byOrigin.size === 0) this.#waiting.delete(key)
  }
}
