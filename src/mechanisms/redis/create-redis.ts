import { readFileSync } from 'node:fs'
import { type ConnectionOptions, createSecureContext } from 'node:tls'
import { systemClock } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import { Connection } from './connection.ts'
import { ClusterRoute } from './cluster-route.ts'
import { RedisError } from './errors.ts'
import { RedisLink } from './redis-link.ts'
import type { RedisOptions } from './redis-options.ts'
import { readTarget, REDIS_PREFIX, type RedisTarget, type RedisTlsOptions } from './redis-target.ts'
import type { Route, RouteListener } from './route.ts'
import { openMasterOfSentinels } from './sentinel-master.ts'
import { type ServerAddress, serverAddressText } from './server-address.ts'
import { ServerRoute } from './server-route.ts'
import { assertMaster } from './unfit.ts'

const DEFAULTS = { timeoutSeconds: 1, maxInFlight: 10_000, connectMs: 3000, maxRetryMs: 3000 }

/** What waits for the first connection does so for as long as so many attempts may take, of however many servers. */
const START_ATTEMPTS = 2

/** Servers that are silent for so many deadlines are given up. */
const SILENT_DEADLINES = 3

/**
 * The connection to a Redis: one server, the one that Sentinels name, or a Cluster. `start` connects.
 * @throws REDIS_BAD_OPTION
 */
export function createRedis(options: RedisOptions): RedisLink {
  const target = readTarget(options)
  if (!('form' in target)) {
    const problems = target.map(({ key, message }) => `redis.${key}: ${message}`)
    throw new RedisError('REDIS_BAD_OPTION', problems.join('; '))
  }
  checkValues(options)
  const { logger, registry, clock = systemClock, random = Math.random, prefix = '' } = options
  const timeoutMs = (options.timeoutSeconds ?? DEFAULTS.timeoutSeconds) * 1000
  const maxRetryMs = options.maxRetryMs ?? DEFAULTS.maxRetryMs
  const connectMs = options.connectMs ?? DEFAULTS.connectMs
  const maxInFlight = options.maxInFlight ?? DEFAULTS.maxInFlight
  const { form, addresses, name, login, sentinelLogin, database, hasTls } = target

  async function openRoute(listener: RouteListener): Promise<Route> {
    const tls = hasTls ? tlsOptions(options.tls ?? {}) : undefined
    const sentinelTls = options.tls?.sentinels === false ? undefined : tls
    const { Redis: Client } = await import('ioredis')
    const kept = { silenceMs: timeoutMs * SILENT_DEADLINES, connectMs, clock, login, database, tls }

    const open = (address: ServerAddress, signal: AbortSignal): Promise<Connection> =>
      Connection.open(address, Client, kept, signal)
    const openMaster = async (address: ServerAddress, signal: AbortSignal): Promise<Connection> => {
      const connection = await open(address, signal)
      try {
        await assertMaster(connection)
        return connection
      } catch (error) {
        connection.destroy('not fit')
        throw error
      }
    }
    const asked = { ...kept, login: sentinelLogin, database: 0, tls: sentinelTls, connectMs: connectMs / 2 }
    const openSentinel = (address: ServerAddress, signal: AbortSignal): Promise<Connection> =>
      Connection.open(address, Client, asked, signal)

    const parts = { maxRetryMs, clock, random, listener }
    if (form === 'cluster') return new ClusterRoute({ ...parts, seeds: addresses, open, timeoutMs })
    if (form === 'sentinel') {
      const sentinel = { sentinels: addresses, name, openSentinel, openMaster, random }
      return new ServerRoute({ ...parts, open: (signal) => openMasterOfSentinels(sentinel, signal) })
    }
    const [server] = addresses
    if (server === undefined) throw new RedisError('REDIS_BAD_OPTION', 'redis.url: has no host')
    return new ServerRoute({ ...parts, open: (signal) => openMaster(server, signal) })
  }

  return new RedisLink({
    openRoute,
    place: placeText(target),
    prefix,
    database,
    timeoutMs,
    startMs: connectMs * START_ATTEMPTS,
    maxInFlight,
    maxRetryMs,
    clock,
    random,
    logger,
    registry,
  })
}

function placeText({ form, addresses, name }: RedisTarget): string {
  const hosts = addresses.map(serverAddressText).join(',')
  if (form === 'server') return hosts
  return form === 'cluster' ? `cluster ${hosts}` : `sentinels ${hosts} (${name})`
}

/** What each number may be. */
const NUMBERS = {
  timeoutSeconds: [0.01, 60],
  maxInFlight: [1, 1_000_000],
  connectMs: [10, 60_000],
  maxRetryMs: [10, 60_000],
} as const

function checkValues(options: RedisOptions): void {
  if (options.prefix !== undefined && !REDIS_PREFIX.test(options.prefix)) {
    throw new RedisError('REDIS_BAD_OPTION', 'redis.prefix: must be 1 to 64 of A-Z a-z 0-9 . _ : / @ -')
  }
  for (const key of ['timeoutSeconds', 'maxInFlight', 'connectMs', 'maxRetryMs'] as const) {
    const value = options[key]
    const [least, most] = NUMBERS[key]
    if (value === undefined || (value >= least && value <= most)) continue
    throw new RedisError('REDIS_BAD_OPTION', `redis.${key} is ${value}; must be ${least} to ${most}`)
  }
}

/** @throws REDIS_BAD_OPTION when a file cannot be used */
function tlsOptions({ ca, certFile, keyFile, servername, insecure }: RedisTlsOptions): ConnectionOptions {
  const files = {
    ...(ca !== undefined && { ca: fileOf('ca', ca) }),
    ...(certFile !== undefined && { cert: fileOf('certFile', certFile) }),
    ...(keyFile !== undefined && { key: fileOf('keyFile', keyFile) }),
  }
  try {
    return {
      secureContext: createSecureContext({ ...files, minVersion: 'TLSv1.2' }),
      ...(servername !== undefined && { servername }),
      rejectUnauthorized: insecure !== true,
    }
  } catch (error) {
    throw new RedisError(
      'REDIS_BAD_OPTION',
      `redis.tls: its files hold no certificate and key: ${errorMessage(error)}`,
    )
  }
}

function fileOf(key: string, file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new RedisError('REDIS_BAD_OPTION', `redis.tls.${key}: ${errorMessage(error)}`)
  }
}
