import { describe } from 'vitest'
import { describeDelivery } from './conformance-delivery.testkit.ts'
import { describeEndpoints } from './conformance-endpoints.testkit.ts'
import { describeFeatures } from './conformance-features.testkit.ts'
import { describeFlows } from './conformance-flows.testkit.ts'
import { describeIndications } from './conformance-indications.testkit.ts'
import { describeInterfaces } from './conformance-interfaces.testkit.ts'
import { describeLocals } from './conformance-locals.testkit.ts'
import type { Subject } from './conformance-setup.testkit.ts'
import { describeTraffic } from './conformance-traffic.testkit.ts'

const parts = {
  endpoints: describeEndpoints,
  interfaces: describeInterfaces,
  flows: describeFlows,
  indications: describeIndications,
  locals: describeLocals,
  traffic: describeTraffic,
  delivery: describeDelivery,
  features: describeFeatures,
} as const

/** The suite that every engine runs: the sentences of `contract.ts` as tests, over real sockets on loopback. */
export function describeDatapath(subject: Subject): void {
  describe(`datapath contract: ${subject.name}`, () => {
    // Each part has an engine of its own.
    for (const [part, describePart] of Object.entries(parts)) describe(part, () => describePart(subject))
  })
}
