import type { Result } from './result.ts'
import { baselineName } from './rounds.ts'
import type { ComparedFigure, LimitedFigure, Scenario } from './scenario.ts'

/** A comparison or a limit, and what was found. */
export interface Ratio {
  readonly scenario: string
  readonly subject: string
  /** The peer; for added latency `direct` or the baseline, for memory `idle`: the process before the sessions; else nothing. */
  readonly against: string
  readonly figure: ComparedFigure | LimitedFigure
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
  baseline: string = baselineName,
): readonly Ratio[] {
  const figureOf = (name: string, figure: Ratio['figure']): number | undefined =>
    results.find((result) => result.scenario === scenario.name && result.subject === name)?.[figure]
  const comparisons = scenario.comparisons.flatMap((comparison): Ratio[] => {
    const { subject, against, figure = 'perCpuSecond', atLeast, atMost } = comparison
    const [of, by] = [figureOf(subject, figure), figureOf(against, figure)]
    if (!asked.has(subject) || by === undefined) return []
    const ratio = of === undefined ? null : of / by
    const found = { scenario: scenario.name, subject, against, figure, ratio }
    if (atMost !== undefined) {
      return [{ ...found, bound: 'atMost', target: atMost, met: ratio !== null && ratio <= atMost }]
    }
    const met = atLeast === undefined ? null : ratio !== null && ratio >= atLeast
    return [{ ...found, bound: 'atLeast', target: atLeast ?? null, met }]
  })
  const limits = scenario.limits.flatMap((limit): Ratio[] => {
    const { subject, figure } = limit
    if (!asked.has(subject)) return []
    const ratio = figureOf(subject, figure) ?? null
    const isAdded = figure === 'p50AddedUs' || figure === 'p99AddedUs'
    const against = isAdded ? baseline : besides[figure]
    const of = { scenario: scenario.name, subject, against, figure, ratio }
    if ('atMost' in limit) {
      const { atMost } = limit
      return [{ ...of, bound: 'atMost', target: atMost, met: ratio !== null && ratio <= atMost }]
    }
    const { atLeast } = limit
    return [{ ...of, bound: 'atLeast', target: atLeast, met: ratio !== null && ratio >= atLeast }]
  })
  return [...comparisons, ...limits]
}

/** Whether two subjects are compared in it, so that a ratio's figure is a quotient. */
export function isCompared(figure: Ratio['figure']): figure is ComparedFigure {
  return !Object.hasOwn(besides, figure)
}

/** What a limited figure is less than. */
const besides: Record<LimitedFigure, string> = {
  p50AddedUs: 'direct',
  p99AddedUs: 'direct',
  bytesPerSession: 'idle',
  growthBytes: 'idle',
  redisCommands: '',
  loss: '',
  smallerShare: '',
}
