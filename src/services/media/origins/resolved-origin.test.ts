import { describe, expect, it } from 'vitest'
import {
  NEEDS,
  type Need,
  offers,
  originTarget,
  originUrlFault,
  type OriginUrlName,
  parseStreamKey,
  type Role,
} from '../../../mechanisms/balancer/index.ts'
import { ORIGIN_KINDS } from './origin-kinds.ts'
import { resolveOrigin } from './resolved-origin.ts'
import type { StaticOrigin } from './static-origin.ts'

const KEY = parseStreamKey('__defaultVhost__/live/cam')

function textOf(given: StaticOrigin, need: Need, role: Role): string | undefined {
  const { announcement } = resolveOrigin(given)
  const target = offers(announcement, need, role) ? originTarget(announcement, need, KEY, role) : undefined
  return target && `${target.scheme}://${target.host}:${target.port} ${target.name}`
}

describe('kinds of origins', () => {
  it.each<[StaticOrigin['kind'], Partial<Record<`${Need} ${Role}`, string>>]>([
    [
      'mediamtx',
      {
        'whip publish': 'http://h:8889 /live/cam/whip',
        'whep play': 'http://h:8889 /live/cam/whep',
        'rtmp publish': 'rtmp://h:1935 /live/cam',
        'rtmp play': 'rtmp://h:1935 /live/cam',
        'srt publish': 'srt://h:8890 publish:live/cam',
        'srt play': 'srt://h:8890 read:live/cam',
        'hls play': 'http://h:8888 /live/cam/index.m3u8',
      },
    ],
    [
      'ovenmediaengine',
      {
        'whip publish': 'http://h:3333 /live/cam?direction=whip',
        'whep play': 'http://h:3333 /live/cam?direction=whep',
        'rtmp publish': 'rtmp://h:1935 /live/cam',
        'srt publish': 'srt://h:9999 default/live/cam',
        'srt play': 'srt://h:9998 default/live/cam/playlist',
        'hls play': 'http://h:3333 /live/cam/llhls.m3u8',
      },
    ],
    ['livekit-ingress', { 'whip publish': 'http://h:8080 /w/cam', 'rtmp publish': 'rtmp://h:1935 /x/cam' }],
    [
      'nginx-rtmp',
      {
        'rtmp publish': 'rtmp://h:1935 /live/cam',
        'rtmp play': 'rtmp://h:1935 /live/cam',
        'hls play': 'http://h:8080 /hls/cam.m3u8',
      },
    ],
    [
      'srs',
      {
        'whip publish': 'http://h:1985 undefined',
        'whep play': 'http://h:1985 undefined',
        'json publish': 'http://h:1985 undefined',
        'rtmp publish': 'rtmp://h:1935 undefined',
        'rtmp play': 'rtmp://h:1935 undefined',
        'srt publish': 'srt://h:10080 undefined',
        'srt play': 'srt://h:10080 undefined',
        'flv play': 'http://h:8080 undefined',
        'hls play': 'http://h:8080 undefined',
      },
    ],
  ])('%s has its streams where it has them out of its box', (kind, expected) => {
    for (const [use, text] of Object.entries(expected)) {
      const [need, role] = use.split(' ') as [Need, Role]
      expect([use, textOf({ name: 'a', kind, host: 'h' }, need, role)]).toEqual([use, text])
    }
    const publishable: ReadonlySet<Need> = new Set(['whip', 'rtmp', 'srt'])
    for (const need of NEEDS.filter((need) => publishable.has(need))) {
      const isListed = `${need} publish` in expected
      expect([need, textOf({ name: 'a', kind, host: 'h' }, need, 'publish') !== undefined]).toEqual([
        need,
        isListed,
      ])
    }
    for (const need of ['rtmp', 'srt', 'whep', 'dash'] as const) {
      if (kind === 'srs') continue
      const isListed = `${need} play` in expected
      expect([need, textOf({ name: 'a', kind, host: 'h' }, need, 'play') !== undefined]).toEqual([
        need,
        isListed,
      ])
    }
  })

  it('every URL of every kind is one that can be used', () => {
    for (const [kind, { urls }] of Object.entries(ORIGIN_KINDS)) {
      for (const [need, url] of Object.entries(urls)) {
        expect([kind, need, originUrlFault(need as OriginUrlName, url.replace('HOST', '[::1]'))]).toEqual([
          kind,
          need,
          undefined,
        ])
      }
    }
  })

  it('URLs are replaced and switched off one by one, with HOST for an IPv6 host too', () => {
    const given = {
      name: 'a',
      kind: 'mediamtx',
      host: '2001:db8::5',
      urls: { hls: 'https://HOST/{app}/{stream}.m3u8', rtmp: false, flv: 'http://other:81/{stream}.flv' },
    } as const
    expect(textOf(given, 'hls', 'play')).toBe('https://2001:db8::5:443 /live/cam.m3u8')
    expect(textOf(given, 'rtmp', 'publish')).toBeUndefined()
    expect(textOf(given, 'flv', 'play')).toBe('http://other:81 /cam.flv')
    expect(textOf(given, 'whip', 'publish')).toBe('http://2001:db8::5:8889 /live/cam/whip')
    expect(resolveOrigin(given)).toMatchObject({ check: { host: '2001:db8::5', port: 8889 } })
  })

  it('an srs with a URL of its own is asked by names, and its ports may be others', () => {
    expect(
      textOf(
        {
          name: 'a',
          kind: 'srs',
          host: 'h',
          urls: { whip: 'https://HOST:1990/rtc/v1/whip/?app={app}&stream={stream}' },
        },
        'whip',
        'publish',
      ),
    ).toBe('https://h:1990 /rtc/v1/whip/?app=live&stream=cam')
    const ports = { rtmp: 19_350, srt: false, rtc: 0 } as const
    const { announcement } = resolveOrigin({ name: 'a', kind: 'srs', host: 'h', ports })
    expect(announcement).toMatchObject({ rtmp: [19_350], srt: [], rtc: [0], http: [8080], api: [1985] })
  })

  it('the announcement is that of one origin for ever, with weight, zone and backup', () => {
    expect(
      resolveOrigin({ name: 'a', kind: 'srs', host: 'h', weight: 2, zone: 'z', backup: true }),
    ).toMatchObject({
      id: 'a-static-0',
      announcement: { ip: 'h', server: 'a', kind: 'srs', weight: 2, zone: 'z', isBackup: true },
    })
  })

  it.each<[string, Partial<StaticOrigin>, object]>([
    ['an srs by its API', { kind: 'srs' }, { url: 'http://h:1985/api/v1/versions' }],
    ['an srs without API by RTMP', { kind: 'srs', ports: { api: false } }, { host: 'h', port: 1935 }],
    ['others by their first URL of TCP', { kind: 'nginx-rtmp' }, { host: 'h', port: 1935 }],
    ['a path', { kind: 'nginx-rtmp', check: 'https://h:1/health' }, { url: 'https://h:1/health' }],
    ['a port', { kind: 'nginx-rtmp', check: 'tcp://[::1]:99' }, { host: '::1', port: 99 }],
  ])('is checked: %s', (_what, given, check) => {
    expect(resolveOrigin({ name: 'a', kind: 'srs', host: 'h', ...given }).check).toEqual(check)
  })

  it('is not checked when told so, or when it speaks nothing but SRT', () => {
    expect(resolveOrigin({ name: 'a', kind: 'srs', host: 'h', check: false }).check).toBeUndefined()
    const urls = { srt: 'srt://h:1?streamid={stream}' }
    expect(resolveOrigin({ name: 'a', kind: 'custom', urls }).check).toBeUndefined()
  })

  it.each<[string, Partial<StaticOrigin>, string, RegExp]>([
    ['no host and no URL', { kind: 'custom' }, 'ORIGINS_NO_ENDPOINT', /a: it has no host and no urls/],
    ['a custom one with a host alone', { kind: 'custom', host: 'h' }, 'ORIGINS_NO_ENDPOINT', /no urls/],
    ['an srs without host', { kind: 'srs' }, 'ORIGINS_NO_ENDPOINT', /needs a host/],
    [
      'an srs without ports',
      { kind: 'srs', host: 'h', ports: { rtmp: false, http: false, api: false, srt: false, rtc: false } },
      'ORIGINS_NO_ENDPOINT',
      /every port/,
    ],
    [
      'a bad URL',
      { urls: { whip: 'rtmp://h/x' } },
      'ORIGINS_BAD_URL',
      /whip is "rtmp:\/\/h\/x": whip takes http/,
    ],
    ['HOST without a host', { urls: { whip: 'http://HOST{app}' } }, 'ORIGINS_BAD_URL', /no URL/],
    ['a password in a URL', { urls: { whip: 'http://me:secret@h/' } }, 'ORIGINS_BAD_URL', /^(?!.*secret)/],
    [
      'a password in a check',
      { host: 'h', check: 'http://me:secret@h/' },
      'ORIGINS_BAD_URL',
      /^(?!.*secret)/,
    ],
    ['a check by another protocol', { host: 'h', check: 'udp://h:1' }, 'ORIGINS_BAD_URL', /check is/],
    ['a check without port', { host: 'h', check: 'tcp://h' }, 'ORIGINS_BAD_URL', /check is/],
    [
      'streams of who lists none',
      { host: 'h', followIntervalMs: 1 },
      'ORIGINS_CANNOT_FOLLOW',
      /a nginx-rtmp does not list/,
    ],
    [
      'a bad API',
      { kind: 'srs', host: 'h', followIntervalMs: 1, api: 'h:1985' },
      'ORIGINS_CANNOT_FOLLOW',
      /its api is no URL/,
    ],
  ])('%s is refused', (_what, given, code, message) => {
    expect(() => resolveOrigin({ name: 'a', kind: 'nginx-rtmp', ...given })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })

  it('streams are asked for where the API is, with its password as a header', () => {
    const follow = { name: 'a', host: 'h', followIntervalMs: 5000 } as const
    expect(resolveOrigin({ ...follow, kind: 'srs' }).published).toMatchObject({
      base: 'http://h:1985',
      intervalMs: 5000,
    })
    expect(resolveOrigin({ ...follow, kind: 'srs', ports: { api: 19_850 } }).published?.base).toBe(
      'http://h:19850',
    )
    expect(
      resolveOrigin({ ...follow, kind: 'mediamtx', api: 'https://me:p%C3%A9@api:9/x/' }).published,
    ).toEqual({
      api: 'mediamtx',
      base: 'https://api:9/x',
      authorization: `Basic ${Buffer.from('me:pé').toString('base64')}`,
      intervalMs: 5000,
    })
  })
})
