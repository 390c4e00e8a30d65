import type { ProxyTraffic, TrafficCounter } from '../statistics/contract.ts'

/**
 * The traffic of a proxy that enters the books once it is open: one that could not be opened never was in them. Until it has
 * its book there are no users, and nothing is counted.
 */
export class LateTraffic implements ProxyTraffic {
  book: ProxyTraffic | undefined

  open(counter: TrafficCounter): () => void {
    return this.book?.open(counter) ?? nothing
  }

  addIn(bytes: number): void {
    this.book?.addIn(bytes)
  }

  addOut(bytes: number): void {
    this.book?.addOut(bytes)
  }
}

function nothing(): void {}
