import { z } from 'zod'
import { readTarget, REDIS_PREFIX } from '../redis/index.ts'
import { LIST_MAX, secret } from './fields.ts'
import type { RedisConfig, RedisTlsConfig } from './redis-config.ts'

const file = z.string().min(1).max(4096)
const name = z.string().min(1).max(253)
const addresses = z.array(z.string().min(1).max(300)).min(1).max(LIST_MAX)

const tlsSchema: z.ZodType<RedisTlsConfig> = z.strictObject({
  on: z
    .boolean()
    .default(true)
    .describe('Whether TLS is spoken; `false` keeps the rest of the table unused.'),
  sentinels: z.boolean().default(true).describe('Whether it is spoken to Sentinels too.'),
  ca: file
    .optional()
    .describe(
      'File of authorities (PEM) that Redis must be signed by. Absent: the public ones. Read at the start.',
    ),
  certFile: file.optional().describe('Our certificate (PEM), where Redis wants one. Read at the start.'),
  keyFile: file.optional().describe('Its private key (PEM).'),
  servername: name
    .optional()
    .describe('Name that the certificate must have. Absent: the host that is connected to.'),
  insecure: z
    .boolean()
    .default(false)
    .describe('Takes any certificate of Redis, and so anybody in between. For tests.'),
})

export const redisSchema: z.ZodOptional<z.ZodType<RedisConfig>> = z
  .strictObject({
    url: secret
      .optional()
      .describe(
        'Where Redis is: `redis://user:password@host:6379/0`, `rediss://` with TLS. Sentinels: `redis+sentinel://user:password@host:26379,host:26379/name/0`. A Cluster: `redis+cluster://user:password@host:6379,host:6379`. Special characters of a password as `%xx`.',
      ),
    sentinels: addresses
      .optional()
      .describe(
        'Sentinels as `host:port`, instead of `url`. They say which server is the master at present.',
      ),
    sentinelName: name.optional().describe('What the Sentinels call the master. Absent: `mymaster`.'),
    sentinelUser: name.optional().describe('ACL user at the Sentinels. Absent: the default one.'),
    sentinelPassword: secret.optional().describe('Password at the Sentinels. Absent: they want none.'),
    cluster: addresses
      .optional()
      .describe(
        'Some nodes of a Cluster as `host:port`, instead of `url`. The others are learned from them.',
      ),
    user: name.optional().describe('ACL user at Redis. Absent: the default one.'),
    password: secret.optional().describe('Password at Redis. Absent: it wants none.'),
    database: z
      .int()
      .min(0)
      .max(65_535)
      .optional()
      .describe('Number of the database. Absent: 0. A Cluster has none.'),
    prefix: z
      .string()
      .regex(REDIS_PREFIX, { error: 'must be 1 to 64 of A-Z a-z 0-9 . _ : / @ -' })
      .optional()
      .describe(
        'Goes before every key, with a colon behind it, as `PROXY_REDIS_KEY_PREFIX` does. Absent: nothing.',
      ),
    tls: tlsSchema.optional().describe('TLS to Redis. Absent: only where `url` begins with `rediss`.'),
    timeoutSeconds: z
      .number()
      .min(0.01)
      .max(60)
      .default(1)
      .describe(
        'Longest wait for an answer, in seconds; what asked goes on without it. A Redis that is silent for three times as long is away.',
      ),
  })
  .check(({ value, issues }) => {
    const target = readTarget(value)
    if ('form' in target) return
    for (const { key, message } of target)
      issues.push({ code: 'custom', path: [key], input: value[key], message })
  })
  .optional()
