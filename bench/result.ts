import { combine, type Figures, figuresOf, median } from './figures.ts'
import { baselineName, type Run } from './rounds.ts'
import type { Scenario, ScenarioGroup } from './scenario.ts'

/** One subject in one scenario: medians over the rounds, and between what they lay. */
export interface Result extends Figures {
  readonly scenario: string
  readonly subject: string
  readonly unit: 'packets' | 'cycles' | 'requests' | 'connections' | 'picks' | 'MB'
  readonly rounds: number
  readonly min: Figures
  readonly max: Figures
}

export function isBaseline({ subject }: Result): boolean {
  return subject === baselineName
}

/** The results of a scenario, in the order in which the group names its subjects. */
export function resultsOf(scenario: Scenario, group: ScenarioGroup, runs: readonly Run[]): Result[] {
  const { baseline = baselineName } = group
  const ofScenario = runs.filter((run) => run.scenario === scenario.name)
  return group.subjects.flatMap(({ name }) => {
    const own = ofScenario.filter(({ subject }) => subject === name)
    const [first] = own
    if (first === undefined) return []
    const figures = own.map(({ round, measurement }) => {
      const direct = ofScenario.find((run) => run.subject === baseline && run.round === round)
      return figuresOf(measurement, name === group.baseline ? undefined : direct?.measurement)
    })
    return [
      {
        scenario: scenario.name,
        subject: name,
        unit: first.measurement.unit === 'bytes' ? 'MB' : first.measurement.unit,
        rounds: own.length,
        ...combine(figures, median),
        min: combine(figures, (values) => Math.min(...values)),
        max: combine(figures, (values) => Math.max(...values)),
      },
    ]
  })
}
