import type { Options } from './options.ts'
import { hasTarget, type Scenario, type ScenarioGroup } from './scenario.ts'
import { type Measurement, Stand } from './stand.ts'
import type { SubjectKind } from './subject.ts'

/** One subject, once through one scenario. */
export interface Run {
  readonly scenario: string
  readonly subject: string
  readonly round: number
  readonly measurement: Measurement
}

/** A subject that did not start, or did not get through a scenario. The others went on. */
export interface Failure {
  readonly subject: string
  /** The scenario, or the group whose sessions could not be set up. */
  readonly scenario: string
  readonly reason: string
}

/** The subject without which there is no added latency. */
export const baselineName = 'direct'

/**
 * Runs the scenarios of a group round by round. In each round all subjects are started and take turns in
 * every scenario, so that what else the machine does meets all of them alike; the others stand idle meanwhile.
 */
export class GroupRunner {
  readonly runs: Run[] = []
  readonly failures: Failure[] = []
  readonly #group: ScenarioGroup
  readonly #options: Options
  readonly #loadTool: string
  readonly #say: (text: string) => void

  constructor(group: ScenarioGroup, options: Options, loadTool: string, say: (text: string) => void) {
    this.#group = group
    this.#options = options
    this.#loadTool = loadTool
    this.#say = say
  }

  async run(): Promise<void> {
    const { subjects, isOneByOne = false } = this.#group
    const { subject: asked } = this.#options
    let kinds = subjects.filter(
      ({ name }) => name.includes(asked) || name === (this.#group.baseline ?? baselineName),
    )
    for (let round = 0; round < this.#rounds(); round++) {
      const scenarios = scenariosOf(this.#group, this.#options, round)
      if (scenarios.length === 0) continue
      const started = new Set<SubjectKind>()
      for (const crew of isOneByOne ? kinds.map((kind) => [kind]) : [kinds]) {
        const stands = await this.#start(crew)
        for (const kind of stands.keys()) started.add(kind)
        try {
          for (const scenario of scenarios) await this.#takeTurns(scenario, round, stands)
        } finally {
          for (const stand of stands.values()) await stand.close()
        }
      }
      // What did not start at first will not later; what fails once it ran is tried again. And nobody is always
      // measured after the same.
      kinds = kinds.filter((kind) => round > 0 || started.has(kind)).toReversed()
    }
  }

  #rounds(): number {
    const { mostRounds = Number.POSITIVE_INFINITY, quickRounds = mostRounds } = this.#group
    return Math.min(this.#options.rounds, this.#options.isQuick ? quickRounds : mostRounds)
  }

  async #start(kinds: readonly SubjectKind[]): Promise<Map<SubjectKind, Stand>> {
    const stands = new Map<SubjectKind, Stand>()
    for (const kind of kinds) {
      try {
        stands.set(kind, await Stand.start(this.#group, kind, this.#loadTool))
      } catch (error) {
        this.#failed(kind, this.#group.name, error)
      }
    }
    return stands
  }

  /** Whoever fails is closed and taken out. */
  async #takeTurns(scenario: Scenario, round: number, stands: Map<SubjectKind, Stand>): Promise<void> {
    if (stands.size === 0) return
    this.#say(`round ${round + 1}, ${scenario.name}:`)
    for (const [kind, stand] of stands) {
      try {
        const measurement = await stand.run(scenario, this.#options)
        this.runs.push({ scenario: scenario.name, subject: kind.name, round, measurement })
        this.#say(` ${kind.name},`)
      } catch (error) {
        this.#failed(kind, scenario.name, error)
        this.#say(` ${kind.name} FAILED,`)
        stands.delete(kind)
        await stand.close()
      }
    }
    this.#say(' done\n')
  }

  #failed({ name: subject }: SubjectKind, scenario: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    this.failures.push({ subject, scenario, reason })
  }
}

/** The scenarios of a group that a round runs. */
export function scenariosOf(group: ScenarioGroup, options: Options, round: number): readonly Scenario[] {
  if (group.isSlow === true && options.isQuick) return []
  return group.scenarios.filter(
    (scenario) =>
      scenario.name.includes(options.only) && (round === 0 || !options.isQuick || hasTarget(scenario)),
  )
}
