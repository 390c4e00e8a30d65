import { z } from 'zod'
import { type AdminOptions, AdminClient } from './status-client.ts'
import { durationText, plainJson, plainText, tableText } from './status-table.ts'

export interface StatusOptions extends AdminOptions {
  /** The answer of the gateway as it is. */
  readonly json?: boolean
  /** All streams instead of the first ones. */
  readonly all?: boolean
}

/** Streams that are shown when not all are asked for. */
const FIRST_STREAMS = 50
/** As many as a gateway gives. */
const ALL_STREAMS = 100_000

/**
 * `sluice status`: the gateways that act as one, their origins and streams, and the sessions of the gateway that is asked.
 * @throws what `AdminClient` throws
 */
export async function status(options: StatusOptions): Promise<void> {
  const client = await AdminClient.open(options)
  const streams = options.all === true ? ALL_STREAMS : FIRST_STREAMS
  const path = `/api/v1/status?streams=${streams}`
  if (options.json === true) {
    const answer = await client.ask('GET', path, z.looseObject({ gateway: z.string() }))
    process.stdout.write(`${plainJson(answer)}\n`)
  } else process.stdout.write(statusText(await client.ask('GET', path, statusSchema)))
}

/** What is shown. */
const statusSchema = z.object({
  gateway: z.string(),
  redis: z.enum(['none', 'up', 'away']),
  readiness: z.object({
    ready: z.boolean(),
    degraded: z.boolean().default(false),
    reasons: z.array(z.string()),
  }),
  gateways: z.array(
    z.object({
      id: z.string(),
      version: z.string(),
      uptimeSeconds: z.number(),
      draining: z.boolean(),
      load: z.object({
        sessions: z.number(),
        allocations: z.number(),
        tunnelClients: z.number(),
        cpu: z.number(),
        memoryBytes: z.number(),
      }),
    }),
  ),
  origins: z.array(
    z.object({
      id: z.string(),
      ip: z.string(),
      kind: z.string().default('srs'),
      state: z.string(),
      draining: z.boolean(),
      streams: z.number(),
      weight: z.number().default(1),
    }),
  ),
  streams: z.object({
    count: z.number(),
    list: z.array(
      z.object({
        key: z.string(),
        originId: z.string(),
        publishers: z.number(),
        players: z.number(),
        gateways: z.array(z.string()),
      }),
    ),
  }),
  sessions: z.record(z.string(), z.number()),
})

type Status = z.output<typeof statusSchema>

function statusText(status: Status): string {
  const { gateways, origins, streams } = status
  const left = streams.count - streams.list.length
  return [
    `${headText(status)}\n`,
    section(`gateways: ${gateways.length}`, gatewaysText(status)),
    section(`origins: ${origins.length}`, originsText(status)),
    section(`streams: ${streams.count}`, streamsText(status)),
    left > 0 ? `and ${left} more${streams.list.length < ALL_STREAMS ? ' (--all shows them)' : ''}\n\n` : '',
    `sessions here: ${sessionsText(status)}\n`,
  ].join('')
}

function headText({ gateway, redis, readiness: { ready, degraded, reasons } }: Status): string {
  const state = !ready ? 'not ready' : degraded ? 'degraded' : 'ready'
  const why = reasons.length === 0 ? '' : ` (${reasons.map(plainText).join('; ')})`
  const shared = redis === 'none' ? '' : `, Redis is ${redis}`
  return `${plainText(gateway)} is ${state}${why}${shared}\n`
}

function section(title: string, table: string): string {
  return `${title}\n${table}\n`
}

function gatewaysText({ gateway, gateways }: Status): string {
  if (gateways.length === 0) return ''
  return tableText(
    ['', 'GATEWAY', 'VERSION', 'UP', 'STATE', 'SESSIONS', 'ALLOCATIONS', 'TUNNEL CLIENTS', 'CORES', 'MB'],
    gateways.map(({ id, version, uptimeSeconds, draining, load }) => [
      // The one that answered.
      id === gateway ? '*' : '',
      id,
      version,
      durationText(uptimeSeconds),
      draining ? 'draining' : 'serving',
      load.sessions,
      load.allocations,
      load.tunnelClients,
      load.cpu.toFixed(2),
      Math.round(load.memoryBytes / 1e6),
    ]),
  )
}

function originsText({ origins }: Status): string {
  if (origins.length === 0) return ''
  return tableText(
    ['ORIGIN', 'KIND', 'ADDRESS', 'STATE', 'STREAMS', 'WEIGHT'],
    origins.map(({ id, kind, ip, state, draining, streams, weight }) => [
      id,
      kind,
      ip,
      draining ? `${state}, draining` : state,
      streams,
      weight,
    ]),
  )
}

function streamsText({ streams: { list } }: Status): string {
  if (list.length === 0) return ''
  return tableText(
    ['STREAM', 'ORIGIN', 'PUBLISHERS', 'PLAYERS', 'GATEWAYS'],
    list.map(({ key, originId, publishers, players, gateways }) => [
      key,
      originId,
      publishers,
      players,
      gateways.join(' '),
    ]),
  )
}

function sessionsText({ sessions }: Status): string {
  const counts = Object.entries(sessions).filter(([, count]) => count > 0)
  const sum = counts.reduce((total, [, count]) => total + count, 0)
  const by = counts.map(([protocol, count]) => `${plainText(protocol)} ${count}`).join(', ')
  return by === '' ? `${sum}` : `${sum} (${by})`
}
