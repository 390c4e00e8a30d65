import { describe, expect, test } from 'vitest'
import { foreignQuery, originQuery, withQuery } from './origin-query.ts'
import { routeOf } from './route.ts'

describe('routeOf', () => {
  test.each([
    ['/rtc/v1/whip/', 'publish', '/rtc/v1/whip/', undefined],
    ['/rtc/v1/whip', 'publish', '/rtc/v1/whip/', undefined],
    ['/rtc/v1/whep/', 'play', '/rtc/v1/whep/', undefined],
    ['/rtc/v1/whep/anything', 'play', '/rtc/v1/whep/', undefined],
    ['/rtc/v1/whip/../../../api/v1/clients/1', 'publish', '/rtc/v1/whip/', undefined],
    ['/live/s/whip', 'publish', '/rtc/v1/whip/', '/live/s'],
    ['/live/s/whep', 'play', '/rtc/v1/whep/', '/live/s'],
    ['/live/sub/s%20a/whep', 'play', '/rtc/v1/whep/', '/live/sub/s%20a'],
  ])('%s is an endpoint to %s', (path, role, originPath, streamPath) => {
    expect(routeOf(path)).toEqual({ kind: 'endpoint', role, form: 'sdp', originPath, streamPath })
  })

  test.each([
    ['/rtc/v1/publish/', 'publish'],
    ['/rtc/v1/publish', 'publish'],
    ['/rtc/v1/play/', 'play'],
    ['/rtc/v1/play', 'play'],
  ])('%s takes JSON to %s', (path, role) => {
    const originPath = `/rtc/v1/${role}/`
    expect(routeOf(path)).toEqual({ kind: 'endpoint', role, form: 'json', originPath, streamPath: undefined })
  })

  test.each([
    '/live/s/play',
    '/live/s/publish',
    '/',
    '/live/s',
    '/live/whip',
    '/whip',
    '//whip',
    '/live//s/whip',
    '/rtc/v1/whipped/',
    '/live/s/whip/',
    '',
  ])('"%s" is none', (path) => {
    expect(routeOf(path)).toBeUndefined()
  })

  test('a session is named by what follows', () => {
    expect(routeOf('/rtc/v1/session/abc')).toEqual({ kind: 'session', token: 'abc' })
  })
})

describe('originQuery', () => {
  test('parameters come through as they are, in their order', () => {
    expect(originQuery('app=live&stream=s%20a&eip=1.2.3.4&x', undefined, false)).toBe(
      'app=live&stream=s%20a&eip=1.2.3.4&x',
    )
    expect(originQuery('', undefined, false)).toBe('')
  })

  test('ICE credentials are dropped however they are spelt, unless allowed', () => {
    const query = 'ice-ufrag=a&ice%2Dpwd=b&token=c'
    expect(originQuery(query, undefined, false)).toBe('token=c')
    expect(originQuery(query, undefined, true)).toBe(query)
  })

  test('the origin is told of one stream, that of the key', () => {
    expect(originQuery('app=%zz&app=live&a%70p=x&stream=a&stream=b&t=1&t=2', undefined, false)).toBe(
      'app=live&stream=a&t=1&t=2',
    )
  })

  test('a stream path becomes app and stream, and wins over the query', () => {
    expect(originQuery('token=t&app=other', '/live/sub/s%20a', false)).toBe(
      'app=live/sub&stream=s%20a&token=t',
    )
    expect(originQuery('', '/a&b/c+d', false)).toBe('app=a%26b&stream=c%2Bd')
  })
})

describe('foreignQuery', () => {
  test('an origin with URLs of its own gets what no routing was made of', () => {
    const query = foreignQuery(['app=a&token=t&vhost=v', '', 'stream=s&x=%20&ice-pwd=p'], false)
    expect(query).toBe('token=t&x=%20')
    expect(withQuery('/a/s/whip', query)).toBe('/a/s/whip?token=t&x=%20')
    expect(withQuery('/whip?key=1', query)).toBe('/whip?key=1&token=t&x=%20')
    expect(withQuery('/a/s/whip', '')).toBe('/a/s/whip')
  })
})
