import { isIP } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import { RejectReason } from '../../../protocols/srt/index.ts'
import { SrtError } from './errors.ts'
import type { CompleteSrtOptions } from './options.ts'

const KEPT_MS = 30_000
const MAX_NAMES = 256

/** The addresses of origins that are known by name. An answer is kept for half a minute, and asked for once at a time. */
export class OriginAddresses {
  readonly #options: Pick<CompleteSrtOptions, 'resolveHost' | 'clock'>
  readonly #names = new LRUCache<string, { readonly untilMs: number; readonly address: Promise<string> }>({
    max: MAX_NAMES,
  })

  constructor(options: Pick<CompleteSrtOptions, 'resolveHost' | 'clock'>) {
    this.#options = options
  }

  /** @throws SRT_ORIGIN_UNREACHABLE when there is none, SRT_ORIGIN_TIMEOUT when that takes longer than `timeoutMs` */
  async find(host: string, timeoutMs: number): Promise<string> {
    if (isIP(host) !== 0) return host
    const { clock } = this.#options
    let timer: Timer | undefined
    const late = new Promise<never>((_, reject) => {
      timer = clock.after(timeoutMs, () => reject(unresolved(host, 'SRT_ORIGIN_TIMEOUT', 'no answer')))
    })
    try {
      return await Promise.race([this.#ask(host), late])
    } finally {
      timer?.cancel()
    }
  }

  #ask(host: string): Promise<string> {
    const { clock, resolveHost } = this.#options
    const known = this.#names.get(host)
    if (known !== undefined && clock.nowMs() < known.untilMs) return known.address
    const address = resolveHost(host).catch((cause: unknown) => {
      this.#names.delete(host)
      throw unresolved(host, 'SRT_ORIGIN_UNREACHABLE', errorMessage(cause))
    })
    this.#names.set(host, { untilMs: clock.nowMs() + KEPT_MS, address })
    return address
  }
}

function unresolved(
  host: string,
  code: 'SRT_ORIGIN_UNREACHABLE' | 'SRT_ORIGIN_TIMEOUT',
  why: string,
): SrtError {
  return new SrtError(code, `the name ${host} was not resolved: ${why}`, {
    side: 'origin',
    retryable: true,
    reason: RejectReason.gateway,
  })
}
