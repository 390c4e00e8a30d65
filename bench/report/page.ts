import type { Machine } from '../machine.ts'
import type { Ratio } from '../ratios.ts'
import type { Result } from '../result.ts'
import type { Summary } from '../summary.ts'
import { figureText } from './format.ts'
import { fleetPrefix } from '../fleet-scenarios.ts'
import { tunnelPrefix } from '../tunnel-scenarios.ts'
import { turnPrefix } from '../turn-scenarios.ts'
import { ratioRows, resultRows } from './rows.ts'
import { markdownTable } from './table.ts'
import { turnElsewhere } from './turn-elsewhere.ts'

/** A page of `docs/`: all figures of a bench, those that lose included. */
export function page(summary: Summary, name: string): string {
  const { results, ratios, baseline, settings, machine } = summary
  const withTarget = ratios.filter(({ target }) => target !== null)
  const missed = withTarget.filter(({ met }) => met === false).length
  const scenarios = [...new Set(results.map(({ scenario }) => scenario))]
  const ofTurn = scenarios.filter((name) => name.startsWith(turnPrefix))
  const ofTunnel = scenarios.filter((name) => name.startsWith(tunnelPrefix))
  const ofFleet = scenarios.filter((name) => name.startsWith(fleetPrefix))
  const others = scenarios.filter((name) => ![...ofTurn, ...ofTunnel, ...ofFleet].includes(name))
  return `${[
    '# Performance',
    '<!-- Written by `npm run bench -- --publish`; change that, not this page. -->',
    'What a datagram, a megabyte or a request costs in CPU time, beside bare relays, nginx, other TURN servers and frp, which',
    'carried the same load in the same run on the same machine. How it is measured, and what to make of it: [bench/README.md](../bench/README.md).',
    '',
    machineTable(machine),
    '',
    `Medians of at most ${settings.rounds} interleaved rounds of ${settings.seconds} s${settings.isQuick ? ' (a quick run)' : ''}. Ratios travel between machines, absolute figures do not.`,
    '',
    ...problems(summary),
    '## Targets',
    '',
    `${withTarget.length - missed} of ${withTarget.length} met${missed === 0 ? '' : `, ${missed} MISSED`}.`,
    '',
    markdownTable(emphasise(ratioRows(withTarget, true))),
    '',
    `![Units per CPU-second, a group of bars per scenario](${name}.svg)`,
    '',
    '## Figures',
    '',
    ...others.flatMap((name) => scenarioPart(name, results, ratios)),
    ...(ofTurn.length === 0
      ? []
      : [
          '## TURN',
          '',
          ...ofTurn.flatMap((name) => scenarioPart(name, results, ratios)),
          ...turnElsewhere(),
        ]),
    ...(ofTunnel.length === 0
      ? []
      : ['## Tunnel', '', ...ofTunnel.flatMap((name) => scenarioPart(name, results, ratios))]),
    ...(ofFleet.length === 0
      ? []
      : [
          '## Many gateways on a Redis',
          '',
          'Added latency is that of the gateway with Redis, less that of the same gateway without in the same round.',
          '',
          ...ofFleet.flatMap((name) => scenarioPart(name, results, ratios)),
        ]),
    ...(baseline.length === 0 ? [] : loadByItself(baseline)),
    '## Again',
    '',
    '    npm ci',
    '    npm run bench -- --publish    # all of it; about an hour',
    '    npm run bench -- --quick      # about 15 minutes',
    '',
    'It needs Linux and cargo; the peers in Go are built if Go is there, nginx and coturn take part if they are installed,',
    'and frp if SLUICE_FRPS and SLUICE_FRPC name its executables. Use a machine that does nothing else.',
  ].join('\n')}\n`
}

function scenarioPart(name: string, results: readonly Result[], ratios: readonly Ratio[]): string[] {
  const ofScenario = ratios.filter(({ scenario }) => scenario === name)
  return [
    `### ${name}`,
    '',
    markdownTable(
      resultRows(
        results.filter(({ scenario }) => scenario === name),
        ofScenario,
      ),
    ),
    '',
    ...(ofScenario.length === 0 ? [] : [markdownTable(emphasise(ratioRows(ofScenario, false))), '']),
  ]
}

function loadByItself(baseline: readonly Result[]): string[] {
  return [
    '## The load by itself',
    '',
    'Nothing between the two ends: what the machine and the load tool take. Latencies above are less these.',
    '',
    markdownTable(baselineRows(baseline)),
    '',
  ]
}

function machineTable(machine: Machine): string {
  return markdownTable([
    ['', ''],
    ['date', machine.date.slice(0, 10)],
    ['sluice', machine.sluice],
    ['machine', `${machine.cpus} × ${machine.cpuModel}, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB`],
    ['kernel', machine.kernel],
    ['Node', machine.node],
    ['Go', machine.go ?? 'not installed'],
    ['rustc', machine.rustc ?? 'not installed'],
    ['nginx', machine.nginx ?? 'not installed'],
    ['coturn', machine.coturn ?? 'not installed'],
    ['Redis', machine.redis ?? 'not installed'],
    ['pion/turn', machine.pionTurn ?? 'not there'],
    ['frp', machine.frp ?? 'not there'],
  ])
}

function problems({ failures, missing, notes }: Summary): string[] {
  const lines = [
    ...missing.map((line) => `- ${line}`),
    ...failures.map(
      ({ subject, scenario, reason }) => `- FAILED: ${subject}, ${scenario}: \`${oneLine(reason)}\``,
    ),
    ...notes.map((line) => `- ${line}`),
  ]
  return lines.length === 0 ? [] : ['## Not measured, or not as it should be', '', ...lines, '']
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('`', "'").slice(0, 300)
}

function baselineRows(baseline: readonly Result[]): string[][] {
  const names = ['sentPerSecond', 'loss', 'p50Us', 'p99Us'] as const
  return [
    ['scenario', 'sent/s', 'loss', 'p50', 'p99'],
    ...baseline.map((result) => [
      result.scenario,
      ...names.map((name) => figureText(name, result[name], result.unit)),
    ]),
  ]
}

function emphasise(rows: readonly (readonly string[])[]): string[][] {
  return rows.map((row) => row.map((cell) => (cell === 'MISSED' ? '**MISSED**' : cell)))
}
