import { z } from 'zod'
import type { Config } from './config.ts'
import { address, cidr, LIST_MAX, listenText, seconds, secret } from './fields.ts'
import { tunnelSchema } from './tunnel-schema.ts'
import { turnSchema } from './turn-schema.ts'

/**
 * The one schema of `sluice.toml`. Types, defaults, the JSON Schema for editors and the reference page come
 * from it; each description says unit and what happens at the bound.
 */

/** Of a TCP edge. */
const connectionCaps = {
  maxConnections: z
    .int()
    .min(1)
    .default(20_000)
    .describe('Most connections; further ones are closed at once.'),
  maxConnectionsPerAddress: z.int().min(1).default(2_000).describe('The same for one client address.'),
}

const publicAddress = z.strictObject({
  address: address.describe('Address that clients reach.'),
  port: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe('Port that clients reach, where it is not the one bound (port mapping).'),
})

export const configSchema: z.ZodType<Config> = z.strictObject({
  log: z
    .strictObject({
      level: z
        .enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent'])
        .default('info')
        .describe('Least level that is written. Lines are JSON on standard error.'),
    })
    .prefault({}),

  routing: z
    .strictObject({
      keys: z
        .enum(['normal', 'srs'])
        .default('normal')
        .describe(
          'How stream keys are made: `normal`, or `srs` for the table of the SRS proxy byte for byte.',
        ),
      vhosts: z
        .array(z.string().min(1).max(253))
        .max(LIST_MAX)
        .default([])
        .describe(
          'Hosts that have streams of their own. Every other host is `__defaultVhost__`. Not used with `srs` keys.',
        ),
    })
    .prefault({}),

  registration: z
    .strictObject({
      listen: listenText.default('127.0.0.1:12025').describe('Where origins announce themselves (HTTP).'),
      token: secret
        .optional()
        .describe(
          'Bearer token that an origin must send. Without it anybody who reaches the port registers.',
        ),
      allow: z
        .array(cidr)
        .max(LIST_MAX)
        .default([])
        .describe('Addresses that may register. Empty: every address.'),
    })
    .prefault({}),

  balancer: z
    .strictObject({
      policy: z
        .enum(['random', 'least-streams'])
        .default('random')
        .describe('How a new stream gets its origin among the healthy ones.'),
      heartbeatTtlSeconds: seconds
        .default(300)
        .describe('An origin that is not heard of for so long gets no new stream.'),
      forgetSeconds: seconds
        .default(86_400)
        .describe('An origin that is not heard of for so long is removed.'),
      suspectSeconds: seconds
        .default(10)
        .describe(
          'How long an origin is avoided after a connection to it failed, unless it announces itself before.',
        ),
      pickIdleSeconds: seconds
        .default(600)
        .describe('How long the origin of a stream is remembered after its last use.'),
      maxOrigins: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(10_000)
        .describe('Most registered origins; further ones are refused.'),
      maxPicks: z
        .int()
        .min(1)
        .max(100_000_000)
        .default(200_000)
        .describe('Most remembered streams; the one unused for longest is forgotten for a new one.'),
    })
    .prefault({}),

  datapath: z
    .strictObject({
      engine: z
        .enum(['auto', 'native', 'node'])
        .default('auto')
        .describe(
          'What moves datagrams: `native`, threads outside JavaScript; `node`, which works everywhere; `auto`, `native` where it can be had, else `node`, with a line in the log.',
        ),
      threads: z
        .union([z.literal('auto'), z.int().min(1).max(64)])
        .default(1)
        .describe(
          'Threads of `native`. `auto` begins with one and adds others under load, up to the cores. `node` has none.',
        ),
    })
    .check(({ value: { engine, threads }, issues }) => {
      if (engine !== 'node' || threads === 1 || threads === 'auto') return
      const message = 'engine "node" has no threads of its own; must be 1 or "auto"'
      issues.push({ code: 'custom', path: ['threads'], input: threads, message })
    })
    .prefault({}),

  media: z
    .strictObject({
      http: z
        .strictObject({
          listen: z
            .array(listenText)
            .max(LIST_MAX)
            .default(['8080', '1985'])
            .describe('WHIP, WHEP, HTTP-FLV and pages. 1985 is where clients of SRS look. Empty: none.'),
          pages: z
            .string()
            .min(1)
            .optional()
            .describe('Directory of static files served at `/`. Absent: none.'),
          ...connectionCaps,
          stallSeconds: seconds.default(30).describe('A viewer that takes nothing for so long is cut.'),
          idleSeconds: seconds
            .default(60)
            .describe(
              'A request whose origin sends nothing for so long is ended: no answer yet, or a live body that stands still.',
            ),
        })
        .prefault({}),
      rtmp: z
        .strictObject({
          listen: z.array(listenText).max(LIST_MAX).default(['1935']).describe('RTMP. Empty: none.'),
          ...connectionCaps,
          idleSeconds: seconds
            .default(60)
            .describe('A connection on which nothing comes for so long is ended.'),
        })
        .prefault({}),
      webrtc: z
        .strictObject({
          listen: listenText.default('8000').describe('WebRTC media (UDP).'),
          publicAddresses: z
            .array(publicAddress)
            .max(16)
            .default([])
            .describe(
              'Addresses offered to clients, one candidate each. Empty: the address on which the request came in.',
            ),
          idleSeconds: seconds
            .default(30)
            .describe('A session without packets from one of its ends for so long is ended.'),
          maxSessions: z
            .int()
            .min(1)
            .max(10_000_000)
            .default(10_000)
            .describe('Most sessions; further ones get 503.'),
          allowIceQuery: z
            .boolean()
            .default(false)
            .describe('Whether `ice-ufrag` and `ice-pwd` in the query reach the origin.'),
        })
        .prefault({}),
    })
    .prefault({}),

  turn: turnSchema,

  tunnel: tunnelSchema,

  admin: z
    .strictObject({
      listen: listenText.default('127.0.0.1:9190').describe('Health, metrics and the admin API (HTTP).'),
      token: secret.optional().describe('Bearer token for metrics and the admin API. Health needs none.'),
    })
    .prefault({}),

  shutdown: z
    .strictObject({
      graceSeconds: z
        .number()
        .min(0)
        .max(86_400)
        .default(20)
        .describe('How long running sessions may go on after SIGTERM before they are cut.'),
    })
    .prefault({}),
})

/** The configuration that holds when no file says otherwise. */
export function defaultConfig(): Config {
  return configSchema.parse({})
}

/** The JSON Schema of the configuration file, for editors. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })
}
