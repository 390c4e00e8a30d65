import { type Arrival, type EndpointId, type FlowId, type IcmpError, STRANGER } from '../contract.ts'
import { unpackAddress, unpackPort } from './packed-address.ts'

const headBytes = 56
const addressAt = 32
const kindIcmp = 1
const noBytes = new Uint8Array(0)

/**
 * One record of the addon (`native/src/punt.rs` says what is where) as an arrival, and in turn the ones that follow it: `next`
 * moves on. The address becomes text only when it is asked for.
 */
export class NativeArrival implements Arrival {
  endpoint = 0 as EndpointId
  flow: FlowId = STRANGER
  local = 0
  kind: Arrival['kind'] = 'data'
  icmp: IcmpError | undefined
  bytes: Uint8Array = noBytes
  port = 0
  readonly #records: Uint8Array
  readonly #view: DataView
  #at = 0
  #next = 0
  #end = 0
  #address: string | undefined

  constructor(records: Uint8Array) {
    this.#records = records
    this.#view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  }

  get address(): string {
    this.#address ??= unpackAddress(this.#view, this.#at + addressAt)
    return this.#address
  }

  /** Begins with the first of so many bytes of records. */
  rewind(length: number): void {
    this.#next = 0
    this.#end = length
  }

  /** False when there is no further one. */
  next(): boolean {
    if (this.#next >= this.#end) return false
    const at = this.#next
    const view = this.#view
    this.#at = at
    this.#next = at + view.getUint32(at, true)
    this.#address = undefined
    this.endpoint = view.getFloat64(at + 8, true) as EndpointId
    this.flow = view.getFloat64(at + 16, true) as FlowId
    this.local = view.getUint32(at + 24, true)
    this.port = unpackPort(view, at + addressAt)
    const bytesAt = at + headBytes
    if (view.getUint8(at + 4) === kindIcmp) {
      this.kind = 'icmp'
      this.bytes = noBytes
      const [type, code] = [view.getUint8(bytesAt), view.getUint8(bytesAt + 1)]
      const isKnown = view.getUint8(bytesAt + 2) === 1
      this.icmp = isKnown ? { type, code, mtu: view.getUint32(bytesAt + 4, true) } : undefined
    } else {
      this.kind = 'data'
      this.icmp = undefined
      this.bytes = this.#records.subarray(bytesAt, bytesAt + view.getUint32(at + 28, true))
    }
    return true
  }
}
