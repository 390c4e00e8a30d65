import type { Rows } from '../report/rows.ts'
import { textTable } from '../report/table.ts'
import type { Breaking } from './breaking.ts'
import type { FleetCost, MemoryRow } from './cost.ts'
import type { FleetShape } from './fleet-shape.ts'
import type { Measured } from './measured.ts'
import type { Holdings } from './rates.ts'
import type { ScenarioResult } from './scenarios.ts'
import { bytesShort, rateShort, short } from './text.ts'

/** All that was found of one fleet. */
export interface SimulationReport {
  readonly shape: FleetShape
  readonly measured: Measured
  readonly holdings: Holdings
  readonly cost: FleetCost
  readonly memory: readonly MemoryRow[]
  readonly breakings: readonly Breaking[]
  readonly scenarios: readonly ScenarioResult[]
}

export function reportText(report: SimulationReport): string {
  const { shape, measured, holdings, cost } = report
  const { gateways, origins, sessions, sessionMinutes, perStream, redisNodes } = shape
  return `${[
    `${gateways} gateways, ${origins} origins, ${short(sessions)} sessions of ${sessionMinutes} min, ${perStream} of each stream: ${short(holdings.streams)} streams, ${short(holdings.uses)} uses, ${short(holdings.sessionsPerSecond)} new sessions/s`,
    `costs of redis-server ${measured.redis} on ${measured.machine}, ${measured.date}`,
    '',
    textTable(rateRows(cost)),
    '',
    textTable(memoryTable(report.memory)),
    '',
    `Redis, ${redisNodes} server${redisNodes === 1 ? '' : 's'}: ${short(cost.commandsPerSecond)} commands/s, ${short(100 * cost.busiestCores)} % of the busiest core, ${rateShort(cost.inPerSecond)} in, ${rateShort(cost.outPerSecond)} out, ${bytesShort(cost.memoryBytes)}`,
    `each gateway: ${short(cost.commandsPerSecond / gateways)} commands/s, ${rateShort((cost.inPerSecond + cost.outPerSecond) / gateways)}`,
    '',
    textTable(breakingRows(report.breakings)),
    '',
    textTable(scenarioRows(report.scenarios)),
    '',
    mixText(measured),
  ].join('\n')}\n`
}

function rateRows({ costs }: FleetCost): Rows {
  return [
    ['what', 'command', 'per second', '% of a core', 'in', 'out'],
    ...costs.map(({ rate, cores, inPerSecond, outPerSecond }) => [
      rate.what,
      rate.command,
      short(rate.perSecond),
      short(100 * cores),
      rateShort(inPerSecond),
      rateShort(outPerSecond),
    ]),
  ]
}

function memoryTable(memory: readonly MemoryRow[]): Rows {
  return [
    ['in Redis', 'how many', 'bytes each', 'together'],
    ...memory.map(({ what, count, bytesEach, bytes }) => [
      what,
      short(count),
      short(bytesEach),
      bytesShort(bytes),
    ]),
  ]
}

function breakingRows(breakings: readonly Breaking[]): Rows {
  return [
    ['if this grows alone', 'up to', 'then full is'],
    ...breakings.map(({ grows, size, what }) => [grows, short(size), what]),
  ]
}

function scenarioRows(scenarios: readonly ScenarioResult[]): Rows {
  return [
    [
      'when',
      'most commands/s',
      'busiest second',
      'longest wait',
      'pick p50',
      'pick p99',
      'picks without Redis',
      'late commands',
      'calm after',
    ],
    ...scenarios.map((result) => [
      result.name,
      short(result.mostCommandsPerSecond),
      `${short(100 * result.busiestSecond)} %`,
      `${short(result.worstWaitMs)} ms`,
      `${short(result.pickP50Ms)} ms`,
      `${short(result.pickP99Ms)} ms`,
      short(result.latePicks),
      short(result.late),
      result.calmAfterSeconds === undefined ? 'not' : `${short(result.calmAfterSeconds)} s`,
    ]),
  ]
}

function mixText({ mix, mixFactor }: Measured): string {
  return [
    `a real server takes ${short(mix.commands / mix.cpuSeconds)} commands of this mix per CPU-second:`,
    `${short(mixFactor)} times the cost of its parts, which is counted in above`,
  ].join(' ')
}
