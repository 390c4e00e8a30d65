import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readTarget, type RedisPlaceOptions } from './redis-target.ts'
import { parseServerAddress, serverAddressText } from './server-address.ts'

function problemsOf(options: RedisPlaceOptions): string {
  const target = readTarget(options)
  return 'form' in target ? '' : target.map(({ key, message }) => `${key}: ${message}`).join('; ')
}

const plain = {
  name: 'mymaster',
  login: { user: undefined, password: undefined },
  sentinelLogin: { user: undefined, password: undefined },
  database: 0,
  hasTls: false,
}

describe('where Redis is', () => {
  it.each<[string, object]>([
    ['redis://h', { form: 'server', addresses: [{ host: 'h', port: 6379 }] }],
    ['redis://[::1]:7000/5', { form: 'server', addresses: [{ host: '::1', port: 7000 }], database: 5 }],
    ['redis://:a%2Fb%40c:d@h/', { login: { user: undefined, password: 'a/b@c:d' } }],
    ['rediss://me:pw@h:1', { login: { user: 'me', password: 'pw' }, hasTls: true }],
    [
      'redis+sentinel://a,b:1/main/2',
      {
        form: 'sentinel',
        addresses: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 1 },
        ],
        name: 'main',
        database: 2,
      },
    ],
    [
      'rediss+cluster://a:1,[::1]',
      { form: 'cluster', hasTls: true, addresses: [{}, { host: '::1', port: 6379 }] },
    ],
  ])('%s', (url, expected) => {
    expect(readTarget({ url })).toMatchObject(expected)
  })

  it('is said by lists too', () => {
    expect(readTarget({ sentinels: ['a'], sentinelName: 'x', sentinelPassword: 's', database: 1 })).toEqual({
      ...plain,
      form: 'sentinel',
      addresses: [{ host: 'a', port: 26_379 }],
      name: 'x',
      sentinelLogin: { user: undefined, password: 's' },
      database: 1,
    })
    expect(readTarget({ cluster: ['a'], password: 'p', tls: {} })).toMatchObject({
      form: 'cluster',
      login: { password: 'p' },
      hasTls: true,
    })
    expect(readTarget({ url: 'redis://a', tls: { on: false } })).toMatchObject({ hasTls: false })
  })

  it.each([
    'http://h',
    'redis://',
    'redis://a,b',
    'redis://a:0',
    'redis://a:70000',
    'redis://a/x',
    'redis://a/1/2',
    'redis://a?db=1',
    'redis://a b',
    'redis+cluster://a/1x',
    'redis+other://a',
    'redis://me:%zz@a',
  ])('%s is an error', (url) => {
    expect(problemsOf({ url })).toMatch(/^url: /)
  })

  it('has no contradictions', () => {
    expect(problemsOf({ url: 'redis+cluster://a/1' })).toMatch(/^database: a Cluster has no databases/)
    expect(problemsOf({ url: 'redis://a', sentinelPassword: 'x' })).toMatch(/^sentinelPassword: goes with/)
    expect(problemsOf({ url: 'redis+sentinel://a/x', sentinelName: 'x' })).toMatch(
      /^sentinelName: redis.url says/,
    )
    expect(problemsOf({ sentinels: ['a'], sentinelUser: 'x' })).toMatch(/^sentinelUser: goes with/)
    expect(problemsOf({ cluster: [] })).toMatch(/^cluster: must be 1 to 256/)
  })

  it('never throws, whatever the URL, and shows nothing of it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12, maxLength: 60 }), (text) => {
        expect(problemsOf({ url: `x${text}` })).not.toContain(text)
        readTarget({ url: `redis://${text}` })
      }),
    )
  })
})

it('an address is the same read again', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
      fc.integer({ min: 1, max: 65_535 }),
      (host, port) => {
        expect(parseServerAddress(serverAddressText({ host, port }), 1)).toEqual({ host, port })
      },
    ),
  )
})
