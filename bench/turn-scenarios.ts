import { coturn } from './coturn-subject.ts'
import { direct, relayOption, startNodePeer, startPeer } from './peer-subject.ts'
import type { Comparison, Limit, Scenario, ScenarioGroup } from './scenario.ts'
import type { SubjectKind } from './subject.ts'
import type { Tools } from './tools.ts'

/** What clients and their peer send each other, both ways at once. */
interface Traffic {
  readonly sizeBytes: 1200 | 172
  /** Datagrams per second each way; `saturated` is a closed loop. */
  readonly rate: number | 'saturated'
  /** How many of each client are on their way, each way, in a closed loop. */
  readonly window: number
  /** Send and Data indications instead of ChannelData. */
  readonly isIndication?: boolean
}

/** What the native engine is to reach beside each peer, and the other beside pion. */
interface Targets {
  readonly coturn?: number
  readonly pion?: number
  readonly nodePion?: number
}

/** With what the names of all these scenarios begin. */
export const turnPrefix = 'TURN'

const paced = 15_000
const junkPerSecond = 100_000

/** TURN servers side by side: what relays cost, what comes before there is a relay, and what strangers do to it. */
export function turnGroups(tools: Tools): ScenarioGroup[] {
  const peers = [
    ...(tools.coturn === undefined ? [] : [coturn(tools.coturn)]),
    ...(tools.pionTurn === undefined ? [] : [pion('pion', tools.pionTurn, 1)]),
  ]
  const shared = tools.pionTurn === undefined ? [] : [pion('pion, 2 sockets', tools.pionTurn, 2)]
  const servers = [...ours, ...peers]
  return [
    {
      name: `${turnPrefix}, 100 allocations`,
      load: ['turn', '--clients', '100'],
      sessions: 100,
      subjects: [direct, ...servers, ...shared],
      scenarios: [
        ...sizes.flatMap((sizeBytes) => channelData(sizeBytes, 16)),
        {
          ...relay({ sizeBytes: 172, rate: paced, window: 16, isIndication: true }),
          comparisons: comparisons(pacedTargets),
        },
        {
          ...relay({ sizeBytes: 172, rate: 'saturated', window: 16, isIndication: true }),
          comparisons: comparisons(saturatedTargets),
        },
        flood,
      ],
      mostRounds: 3,
      quickRounds: 2,
    },
    {
      name: `${turnPrefix}, 1,000 allocations`,
      load: ['turn', '--clients', '1000'],
      sessions: 1000,
      subjects: [direct, ...servers],
      // 16 of a thousand clients would not find room in a server's socket.
      scenarios: sizes.flatMap((sizeBytes) => channelData(sizeBytes, 4, ', 1,000 allocations')),
      mostRounds: 3,
      quickRounds: 1,
    },
    {
      name: `${turnPrefix}, 5,000 allocations`,
      load: ['turn', '--clients', '5000'],
      sessions: 5000,
      subjects: [...servers, smallNursery],
      scenarios: [
        {
          ...relay({ sizeBytes: 172, rate: paced, window: 1 }, ', 5,000 allocations'),
          limits: ['sluice native', smallNursery.name].map((subject) => ({
            subject,
            figure: 'bytesPerSession',
            atMost: 8192,
          })),
        },
      ],
      isOneByOne: true,
      mostRounds: 2,
      quickRounds: 1,
    },
    {
      name: `${turnPrefix}, requests`,
      load: ['turn', '--clients', '0'],
      sessions: 0,
      subjects: servers,
      scenarios: [
        {
          ...requests('Allocate, challenge, Allocate, Refresh to 0', 'allocate', { pion: 1 }),
          warmupSeconds: 1.5,
        },
        requests('401 challenges', 'challenge', { coturn: 1 }),
        requests('Binding requests', 'binding', {}),
      ],
      mostRounds: 3,
      quickRounds: 2,
    },
  ]
}

const sizes = [172, 1200] as const
const pacedTargets: Targets = { coturn: 1.5, pion: 2.5, nodePion: 1 }
const saturatedTargets: Targets = { coturn: 1.3, pion: 1.8 }

const ours: readonly SubjectKind[] = ['native', 'node'].map((engine) => ({
  name: `sluice ${engine}`,
  start: () => startNodePeer('turn-server.ts', [engine], relayOption),
}))

/** As docs/turn.md advises where memory matters: V8 keeps 32 MiB for new objects otherwise, however few there are. */
const smallNursery: SubjectKind = {
  name: 'sluice native, 4 MiB semi-spaces',
  start: () => startNodePeer('turn-server.ts', ['native'], relayOption, ['--max-semi-space-size=4']),
}

/** Every address and port of the junk is new, so that what a server keeps of strangers shows. */
const flood: Scenario = {
  name: `${turnPrefix}, 172 B, 15,000/s each way, beside 100,000/s of junk`,
  order: ['--size', '172', '--rate', String(paced), '--junk', String(junkPerSecond)],
  perSecond: 2 * paced,
  junkPerSecond,
  comparisons: [],
  limits: [
    { subject: 'sluice native', figure: 'loss', atMost: 0.001 },
    { subject: 'sluice node', figure: 'loss', atMost: 0.001 },
    { subject: 'sluice native', figure: 'growthBytes', atMost: 8 * 2 ** 20 },
  ],
}

/** Neither way may starve the other. */
const fairness: readonly Limit[] = ours.map(({ name }) => ({
  subject: name,
  figure: 'smallerShare',
  atLeast: 1 / 3,
}))

function channelData(sizeBytes: Traffic['sizeBytes'], window: number, suffix = ''): Scenario[] {
  return [
    {
      ...relay({ sizeBytes, rate: paced, window }, suffix),
      comparisons: comparisons(pacedTargets),
    },
    {
      ...relay({ sizeBytes, rate: 'saturated', window }, suffix),
      comparisons: comparisons(saturatedTargets),
      limits: fairness,
    },
  ]
}

function relay({ sizeBytes, rate, window, isIndication = false }: Traffic, suffix = ''): Scenario {
  const words = [
    turnPrefix,
    ...(isIndication ? ['indications'] : []),
    `${sizeBytes.toLocaleString('en')} B`,
    rate === 'saturated' ? rate : `${rate.toLocaleString('en')}/s each way`,
  ]
  return {
    name: words.join(', ') + suffix,
    order: [
      ...['--size', String(sizeBytes), '--frame', isIndication ? 'indication' : 'channel'],
      ...['--rate', rate === 'saturated' ? '0' : String(rate), '--window', String(window)],
    ],
    ...(rate === 'saturated' ? {} : { perSecond: 2 * rate }),
    comparisons: comparisons({}),
    limits: [],
  }
}

function requests(what: string, order: string, targets: Targets): Scenario {
  return {
    name: `${turnPrefix}, ${what}`,
    order: ['--do', order],
    comparisons: comparisons(targets),
    limits: [],
  }
}

function pion(name: string, executable: string, sockets: number): SubjectKind {
  return { name, start: () => startPeer(executable, [String(sockets)], relayOption) }
}

function comparisons(targets: Targets): Comparison[] {
  const withTarget = (atLeast: number | undefined): { atLeast?: number } =>
    atLeast === undefined ? {} : { atLeast }
  return [
    { subject: 'sluice native', against: 'coturn', ...withTarget(targets.coturn) },
    { subject: 'sluice native', against: 'pion', ...withTarget(targets.pion) },
    { subject: 'sluice node', against: 'coturn' },
    { subject: 'sluice node', against: 'pion', ...withTarget(targets.nodePion) },
  ]
}
