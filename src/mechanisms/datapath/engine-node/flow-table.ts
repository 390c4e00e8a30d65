import type { FlowId, FlowSource } from '../contract.ts'
import { readSendIndication } from './indications.ts'

/** What a table needs to know of a flow to find it. */
export interface TableFlow {
  readonly id: FlowId
  readonly source: SourceKey
}

/** A flow's source, with the remote's address canonical. `channel` is set for flows that strip it, `peer` for those that strip indications. */
export interface SourceKey {
  readonly address: string
  readonly port: number
  readonly match: FlowSource['match'] | undefined
  readonly channel: number | undefined
  /** As `peerKey` has it. */
  readonly peer: string | undefined
}

/**
 * The flows of one endpoint, or of one of its local addresses, by their remote. Looked up by port number first, as a port seldom has more
 * than one address, and only then by address text.
 */
export class FlowTable<F extends TableFlow> {
  readonly #ports = new Map<number, RemoteFlows<F>>()

  /** The flow that takes this datagram. */
  find(address: string, port: number, bytes: Uint8Array): F | undefined {
    const flows = this.#remote(address, port)
    if (flows === undefined) return undefined
    return flows.isPlain ? flows.plain : flows.find(bytes)
  }

  /** The flow that takes the datagrams of a remote which no match claims. */
  plain(address: string, port: number): F | undefined {
    return this.#remote(address, port)?.plain
  }

  /** False when another flow has the same source. */
  add(flow: F): boolean {
    const { address, port } = flow.source
    const first = this.#ports.get(port)
    if (first === undefined) {
      const flows = new RemoteFlows<F>(address)
      this.#ports.set(port, flows)
      return flows.add(flow)
    }
    let flows = this.#remote(address, port)
    if (flows === undefined) {
      flows = new RemoteFlows<F>(address)
      first.others ??= new Map()
      first.others.set(address, flows)
    }
    return flows.add(flow)
  }

  remove(flow: F): void {
    const { address, port } = flow.source
    const flows = this.#remote(address, port)
    if (flows === undefined) return
    flows.remove(flow)
    if (!flows.isEmpty) return
    const first = this.#ports.get(port)
    if (first !== flows) {
      first?.others?.delete(address)
      return
    }
    const next = flows.others?.values().next().value
    if (next === undefined) {
      this.#ports.delete(port)
      return
    }
    flows.others?.delete(next.address)
    next.others = flows.others
    this.#ports.set(port, next)
  }

  #remote(address: string, port: number): RemoteFlows<F> | undefined {
    const first = this.#ports.get(port)
    if (first === undefined || first.address === address) return first
    return first.others?.get(address)
  }
}

/** The flows of one remote: one plain, any number with a match. */
class RemoteFlows<F extends TableFlow> {
  readonly address: string
  plain: F | undefined
  isPlain = true
  /** On the first remote of a port: the other addresses with that port. */
  others: Map<string, RemoteFlows<F>> | undefined
  #channels: Map<number, F> | undefined
  /** By the peer. */
  #indications: Map<string, F> | undefined
  /** By offset, then by value. */
  #matches: Map<number, Map<number, F>> | undefined

  constructor(address: string) {
    this.address = address
  }

  get isEmpty(): boolean {
    return this.plain === undefined && this.isPlain
  }

  find(bytes: Uint8Array): F | undefined {
    if (this.#channels !== undefined && bytes.length >= 2) {
      const flow = this.#channels.get(((bytes[0] as number) << 8) | (bytes[1] as number))
      if (flow !== undefined) return flow
    }
    if (this.#indications !== undefined) {
      const indication = readSendIndication(bytes)
      const flow = indication && this.#indications.get(indication.peer)
      if (flow !== undefined) return flow
    }
    if (this.#matches !== undefined) {
      for (const [offset, byValue] of this.#matches) {
        if (offset + 4 > bytes.length) continue
        const flow = byValue.get(u32At(bytes, offset))
        if (flow !== undefined) return flow
      }
    }
    return this.plain
  }

  add(flow: F): boolean {
    const { channel, peer, match } = flow.source
    if (channel === undefined && peer === undefined && match === undefined) {
      if (this.plain !== undefined) return false
      this.plain = flow
      return true
    }
    if (channel !== undefined) {
      this.#channels ??= new Map()
      if (this.#channels.has(channel)) return false
      this.#channels.set(channel, flow)
    } else if (peer !== undefined) {
      this.#indications ??= new Map()
      if (this.#indications.has(peer)) return false
      this.#indications.set(peer, flow)
    } else if (match !== undefined) {
      this.#matches ??= new Map()
      let byValue = this.#matches.get(match.offset)
      if (byValue === undefined) this.#matches.set(match.offset, (byValue = new Map<number, F>()))
      if (byValue.has(match.value)) return false
      byValue.set(match.value, flow)
    }
    this.isPlain = false
    return true
  }

  remove(flow: F): void {
    const { channel, peer, match } = flow.source
    if (channel !== undefined) {
      if (this.#channels?.get(channel) === flow) this.#channels.delete(channel)
      if (this.#channels?.size === 0) this.#channels = undefined
    } else if (peer !== undefined) {
      if (this.#indications?.get(peer) === flow) this.#indications.delete(peer)
      if (this.#indications?.size === 0) this.#indications = undefined
    } else if (match === undefined) {
      if (this.plain === flow) this.plain = undefined
    } else {
      const byValue = this.#matches?.get(match.offset)
      if (byValue?.get(match.value) === flow) byValue.delete(match.value)
      if (byValue?.size === 0) this.#matches?.delete(match.offset)
      if (this.#matches?.size === 0) this.#matches = undefined
    }
    this.isPlain =
      this.#channels === undefined && this.#indications === undefined && this.#matches === undefined
  }
}

function u32At(bytes: Uint8Array, offset: number): number {
  return (
    (((bytes[offset] as number) << 24) |
      ((bytes[offset + 1] as number) << 16) |
      ((bytes[offset + 2] as number) << 8) |
      (bytes[offset + 3] as number)) >>>
    0
  )
}
