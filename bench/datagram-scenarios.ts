import { gatewayPerEngine } from './gateway-subject.ts'
import { builtPeer, direct, nodePeer, relayOption } from './peer-subject.ts'
import type { Comparison, Limit, Scenario, ScenarioGroup } from './scenario.ts'
import type { SubjectKind } from './subject.ts'
import type { Tools } from './tools.ts'

/** What the two ends send each other. */
interface Traffic {
  /** From the origin to its viewers, or back. */
  readonly direction: 'down' | 'up'
  readonly sizeBytes: 1200 | 172 | 1332
  /** Datagrams per second over all viewers; `saturated` is as many as the system takes. */
  readonly rate: number | 'saturated'
  /** Datagrams in a row for one viewer. */
  readonly burst?: number
  /** The same, leaving in one system call that the kernel cuts into datagrams. */
  readonly train?: number
}

/** What the whole gateway is to reach beside each peer. */
interface Targets {
  readonly nodeDgram: number
  readonly go: number
}

/** `engine-node` is `node:dgram` with our flow table: not more than 1.3 times the cost. */
const engineNodeTarget = 1 / 1.3

const down = { direction: 'down', sizeBytes: 1200 } as const
const up = { direction: 'up', sizeBytes: 1200 } as const
const small = { direction: 'down', sizeBytes: 172 } as const
/** Seven packets of MPEG-TS and a header. */
const srtDown = { direction: 'down', sizeBytes: 1332 } as const

/** Datagrams through one gateway, engine or relay, from the origin to its viewers and back. */
export function datagramGroups(tools: Tools): ScenarioGroup[] {
  const peers = [dgram, ...(tools.goRelay === undefined ? [] : [builtPeer('go', tools.goRelay)])]
  const subjects = [direct, ...gatewayPerEngine('http'), ...engines, ...peers]
  return [
    {
      name: 'datagrams, 200 viewers',
      load: ['webrtc', '--clients', '200'],
      sessions: 200,
      subjects,
      scenarios: [
        { ...scenario({ ...down, rate: 20_000 }, { nodeDgram: 3, go: 3.5 }), limits: addedLatency },
        scenario({ ...down, rate: 100_000 }, { nodeDgram: 3.2, go: 2.4 }),
        scenario({ ...down, rate: 100_000, burst: 8 }, { nodeDgram: 4.5, go: 3.3 }),
        scenario({ ...down, rate: 'saturated' }, { nodeDgram: 3.3, go: 1.7 }),
        scenario({ ...down, rate: 'saturated', train: 8 }, { nodeDgram: 9, go: 3.8 }),
        scenario({ ...up, rate: 20_000 }),
        scenario({ ...up, rate: 100_000, burst: 8 }),
        scenario({ ...up, rate: 'saturated' }),
        scenario({ ...small, rate: 20_000 }),
        scenario({ ...small, rate: 'saturated' }),
        scenario({ ...small, direction: 'up', rate: 20_000 }),
      ],
    },
    {
      name: 'datagrams, 4,000 viewers',
      load: ['webrtc', '--clients', '4000'],
      sessions: 4000,
      subjects,
      scenarios: [{ ...scenario({ ...down, rate: 20_000 }, undefined, ', 4,000 viewers'), limits: memory }],
      isSlow: true,
      isOneByOne: true,
      mostRounds: 2,
    },
    {
      name: 'SRT, 200 callers',
      load: ['srt', '--clients', '200'],
      sessions: 200,
      subjects: [direct, ...gatewayPerEngine('srt'), ...peers],
      scenarios: [
        srtScenario({ ...srtDown, rate: 20_000 }, { nodeDgram: 3, go: 3.5 }),
        srtScenario({ ...srtDown, rate: 100_000, burst: 8 }, { nodeDgram: 4.5, go: 3.3 }),
        srtScenario({ ...srtDown, rate: 'saturated' }, { nodeDgram: 3.3, go: 1.7 }),
      ],
    },
  ]
}

const dgram: SubjectKind = nodePeer('node:dgram', 'dgram-relay.ts', [], relayOption)

const engines: readonly SubjectKind[] = ['native', 'node'].map((engine) =>
  nodePeer(`engine ${engine}`, 'engine-relay.ts', [engine], relayOption),
)

const addedLatency: readonly Limit[] = [
  { subject: 'gateway native', figure: 'p50AddedUs', atMost: 100 },
  { subject: 'gateway native', figure: 'p99AddedUs', atMost: 1000 },
]

/** 2 KiB per flow; a session has one in each direction. */
const memory: readonly Limit[] = [{ subject: 'engine native', figure: 'bytesPerSession', atMost: 4096 }]

function scenario(traffic: Traffic, targets?: Targets, suffix = ''): Scenario {
  return scenarioOf(traffic, nameOf(traffic) + suffix, [
    ...nativeComparisons(targets),
    { subject: 'engine native', against: 'node:dgram' },
    { subject: 'engine native', against: 'go' },
    { subject: 'gateway node', against: 'node:dgram', ...atLeast(targets && engineNodeTarget) },
    { subject: 'engine node', against: 'node:dgram' },
  ])
}

function srtScenario(traffic: Traffic, targets: Targets): Scenario {
  return scenarioOf(traffic, `MEDIA SRT ${nameOf(traffic)}`, [
    ...nativeComparisons(targets),
    { subject: 'gateway node', against: 'node:dgram' },
  ])
}

function nativeComparisons(targets?: Targets): Comparison[] {
  return [
    { subject: 'gateway native', against: 'node:dgram', ...atLeast(targets?.nodeDgram) },
    { subject: 'gateway native', against: 'go', ...atLeast(targets?.go) },
  ]
}

function atLeast(target: number | undefined): { readonly atLeast?: number } {
  return target === undefined ? {} : { atLeast: target }
}

function nameOf({ direction, sizeBytes, rate, burst, train }: Traffic): string {
  return [
    direction,
    `${sizeBytes.toLocaleString('en')} B`,
    rate === 'saturated' ? rate : `${rate.toLocaleString('en')}/s`,
    ...(burst === undefined ? [] : [`bursts of ${burst}`]),
    ...(train === undefined ? [] : [`trains of ${train}`]),
  ].join(', ')
}

function scenarioOf(traffic: Traffic, name: string, comparisons: readonly Comparison[]): Scenario {
  const { direction, sizeBytes, rate, burst, train } = traffic
  const order = { direction, size: sizeBytes, rate: rate === 'saturated' ? 0 : rate, burst, train }
  return {
    name,
    order: Object.entries(order).flatMap(([option, value]) =>
      value === undefined ? [] : [`--${option}`, String(value)],
    ),
    ...(rate === 'saturated' ? {} : { perSecond: rate }),
    comparisons,
    limits: [],
  }
}
