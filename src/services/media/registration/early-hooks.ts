import { LRUCache } from 'lru-cache'
import type { StreamKey } from '../../../mechanisms/balancer/index.ts'

const MAX_ORIGINS = 256
const MAX_STREAMS = 1000

/**
 * Streams of origins that did not announce themselves yet. After a start of SRS its encoders are back at once, and its
 * first heartbeat comes seconds later.
 */
export class EarlyHooks {
  readonly #streams = new LRUCache<string, Set<StreamKey>>({ max: MAX_ORIGINS })

  note({ server, service }: Run, key: StreamKey, isLive: boolean): void {
    const name = nameOf({ server, service })
    const keys = this.#streams.get(name) ?? new Set()
    if (!isLive) keys.delete(key)
    else if (keys.size < MAX_STREAMS) keys.add(key)
    this.#streams.set(name, keys)
  }

  /** Takes out what is live at an origin. */
  take({ server, service }: Run): Iterable<StreamKey> {
    const name = nameOf({ server, service })
    const keys = this.#streams.get(name) ?? []
    this.#streams.delete(name)
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
