import type { Ratio } from '../ratios.ts'
import type { Result } from '../result.ts'
import { costText, figureText } from './format.ts'

/** A table: its head first, every row as long as that. */
export type Rows = readonly (readonly string[])[]

/** The subjects of one scenario, and of what they were not compared in only the columns of every scenario. */
export function resultRows(results: readonly Result[], ratios: readonly Ratio[]): Rows {
  const unit = results[0]?.unit ?? 'packets'
  const more = optional.filter((name) => ratios.some(({ figure }) => figure === name))
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
    ...more.map((name) => figureTitles[name]),
  ]
  return [head, ...results.map((result) => resultRow(result, more))]
}

const optional = ['smallerShare', 'growthBytes'] as const

function resultRow(result: Result, more: readonly (typeof optional)[number][]): string[] {
  const text = (name: Parameters<typeof figureText>[0]): string => figureText(name, result[name], result.unit)
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
    ...more.map((name) => text(name)),
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
  smallerShare: 'smaller share',
  growthBytes: 'memory growth',
}

function ratioText({ figure }: Ratio, value: number | null): string {
  if (value === null) return 'failed'
  return figure === 'perCpuSecond' ? value.toFixed(2) : figureText(figure, value, 'packets')
}
