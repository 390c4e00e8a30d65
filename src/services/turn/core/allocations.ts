import type { FlowId } from '../../../mechanisms/datapath/index.ts'
import type { Allocation, PeerPath } from './allocation.ts'
import type { Client } from './client.ts'
import { SourceCounts } from './source-counts.ts'

/** What a flow that is handed to us belongs to: a client's own, or a peer's. */
export type FlowOwner = Allocation | PeerPath

/** All allocations of a server, by everything that they are looked up by. */
export class Allocations {
  readonly #byClient = new Map<string, Allocation>()
  readonly #byId = new Map<string, Allocation>()
  readonly #byFlow = new Map<FlowId, FlowOwner>()
  readonly #perSource = new SourceCounts()

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
    return this.#perSource.of(address)
  }

  add(allocation: Allocation): void {
    this.#byId.set(allocation.id, allocation)
    this.addClient(allocation.client, allocation)
    this.#perSource.add(allocation.client.address)
  }

  remove(allocation: Allocation): void {
    this.#byId.delete(allocation.id)
    this.removeClient(allocation.client)
    if (allocation.movingTo !== undefined) this.removeClient(allocation.movingTo)
    this.#perSource.remove(allocation.client.address)
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
    this.#perSource.remove(from.address)
    this.#perSource.add(to.address)
  }

  ownFlow(flow: FlowId, owner: FlowOwner): void {
    this.#byFlow.set(flow, owner)
  }

  disownFlow(flow: FlowId): void {
    this.#byFlow.delete(flow)
  }
}
