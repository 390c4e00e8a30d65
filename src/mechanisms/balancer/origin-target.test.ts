import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { announcement } from './conformance.testkit.ts'
import { NEEDS, type OriginUrlName, type OriginUrls, type Role } from './contract.ts'
import { offers, originTarget, originUrlFault } from './origin-target.ts'
import { parseStreamKey } from './stream-key.ts'

const KEY = parseStreamKey('__defaultVhost__/live/s')

function target(urls: OriginUrls, need: (typeof NEEDS)[number], key = KEY as string, role?: Role) {
  const origin = announcement('a', { urls, rtmp: [], http: [], api: [], rtc: [] })
  return originTarget(origin, need, parseStreamKey(key), role)
}

const nameIn = (template: string, key: string): string | undefined => {
  const need = template.startsWith('srt') ? 'srt' : template.startsWith('rtmp') ? 'rtmp' : 'whip'
  return target({ [need]: template }, need, key)?.name
}

describe('targets of an SRS origin', () => {
  it('are its first ports, asked as the client asked', () => {
    const origin = announcement('a', {
      ip: 'fd00::5',
      rtmp: [1935, 1936],
      http: [8080],
      api: [1985],
      srt: [10_080],
    })
    expect(NEEDS.map((need) => originTarget(origin, need, KEY))).toEqual(
      [1985, 1985, 1985, 1935, 10_080, 8080, 8080, 8080, 8080, 8080, 8080].map((port) => ({
        scheme: port === 1935 ? 'rtmp' : port === 10_080 ? 'srt' : 'http',
        host: 'fd00::5',
        port,
        name: undefined,
      })),
    )
  })

  it('are not offered without the ports', () => {
    const origin = announcement('a', { rtc: [], http: [], rtmp: [] })
    expect(NEEDS.filter((need) => offers(origin, need))).toEqual([])
    expect(originTarget(origin, 'flv', KEY)).toBeUndefined()
  })
})

describe('targets of a template', () => {
  it.each([
    ['http://h/{app}/{stream}/whip', { scheme: 'http', host: 'h', port: 80, name: '/live/s/whip' }],
    ['https://h.example/{app}', { scheme: 'https', host: 'h.example', port: 443, name: '/live' }],
    [
      'http://[fd00::5]:8889/{vhost}?s={stream}',
      { scheme: 'http', host: 'fd00::5', port: 8889, name: '/__defaultVhost__?s=s' },
    ],
    ['http://h:1', { scheme: 'http', host: 'h', port: 1, name: '/' }],
    ['http://h?direction=whip', { scheme: 'http', host: 'h', port: 80, name: '/?direction=whip' }],
    ['rtmp://h/{app}/{stream}', { scheme: 'rtmp', host: 'h', port: 1935, name: '/live/s' }],
    ['rtmps://h/{app}/{stream}?a=%20', { scheme: 'rtmps', host: 'h', port: 443, name: '/live/s?a=%20' }],
    [
      'srt://h?streamid=publish:{app}/{stream}',
      { scheme: 'srt', host: 'h', port: 10_080, name: 'publish:live/s' },
    ],
    [
      'srt://h:8890?latency=1&streamid=#!::r={app}/{stream},m=publish&x=1',
      { scheme: 'srt', host: 'h', port: 8890, name: '#!::r=live/s,m=publish' },
    ],
    [
      'srt://h:9999?streamid=srt%3A%2F%2Fh%2F{stream}',
      { scheme: 'srt', host: 'h', port: 9999, name: 'srt://h/s' },
    ],
  ])('%s', (template, expected) => {
    const need = template.startsWith('srt') ? 'srt' : template.startsWith('rtmp') ? 'rtmp' : 'whip'
    expect(originUrlFault(need, template)).toBeUndefined()
    expect(target({ [need]: template }, need)).toEqual(expected)
  })

  it('an app of several parts keeps its slashes, and one that is missing takes its slash with it', () => {
    expect(nameIn('http://h/{app}/{stream}/whip', 'v/a/b c/s')).toBe('/a/b%20c/s/whip')
    expect(nameIn('http://h/{app}/{stream}/whip', '__defaultVhost__/s')).toBe('/s/whip')
    expect(nameIn('srt://h?streamid=read:{app}/{stream}', '__defaultVhost__/s')).toBe('read:s')
  })

  it('what means something in a URL is escaped in HTTP, and is text in RTMP and SRT', () => {
    const key = 'v/live/a#c%d&e é@:1'
    expect(nameIn('http://h/{app}/{stream}', key)).toBe('/live/a%23c%25d%26e%20%C3%A9@:1')
    expect(nameIn('rtmp://h/{app}/{stream}', key)).toBe('/live/a#c%d&e é@:1')
    expect(nameIn('srt://h?streamid=publish:{app}/{stream}&x=1', key)).toBe('publish:live/a#c%d&e é@:1')
  })

  it('a stream whose name would end at its question mark has no place where names are not escaped', () => {
    const key = 'v/live/secret?x'
    expect(nameIn('http://h/{app}/{stream}', key)).toBe('/live/secret%3Fx')
    expect(nameIn('rtmp://h/{app}/{stream}', key)).toBeUndefined()
    expect(nameIn('srt://h?streamid={app}/{stream}', key)).toBeUndefined()
  })

  it.each(['v/../s', 'v/a/../s', 'v/live/..', 'v/live/.', 'v/a//b/s', 'v/live/', 'v'])(
    'the key %s of an SRS proxy names nothing where dots and slashes would be resolved',
    (key) => {
      expect(nameIn('http://h/{app}/{stream}', key)).toBeUndefined()
      expect(nameIn('rtmp://h/{app}/{stream}', key)).toBeUndefined()
      expect(nameIn('srt://h?streamid={app}/{stream}', key)).toBeUndefined()
    },
  )

  it('a stream cannot add fields to a structured SRT id', () => {
    expect(nameIn('srt://h?streamid=#!::r={app}/{stream},m=publish', 'v/live/x,r=other/y')).toBeUndefined()
    expect(nameIn('srt://h?streamid=#!::r={app}/{stream},m=publish', 'v/live/x')).toBe(
      '#!::r=live/x,m=publish',
    )
  })

  it('a role has its own place where publishing and playing differ', () => {
    const urls: OriginUrls = {
      srt: 'srt://h:8890?streamid=read:{stream}',
      srtPublish: 'srt://h:8890?streamid=publish:{stream}',
      rtmpPublish: 'rtmp://h/{app}/{stream}',
    }
    expect(target(urls, 'srt', KEY, 'publish')?.name).toBe('publish:s')
    expect(target(urls, 'srt', KEY, 'play')?.name).toBe('read:s')
    expect(target(urls, 'srt')?.name).toBe('read:s')
    expect(target(urls, 'rtmp', KEY, 'publish')?.name).toBe('/live/s')
    expect(target(urls, 'rtmp', KEY, 'play')).toBeUndefined()
    const origin = announcement('a', { urls })
    expect([
      offers(origin, 'rtmp', 'publish'),
      offers(origin, 'rtmp', 'play'),
      offers(origin, 'rtmp'),
    ]).toEqual([true, false, true])
    expect(offers(origin, 'whip')).toBe(false)
  })
})

describe('faults of a template', () => {
  it.each<[OriginUrlName, string, RegExp]>([
    ['whip', 'h:80/x', /no URL/],
    ['whip', 'http:///x', /no URL/],
    ['whip', 'http://h:65536/', /no URL/],
    ['whip', 'http://h:0/', /no URL/],
    ['whip', 'http://user:secret@h/', /no URL/],
    ['whip', 'http://user@h/', /no URL/],
    ['whip', 'http://{vhost}/x', /no URL/],
    ['whip', 'http://h:{app}/x', /no URL/],
    ['whip', 'http://[h]/x', /no URL/],
    ['whip', 'http://../x', /no URL/],
    ['whip', 'http://h/a b', /no URL/],
    ['whip', 'http://h/\r\nX: y', /no URL/],
    ['whip', 'ftp://h/', /no URL/],
    ['whip', 'rtmp://h/', /whip takes http or https/],
    ['rtmp', 'http://h/', /rtmp takes rtmp or rtmps/],
    ['rtmpPublish', 'srt://h?streamid=x', /rtmpPublish takes rtmp or rtmps/],
    ['srtPublish', 'http://h/', /srtPublish takes srt/],
    ['hls', 'http://h/{name}', /\{name\} is none of/],
    ['hls', 'http://h/{app', /\{app is none of/],
    ['srt', 'srt://h:1', /no streamid/],
    ['srt', 'srt://h:1?streamid=100%', /cannot|no URL of its kind/],
    ['rtmp', 'rtmp://h/%zz', /no URL of its kind/],
  ])('%s %j', (name, template, fault) => {
    expect(originUrlFault(name, template)).toMatch(fault)
  })

  it('any text is a fault or a template, and any key then names a stream or nothing', () => {
    const part = fc.constantFrom(
      'http://',
      'srt://',
      'rtmps://',
      'h',
      '[::1]',
      ':80',
      '/',
      '{app}',
      '{stream}',
      '?streamid=',
      '%',
      '#',
      '&',
      '..',
    )
    const template = fc.oneof(
      fc.array(part, { maxLength: 10 }).map((parts) => parts.join('')),
      fc.string(),
    )
    const key = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[\p{Cc}\p{Cs}]/u.test(text))
    fc.assert(
      fc.property(
        template,
        key,
        fc.constantFrom<OriginUrlName>('srt', 'rtmp', 'hls'),
        (text, stream, name) => {
          if (originUrlFault(name, text) !== undefined) return
          const found = target({ [name]: text }, name as 'srt', `v/live/${stream}`)
          if (found !== undefined) expect(found.host).toMatch(/^(?:h+|::1)$/)
        },
      ),
      { numRuns: 500 },
    )
  })
})
