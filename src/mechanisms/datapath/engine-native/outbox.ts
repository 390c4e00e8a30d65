import type { EndpointId, Remote, SendOptions } from '../contract.ts'
import { noLocal } from './addon-records.ts'
import { packAddress } from './packed-address.ts'

const headBytes = 48
const capacityBytes = 256 * 1024
/** Longer ones cannot be sent, and are not copied to learn it. */
const maxDatagramBytes = 65_535

/**
 * Datagrams that TypeScript sends, gathered until the event loop has gone round once so that one native call sends them
 * all, those of promises that were settled meanwhile among them. Each as `own_datagram` in
 * `native/src/binding/command.rs` reads it.
 */
export class Outbox {
  readonly #bytes = new Uint8Array(capacityBytes)
  readonly #view = new DataView(this.#bytes.buffer)
  readonly #send: (datagrams: Uint8Array, length: number) => void
  readonly #endpoints = new Set<EndpointId>()
  #length = 0
  #isScheduled = false

  constructor(send: (datagrams: Uint8Array, length: number) => void) {
    this.#send = send
  }

  /** Copies a datagram; false when it is too long for any. */
  add(endpoint: EndpointId, remote: Remote, bytes: Uint8Array, options: SendOptions): boolean {
    if (bytes.length > maxDatagramBytes) return false
    const needed = headBytes + Math.ceil(bytes.length / 8) * 8
    if (this.#length + needed > capacityBytes) this.flush()
    const at = this.#length
    const view = this.#view
    packAddress(view, at + 24, remote)
    view.setFloat64(at, endpoint, true)
    view.setUint32(at + 8, options.local ?? noLocal, true)
    view.setUint32(at + 12, bytes.length, true)
    view.setUint8(at + 16, options.dontFragment === true ? 1 : 0)
    this.#bytes.set(bytes, at + headBytes)
    this.#length += needed
    this.#endpoints.add(endpoint)
    if (!this.#isScheduled) {
      this.#isScheduled = true
      setImmediate(this.#onTurnEnd)
    }
    return true
  }

  /** Whether something of this endpoint has gathered. */
  has(endpoint: EndpointId): boolean {
    return this.#endpoints.has(endpoint)
  }

  /** Sends what has gathered. */
  flush(): void {
    if (this.#length === 0) return
    const length = this.#length
    this.#length = 0
    this.#endpoints.clear()
    this.#send(this.#bytes, length)
  }

  readonly #onTurnEnd = (): void => {
    this.#isScheduled = false
    this.flush()
  }
}
