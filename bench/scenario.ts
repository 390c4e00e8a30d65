import type { SubjectKind } from './subject.ts'

/** A figure of a result that a target may be set for. */
export type Figure = 'perCpuSecond' | 'p50AddedUs' | 'p99AddedUs' | 'bytesPerSession'

/** Two subjects compared: units per CPU-second of the one, divided by those of the other. */
export interface Comparison {
  readonly subject: string
  readonly against: string
  /** The least that meets the target; absent where none is set. */
  readonly atLeast?: number
}

/** A figure of one subject that is not to be exceeded. */
export interface Limit {
  readonly subject: string
  readonly figure: Exclude<Figure, 'perCpuSecond'>
  readonly atMost: number
}

export interface Scenario {
  readonly name: string
  /** What the load tool is told for a run. */
  readonly order: readonly string[]
  /** Datagrams that the load is to send per second; absent where it sends what the system takes. */
  readonly perSecond?: number
  readonly comparisons: readonly Comparison[]
  readonly limits: readonly Limit[]
}

/** Scenarios that run one after the other over the same sessions. */
export interface ScenarioGroup {
  readonly name: string
  /** Kind and options of the load tool for setting the sessions up. */
  readonly load: readonly string[]
  readonly sessions: number
  readonly subjects: readonly SubjectKind[]
  readonly scenarios: readonly Scenario[]
  /** Left out of a quick bench. */
  readonly isSlow?: boolean
  /** One subject after the other is started and ended: all together would want more ports than there are. */
  readonly isOneByOne?: boolean
  /** Where setting up takes long. */
  readonly mostRounds?: number
}

/** Whether something hangs on the scenario's figures; in a quick bench only then it is run more than once. */
export function hasTarget({ comparisons, limits }: Scenario): boolean {
  return limits.length > 0 || comparisons.some(({ atLeast }) => atLeast !== undefined)
}
