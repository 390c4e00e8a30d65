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
import { filledWith, measure } from './measure.ts'
import type { Measured } from './measured.ts'
import { readPeriods } from './periods.ts'
import { holdingsOf, ratesOf } from './rates.ts'
import { reportText, type SimulationReport } from './report.ts'
import { runScenarios } from './scenarios.ts'

const file = fileURLToPath(new URL('measured.json', import.meta.url))

try {
  endChildrenAtExit()
  const options = parseSimulateOptions(process.argv.slice(2))
  const report = simulate(options, await measuredFigures(options))
  process.stdout.write(reportText(report))
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`)
} catch (error) {
  process.stderr.write(`simulate: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function measuredFigures({ isMeasuring, filledSessions, shape }: SimulateOptions): Promise<Measured> {
  if (isMeasuring) {
    const filled = filledWith(filledSessions, shape.perStream)
    const rates = ratesOf(shape, readPeriods(), filled)
    const measured = await measure(filled, rates, (line) => process.stderr.write(`${line}\n`))
    writeFileSync(file, `${JSON.stringify(measured, undefined, 2)}\n`)
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Measured
}

function simulate({ shape }: SimulateOptions, measured: Measured): SimulationReport {
  const periods = readPeriods()
  return {
    shape,
    measured,
    holdings: holdingsOf(shape),
    cost: fleetCost(shape, ratesOf(shape, periods, measured.filled), measured),
    memory: memoryRows(shape, measured.memory),
    breakings: breakings(shape, periods, measured),
    scenarios: runScenarios(shape, periods, measured),
  }
}
