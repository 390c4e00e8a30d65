import { costText } from './report/format.ts'
import type { Result } from './result.ts'
import type { Scenario } from './scenario.ts'

/** Below this part of the asked rate a run was not what the scenario's name says. */
const keptUp = 0.97

/** Names the runs in which the load did not come to its rate, as happens on a busy machine. */
export function loadNotes({ name, perSecond }: Scenario, results: readonly Result[]): readonly string[] {
  if (perSecond === undefined) return []
  return results
    .filter(({ scenario, sentPerSecond }) => scenario === name && (sentPerSecond ?? 0) < keptUp * perSecond)
    .map(
      ({ subject, sentPerSecond = 0 }) =>
        `${name}, ${subject}: the load sent only ${costText(sentPerSecond, 'packets')} per second`,
    )
}
