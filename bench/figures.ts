import type { Measurement } from './stand.ts'

/** What is told of a subject in a scenario; times in microseconds. */
export const figureNames = [
  'perCpuSecond',
  'loss',
  'sentPerSecond',
  'deliveredPerSecond',
  'p50Us',
  'p99Us',
  'p50AddedUs',
  'p99AddedUs',
  'memoryBytes',
  'serverMemoryBytes',
  'serverIdleBytes',
  'clientMemoryBytes',
  'clientIdleBytes',
  'bytesPerSession',
  'growthBytes',
  'smallerShare',
  'junkPerSecond',
  'redisCommands',
  'redisCalls',
  'redisCpuUs',
] as const

export type FigureName = (typeof figureNames)[number]

/** Those that a run has: no cost without a process, no latency of streams. */
export type Figures = Readonly<Partial<Record<FigureName, number>>>

/** The figures of one run; `direct` is that of the same round with nothing between, or of the group's baseline. */
export function figuresOf(run: Measurement, direct: Measurement | undefined): Figures {
  // Megabytes, of which a CPU-second moves hundreds, and single datagrams.
  const scale = run.unit === 'bytes' ? 1e-6 : 1
  const all: Record<FigureName, number | undefined> = {
    perCpuSecond: run.cpuSeconds === undefined ? undefined : (run.delivered * scale) / run.cpuSeconds,
    loss: run.loss,
    sentPerSecond: (run.sent * scale) / run.seconds,
    deliveredPerSecond: (run.delivered * scale) / run.seconds,
    p50Us: run.p50Us,
    p99Us: run.p99Us,
    p50AddedUs: added(run.p50Us, direct?.p50Us),
    p99AddedUs: added(run.p99Us, direct?.p99Us),
    memoryBytes: run.memoryBytes,
    serverMemoryBytes: run.serverMemoryBytes,
    serverIdleBytes: run.serverIdleBytes,
    clientMemoryBytes: run.clientMemoryBytes,
    clientIdleBytes: run.clientIdleBytes,
    bytesPerSession: run.bytesPerSession,
    growthBytes: run.growthBytes,
    smallerShare: run.smallerShare,
    junkPerSecond: run.junkPerSecond,
    redisCommands: run.redisCommands,
    redisCalls: run.redisCalls,
    redisCpuUs: run.redisCpuUs,
  }
  return Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== undefined && !Number.isNaN(value)),
  )
}

/** One figure for each name, out of those of several rounds. */
export function combine(all: readonly Figures[], how: (values: readonly number[]) => number): Figures {
  const entries = figureNames.flatMap((name) => {
    const values = all.map((figures) => figures[name]).filter((value) => value !== undefined)
    return values.length === 0 ? [] : [[name, how(values)] as const]
  })
  return Object.fromEntries(entries)
}

/** The middle one; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]]
  return (low + high) / 2
}

function added(through: number | undefined, direct: number | undefined): number | undefined {
  return through === undefined || direct === undefined ? undefined : Math.max(0, through - direct)
}
