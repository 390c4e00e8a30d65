/**
 * Where speed is judged: `npm run bench -- [--quick] [--only TEXT] [--subject TEXT] [--rounds N] [--seconds N]
 * [--json FILE] [--publish]`. See README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { endChildrenAtExit } from './child.ts'
import { datagramGroups } from './datagram-scenarios.ts'
import { fleetGroups } from './fleet-scenarios.ts'
import { describeMachine } from './machine.ts'
import { type Options, parseOptions } from './options.ts'
import { page } from './report/page.ts'
import { plot } from './report/plot.ts'
import { groupText } from './report/table.ts'
import { isBaseline } from './result.ts'
import { GroupRunner, scenariosOf } from './rounds.ts'
import { streamGroups } from './stream-scenarios.ts'
import { type GroupSummary, summarise, type Summary } from './summary.ts'
import { buildTools } from './tools.ts'
import { tunnelGroups } from './tunnel-scenarios.ts'
import { turnGroups } from './turn-scenarios.ts'

try {
  const startMs = performance.now()
  endChildrenAtExit()
  const options = parseOptions(process.argv.slice(2))
  write(await bench(options), options)
  say(`${((performance.now() - startMs) / 60_000).toFixed(1)} minutes\n`)
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function bench(options: Options): Promise<Summary> {
  const missing: string[] = []
  const tools = buildTools((line) => {
    missing.push(line)
    say(`${line}\n`)
  })
  const machine = describeMachine()
  const groups = [
    ...datagramGroups(tools),
    ...streamGroups(tools),
    ...turnGroups(tools),
    ...tunnelGroups(tools),
    ...fleetGroups(tools),
  ].filter((group) => scenariosOf(group, options, 0).length > 0)
  if (groups.length === 0) throw new Error(`no scenario is named like "${options.only}"`)
  const parts: GroupSummary[] = []
  for (const group of groups) {
    const runner = new GroupRunner(group, options, tools.load, say)
    await runner.run()
    const part = summarise(group, options, runner)
    parts.push(part)
    say(`\n${groupText(part)}\n`)
  }
  return {
    results: parts.flatMap(({ results }) => results.filter((result) => !isBaseline(result))),
    ratios: parts.flatMap(({ ratios }) => ratios),
    baseline: parts.flatMap(({ results }) => results.filter(isBaseline)),
    failures: parts.flatMap(({ failures }) => failures),
    notes: parts.flatMap(({ notes }) => notes),
    missing,
    settings: {
      isQuick: options.isQuick,
      rounds: options.rounds,
      seconds: options.seconds,
      warmupSeconds: options.warmupSeconds,
    },
    machine,
  }
}

function write(summary: Summary, options: Options): void {
  const json = `${JSON.stringify(summary, undefined, 2)}\n`
  const svg = plot(summary.results)
  const stem = here(`results/${summary.machine.date.replaceAll(':', '-')}`)
  const files: (readonly [string, string])[] = [
    [`${stem}.json`, json],
    [`${stem}.svg`, svg],
  ]
  if (options.json !== undefined) files.push([options.json, json])
  if (options.isPublished) {
    const name = pageName(options.only)
    files.push([here(`../docs/${name}.md`), page(summary, name)], [here(`../docs/${name}.svg`), svg])
  }
  mkdirSync(here('results/'), { recursive: true })
  for (const [file, text] of files) {
    writeFileSync(file, text)
    say(`written: ${file}\n`)
  }
}

/** A part of the bench has a page of its own, so that it can be measured again without the rest. */
function pageName(only: string): string {
  return only === '' ? 'performance' : `performance-${only.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`
}

function here(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}

function say(text: string): void {
  process.stdout.write(text)
}
