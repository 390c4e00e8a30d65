import { z } from 'zod'
import { originUrlFault, type OriginUrlName, POLICIES } from '../balancer/index.ts'
import { LIST_MAX, seconds } from './fields.ts'
import type { OriginConfig, PlacementConfig } from './origins-config.ts'

const KINDS = ['srs', 'mediamtx', 'ovenmediaengine', 'livekit-ingress', 'nginx-rtmp', 'custom'] as const

/** Shown in logs and in the API: no control characters. */
const label = z
  .string()
  .min(1, { error: 'must not be empty' })
  .max(255)
  .regex(/^\P{Cc}*$/u, { error: 'must not hold control characters' })

/** Whether a check of an origin can be made of the text. */
const checkText = z
  .string()
  .max(2048)
  .regex(/^(?:https?:\/\/[^@\s]+|tcp:\/\/(?:\[[\da-f:.]+\]|[\w.-]+):\d{1,5})$/i, {
    error: 'must be http://…, https://… or tcp://host:port, without a password',
  })

const urls = z.strictObject({
  whip: url('whip').describe('Publish WebRTC.'),
  whep: url('whep').describe('Play WebRTC.'),
  json: url('json').describe('The older signalling of SRS.'),
  rtmp: url('rtmp').describe('Play RTMP, and publish it where `rtmpPublish` is not set.'),
  rtmpPublish: url('rtmpPublish').describe('Publish RTMP, where that is not where it is played.'),
  srt: url('srt').describe(
    'Play SRT, and publish it where `srtPublish` is not set; what follows `streamid=` is the stream id.',
  ),
  srtPublish: url('srtPublish').describe('Publish SRT, where that is not where it is played.'),
  flv: url('flv').describe('HTTP-FLV.'),
  ts: url('ts').describe('HTTP-TS.'),
  aac: url('aac').describe('Live AAC over HTTP.'),
  mp3: url('mp3').describe('Live MP3 over HTTP.'),
  hls: url('hls').describe('The first playlist of HLS.'),
  dash: url('dash').describe('The manifest of DASH.'),
} satisfies Record<OriginUrlName, z.ZodType>)

function url(name: OriginUrlName) {
  return z
    .union([
      z
        .string()
        .max(2048)
        .superRefine((text, context) => {
          // Without `host` there must be none of these; that is told when all is known.
          const fault = originUrlFault(name, text.replace('//HOST', '//host'))
          if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
        }),
      z.literal(false),
    ])
    .optional()
}

const port = z.union([z.int().min(1).max(65_535), z.literal(false)]).optional()

const ports = z.strictObject({
  rtmp: port.describe('Default 1935.'),
  http: port.describe('HTTP-FLV, HLS and others. Default 8080.'),
  api: port.describe('HTTP API, WHIP and WHEP. Default 1985.'),
  srt: port.describe('Default 10080.'),
  rtc: z
    .union([z.int().min(0).max(65_535), z.literal(false)])
    .optional()
    .describe('UDP of WebRTC; 0: the port that each SDP answer names. Default 8000.'),
})

const origin = z
  .strictObject({
    name: label.describe('Its server id: shown, and named by rules of apps. Each has its own.'),
    kind: z
      .enum(KINDS)
      .describe(
        'Its make, which says where it has streams out of its box. `custom`: only where `urls` say. `livekit-ingress` takes streams and plays none.',
      ),
    host: z
      .string()
      .max(253)
      .regex(/^[\w.:-]+$/, { error: 'must be an address without brackets, or a host name' })
      .optional()
      .describe('Address or host name. Absent: all is in `urls`.'),
    urls: urls
      .optional()
      .describe(
        'Where streams are, in place of what is usual for the kind: URLs with `{vhost}`, `{app}` and `{stream}` behind the port, and `HOST` for `host`. `false`: not offered. With any of them an `srs` is asked by these names, else as its clients ask.',
      ),
    ports: ports.optional().describe('Ports of an `srs` without `urls`; `false`: not offered there.'),
    weight: z
      .number()
      .min(0)
      .max(1000)
      .default(1)
      .describe('Share of new streams beside origins of weight 1. At 0 it gets none while another is fit.'),
    zone: label.optional().describe('Where it stands; see `balancer.zone`.'),
    backup: z.boolean().default(false).describe('It gets new streams only when no other origin is fit.'),
    check: z
      .union([checkText, z.literal(false)])
      .optional()
      .describe(
        'How its health is checked: an HTTP URL that must answer 2xx, 3xx or 401, or `tcp://host:port` that must accept. `false`: it is taken to be well. Absent: the API of an `srs`, of others TCP to the first of their URLs.',
      ),
    checkSeconds: seconds
      .max(3600)
      .default(10)
      .describe('How often it is checked. Must stay below `balancer.heartbeatTtlSeconds`.'),
    timeoutSeconds: seconds
      .max(60)
      .default(3)
      .describe('A check, or a list of its streams, that takes longer has failed.'),
    checkFailures: z
      .int()
      .min(1)
      .max(100)
      .default(2)
      .describe('After so many failed checks in a row it is avoided, until one passes.'),
    followSeconds: z
      .number()
      .min(0)
      .max(3600)
      .default(0)
      .describe(
        'How often it is asked for what is published there, so that streams that came past the gateway are found. 0: never. For `srs` and `mediamtx`.',
      ),
    api: z
      .string()
      .max(2048)
      .regex(/^https?:\/\/\S+$/, { error: 'must be a URL such as http://10.0.0.5:9997' })
      .meta({ secret: true })
      .optional()
      .describe(
        'Its HTTP API for `followSeconds`, with user and password if it wants them. Default: port 1985 of `srs`, 9997 of `mediamtx`.',
      ),
  })
  .superRefine(({ kind, host, urls, ports, followSeconds, api }, context) => {
    const fault = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [path], message })
    const isAnyUrl = Object.values(urls ?? {}).some((one) => typeof one === 'string')
    if (host === undefined && !isAnyUrl) fault('host', 'is needed where urls name no place')
    if (kind === 'custom' && !isAnyUrl) fault('urls', 'are needed: nothing is known of a custom origin')
    if (
      host === undefined &&
      Object.values(urls ?? {}).some((one) => typeof one === 'string' && one.includes('//HOST'))
    )
      fault('host', 'is needed for HOST in urls')
    if (ports !== undefined && (kind !== 'srs' || urls !== undefined))
      fault('ports', 'are those of an srs without urls')
    if (followSeconds > 0 && kind !== 'srs' && kind !== 'mediamtx')
      fault('followSeconds', `must be 0: a ${kind} does not list its streams`)
    if (followSeconds > 0 && host === undefined && api === undefined)
      fault('api', 'is needed where there is no host')
  })

/** `[[origins]]`. */
export const originsSchema: z.ZodDefault<z.ZodType<readonly OriginConfig[]>> = z
  .array(origin)
  .max(LIST_MAX)
  .superRefine((origins, context) => {
    const names = new Set<string>()
    for (const [at, { name }] of origins.entries()) {
      if (names.has(name))
        context.addIssue({ code: 'custom', path: [at, 'name'], message: `another origin is named ${name}` })
      names.add(name)
    }
  })
  .default([])

const originNames = z.array(label).max(LIST_MAX)

/** The keys of `[balancer]` that say where new streams go. */
export const placementFields: {
  readonly policy: z.ZodDefault<z.ZodType<PlacementConfig['policy']>>
  readonly zone: z.ZodOptional<z.ZodType<string>>
  readonly apps: z.ZodDefault<z.ZodType<PlacementConfig['apps']>>
} = {
  policy: z
    .enum(POLICIES)
    .default('random')
    .describe(
      'How a new stream gets its origin among those that are equally fit: `random`; `least-streams`; `least-load`, by the `summaries` of heartbeats, or by streams where an origin sends none; `consistent-hash`, the same for each gateway. Weights count in all of them.',
    ),
  zone: label
    .optional()
    .describe(
      'Where this gateway stands: origins of the same zone come first, others when none of it is fit.',
    ),
  apps: z
    .array(
      z.strictObject({
        app: label.describe('The app, or `*` for every app without a rule of its own.'),
        origins: originNames
          .optional()
          .describe('Server ids, device ids or names of the origins that carry it. Absent: every one.'),
        backups: originNames
          .optional()
          .describe('The same, of those that get its new streams only when none of the others is fit.'),
      }),
    )
    .max(LIST_MAX)
    .superRefine((rules, context) => {
      const apps = new Set<string>()
      for (const [at, { app, origins, backups = [] }] of rules.entries()) {
        const fault = (key: string, message: string): void =>
          context.addIssue({ code: 'custom', path: [at, key], message })
        if (apps.has(app)) fault('app', `another rule is for ${app}`)
        if (origins?.length === 0 && backups.length === 0)
          fault('origins', 'must name one, or no origin may carry the app')
        apps.add(app)
      }
    })
    .default([])
    .describe('Which origins carry which apps.'),
}

/** Of `[registration]`. */
export const followSeconds: z.ZodDefault<z.ZodType<number>> = z
  .number()
  .min(0)
  .max(3600)
  .default(0)
  .describe(
    'How often SRS that registered are asked for what is published there (`/api/v1/streams`), so that streams that came past the gateway are found. 0: never; their callbacks do the same at once.',
  )
