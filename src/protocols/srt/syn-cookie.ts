import { createHmac } from 'node:crypto'

/** Whose cookie it is. */
export interface CookieOwner {
  readonly address: string
  readonly port: number
  readonly socketId: number
}

/** How long a cookie is given out, in milliseconds; it is taken for as long again. */
const PERIOD_MS = 30_000

/**
 * Cookies that prove that a caller receives at the address it sends from, without anything being kept of it: a keyed
 * hash of its address, port and socket id, and the time.
 */
export class SynCookies {
  readonly #key: Uint8Array

  /** @param key 32 unguessable bytes, new in every process */
  constructor(key: Uint8Array) {
    this.#key = key
  }

  /** Never 0, which stands for no cookie. */
  cookieFor(owner: CookieOwner, nowMs: number): number {
    return this.#cookie(owner, Math.floor(nowMs / PERIOD_MS))
  }

  /** Whether this caller was given the cookie, in this period or the one before. Takes the same time for every cookie. */
  isValid(cookie: number, owner: CookieOwner, nowMs: number): boolean {
    const period = Math.floor(nowMs / PERIOD_MS)
    const differences = [this.#cookie(owner, period), this.#cookie(owner, period - 1)].map(
      (right) => right ^ cookie,
    )
    return differences.reduce((all, one) => all & isZero(one), 1) === 0
  }

  #cookie({ address, port, socketId }: CookieOwner, period: number): number {
    const hmac = createHmac('sha256', this.#key).update(`${address} ${port} ${socketId} ${period}`)
    return hmac.digest().readUInt32BE(0) || 1
  }
}

/** 0 for 0, else 1, without a branch. */
function isZero(difference: number): number {
  return (difference | -difference) >>> 31
}
