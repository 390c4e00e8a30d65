import { z } from 'zod'

/** A share; SRS writes 0.153 for 15.3 %, and more than 1 for a process on several cores. */
const share = z.number().nonnegative().optional().catch(undefined)
const part = z.object({ cpu_percent: share }).optional().catch(undefined)
const summariesSchema = z.object({ data: z.object({ self: part, system: part }) })

/**
 * How busy an SRS is, 0 to 1, by the `summaries` of its heartbeat: the process in shares of one core, which is all that
 * its threads for media have, or the machine, whichever is busier. Undefined when they say nothing of it.
 */
export function loadOfSummaries(summaries: unknown): number | undefined {
  const { data } = summariesSchema.safeParse(summaries)
  const shares = [data?.data.self?.cpu_percent, data?.data.system?.cpu_percent].filter(
    (one) => one !== undefined,
  )
  if (shares.length === 0) return undefined
  return Math.min(1, Math.round(Math.max(...shares) * 1000) / 1000)
}
