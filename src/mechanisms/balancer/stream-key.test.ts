import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../foundation/errors.ts'
import { type KeyRules, parseStreamKey, streamKeyOf, streamKeyOfHttp, streamKeyOfRtmp } from './stream-key.ts'

const SRS: KeyRules = { keys: 'srs', vhosts: [] }
const NORMAL: KeyRules = { keys: 'normal', vhosts: ['cdn.example.com', 'Other.Example.com'] }

function http(
  rules: KeyRules,
  host: string | undefined,
  target: string,
  names?: 'query' | 'path' | 'file',
): string {
  const [path = '', query = ''] = target.split('?')
  return streamKeyOfHttp({ host, path, query, ...(names === undefined ? {} : { names }) }, rules)
}

function refused(act: () => unknown): void {
  expect(act).toThrow(
    expect.objectContaining({ code: 'BALANCER_BAD_STREAM_KEY', side: 'client', status: 400 }),
  )
}

describe('srs keys: RTMP', () => {
  it.each([
    ['rtmp://127.0.0.1:11935/live', 'livestream?token=x', '__defaultVhost__/live/livestream'],
    ['rtmp://cdn.example.com/live', 's', 'cdn.example.com/live/s'],
    ['rtmp://h/live/', 's', '__defaultVhost__/live//s'],
    ['rtmp://h/live?vhost=v', 's', '__defaultVhost__/live'],
    ['rtmp://CDN.Example.com/live', 'S%20a', 'CDN.Example.com/live/S a'],
    ['', 's', '__defaultVhost__/s'],
    ['rtmp://[::1]/live', 's', '__defaultVhost__/live/s'],
    ['rtmp://[::1]:1935/live', 's', '__defaultVhost__/live/s'],
    ['rtmp://[::ffff:10.0.0.1]:1935/live', 's', '__defaultVhost__/live/s'],
    ['rtmp://cdn.example.com:1935/live', 's+1', 'cdn.example.com/live/s+1'],
    ['rtmp://user:pass@cdn.example.com/live', 's', 'cdn.example.com/live/s'],
    ['rtmp://cdn.example.com/live', 's#part', 'cdn.example.com/live/s'],
    ['rtmp://cdn.example.com/live', 'a/../b', 'cdn.example.com/live/a/../b'],
    ['rtmp:opaque', 's', '__defaultVhost__'],
    ['rtmp://cdn.example.com', 's', 'cdn.example.com/s'],
    ['/live', 's', '__defaultVhost__/live/s'],
  ])('%s and %s', (tcUrl, stream, key) => {
    expect(streamKeyOfRtmp(tcUrl, stream, SRS)).toBe(key)
  })

  it.each([
    'rtmp://h:port/live',
    'rtmp://h/live%zz',
    'rtmp://h/li\u0001ve',
    ':1935/live',
    'rtmp://[::1/live',
    'h:1',
    'rtmp://a b/live',
    'a:b@c/d',
  ])('refuses %s or reads it as Go does', (tcUrl) => {
    // `h:1` and `a:b@c/d` parse as scheme and opaque text.
    if (/^[a-z]:[^/]/.test(tcUrl)) expect(streamKeyOfRtmp(tcUrl, 's', SRS)).toBe('__defaultVhost__')
    else refused(() => streamKeyOfRtmp(tcUrl, 's', SRS))
  })
})

describe('srs keys: HTTP', () => {
  it.each([
    ['cdn.example.com:8080', '/live/s.flv', 'cdn.example.com/live/s'],
    ['cdn.example.com', '/live/s.flv', '__defaultVhost__/live/s'],
    ['cdn.example.com:1985', '/rtc/v1/whip/?app=live&stream=s', 'cdn.example.com/live/s'],
    ['127.0.0.1:1985', '/rtc/v1/whip/?app=live&stream=s', '__defaultVhost__/live/s'],
    ['h', '/live/a.b/s-1.x.ts', '__defaultVhost__/live/a.b/s-1.x'],
    ['h', '/rtc/v1/whip/?stream=s', '__defaultVhost__/s'],
    ['h', '/rtc/v1/play/', '__defaultVhost__/rtc/v1/play/'],
    ['[::1]:8080', '/live/s.flv', '__defaultVhost__/live/s'],
    ['[::1]', '/live/s.flv', '__defaultVhost__/live/s'],
    ['CDN.Example.com:80', '/live/S%20a.flv', 'CDN.Example.com/live/S a'],
    ['h', '/live//s/.flv', '__defaultVhost__/live//s/'],
    ['h', '/live/s%2520a.flv', '__defaultVhost__/live/s a'],
    ['h', '/x?app=a+b&stream=s%2Ft', '__defaultVhost__/a b/s/t'],
    [':8080', '/live/s.m3u8', '__defaultVhost__/live/s'],
  ])('Host %s, %s', (host, target, key) => {
    expect(http(SRS, host, target)).toBe(key)
  })

  it('a plain WHIP path keeps what looks like an extension', () => {
    expect(http(SRS, 'cdn.example.com:80', '/live/cam.1', 'path')).toBe('cdn.example.com/live/cam.1')
  })
})

describe('normal keys', () => {
  it('every protocol, with or without port, in any case, gives one key', () => {
    const keys = [
      streamKeyOfRtmp('rtmp://CDN.example.com/live', 's?token=x', NORMAL),
      streamKeyOfRtmp('rtmp://cdn.example.com:1935//live/', '/s/', NORMAL),
      streamKeyOfRtmp('rtmp://10.0.0.1/live?vhost=cdn.example.com', 's', NORMAL),
      streamKeyOfRtmp('rtmp://10.0.0.1/live', 's?a=b&vhost=cdn.example.com', NORMAL),
      // A client that sent only `app`.
      streamKeyOfRtmp('/live?vhost=cdn.example.com', 's', NORMAL),
      http(NORMAL, 'cdn.example.com', '/live/s.flv'),
      http(NORMAL, 'CDN.EXAMPLE.COM.:8080', '/live//s.flv?token=1'),
      http(NORMAL, 'cdn.example.com', '/rtc/v1/whip/?app=live&stream=s', 'query'),
      http(NORMAL, '[2001:db8::1]:80', '/live/s?vhost=CDN.example.com', 'path'),
      streamKeyOf('cdn.example.com', '/live/', 's'),
    ]
    expect(new Set(keys)).toEqual(new Set(['cdn.example.com/live/s']))
  })

  it.each([undefined, '', 'h', 'unlisted.example.com', '127.0.0.1:80', '[::1]:80', '[::1]', 'a:b:c'])(
    'host %s is the default vhost',
    (host) => {
      expect(http(NORMAL, host, '/live/s.flv')).toBe('__defaultVhost__/live/s')
    },
  )

  it('a vhost parameter that is not listed is the default vhost', () => {
    expect(streamKeyOfRtmp('rtmp://cdn.example.com/live?vhost=x', 's', NORMAL)).toBe(
      '__defaultVhost__/live/s',
    )
  })

  it('vhosts are listed in any case', () => {
    expect(http(NORMAL, 'other.example.com', '/live/s.flv')).toBe('other.example.com/live/s')
  })

  it('a query never collapses streams', () => {
    const url = 'rtmp://h/live?auth=1'
    expect(streamKeyOfRtmp(url, 'a', NORMAL)).not.toBe(streamKeyOfRtmp(url, 'b', NORMAL))
  })

  it('an app has any number of parts', () => {
    expect(http(NORMAL, 'h', '/a/b/c/s', 'path')).toBe('__defaultVhost__/a/b/c/s')
    expect(streamKeyOfRtmp('rtmp://h/a/b', 'c/s', NORMAL)).toBe('__defaultVhost__/a/b/c/s')
  })

  it('escapes are decoded once, raw UTF-8 is the same name', () => {
    expect(http(NORMAL, 'h', '/live/caf%C3%A9%2520.flv')).toBe('__defaultVhost__/live/café%20')
    expect(http(NORMAL, 'h', `/live/${Buffer.from('café').toString('latin1')}.flv`)).toBe(
      '__defaultVhost__/live/café',
    )
    expect(streamKeyOfRtmp('rtmp://h/live', 'café', NORMAL)).toBe('__defaultVhost__/live/café')
    expect(streamKeyOfRtmp('rtmp://h/live', 'caf%C3%A9', NORMAL)).toBe('__defaultVhost__/live/café')
  })

  it('a path ignores app and stream of the query, and keeps its dots', () => {
    expect(http(NORMAL, 'h', '/live/cam.1?app=x&stream=y', 'path')).toBe('__defaultVhost__/live/cam.1')
    expect(http(NORMAL, 'h', '/live/s.flv?app=x&stream=y', 'file')).toBe('__defaultVhost__/live/s')
  })

  it.each([
    ['/live'],
    ['/'],
    [''],
    ['/live/%zz'],
    ['/live/%FF'],
    ['/live/s%00'],
    ['/live/s%0A.flv'],
    ['/live/%C2%85'],
    ['/live/../s'],
    ['/live/%2e%2e'],
    ['/live/.flv'],
    ['/a/b/.flv'],
    [`/live/${'s'.repeat(513)}`],
    [`/${'a'.repeat(513)}/s`],
    [`/live/s${'/'.repeat(9000)}`],
    ['/rtc/v1/whip/?stream=s'],
    ['/rtc/v1/whip/?app=live'],
    ['/rtc/v1/whip/?app=live&stream='],
  ])('refuses %s', (target) => {
    refused(() => http(NORMAL, 'h', target))
  })

  it('the instance of an app is not part of its name, as SRS has it', () => {
    expect(streamKeyOfRtmp('rtmp://h/live/_definst_', 's', NORMAL)).toBe('__defaultVhost__/live/s')
    refused(() => streamKeyOfRtmp('rtmp://h/priv/_definst_ate', 's', NORMAL))
    refused(() => http(NORMAL, 'h', '/priv/_definst_ate/s.flv'))
    refused(() => streamKeyOfRtmp('rtmp://h/live...vhost...cdn.example.com', 's', NORMAL))
    refused(() => streamKeyOfRtmp('rtmp://h/live', 's...vhost...x', NORMAL))
  })

  it.each([
    'vhost=h&vhost=cdn.example.com',
    'vhost=cdn.example.com&vhost=h',
    'a=b,vhost=cdn.example.com',
    'a=b;vhost=cdn.example.com',
    'a;vhost;cdn.example.com',
    'vhost=%63dn.example.com&x=1,vhost=h',
    'domain=cdn.example.com',
    // SRS takes `b` for the name and `vhost` for its value.
    'token=a=b&vhost=cdn.example.com',
    '%76host=cdn.example.com',
  ])('a query in which SRS may find another vhost is refused: %s', (query) => {
    refused(() => http(NORMAL, 'h', `/live/s.flv?${query}`))
    refused(() => streamKeyOfRtmp('rtmp://h/live', `s?${query}`, NORMAL))
    refused(() => streamKeyOfRtmp(`rtmp://h/live?${query}`, 's', NORMAL))
  })

  it('a vhost behind what SRS reads well is found', () => {
    expect(http(NORMAL, 'h', '/live/s.flv?token=a&b=c,d,e&vhost=cdn.example.com')).toBe(
      'cdn.example.com/live/s',
    )
    expect(streamKeyOfRtmp('rtmp://h/live?vhost=cdn.example.com', 's?token=a=b', NORMAL)).toBe(
      'cdn.example.com/live/s',
    )
  })

  it('vhosts that are one to us may be named as often as one likes', () => {
    expect(http(NORMAL, 'h', '/live/s.flv?vhost=a&vhost=b&domain=c')).toBe('__defaultVhost__/live/s')
    expect(http(NORMAL, 'h', '/live/s.flv?vhost=cdn.example.com&domain=CDN.example.com:80')).toBe(
      'cdn.example.com/live/s',
    )
  })

  it('refuses RTMP without an app, without a stream name, or with a lone surrogate', () => {
    refused(() => streamKeyOfRtmp('rtmp://h', 's', NORMAL))
    refused(() => streamKeyOfRtmp('rtmp://h/a/b', '', NORMAL))
    refused(() => streamKeyOfRtmp('rtmp://h/a/b', '?x', NORMAL))
    refused(() => streamKeyOfRtmp('rtmp://h/a', '\ud800', NORMAL))
  })
})

describe('any text', () => {
  it('gives a clean key or BALANCER_BAD_STREAM_KEY', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.webUrl(), fc.webPath())
    fc.assert(
      fc.property(text, text, text, fc.constantFrom(SRS, NORMAL), (host, path, query, rules) => {
        for (const make of [
          () => streamKeyOfHttp({ host, path, query }, rules),
          () => streamKeyOfRtmp(path, query, rules),
          () => streamKeyOfRtmp(`rtmp://${host}${path}`, query, rules),
        ]) {
          try {
            const key = make()
            expect(key).not.toMatch(/\p{Cc}/u)
            expect(key.length).toBeLessThanOrEqual(1536)
            if (rules === NORMAL) expect(key).toMatch(/^[^/]+(\/[^/]+){2,}$/)
            expect(parseStreamKey(key)).toBe(key)
          } catch (error) {
            if (!(error instanceof SluiceError)) throw error
            expect(error.code).toBe('BALANCER_BAD_STREAM_KEY')
          }
        }
      }),
      { numRuns: 500 },
    )
  })
})
