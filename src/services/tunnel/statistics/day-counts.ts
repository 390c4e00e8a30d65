/** How many days are kept, today among them; as frp does. */
export const KEPT_DAYS = 7

const DAY_MS = 86_400_000

/** A number for the local day of a time, one more for each day. */
export function dayOf(wallMs: number): number {
  const date = new Date(wallMs)
  // The local calendar's day taken for one in UTC: a day of 23 or 25 hours is one day all the same.
  return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY_MS
}

/** How long the local day still lasts, in milliseconds. */
export function untilNextDayMs(wallMs: number): number {
  const date = new Date(wallMs)
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime() - wallMs
}

/** A count for each of the last days. */
export class DayCounts {
  /** Today first. */
  #counts: number[]
  #day: number

  /** `counts`, today first, as they were on `day`. */
  constructor(day: number, counts: readonly number[] = []) {
    this.#day = day
    this.#counts = Array.from({ length: KEPT_DAYS }, (_, age) => counts[age] ?? 0)
  }

  add(day: number, count: number): void {
    this.#turnTo(day)
    this.#counts[0] = (this.#counts[0] ?? 0) + count
  }

  today(day: number): number {
    this.#turnTo(day)
    return this.#counts[0] ?? 0
  }

  /** Today first. */
  days(day: number): readonly number[] {
    this.#turnTo(day)
    return [...this.#counts]
  }

  /** A day that is past already is taken for the last one: a clock that is set back loses nothing. */
  #turnTo(day: number): void {
    const passed = Math.min(day - this.#day, KEPT_DAYS)
    if (passed <= 0) return
    this.#counts = [...Array.from({ length: passed }, () => 0), ...this.#counts.slice(0, KEPT_DAYS - passed)]
    this.#day = day
  }
}
