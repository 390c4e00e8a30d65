import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import type { Options } from './options.ts'
import { forgetPeak, peakBytes, residentBytes } from './process-memory.ts'
import type { Scenario, ScenarioGroup } from './scenario.ts'
import type { RedisUse, Subject, SubjectKind } from './subject.ts'

/** What the load tool prints of a run. */
interface LoadReport {
  readonly unit: 'packets' | 'bytes' | 'cycles' | 'requests' | 'connections' | 'picks'
  readonly sent: number
  readonly delivered: number
  readonly loss: number
  readonly seconds: number
  readonly cpuSeconds?: number
  /** Of datagrams: how long they took from one end of the load to the other. */
  readonly p50Us?: number
  readonly p99Us?: number
  /** By how much the subject's resident size grew in the run. */
  readonly growthBytes?: number
  /** Of traffic both ways at once: the part that went the way that was served less. */
  readonly smallerShare?: number
  /** Datagrams of strangers that were thrown at the subject. */
  readonly junkPerSecond?: number
  /** Commands sent to Redis for each of what was delivered, where the load itself sends them. */
  readonly redisCommands?: number
}

/** What a run moved, and what it cost. */
export interface Measurement extends LoadReport {
  /** The largest resident size in the run; of several processes the sum of theirs. */
  readonly memoryBytes?: number
  /** By how much the sessions made the process grow, for each of them. */
  readonly bytesPerSession?: number
  /** Of a tunnel's two processes: the largest resident size in the run, and what it was when the load was ready. */
  readonly serverMemoryBytes?: number
  readonly serverIdleBytes?: number
  readonly clientMemoryBytes?: number
  readonly clientIdleBytes?: number
  /** Commands that Redis ran for each of what was delivered, and its CPU time for that. */
  readonly redisCalls?: number
  readonly redisCpuUs?: number
}

/** How long the load runs, and before that without being measured. */
type RunLength = Pick<Options, 'seconds' | 'warmupSeconds'>

const setUpDeadlineMs = 60_000
const runDeadlineMs = 30_000

/** A subject through which the load's sessions stand, ready for runs one after the other. */
export class Stand {
  readonly #subject: Subject
  readonly #load: Child
  /** Resident sizes of the subject's processes when the load was ready. */
  readonly #idleBytes: readonly number[]
  readonly #bytesPerSession: number | undefined

  private constructor(
    subject: Subject,
    load: Child,
    idleBytes: readonly number[],
    bytesPerSession: number | undefined,
  ) {
    this.#subject = subject
    this.#load = load
    this.#idleBytes = idleBytes
    this.#bytesPerSession = bytesPerSession
  }

  static async start(group: ScenarioGroup, kind: SubjectKind, loadTool: string): Promise<Stand> {
    const [originPort = 0] = await freePorts(1)
    const subject = await kind.start(originPort)
    const pids = subject.children.map(({ pid }) => pid)
    const before = sum(pids.map(residentBytes))
    const [program = loadTool, ...programOptions] = group.loadProgram ?? []
    const load = new Child(program, [
      ...programOptions,
      ...group.load,
      ...subject.loadOptions,
      ...['--origin-port', String(originPort)],
      ...(pids.length === 0 ? [] : ['--pid', pids.join(',')]),
    ])
    try {
      await load.nextLine(setUpDeadlineMs)
      const idleBytes = pids.map(residentBytes)
      if (pids.length === 0 || group.sessions === 0) return new Stand(subject, load, idleBytes, undefined)
      return new Stand(subject, load, idleBytes, (sum(idleBytes) - before) / group.sessions)
    } catch (error) {
      // A load that fails because the subject did has less to say than the subject.
      const cause = subject.children.find(({ isRunning }) => !isRunning)?.failure('') ?? error
      await load.stop()
      await subject.close()
      throw cause
    }
  }

  /** One run; rejects when the load or the subject fails, and then the stand is of no more use. */
  async run({ order, ...least }: Scenario, options: RunLength): Promise<Measurement> {
    const { children, redis } = this.#subject
    const seconds = Math.max(least.seconds ?? 0, options.seconds)
    const warmupSeconds = Math.max(least.warmupSeconds ?? 0, options.warmupSeconds)
    for (const { pid } of children) forgetPeak(pid)
    // Redis is asked between the warm-up and the run.
    if (redis !== undefined) await this.#order(order, warmupSeconds, 0)
    const before = await redis?.read()
    const report = await this.#order(order, seconds, redis === undefined ? warmupSeconds : 0)
    const after = await redis?.read()
    const ofRedis = before && after && redisFigures(before, after, report.delivered)
    if (children.length === 0) return { ...report, ...ofRedis }
    for (const child of children) if (!child.isRunning) throw child.failure('')
    const peaks = children.map(({ pid }) => peakBytes(pid))
    return {
      ...report,
      memoryBytes: sum(peaks),
      ...(this.#bytesPerSession === undefined ? {} : { bytesPerSession: this.#bytesPerSession }),
      ...this.#ofTunnel(peaks),
      ...ofRedis,
    }
  }

  async #order(order: readonly string[], seconds: number, warmupSeconds: number): Promise<LoadReport> {
    const times = ['--seconds', String(seconds), '--warmup', String(warmupSeconds)]
    this.#load.writeLine([...order, ...times].join(' '))
    const deadlineMs = (seconds + warmupSeconds) * 1000 + runDeadlineMs
    return JSON.parse(await this.#load.nextLine(deadlineMs)) as LoadReport
  }

  #ofTunnel([serverMemoryBytes, clientMemoryBytes]: readonly number[]): Partial<Measurement> {
    const [serverIdleBytes = 0, clientIdleBytes = 0] = this.#idleBytes
    if (serverMemoryBytes === undefined || clientMemoryBytes === undefined) return {}
    return { serverMemoryBytes, serverIdleBytes, clientMemoryBytes, clientIdleBytes }
  }

  async close(): Promise<void> {
    await this.#load.stop()
    await this.#subject.close()
  }
}

function redisFigures(before: RedisUse, after: RedisUse, delivered: number): Partial<Measurement> {
  const each = (difference: number): number => difference / Math.max(1, delivered)
  const { commands } = after
  return {
    ...(commands !== undefined && { redisCommands: each(commands - (before.commands ?? 0)) }),
    redisCalls: each(after.calls - before.calls),
    redisCpuUs: each(after.cpuSeconds - before.cpuSeconds) * 1e6,
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
