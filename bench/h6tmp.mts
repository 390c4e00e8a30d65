import { readFileSync } from 'node:fs'
import { readPeriods } from './simulate/periods.ts'
import { runScenarios } from './simulate/scenarios.ts'
import { parseSimulateOptions } from './simulate/fleet-shape.ts'
const measured = JSON.parse(readFileSync('bench/simulate/measured.json', 'utf8'))
const { shape } = parseSimulateOptions(process.argv.slice(2))
for (const [u, s] of [
  [500, 200],
  [100, 100],
  [50, 50],
  [20, 20],
] as const) {
  const r = runScenarios(shape, { ...readPeriods(), saysAtATime: u, saysSessionsAtATime: s }, measured)
  for (const x of r)
    if (x.name.includes('away'))
      console.log(
        u,
        s,
        x.name,
        'worst',
        x.worstWaitMs.toFixed(0),
        'p99',
        x.pickP99Ms.toFixed(0),
        'late',
        x.latePicks,
        x.late,
        'calm',
        x.calmAfterSeconds,
      )
}
