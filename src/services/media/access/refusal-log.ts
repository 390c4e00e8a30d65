import { LRUCache } from 'lru-cache'
import type { Clock } from '../../../foundation/clock.ts'
import { sourceOf } from '../../../foundation/source-of.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { AccessRequest } from './contract.ts'
import type { AccessError } from './errors.ts'

const INTERVAL_MS = 60_000
const MAX_REMEMBERED = 4096

/** Writes who was refused: one line a minute for each source, whatever it asks for. */
export class RefusalLog {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #seen = new LRUCache<string, { readonly sinceMs: number; untold: number }>({ max: MAX_REMEMBERED })

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** Neither the query nor what it was refused for with is in the line. */
  refused({ address, protocol, role, key }: AccessRequest, { code, message }: AccessError): void {
    const source = sourceOf(address)
    const nowMs = this.#clock.nowMs()
    const last = this.#seen.get(source)
    if (last !== undefined && nowMs - last.sinceMs < INTERVAL_MS) {
      last.untold++
      return
    }
    this.#seen.set(source, { sinceMs: nowMs, untold: 0 })
    const untold = last?.untold ?? 0
    this.#logger.info(
      { source, protocol, role, stream: key, code, reason: message, ...(untold > 0 && { untold }) },
      'refused',
    )
  }
}
