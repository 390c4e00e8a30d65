import type { StreamKey } from '../../../mechanisms/balancer/index.ts'

const MAX_ORIGINS = 256
const MAX_STREAMS = 1000
/** Of all origins together; beyond, the one heard of longest ago is forgotten. */
const MAX_TOTAL = 20_000

/**
 * Streams of origins that did not announce themselves yet. After a start of SRS its encoders are back at once, and its
 * first heartbeat comes seconds later.
 */
export class EarlyHooks {
  /** The origin that was heard of longest ago is first. */
  readonly #streams = new Map<string, Set<StreamKey>>()
  #total = 0

  note({ server, service }: Run, key: StreamKey, isLive: boolean): void {
    const name = nameOf({ server, service })
    const keys = this.#remove(name)
    if (!isLive) keys.delete(key)
    else if (keys.size < MAX_STREAMS) keys.add(key)
    if (keys.size === 0) return
    this.#streams.set(name, keys)
    this.#total += keys.size
    for (const oldest of this.#streams.keys()) {
      if (this.#streams.size <= MAX_ORIGINS && this.#total <= MAX_TOTAL) return
      this.#remove(oldest)
    }
  }

  /** Takes out what is live at an origin. */
  take({ server, service }: Run): Iterable<StreamKey> {
    return this.#remove(nameOf({ server, service }))
  }

  #remove(name: string): Set<StreamKey> {
    const keys = this.#streams.get(name) ?? new Set()
    if (this.#streams.delete(name)) this.#total -= keys.size
    return keys
  }
}

interface Run {
  readonly server: string
  readonly service: string
}

/** No control character is in either. */
function nameOf({ server, service }: Run): string {
  return `${server}\n${service}`
}
