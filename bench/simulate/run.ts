/**
 * How large a fleet can be: `npx tsx bench/simulate/run.ts [--gateways 200] [--origins 5000] [--sessions 2000000]
 * [--session-minutes 20] ... [--measure] [--json FILE]`. See docs/scaling.md.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { endChildrenAtExit } from '../child.ts'
import { breakings } from './breaking.ts'
import { fleetCost, memoryRows } from './cost.ts'
import { parseSimulateOptions, type SimulateOptions } from './fleet-shape.ts'
import { RedisServer } from '../redis-server.ts'
import { fill } from './fill.ts'
import { filledWith, measure, type Measured } from './measure.ts'
import { type MixResult, runMix } from './mix.ts'
import { readPeriods } from './periods.ts'
import { holdingsOf, type Rate, ratesOf } from './rates.ts'
import { reportText, type SimulationReport } from './report.ts'
import { runScenarios } from './scenarios.ts'

const file = fileURLToPath(new URL('measured.json', import.meta.url))

try {
  endChildrenAtExit()
  const options = parseSimulateOptions(process.argv.slice(2))
  const report = await simulate(options, await measuredFigures(options))
  process.stdout.write(reportText(report))
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`)
} catch (error) {
  process.stderr.write(`simulate: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function measuredFigures({ isMeasuring, filledSessions }: SimulateOptions): Promise<Measured> {
  if (isMeasuring) {
    const measured = await measure(filledWith(filledSessions), (line) => process.stderr.write(`${line}\n`))
    writeFileSync(file, `${JSON.stringify(measured, undefined, 2)}\n`)
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Measured
}

async function simulate(
  { shape, isChecking, filledSessions }: SimulateOptions,
  measured: Measured,
): Promise<SimulationReport> {
  const periods = readPeriods()
  const rates = ratesOf(shape, periods, measured.filled)
  const cost = fleetCost(shape, rates, measured)
  return {
    shape,
    measured,
    holdings: holdingsOf(shape),
    cost,
    memory: memoryRows(shape, measured.memory),
    breakings: breakings(shape, periods, measured),
    scenarios: runScenarios(shape, periods, measured),
    ...(isChecking && { checked: await check(rates, filledSessions) }),
  }
}

/** What a real server makes of the same rates. */
async function check(rates: readonly Rate[], filledSessions: number): Promise<MixResult> {
  const filled = filledWith(filledSessions)
  const server = await RedisServer.start()
  try {
    await fill(server, filled)
    return await runMix(server, rates, filled)
  } finally {
    await server.stop()
  }
}
