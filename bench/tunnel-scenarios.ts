import { direct } from './peer-subject.ts'
import type { Comparison, Scenario, ScenarioGroup } from './scenario.ts'
import type { Tools } from './tools.ts'
import { frpTunnel, sluiceTunnel, type Transport } from './tunnel-subjects.ts'

/** With what the names of all these scenarios begin. */
export const tunnelPrefix = 'TUNNEL'

const defaults: Transport = { isMultiplexed: true, isTls: true, wire: 'v1' }
const muxOnly: Transport = { ...defaults, isTls: false }
const neither: Transport = { isMultiplexed: false, isTls: false, wire: 'v1' }
const packetsPerSecond = 20_000
/** What is compiled while it runs is to be so before it is measured. */
const warmupSeconds = { bulk: 0.7, udp: 1, connect: 5 } as const
const mostStreams = 64

/** A tunnel's server and client beside the real frp's, by what both of its processes take together. */
export function tunnelGroups(tools: Tools): ScenarioGroup[] {
  const group = (name: string, transport: Transport, scenarios: readonly Scenario[]): ScenarioGroup => ({
    name,
    load: ['tunnel'],
    sessions: 0,
    subjects: [
      sluiceTunnel(transport),
      ...(tools.frp === undefined ? [] : [frpTunnel(tools.frp, transport)]),
    ],
    scenarios,
    quickRounds: 2,
  })
  const ofDefaults = group(`${tunnelPrefix}, mux+TLS`, defaults, [
    ...streams('mux+TLS', 1),
    connections('mux+TLS'),
    datagrams('mux+TLS'),
  ])
  return [
    { ...ofDefaults, subjects: [direct, ...ofDefaults.subjects] },
    group(`${tunnelPrefix}, mux`, muxOnly, [...streams('mux', 1), connections('mux')]),
    group(`${tunnelPrefix}, neither`, neither, [...streams('neither', 0.8), connections('neither')]),
    group(`${tunnelPrefix}, v2`, { ...defaults, wire: 'v2' }, [datagrams('mux+TLS, v2')]),
    // Each with processes that have done nothing yet: what one way made them take, the other would find there.
    ...[memory('down', 'serverMemoryBytes'), memory('up', 'clientMemoryBytes')].map((scenario) => ({
      ...group(scenario.name, defaults, [scenario]),
      mostRounds: 3,
      quickRounds: 1,
    })),
  ]
}

/** Downloads: from the service to its users. */
function streams(transport: string, atLeast: number): Scenario[] {
  return [1, mostStreams].map((count) => ({
    name: `${tunnelPrefix}, bulk down, ${count} ${count === 1 ? 'stream' : 'streams'}, ${transport}`,
    order: bulk('down', count),
    warmupSeconds: warmupSeconds.bulk,
    comparisons: [{ ...beside, atLeast }],
    limits: [],
  }))
}

/** Connect, 1 KiB there and back, close; 32 at a time. */
function connections(transport: string): Scenario {
  return {
    name: `${tunnelPrefix}, new connections, ${transport}`,
    order: ['--do', 'connect', '--window', '32'],
    warmupSeconds: warmupSeconds.connect,
    comparisons: [{ ...beside, atLeast: 1.5 }],
    limits: [],
  }
}

/** From one user to the service. */
function datagrams(transport: string): Scenario {
  return {
    name: `${tunnelPrefix}, UDP up, 1,200 B, ${packetsPerSecond.toLocaleString('en')}/s, ${transport}`,
    order: ['--do', 'udp', '--size', '1200', '--rate', String(packetsPerSecond)],
    perSecond: packetsPerSecond,
    warmupSeconds: warmupSeconds.udp,
    comparisons: [{ ...beside, atLeast: 2 }],
    limits: [],
  }
}

/** What the side that receives bulk holds for users, or for a service, that read more slowly than it gets. */
function memory(direction: 'down' | 'up', figure: 'serverMemoryBytes' | 'clientMemoryBytes'): Scenario {
  return {
    name: `${tunnelPrefix}, memory with ${mostStreams} streams ${direction}, mux+TLS`,
    order: bulk(direction, mostStreams),
    // The peak is that of the warm-up too; buffers take their time to come to their size.
    warmupSeconds: 5,
    comparisons: [{ ...beside, figure, atMost: 1 / 3 }, beside],
    limits: [],
  }
}

const beside: Comparison = { subject: 'sluice', against: 'frp' }

function bulk(direction: 'down' | 'up', count: number): string[] {
  return ['--do', 'bulk', '--streams', String(count), '--direction', direction]
}
