import type { FigureName } from '../figures.ts'
import { isCompared, type Ratio } from '../ratios.ts'
import type { Result } from '../result.ts'
import { costText, figureText } from './format.ts'

/** A table: its head first, every row as long as that. */
export type Rows = readonly (readonly string[])[]

/** The subjects of one scenario, and of what they were not compared in only the columns of every scenario. */
export function resultRows(results: readonly Result[], ratios: readonly Ratio[]): Rows {
  const unit = results[0]?.unit ?? 'packets'
  const more = optional.filter(
    ({ of, name }) =>
      ratios.some(({ figure }) => of.includes(figure)) ||
      (of.length === 0 && results.some((result) => result[name] !== undefined)),
  )
  const head = [
    'subject',
    `${unit} per CPU-second`,
    'least to most',
    'delivered/s',
    'loss',
    'added p50',
    'added p99',
    'peak memory',
    'per session',
    ...more.map(({ title }) => title),
  ]
  return [head, ...results.map((result) => resultRow(result, more))]
}

/** A column that tables have where one of these figures is compared or limited; of none: where somebody has it. */
interface OptionalColumn {
  readonly name: FigureName
  readonly title: string
  readonly of: readonly Ratio['figure'][]
}

const ofTunnel: readonly Ratio['figure'][] = ['serverMemoryBytes', 'clientMemoryBytes']
const optional: readonly OptionalColumn[] = [
  { name: 'smallerShare', title: 'smaller share', of: ['smallerShare'] },
  { name: 'growthBytes', title: 'memory growth', of: ['growthBytes'] },
  { name: 'serverIdleBytes', title: 'server, idle', of: ofTunnel },
  { name: 'serverMemoryBytes', title: 'server, peak', of: ofTunnel },
  { name: 'clientIdleBytes', title: 'client, idle', of: ofTunnel },
  { name: 'clientMemoryBytes', title: 'client, peak', of: ofTunnel },
  { name: 'redisCommands', title: 'commands to Redis', of: [] },
  { name: 'redisCalls', title: 'commands in Redis', of: [] },
  { name: 'redisCpuUs', title: 'CPU of Redis', of: [] },
]

function resultRow(result: Result, more: readonly OptionalColumn[]): string[] {
  const text = (name: FigureName): string => figureText(name, result[name], result.unit)
  const { min, max } = result
  const isSpread = min.perCpuSecond !== undefined && max.perCpuSecond !== undefined
  return [
    result.subject,
    text('perCpuSecond'),
    isSpread
      ? `${costText(min.perCpuSecond, result.unit)} to ${costText(max.perCpuSecond, result.unit)}`
      : '',
    text('deliveredPerSecond'),
    text('loss'),
    text('p50AddedUs'),
    text('p99AddedUs'),
    text('memoryBytes'),
    text('bytesPerSession'),
    ...more.map(({ name }) => text(name)),
  ]
}

/** What was compared; misses stand out. */
export function ratioRows(ratios: readonly Ratio[], withScenario: boolean): Rows {
  const head = ['subject', 'against', 'figure', 'found', 'target', '']
  const rows = ratios.map((ratio) => [
    ratio.subject,
    ratio.against,
    figureTitles[ratio.figure],
    ratioText(ratio, ratio.ratio),
    ratio.target === null
      ? ''
      : `${ratio.bound === 'atLeast' ? 'at least' : 'at most'} ${ratioText(ratio, ratio.target)}`,
    ratio.met === null ? '' : ratio.met ? 'met' : 'MISSED',
  ])
  if (!withScenario) return [head, ...rows]
  return [['scenario', ...head], ...rows.map((row, index) => [ratios[index]?.scenario ?? '', ...row])]
}

const figureTitles: Record<Ratio['figure'], string> = {
  perCpuSecond: 'per CPU-second',
  p50AddedUs: 'added latency, p50',
  p99AddedUs: 'added latency, p99',
  bytesPerSession: 'memory per session',
  loss: 'loss',
  redisCommands: 'commands to Redis',
  smallerShare: 'smaller share',
  growthBytes: 'memory growth',
  serverMemoryBytes: 'peak memory of the server',
  clientMemoryBytes: 'peak memory of the client',
}

function ratioText({ figure }: Ratio, value: number | null): string {
  if (value === null) return 'failed'
  return isCompared(figure) ? value.toFixed(2) : figureText(figure, value, 'packets')
}
