import type { FleetShape } from './fleet-shape.ts'
import { FleetSimulation, type SimulatedGateway } from './fleet-simulation.ts'
import type { Measured } from './measured.ts'
import type { Periods } from './periods.ts'
import { seededRandom } from './random.ts'

/** Something that happens to a fleet, and what Redis and those who ask it see of it. */
export interface ScenarioResult {
  readonly name: string
  /** Of the seconds from the event on. */
  readonly mostCommandsPerSecond: number
  readonly busiestSecond: number
  readonly worstWaitMs: number
  readonly pickP50Ms: number
  readonly pickP99Ms: number
  /** Picks that were placed without Redis. */
  readonly latePicks: number
  /** Commands in the background that passed their deadline. */
  readonly late: number
  /** Until all is said again or taken over, and nothing waits; undefined: not within the time that was looked at. */
  readonly calmAfterSeconds: number | undefined
}

const BEFORE_SECONDS = 20
const AFTER_SECONDS = 240
/** A client's media or STUN comes again so soon, in seconds, once the balancer sends it elsewhere. */
const CLIENT_SECONDS = 5
const STEP_MS = 10
/** A balancer that looks each 5 s, twice. */
const BALANCER_SECONDS = 10
/** Longest pause of a reconnect. */
const RECONNECT_MS = 3000

interface Scenario {
  readonly name: string
  /** Called before each step from the event on. Gives whether it has ended by itself. */
  start(fleet: FleetSimulation, random: () => number): (sinceMs: number) => boolean
}

export function runScenarios(
  shape: FleetShape,
  periods: Periods,
  measured: Measured,
): readonly ScenarioResult[] {
  return scenarios(shape, periods).map((scenario) => {
    const random = seededRandom(8)
    const fleet = new FleetSimulation(shape, periods, measured, random)
    fleet.run(BEFORE_SECONDS)
    const [firstSecond, firstWait] = [fleet.seconds.length, fleet.pickWaits.length]
    const eventMs = fleet.nowMs
    const each = scenario.start(fleet, random)
    let lastUnrestMs = eventMs
    fleet.run(AFTER_SECONDS, () => {
      const isOver = each(fleet.nowMs - eventMs)
      if (!isOver || fleet.saying > 0 || fleet.redis.isAway) lastUnrestMs = fleet.nowMs
    })
    const seconds = fleet.seconds.slice(firstSecond)
    const waits = fleet.pickWaits.slice(firstWait).toSorted((a, b) => a - b)
    const isCalm = lastUnrestMs < fleet.nowMs - 1000
    return {
      name: scenario.name,
      mostCommandsPerSecond: Math.max(...seconds.map(({ commands }) => commands)),
      busiestSecond: Math.max(...seconds.map(({ busy }) => busy)),
      worstWaitMs: Math.max(...seconds.map(({ worstWaitMs }) => worstWaitMs)),
      pickP50Ms: quantile(waits, 0.5),
      pickP99Ms: quantile(waits, 0.99),
      latePicks: fleet.latePicks,
      late: Math.round(fleet.late),
      calmAfterSeconds: isCalm ? (lastUnrestMs - eventMs) / 1000 : undefined,
    }
  })
}

function scenarios(shape: FleetShape, periods: Periods): readonly Scenario[] {
  const tenth = Math.max(1, Math.round(shape.gateways / 10))
  return [
    { name: 'nothing happens', start: () => () => true },
    {
      name: 'one gateway is killed',
      start: (fleet, random) => lost(fleet, fleet.gateways.slice(0, 1), random),
    },
    {
      name: `${tenth} gateways restart at once`,
      start: (fleet, random) => lost(fleet, fleet.gateways.slice(0, tenth), random, 5),
    },
    {
      name: 'all gateways read all origins in the same second',
      start: (fleet, random) => {
        for (const gateway of fleet.gateways) {
          gateway.listsAtMs = fleet.nowMs + random() * 1000
          gateway.originsAtMs = fleet.nowMs
        }
        return () => true
      },
    },
    { name: 'Redis is away for 10 s', start: (fleet, random) => away(fleet, shape, periods, 10, random) },
    { name: 'Redis is away for 60 s', start: (fleet, random) => away(fleet, shape, periods, 60, random) },
  ]
}

/** Gateways end; the balancer sends their clients to others once it has noticed. */
function lost(
  fleet: FleetSimulation,
  gone: readonly SimulatedGateway[],
  random: () => number,
  backAfterSeconds = Number.POSITIVE_INFINITY,
): (sinceMs: number) => boolean {
  const all = gone.reduce((total, gateway) => total + fleet.sessionsOf(gateway), 0)
  let orphans = all
  for (const gateway of gone) fleet.killGateway(gateway)
  let areBack = false
  return (sinceMs) => {
    if (!areBack && sinceMs >= backAfterSeconds * 1000) {
      for (const gateway of gone) fleet.startGateway(gateway)
      areBack = true
    }
    // Each asks once in its time, until it is answered.
    if (sinceMs >= BALANCER_SECONDS * 1000) {
      orphans -= fleet.takeOver((orphans * STEP_MS) / (CLIENT_SECONDS * 1000) + random())
    }
    // But for the last few.
    return orphans <= all / 100
  }
}

/** Redis, or the way to it, is away; then all reconnect and say again what they hold. */
function away(
  fleet: FleetSimulation,
  shape: FleetShape,
  periods: Periods,
  seconds: number,
  random: () => number,
): (sinceMs: number) => boolean {
  fleet.redis.isAway = true
  fleet.redis.drop()
  const back = fleet.gateways
    .map((gateway) => ({
      gateway,
      atMs: seconds * 1000 + (0.5 + random() / 2) * RECONNECT_MS + random() * periods.saysWithinMs,
    }))
    .toSorted((a, b) => a.atMs - b.atMs)
  // Heartbeats come to any gateway, so each has heard of some of the origins of late.
  const beats = periods.saysOriginsOfMs / 1000 / shape.heartbeatSeconds
  const origins = shape.origins * (1 - (1 - 1 / shape.gateways) ** beats)
  return (sinceMs) => {
    if (sinceMs >= seconds * 1000) fleet.redis.isAway = false
    while ((back[0]?.atMs ?? Number.POSITIVE_INFINITY) <= sinceMs) {
      const [next] = back.splice(0, 1)
      if (next !== undefined) fleet.sayAgain(next.gateway, origins)
    }
    return back.length === 0
  }
}

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
