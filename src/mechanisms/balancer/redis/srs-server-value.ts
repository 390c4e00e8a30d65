import { z } from 'zod'
import type { OriginAnnouncement, OriginKind, OriginUrlName, OriginUrls } from '../contract.ts'
import { ENDPOINT_LISTS, type EndpointList, originPort } from '../origin-endpoint.ts'
import { isDialable, withoutBrackets } from '../origin-host.ts'
import { originUrlFault } from '../origin-target.ts'
import { readJson } from './json-text.ts'
import { parseRfc3339 } from './rfc3339.ts'

/** An origin as it stands in Redis. */
export interface ServerValue {
  readonly announcement: OriginAnnouncement
  /** Wall time of its newest announcement, in milliseconds. */
  readonly updateMs: number
}

const MAX_VALUE_LENGTH = 64 * 1024
/** Of the list of all servers: 10,000 of the longest ids. */
const MAX_LIST_LENGTH = 16 * 1024 * 1024
const MAX_SERVERS = 10_000
const MAX_SERVER_KEY_LENGTH = 2048
const MAX_TEXT_LENGTH = 255
const MAX_ENDPOINTS = 64
const MAX_URL_LENGTH = 2048
const MAX_WEIGHT = 1000

/**
 * The value of `srs-proxy-server:`: the fields of the SRS proxy in its order, those that are empty left out, and what it
 * does not know in `sluice` behind them. Reference: Redis keys and values.
 */
export function serverValue({ announcement, updateMs }: ServerValue): string {
  const { ip, deviceId, server, service, pid, weight, isBackup, zone, load, kind, urls } = announcement
  const sluice = { weight, isBackup, zone, load, kind, urls }
  return JSON.stringify({
    ip,
    device_id: deviceId || undefined,
    server_id: server,
    service_id: service,
    pid,
    ...Object.fromEntries(
      ENDPOINT_LISTS.map((list) => [list, announcement[list].map(String)] as const).filter(
        ([, ports]) => ports.length > 0,
      ),
    ),
    update_at: new Date(updateMs).toISOString(),
    sluice: Object.values(sluice).some((field) => field !== undefined) ? sluice : undefined,
  })
}

/**
 * Reads what Sluice or a Go proxy wrote. A Go proxy passes on what the origin sent: endpoints in any form, of which those
 * of no use are left out. Undefined when nobody could go there.
 */
export function readServerValue(text: string): ServerValue | undefined {
  const value = readJson(text, MAX_VALUE_LENGTH, serverSchema)
  const updateMs = parseRfc3339(value?.update_at ?? '')
  if (value === undefined || updateMs === undefined) return undefined
  return {
    announcement: {
      ip: value.ip,
      ...(value.device_id && { deviceId: value.device_id }),
      server: value.server_id,
      service: value.service_id,
      pid: value.pid,
      rtmp: portsOf('rtmp', value.rtmp),
      http: portsOf('http', value.http),
      api: portsOf('api', value.api),
      srt: portsOf('srt', value.srt),
      rtc: portsOf('rtc', value.rtc),
      ...definedOf(value.sluice ?? {}),
    },
    updateMs,
  }
}

/** The value of `srs-proxy-all-servers`: the keys of all servers, each with its prefix. */
export function serverList(keys: readonly string[]): string {
  return JSON.stringify(keys)
}

/** Items that are no text, or too long, are left out, and what is behind the first 10,000. Undefined when it is no list. */
export function readServerList(text: string): readonly string[] | undefined {
  return readJson(text, MAX_LIST_LENGTH, listSchema)
}

const label = z
  .string()
  .max(MAX_TEXT_LENGTH)
  .regex(/^\P{Cc}*$/u)
const needed = label.min(1)
const endpoints = z.array(z.string().max(MAX_TEXT_LENGTH)).max(MAX_ENDPOINTS).nullish()

const KINDS = [
  'srs',
  'mediamtx',
  'ovenmediaengine',
  'livekit-ingress',
  'nginx-rtmp',
  'custom',
] as const satisfies readonly OriginKind[]

const urlsSchema = z.object({
  whip: url('whip'),
  whep: url('whep'),
  json: url('json'),
  rtmp: url('rtmp'),
  rtmpPublish: url('rtmpPublish'),
  srt: url('srt'),
  srtPublish: url('srtPublish'),
  flv: url('flv'),
  ts: url('ts'),
  aac: url('aac'),
  mp3: url('mp3'),
  hls: url('hls'),
  dash: url('dash'),
} satisfies Record<OriginUrlName, z.ZodType>)

function url(name: OriginUrlName): z.ZodOptional<z.ZodString> {
  return z
    .string()
    .max(MAX_URL_LENGTH)
    .refine((text) => originUrlFault(name, text) === undefined)
    .optional()
}

const serverSchema = z.object({
  ip: z.string().max(MAX_TEXT_LENGTH).transform(withoutBrackets).refine(isDialable),
  device_id: label.nullish(),
  server_id: needed,
  service_id: needed,
  pid: needed,
  rtmp: endpoints,
  http: endpoints,
  api: endpoints,
  srt: endpoints,
  rtc: endpoints,
  update_at: z.string().max(64),
  sluice: z
    .object({
      weight: z.number().min(0).max(MAX_WEIGHT).optional(),
      isBackup: z.boolean().optional(),
      zone: label.optional(),
      load: z.number().min(0).max(1).optional(),
      kind: z.enum(KINDS).optional(),
      urls: urlsSchema.transform((given): OriginUrls => definedOf(given)).optional(),
    })
    .optional(),
})

const listSchema = z
  .array(z.unknown())
  .transform((items) =>
    items
      .slice(0, MAX_SERVERS)
      .filter(
        (item): item is string =>
          typeof item === 'string' && item !== '' && item.length <= MAX_SERVER_KEY_LENGTH,
      ),
  )

function portsOf(list: EndpointList, texts: readonly string[] | null | undefined): readonly number[] {
  return (texts ?? []).map((text) => originPort(list, text)).filter((port) => typeof port === 'number')
}

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> }

function definedOf<T extends object>(given: T): Defined<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Defined<T>
}
