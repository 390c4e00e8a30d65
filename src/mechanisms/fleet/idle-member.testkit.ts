import type { Describe } from './lone-fleet.ts'

/** What a gateway says that does nothing. */
export const describeIdle: Describe = () => ({
  addresses: {},
  isDraining: false,
  load: { sessions: 0, allocations: 0, tunnelClients: 0, cpu: 0, memoryBytes: 0 },
})
