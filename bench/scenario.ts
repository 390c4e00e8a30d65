import type { SubjectKind } from './subject.ts'

/** A figure in which two subjects are compared. */
export type ComparedFigure = 'perCpuSecond' | 'serverMemoryBytes' | 'clientMemoryBytes'

/** A figure of one subject that a target may be set for. */
export type LimitedFigure =
  | 'p50AddedUs'
  | 'p99AddedUs'
  | 'bytesPerSession'
  | 'loss'
  | 'smallerShare'
  | 'growthBytes'
  | 'redisCommands'

/** Two subjects compared: the figure of the one, divided by that of the other. */
export interface Comparison {
  readonly subject: string
  readonly against: string
  /** @defaultValue perCpuSecond */
  readonly figure?: ComparedFigure
  /** The least, or the most, that meets the target; absent where none is set. */
  readonly atLeast?: number
  readonly atMost?: number
}

/** A figure of one subject that is not to be exceeded, or is to be reached. */
export type Limit = {
  readonly subject: string
  readonly figure: LimitedFigure
} & ({ readonly atMost: number } | { readonly atLeast: number })

export interface Scenario {
  readonly name: string
  /** What the load tool is told for a run. */
  readonly order: readonly string[]
  /** Datagrams that the load is to send per second; absent where it sends what the system takes. */
  readonly perSecond?: number
  /** Datagrams of strangers beside them. */
  readonly junkPerSecond?: number
  /** The least that a run is to last, where a quantile needs more of what is measured. */
  readonly seconds?: number
  /** The least that a run is to be warmed up, where code that is compiled while it runs needs longer than usual. */
  readonly warmupSeconds?: number
  readonly comparisons: readonly Comparison[]
  readonly limits: readonly Limit[]
}

/** Scenarios that run one after the other over the same sessions. */
export interface ScenarioGroup {
  readonly name: string
  /** Kind and options of the load tool for setting the sessions up. */
  readonly load: readonly string[]
  /** A program and its options that stands for the load tool. */
  readonly loadProgram?: readonly string[]
  /** 0 where the scenarios open none that stay. */
  readonly sessions: number
  readonly subjects: readonly SubjectKind[]
  readonly scenarios: readonly Scenario[]
  /** The subject whose latency is the zero of added latency. @defaultValue `direct`, which is not listed as a result */
  readonly baseline?: string
  /** Left out of a quick bench. */
  readonly isSlow?: boolean
  /** One subject after the other is started and ended: all together would want more ports than there are. */
  readonly isOneByOne?: boolean
  /** Where setting up takes long, or scenarios are many. */
  readonly mostRounds?: number
  /** The same for a quick bench. */
  readonly quickRounds?: number
}

/** Whether something hangs on the scenario's figures; in a quick bench only then it is run more than once. */
export function hasTarget({ comparisons, limits }: Scenario): boolean {
  return (
    limits.length > 0 ||
    comparisons.some(({ atLeast, atMost }) => atLeast !== undefined || atMost !== undefined)
  )
}
