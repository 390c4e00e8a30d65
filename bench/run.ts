/**
 * Whole-path benchmarks: `npx tsx bench/run.ts [--quick] [--only TEXT] [--contender TEXT]`. See README.md.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Contender, type Scenario, scenarios } from './scenarios.ts'
import { cpuSeconds, freePorts, peakMemoryBytes, readLines, stop, type Subject } from './subject.ts'

/** What the load tool prints, and what it cost. */
interface Measurement {
  readonly unit: 'packets' | 'bytes'
  readonly sent: number
  readonly delivered: number
  readonly loss: number
  readonly seconds: number
  /** Of datagrams: how long they took from one end of the load to the other. */
  readonly p50Us?: number
  readonly p99Us?: number
  readonly cpuSeconds: number
  readonly perCpuSecond: number
  readonly peakMemoryBytes: number
}

interface Result {
  readonly scenario: string
  readonly contender: string
  readonly runs: readonly Measurement[]
}

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    contender: { type: 'string', default: '' },
  },
})
const rounds = options.quick ? 1 : 3
const seconds = options.quick ? 2 : 4
const loadDirectory = fileURLToPath(new URL('load/', import.meta.url))
const setUpDeadlineMs = 60_000

execFileSync('cargo', ['build', '--release', '--quiet'], { cwd: loadDirectory, stdio: 'inherit' })
const results: Result[] = []
for (const scenario of scenarios.filter(({ name }) => name.includes(options.only))) {
  const runs = await runScenario(scenario)
  results.push(...runs)
  process.stdout.write(`${describe(scenario, runs)}\n`)
}
const directory = fileURLToPath(new URL('results/', import.meta.url))
mkdirSync(directory, { recursive: true })
const file = `${directory}${new Date().toISOString().replaceAll(':', '-')}.json`
writeFileSync(
  file,
  `${JSON.stringify({ node: process.version, cpus: cpus().map(({ model }) => model), results })}\n`,
)
process.stdout.write(`written: ${file}\n`)

/** Every contender once per round, so that what else the machine does meets all of them alike. */
async function runScenario(scenario: Scenario): Promise<Result[]> {
  const contenders = scenario.contenders.filter(({ name }) => name.includes(options.contender))
  const runs = contenders.map((): Measurement[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      runs[index]?.push(await measure(scenario, contender))
    }
  }
  return contenders.map(({ name }, index) => ({
    scenario: scenario.name,
    contender: name,
    runs: runs[index] ?? [],
  }))
}

async function measure(scenario: Scenario, contender: Contender): Promise<Measurement> {
  const [originPort = 0] = await freePorts(1)
  const subject = await contender.start(originPort)
  try {
    return await runLoad(scenario, subject, originPort)
  } catch (error) {
    throw new Error(`${scenario.name}, ${contender.name}`, { cause: error })
  } finally {
    await subject.close()
  }
}

async function runLoad(scenario: Scenario, subject: Subject, originPort: number): Promise<Measurement> {
  const load = spawn(
    `${loadDirectory}target/release/load`,
    [
      ...scenario.load,
      '--seconds',
      String(seconds),
      '--origin-port',
      String(originPort),
      ...subject.loadOptions,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  try {
    const nextLine = readLines(load)
    await nextLine(setUpDeadlineMs)
    const before = cpuSeconds(subject.pid)
    load.stdin.write('go\n')
    const report = JSON.parse(await nextLine(seconds * 1000 + setUpDeadlineMs)) as Omit<
      Measurement,
      'cpuSeconds' | 'perCpuSecond' | 'peakMemoryBytes'
    >
    const spent = cpuSeconds(subject.pid) - before
    return {
      ...report,
      cpuSeconds: spent,
      perCpuSecond: report.delivered / spent,
      peakMemoryBytes: peakMemoryBytes(subject.pid),
    }
  } finally {
    await stop(load)
  }
}

function describe(scenario: Scenario, results: readonly Result[]): string {
  const perCpuSecond = new Map(
    results.map(({ contender, runs }) => [contender, median(runs.map((run) => run.perCpuSecond))]),
  )
  const rows = results.map(({ contender, runs }) => {
    const isBytes = runs[0]?.unit === 'bytes'
    const figure = (value: number): string => (value / (isBytes ? 1e6 : 1e3)).toFixed(isBytes ? 0 : 1)
    const all = runs.map((run) => run.perCpuSecond)
    const unit = isBytes ? 'MB' : 'k packets'
    const loss = (100 * median(runs.map((run) => run.loss))).toFixed(2)
    const latency = (
      [
        ['p50', 'p50Us'],
        ['p99', 'p99Us'],
      ] as const
    )
      .map(([name, key]) => [name, median(runs.map((run) => run[key] ?? Number.NaN))] as const)
      .filter(([, us]) => !Number.isNaN(us))
      .map(([name, us]) => `, ${name} ${(us / 1000).toFixed(1)} ms`)
      .join('')
    const memory = (median(runs.map((run) => run.peakMemoryBytes)) / 1e6).toFixed(0)
    return (
      `  ${contender.padEnd(20)} ${figure(median(all)).padStart(7)} ${unit} per CPU-second` +
      ` (${figure(Math.min(...all))} to ${figure(Math.max(...all))}), loss ${loss} %${latency}, ${memory} MB`
    )
  })
  const ratios = scenario.comparisons.flatMap(({ subject, peer, atLeast }) => {
    const [of, by] = [perCpuSecond.get(subject), perCpuSecond.get(peer)]
    if (of === undefined || by === undefined) return []
    const ratio = of / by
    const target =
      atLeast === undefined ? '' : `, target ${atLeast.toFixed(2)}: ${ratio >= atLeast ? 'met' : 'MISSED'}`
    return [
      `  ${subject} does ${ratio.toFixed(2)} times what ${peer} does, at ${(by / of).toFixed(2)} times the cost${target}`,
    ]
  })
  return [scenario.name, ...rows, ...ratios].join('\n')
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
