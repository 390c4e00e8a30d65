import { readTarget, REDIS_PREFIX } from '../../mechanisms/redis/index.ts'
import { srsProxyError } from './errors.ts'

/** The shared store, as the tables of `sluice.toml` have it. */
export interface RedisSettings {
  readonly redis: {
    readonly url: string
    readonly password?: string
    readonly prefix?: string
  }
  readonly fleetSecret: string | undefined
}

/** Those of the SRS proxy, with their defaults, and those of our own. */
const REDIS_DEFAULTS = {
  PROXY_REDIS_HOST: '127.0.0.1',
  PROXY_REDIS_PORT: '6379',
  PROXY_REDIS_PASSWORD: '',
  PROXY_REDIS_DB: '0',
  PROXY_REDIS_KEY_PREFIX: '',
} as const

/** What a URL says instead. */
const PLACE = ['PROXY_REDIS_HOST', 'PROXY_REDIS_PORT', 'PROXY_REDIS_PASSWORD', 'PROXY_REDIS_DB'] as const

/**
 * Reads the variables of `PROXY_LOAD_BALANCER_TYPE=redis`. No error shows a password.
 * @throws SRS_PROXY_BAD_VARIABLE
 */
export function readRedisSettings(given: (name: string) => string | undefined): RedisSettings {
  const prefix = given('PROXY_REDIS_KEY_PREFIX')
  if (prefix !== undefined && !REDIS_PREFIX.test(prefix)) {
    throw bad(`PROXY_REDIS_KEY_PREFIX=${prefix}`, 'must be 1 to 64 of A-Z a-z 0-9 . _ : / @ -')
  }
  const fleetSecret = given('SLUICE_FLEET_SECRET')
  if (fleetSecret !== undefined && fleetSecret.length < 16) {
    throw bad('SLUICE_FLEET_SECRET', 'must have at least 16 characters')
  }
  const url = given('SLUICE_REDIS_URL')
  const place = url === undefined ? placeOf(given) : { url: checkedUrl(url, given) }
  return { redis: { ...place, ...(prefix !== undefined && { prefix }) }, fleetSecret }
}

/** @throws SRS_PROXY_BAD_VARIABLE where a variable of our own would do nothing; those of the SRS proxy do nothing there either */
export function assertNoRedisSettings(given: (name: string) => string | undefined): void {
  for (const name of ['SLUICE_REDIS_URL', 'SLUICE_FLEET_SECRET']) {
    if (given(name) !== undefined) throw bad(name, 'goes with PROXY_LOAD_BALANCER_TYPE=redis')
  }
}

function placeOf(given: (name: string) => string | undefined): { url: string; password?: string } {
  const text = (name: keyof typeof REDIS_DEFAULTS): string => given(name) ?? REDIS_DEFAULTS[name]
  const host = text('PROXY_REDIS_HOST').replace(/^\[(.*)\]$/, '$1')
  const url = `redis://${host.includes(':') ? `[${host}]` : host}`
  if (!('form' in readTarget({ url })))
    throw bad(`PROXY_REDIS_HOST=${host}`, 'must be an address or a host name')
  const port = number('PROXY_REDIS_PORT', text('PROXY_REDIS_PORT'), 1)
  const database = number('PROXY_REDIS_DB', text('PROXY_REDIS_DB'), 0)
  const password = text('PROXY_REDIS_PASSWORD')
  return { url: `${url}:${port}/${database}`, ...(password !== '' && { password }) }
}

function checkedUrl(url: string, given: (name: string) => string | undefined): string {
  for (const name of PLACE) {
    if (given(name) !== undefined) throw bad(name, 'SLUICE_REDIS_URL says that already; must be in one place')
  }
  const target = readTarget({ url })
  if (!('form' in target)) throw bad('SLUICE_REDIS_URL', target.map(({ message }) => message).join('; '))
  return url
}

function number(name: string, value: string, least: number): number {
  const parsed = Number(value)
  if (/^\d{1,5}$/.test(value) && parsed >= least && parsed <= 65_535) return parsed
  throw bad(`${name}=${value}`, `must be ${least} to 65535`)
}

function bad(what: string, message: string): Error {
  return srsProxyError('SRS_PROXY_BAD_VARIABLE', `${what}: ${message}`)
}
