import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import type { Options } from './options.ts'
import { forgetPeak, peakBytes, residentBytes } from './process-memory.ts'
import type { Scenario, ScenarioGroup } from './scenario.ts'
import type { Subject, SubjectKind } from './subject.ts'

/** What the load tool prints of a run. */
interface LoadReport {
  readonly unit: 'packets' | 'bytes' | 'cycles' | 'requests' | 'connections'
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
    const load = new Child(loadTool, [
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
  async run({ order, warmupSeconds: least = 0 }: Scenario, options: RunLength): Promise<Measurement> {
    const { children } = this.#subject
    const { seconds } = options
    const warmupSeconds = Math.max(least, options.warmupSeconds)
    for (const { pid } of children) forgetPeak(pid)
    const times = ['--seconds', String(seconds), '--warmup', String(warmupSeconds)]
    this.#load.writeLine([...order, ...times].join(' '))
    const deadlineMs = (seconds + warmupSeconds) * 1000 + runDeadlineMs
    const report = JSON.parse(await this.#load.nextLine(deadlineMs)) as LoadReport
    if (children.length === 0) return report
    for (const child of children) if (!child.isRunning) throw child.failure('')
    const peaks = children.map(({ pid }) => peakBytes(pid))
    return {
      ...report,
      memoryBytes: sum(peaks),
      ...(this.#bytesPerSession === undefined ? {} : { bytesPerSession: this.#bytesPerSession }),
      ...this.#ofTunnel(peaks),
    }
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

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
