import type { Clock, Timer } from '../../../foundation/clock.ts'

/**
 * One timer for everything that expires: things that are due within the same second lie in one slot. Being due a second
 * late harms nobody, and a timer per permission would.
 */
export class ExpiryWheel<T> {
  readonly #clock: Clock
  readonly #onDue: (item: T, nowMs: number) => void
  readonly #slots = new Map<number, Set<T>>()
  readonly #slotOf = new Map<T, number>()
  #timer: Timer | undefined
  /** Slots up to this one have been emptied. */
  #doneSlot: number

  constructor(clock: Clock, onDue: (item: T, nowMs: number) => void) {
    this.#clock = clock
    this.#onDue = onDue
    this.#doneSlot = slotAt(clock.nowMs())
  }

  /** Calls back when the time has come, once; what was said earlier of this thing holds no more. */
  schedule(item: T, dueMs: number): void {
    const slot = Math.max(Math.ceil(dueMs / slotMs), this.#doneSlot + 1)
    const before = this.#slotOf.get(item)
    if (before === slot) return
    if (before !== undefined) this.#take(item, before)
    this.#slotOf.set(item, slot)
    const items = this.#slots.get(slot)
    if (items === undefined) this.#slots.set(slot, new Set([item]))
    else items.add(item)
    this.#timer ??= this.#arm()
  }

  cancel(item: T): void {
    const slot = this.#slotOf.get(item)
    if (slot === undefined) return
    this.#take(item, slot)
    this.#slotOf.delete(item)
    if (this.#slotOf.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #take(item: T, slot: number): void {
    const items = this.#slots.get(slot)
    items?.delete(item)
    if (items?.size === 0) this.#slots.delete(slot)
  }

  #arm(): Timer {
    return this.#clock.after(slotMs, () => this.#turn())
  }

  #turn(): void {
    const nowMs = this.#clock.nowMs()
    this.#timer = undefined
    // Before the callbacks: what they schedule lies ahead.
    const from = this.#doneSlot + 1
    this.#doneSlot = slotAt(nowMs)
    for (let slot = from; slot <= this.#doneSlot; slot++) {
      const items = this.#slots.get(slot)
      if (items === undefined) continue
      this.#slots.delete(slot)
      for (const item of items) {
        // It may have been cancelled by another's callback.
        if (this.#slotOf.get(item) !== slot) continue
        this.#slotOf.delete(item)
        this.#onDue(item, nowMs)
      }
    }
    // A callback may have armed it.
    if (this.#slotOf.size > 0) this.#timer ??= this.#arm()
  }
}

const slotMs = 1000

function slotAt(nowMs: number): number {
  return Math.floor(nowMs / slotMs)
}
