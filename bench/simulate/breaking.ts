import { fleetCost, type FleetCost } from './cost.ts'
import type { FleetShape } from './fleet-shape.ts'
import type { Measured } from './measured.ts'
import type { Periods } from './periods.ts'
import { ratesOf } from './rates.ts'
import { sourceConstant } from './source-constants.ts'

/** What a fleet may use up of something, and what is told of it. */
interface Bound {
  readonly what: string
  readonly most: number
  readonly used: (cost: FleetCost, shape: FleetShape) => number
}

/** Where a fleet ends that is made larger in one way only. */
export interface Breaking {
  readonly grows: string
  /** The largest that is within all bounds. */
  readonly size: number
  /** The bound that it meets. */
  readonly what: string
}

/** One core of Redis is full before it is busy all of the time: what waits then, waits long. */
const FULL_CORE = 0.7
/** 10 Gbit/s, full at 70 %. */
const FULL_LINK = 0.7 * 1.25e9
const FULL_MEMORY = 32 * 2 ** 30

export function bounds(): readonly Bound[] {
  return [
    {
      what: `${FULL_CORE * 100} % of Redis' core`,
      most: FULL_CORE,
      used: ({ busiestCores }) => busiestCores,
    },
    {
      what: '70 % of 10 Gbit/s out of Redis',
      most: FULL_LINK,
      used: ({ busiestOutPerSecond }) => busiestOutPerSecond,
    },
    {
      what: '32 GiB of Redis memory',
      most: FULL_MEMORY,
      used: ({ busiestMemoryBytes }) => busiestMemoryBytes,
    },
    {
      what: 'the most gateways of a fleet',
      most: sourceConstant('fleet/redis-fleet.ts', 'MAX_MEMBERS'),
      used: (_, { gateways }) => gateways,
    },
    {
      what: 'the most origins of a list',
      most: sourceConstant('balancer/redis/srs-server-value.ts', 'MAX_SERVERS'),
      used: (_, { origins }) => origins,
    },
  ]
}

/** Each dimension made larger by itself. */
export function breakings(shape: FleetShape, periods: Periods, measured: Measured): readonly Breaking[] {
  const grown: readonly (readonly [string, (by: number) => FleetShape, (by: number) => number])[] = [
    ['sessions', (by) => ({ ...shape, sessions: shape.sessions * by }), (by) => shape.sessions * by],
    [
      'gateways, with as many sessions each',
      (by) => ({ ...shape, gateways: Math.round(shape.gateways * by), sessions: shape.sessions * by }),
      (by) => Math.round(shape.gateways * by),
    ],
    [
      'gateways, with as many sessions in all',
      (by) => ({ ...shape, gateways: Math.round(shape.gateways * by) }),
      (by) => Math.round(shape.gateways * by),
    ],
    ['origins', (by) => ({ ...shape, origins: shape.origins * by }), (by) => Math.round(shape.origins * by)],
    [
      'new sessions per second, as sessions get shorter',
      (by) => ({ ...shape, sessionMinutes: shape.sessionMinutes / by }),
      (by) => Math.round((shape.sessions * by) / (shape.sessionMinutes * 60)),
    ],
  ]
  return grown.map(([grows, shapeOf, sizeOf]) => {
    const first = (by: number): Bound | undefined => {
      const larger = shapeOf(by)
      const cost = fleetCost(larger, ratesOf(larger, periods, measured.filled), measured)
      return bounds().find(({ used, most }) => used(cost, larger) > most)
    }
    let [fits, breaks] = [0, 1]
    while (first(breaks) === undefined && breaks < 1e6) [fits, breaks] = [breaks, breaks * 2]
    for (let step = 0; step < 30; step++) {
      const middle = (fits + breaks) / 2
      if (first(middle) === undefined) fits = middle
      else breaks = middle
    }
    return { grows, size: sizeOf(fits), what: first(breaks)?.what ?? 'nothing' }
  })
}
