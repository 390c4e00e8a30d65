import { Counter, Gauge, type Registry } from '../telemetry/index.ts'

/** How a question for one more was decided: with Redis, or without its answer by what this gateway holds itself. */
export const TAKE_RESULTS = ['granted', 'refused', 'granted-alone'] as const
export type TakeResult = (typeof TAKE_RESULTS)[number]

/** What the scrape reads. */
export interface CountsToRead {
  readonly takes: Readonly<Record<TakeResult, number>>
  /** Users whose count in Redis is not known to be right. */
  readonly untold: () => number
}

export function registerCountMetrics(registry: Registry, { takes, untold }: CountsToRead): void {
  void new Counter({
    name: 'sluice_quota_takes_total',
    help: 'Questions of limited users for one more: granted or refused by the count of the fleet, granted-alone by that of this gateway while Redis did not answer.',
    labelNames: ['result'],
    registers: [registry],
    collect() {
      this.reset()
      for (const result of TAKE_RESULTS) this.inc({ result }, takes[result])
    },
  })
  void new Gauge({
    name: 'sluice_quota_untold',
    help: 'Users whose count of this gateway Redis has still to be told.',
    registers: [registry],
    collect() {
      this.set(untold())
    },
  })
}
