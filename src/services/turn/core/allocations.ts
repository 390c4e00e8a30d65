import type { FlowId } from '../../../mechanisms/datapath/index.ts'
import type { Allocation, PeerPath } from './allocation.ts'
import type { Client } from './client.ts'
import { sourceOf } from './source-of.ts'

/** What a flow that is handed to us belongs to: a client's own, or a peer's. */
export type FlowOwner = Allocation | PeerPath

/** All allocations of a server, by everything that they are looked up by. */
export class Allocations {
  readonly #byClient = new Map<string, Allocation>()
  readonly #byId = new Map<string, Allocation>()
  readonly #byFlow = new Map<FlowId, FlowOwner>()
  readonly #perSource = new Map<string, number>()

  get size(): number {
    return this.#byId.size
  }

  all(): IterableIterator<Allocation> {
    return this.#byId.values()
  }

  ofClient(key: string): Allocation | undefined {
    return this.#byClient.get(key)
  }

  ofId(id: string): Allocation | undefined {
    return this.#byId.get(id)
  }

  ofFlow(flow: FlowId): FlowOwner | undefined {
    return this.#byFlow.get(flow)
  }

  /** How many come from the source of an address. */
  fromSource(address: string): number {
    return this.#perSource.get(sourceOf(address)) ?? 0
  }

  add(allocation: Allocation): void {
    this.#byId.set(allocation.id, allocation)
    this.addClient(allocation.client, allocation)
    this.#count(allocation.client.address, 1)
  }

  remove(allocation: Allocation): void {
    this.#byId.delete(allocation.id)
    this.removeClient(allocation.client)
    if (allocation.movingTo !== undefined) this.removeClient(allocation.movingTo)
    this.#count(allocation.client.address, -1)
  }

  /** A client that moves is met by two five-tuples for a while. */
  addClient(client: Client, allocation: Allocation): void {
    this.#byClient.set(client.key, allocation)
  }

  removeClient(client: Client): void {
    this.#byClient.delete(client.key)
  }

  /** The client's address counts from now on as this one. */
  moved(from: Client, to: Client): void {
    this.removeClient(from)
    this.#count(from.address, -1)
    this.#count(to.address, 1)
  }

  ownFlow(flow: FlowId, owner: FlowOwner): void {
    this.#byFlow.set(flow, owner)
  }

  disownFlow(flow: FlowId): void {
    this.#byFlow.delete(flow)
  }

  #count(address: string, by: number): void {
    const source = sourceOf(address)
    const count = (this.#perSource.get(source) ?? 0) + by
    if (count > 0) this.#perSource.set(source, count)
    else this.#perSource.delete(source)
  }
}
