import { loadNotes } from './load-notes.ts'
import type { Machine } from './machine.ts'
import type { Options } from './options.ts'
import { type Ratio, ratiosOf } from './ratios.ts'
import { type Result, resultsOf } from './result.ts'
import { type Failure, type GroupRunner, scenariosOf } from './rounds.ts'
import type { ScenarioGroup } from './scenario.ts'

/** All that a bench found; what the JSON file holds. */
export interface Summary {
  readonly results: readonly Result[]
  /** Comparisons and limits, those with a target and those without. */
  readonly ratios: readonly Ratio[]
  /** The load by itself: nothing between its two ends. */
  readonly baseline: readonly Result[]
  readonly failures: readonly Failure[]
  /** Where the load did not do what the scenario says. */
  readonly notes: readonly string[]
  /** What was not there to compare with. */
  readonly missing: readonly string[]
  readonly settings: Pick<Options, 'isQuick' | 'rounds' | 'seconds' | 'warmupSeconds'>
  readonly machine: Machine
}

export type GroupSummary = Pick<Summary, 'results' | 'ratios' | 'failures' | 'notes'>

/** The figures of a group that has run; `direct` is among the results. */
export function summarise(
  group: ScenarioGroup,
  options: Options,
  { runs, failures }: Pick<GroupRunner, 'runs' | 'failures'>,
): GroupSummary {
  const scenarios = scenariosOf(group, options, 0)
  const results = scenarios.flatMap((scenario) => resultsOf(scenario, group, runs))
  const asked = new Set(
    group.subjects.map(({ name }) => name).filter((name) => name.includes(options.subject)),
  )
  return {
    results,
    ratios: scenarios.flatMap((scenario) => ratiosOf(scenario, results, asked, group.baseline)),
    failures,
    notes: scenarios.flatMap((scenario) => loadNotes(scenario, results)),
  }
}
