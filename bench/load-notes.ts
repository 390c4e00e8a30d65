import { costText } from './report/format.ts'
import type { Result } from './result.ts'
import type { Scenario } from './scenario.ts'

/** Below this part of the asked rate a run was not what the scenario's name says. */
const keptUp = 0.97

/** Names the runs in which the load did not come to its rate, as happens on a busy machine. */
export function loadNotes(
  { name, perSecond, junkPerSecond }: Scenario,
  results: readonly Result[],
): readonly string[] {
  const isSlow = (rate: number | undefined, asked: number | undefined): rate is number =>
    rate !== undefined && asked !== undefined && rate < keptUp * asked
  return results
    .filter(({ scenario }) => scenario === name)
    .flatMap((result) => [
      ...(isSlow(result.sentPerSecond, perSecond)
        ? [`${name}, ${result.subject}: the load sent only ${perSecondText(result.sentPerSecond)}`]
        : []),
      ...(isSlow(result.junkPerSecond, junkPerSecond)
        ? [`${name}, ${result.subject}: strangers sent only ${perSecondText(result.junkPerSecond)}`]
        : []),
    ])
}

function perSecondText(rate: number): string {
  return `${costText(rate, 'packets')} per second`
}
