import { direct } from './peer-subject.ts'
import type { Comparison, Scenario, ScenarioGroup } from './scenario.ts'
import type { SubjectKind } from './subject.ts'
import type { Tools } from './tools.ts'
import { frpTunnel, sluiceTunnel, type Transport } from './tunnel-subjects.ts'

/** With what the names of all these scenarios begin. */
export const tunnelPrefix = 'TUNNEL'

const defaults: Transport = { isMultiplexed: true, isTls: true, wire: 'v1' }
const muxOnly: Transport = { ...defaults, isTls: false }
const neither: Transport = { isMultiplexed: false, isTls: false, wire: 'v1' }
const packetsPerSecond = 20_000
/** What is compiled while it runs is to be so before it is measured. */
const warmupSeconds = 1
const mostStreams = 64

/** A tunnel's server and client beside the real frp's, by what both of its processes take together. */
export function tunnelGroups(tools: Tools): ScenarioGroup[] {
  const group = (
    name: string,
    transport: Transport,
    scenarios: readonly Scenario[],
    others: readonly SubjectKind[] = [],
  ): ScenarioGroup => ({
    name: `${tunnelPrefix}, ${name}`,
    load: ['tunnel'],
    sessions: 0,
    subjects: [
      ...others,
      sluiceTunnel(transport),
      ...(tools.frp === undefined ? [] : [frpTunnel(tools.frp, transport)]),
    ],
    scenarios,
    quickRounds: 2,
  })
  return [
    group(
      'mux+TLS',
      defaults,
      [...streams('mux+TLS', 1), connections('mux+TLS'), datagrams('mux+TLS')],
      [direct],
    ),
    group('mux', muxOnly, [...streams('mux', 1), connections('mux')]),
    group('neither', neither, [...streams('neither', 0.8), connections('neither')]),
    group('v2', { ...defaults, wire: 'v2' }, [datagrams('mux+TLS, v2')]),
    // Each with processes that have done nothing yet: what one way made them take, the other would find there.
    group('memory, down', defaults, [memory('down', 'serverMemoryBytes')]),
    group('memory, up', defaults, [memory('up', 'clientMemoryBytes')]),
  ]
}

/** Downloads: from the service to its users. */
function streams(transport: string, atLeast: number): Scenario[] {
  return [1, mostStreams].map((count) => ({
    name: `${tunnelPrefix}, bulk down, ${count} ${count === 1 ? 'stream' : 'streams'}, ${transport}`,
    order: bulk('down', count),
    warmupSeconds,
    comparisons: [{ ...beside, atLeast }],
    limits: [],
  }))
}

/** Connect, 1 KiB there and back, close; 32 at a time. */
function connections(transport: string): Scenario {
  return {
    name: `${tunnelPrefix}, new connections, ${transport}`,
    order: ['--do', 'connect', '--window', '32'],
    warmupSeconds: 1.5,
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
    warmupSeconds,
    comparisons: [{ ...beside, atLeast: 2 }],
    limits: [],
  }
}

/** What the side that receives bulk holds for users, or for a service, that read more slowly than it gets. */
function memory(direction: 'down' | 'up', figure: 'serverMemoryBytes' | 'clientMemoryBytes'): Scenario {
  return {
    name: `${tunnelPrefix}, memory with ${mostStreams} streams ${direction}, mux+TLS`,
    order: bulk(direction, mostStreams),
    warmupSeconds,
    comparisons: [{ ...beside, figure, atMost: 1 / 3 }, beside],
    limits: [],
  }
}

const beside: Comparison = { subject: 'sluice', against: 'frp' }

function bulk(direction: 'down' | 'up', count: number): string[] {
  return ['--do', 'bulk', '--streams', String(count), '--direction', direction]
}
