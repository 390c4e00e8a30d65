import type { Result } from './result.ts'
import type { Figure, Scenario } from './scenario.ts'

/** A comparison or a limit, and what was found. */
export interface Ratio {
  readonly scenario: string
  readonly subject: string
  /** The peer; for added latency `direct`, for memory `idle`: the process before the sessions. */
  readonly against: string
  readonly figure: Figure
  /** The medians divided, or for a limit the median itself; null if the subject failed. */
  readonly ratio: number | null
  readonly bound: 'atLeast' | 'atMost'
  readonly target: number | null
  /** Null without a target. A subject that failed has met none. */
  readonly met: boolean | null
}

/** What a scenario asks of the subjects that were to run; a peer that is not there is not compared with. */
export function ratiosOf(
  scenario: Scenario,
  results: readonly Result[],
  asked: ReadonlySet<string>,
): readonly Ratio[] {
  const figureOf = (name: string, figure: Figure): number | undefined =>
    results.find((result) => result.scenario === scenario.name && result.subject === name)?.[figure]
  const comparisons = scenario.comparisons.flatMap(({ subject, against, atLeast }): Ratio[] => {
    const [of, by] = [figureOf(subject, 'perCpuSecond'), figureOf(against, 'perCpuSecond')]
    if (!asked.has(subject) || by === undefined) return []
    const ratio = of === undefined ? null : of / by
    const target = atLeast ?? null
    const met = target === null ? null : ratio !== null && ratio >= target
    return [
      {
        scenario: scenario.name,
        subject,
        against,
        figure: 'perCpuSecond',
        ratio,
        bound: 'atLeast',
        target,
        met,
      },
    ]
  })
  const limits = scenario.limits.flatMap(({ subject, figure, atMost }): Ratio[] => {
    if (!asked.has(subject)) return []
    const ratio = figureOf(subject, figure) ?? null
    const against = figure === 'bytesPerSession' ? 'idle' : 'direct'
    const met = ratio !== null && ratio <= atMost
    return [
      { scenario: scenario.name, subject, against, figure, ratio, bound: 'atMost', target: atMost, met },
    ]
  })
  return [...comparisons, ...limits]
}
