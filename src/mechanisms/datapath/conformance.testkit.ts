import { describe } from 'vitest'
import type { Datapath } from './contract.ts'
import { describeDelivery } from './conformance-delivery.testkit.ts'
import { describeEndpoints } from './conformance-endpoints.testkit.ts'
import { describeFlows } from './conformance-flows.testkit.ts'

/**
 * The suite that every engine runs: the sentences of `contract.ts` as tests, over real sockets on
 * loopback. `createEngine` gives a fresh engine with its default budgets, not started.
 */
export function describeDatapath(name: string, createEngine: () => Datapath): void {
  describe(`datapath contract: ${name}`, () => {
    describeEndpoints(createEngine)
    describeFlows(createEngine)
    describeDelivery(createEngine)
  })
}
