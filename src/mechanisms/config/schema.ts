import { z } from 'zod'
import type { AccessRuleConfig } from './access-config.ts'
import type { Config } from './config.ts'
import { cidr, LIST_MAX, listenText, seconds, secret } from './fields.ts'
import { fleetSchema } from './fleet-schema.ts'
import { mediaSchema } from './media-schema.ts'
import { followSeconds, originsSchema, placementFields } from './origins-schema.ts'
import { redisSchema } from './redis-schema.ts'
import { tunnelSchema } from './tunnel-schema.ts'
import { turnSchema } from './turn-schema.ts'

/**
 * The one schema of `sluice.toml`. Types, defaults, the JSON Schema for editors and the reference page come
 * from it; each description says unit and what happens at the bound.
 */

export const configSchema: z.ZodType<Config> = z
  .strictObject({
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
            'How stream keys are made: `normal`, or `srs` for the table of the SRS proxy byte for byte, which goes with no `media.access` that looks at streams.',
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
        followSeconds,
      })
      .prefault({}),

    balancer: z
      .strictObject({
        ...placementFields,
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

    media: mediaSchema,

    origins: originsSchema.describe(
      'Origins that do not announce themselves: media servers of any make, and SRS without `heartbeat`.',
    ),

    redis: redisSchema.describe(
      'A Redis that gateways share, so that many act as one. Absent: this gateway is alone.',
    ),

    fleet: fleetSchema,

    turn: turnSchema,

    tunnel: tunnelSchema,

    admin: z
      .strictObject({
        listen: listenText.default('127.0.0.1:9190').describe('Health, metrics and the admin API (HTTP).'),
        token: secret.optional().describe('Bearer token for metrics and the admin API. Health needs none.'),
        profiler: z
          .boolean()
          .default(false)
          .describe(
            'Whether profiles of the process are served at `/debug/pprof/`, for `go tool pprof`. Sampling the heap costs next to nothing.',
          ),
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
        noticeSeconds: z
          .number()
          .min(0)
          .max(3600)
          .default(0)
          .describe(
            'How long load balancers may take to see that this gateway is not ready. After SIGTERM new sessions are served for so long, at most `graceSeconds`, before they are refused; then the running ones go on for what is left of `graceSeconds`.',
          ),
      })
      .prefault({}),
  })
  .check(({ value: { origins, balancer, routing, media }, issues }) => {
    if (routing.keys === 'srs' && media.access.some(dependsOnStream)) {
      const message =
        'must be "normal" where rules of `media.access` look at streams: a request may have the SRS proxy\'s key of one stream, and get another one of SRS'
      issues.push({ code: 'custom', path: ['routing', 'keys'], input: routing.keys, message })
    }
    for (const [index, { checkSeconds }] of origins.entries()) {
      if (checkSeconds < balancer.heartbeatTtlSeconds) continue
      const message = `must be less than balancer.heartbeatTtlSeconds, which is ${balancer.heartbeatTtlSeconds}`
      issues.push({ code: 'custom', path: ['origins', index, 'checkSeconds'], input: checkSeconds, message })
    }
  })

/** Whether it matters to a rule which stream is asked for. */
function dependsOnStream({ vhost, app, stream, publish, play, hooks }: AccessRuleConfig): boolean {
  if ([vhost, app, stream].some((pattern) => pattern !== '*')) return true
  if (publish.jwt !== undefined || play.jwt !== undefined) return true
  return hooks.onPublish.length > 0 || hooks.onPlay.length > 0
}

/** The configuration that holds when no file says otherwise. */
export function defaultConfig(): Config {
  return configSchema.parse({})
}

/** The JSON Schema of the configuration file, for editors. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })
}
