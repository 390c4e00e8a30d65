import { describe, expect, it } from 'vitest'
import { ConfigError } from './errors.ts'
import { parseConfig } from './load.ts'

function parse(section: object): ReturnType<typeof parseConfig>['redis'] {
  return parseConfig('sluice.json', JSON.stringify({ redis: section })).redis
}

function problemsOf(section: object): string {
  try {
    parse(section)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  throw new Error('the configuration was accepted')
}

describe('the section of Redis', () => {
  it('is not there unless it is written', () => {
    expect(parseConfig('sluice.toml', '').redis).toBeUndefined()
  })

  it('needs a place, and fills in the rest', () => {
    expect(parse({ url: 'redis://127.0.0.1' })).toEqual({ url: 'redis://127.0.0.1', timeoutSeconds: 1 })
    expect(parse({ sentinels: ['a:1', '[::1]'], password: 'p', tls: { ca: 'ca.pem' } })?.tls).toEqual({
      on: true,
      sentinels: true,
      ca: 'ca.pem',
      insecure: false,
    })
    expect(parse({ cluster: ['a', 'b:7000'] })?.cluster).toEqual(['a', 'b:7000'])
  })

  it.each([
    ['no place', {}, 'redis.url: one of redis.url, redis.sentinels and redis.cluster'],
    ['two places', { url: 'redis://a', cluster: ['a'] }, 'redis.cluster = ["a"]: only one of url'],
    [
      'a database of a Cluster',
      { cluster: ['a'], database: 1 },
      'redis.database = 1: a Cluster has no databases',
    ],
    [
      'a name without Sentinels',
      { url: 'redis://a', sentinelName: 'x' },
      'redis.sentinelName = "x": goes with',
    ],
    ['a user without a password', { url: 'redis://a', user: 'x' }, 'redis.user = "x": goes with a password'],
    ['what the URL says too', { url: 'redis://a/1', database: 2 }, 'redis.database = 2: redis.url says that'],
    ['TLS that is off in a URL with it', { url: 'rediss://a', tls: { on: false } }, 'contradicts the url'],
    ['half a certificate', { url: 'redis://a', tls: { certFile: 'x' } }, 'certFile and keyFile go together'],
    [
      'an authority that is not asked',
      { url: 'redis://a', tls: { ca: 'x', insecure: true } },
      'must be absent',
    ],
    ['no address', { sentinels: ['a:b'] }, 'redis.sentinels = ["a:b"]: must be 1 to 256 of host:port'],
    ['a prefix with spaces', { url: 'redis://a', prefix: 'a b' }, 'must be 1 to 64 of'],
    ['no time', { url: 'redis://a', timeoutSeconds: 0 }, 'redis.timeoutSeconds = 0'],
    ['an unknown key', { host: 'a' }, 'unknown key'],
  ])('%s is an error that says what is allowed', (_, section, message) => {
    expect(problemsOf(section)).toContain(message)
  })

  it('shows no secret in an error', () => {
    const text = [
      problemsOf({ url: 'http://user:hidden@a' }),
      problemsOf({ url: 'redis://:hidden@a', cluster: ['a'], password: 'hidden' }),
      problemsOf({ sentinels: ['a'], sentinelPassword: 'hidden', cluster: ['b'], password: 'hidden' }),
    ].join('\n')
    expect(text).toContain('redis.password: redis.url says that already')
    expect(text).not.toContain('hidden')
  })
})
