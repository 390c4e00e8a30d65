import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { OriginAnnouncement } from '../contract.ts'
import { parseRfc3339 } from './rfc3339.ts'
import { readServerList, readServerValue, serverList, serverValue } from './srs-server-value.ts'

const UPDATE_MS = Date.UTC(2026, 10, 21, 8, 41, 59, 762)

const SRS: OriginAnnouncement = {
  ip: '10.0.0.5',
  deviceId: 'origin1',
  server: 'vid-13772xk',
  service: '3114493m',
  pid: '28955',
  rtmp: [19_351],
  http: [8081],
  api: [19_851],
  srt: [10_081],
  rtc: [8001],
}

/** As a Go proxy writes it after a heartbeat of SRS 7. */
const OF_GO =
  '{"ip":"10.0.0.5","device_id":"origin1","server_id":"vid-13772xk","service_id":"3114493m","pid":"28955","rtmp":["19351"],"http":["8081"],"api":["19851"],"srt":["udp://0.0.0.0:10081"],"rtc":["udp://0.0.0.0:8001"],"update_at":"2026-11-21T08:41:59.76217798Z"}'

describe('the value of a server', () => {
  it('is written as the SRS proxy writes it', () => {
    expect(serverValue({ announcement: SRS, updateMs: UPDATE_MS })).toBe(
      '{"ip":"10.0.0.5","device_id":"origin1","server_id":"vid-13772xk","service_id":"3114493m","pid":"28955","rtmp":["19351"],"http":["8081"],"api":["19851"],"srt":["10081"],"rtc":["8001"],"update_at":"2026-11-21T08:41:59.762Z"}',
    )
    const { deviceId: _, ...bare } = SRS
    expect(serverValue({ announcement: { ...bare, srt: [], rtc: [], api: [], http: [] }, updateMs: 0 })).toBe(
      '{"ip":"10.0.0.5","server_id":"vid-13772xk","service_id":"3114493m","pid":"28955","rtmp":["19351"],"update_at":"1970-01-01T00:00:00.000Z"}',
    )
  })

  it('is read as a Go proxy writes it', () => {
    expect(readServerValue(OF_GO)).toEqual({ announcement: SRS, updateMs: UPDATE_MS })
  })

  it('of a Go proxy may hold endpoints in every form, and some of no use', () => {
    const text = JSON.stringify({
      ...JSON.parse(OF_GO),
      ip: '[2001:db8::5]',
      rtmp: ['0.0.0.0:1935', '[::]:1936', 'nonsense', '0'],
      http: null,
      rtc: ['tcp://0.0.0.0:8000', 'udp://0.0.0.0:8001', '8002', 'udp://:0'],
      summaries: { ignored: true },
    })
    expect(readServerValue(text)?.announcement).toMatchObject({
      ip: '2001:db8::5',
      rtmp: [1935, 1936],
      http: [],
      rtc: [8001, 8002, 0],
    })
  })

  it('has what the SRS proxy does not know in a field of its own, last', () => {
    const ours: OriginAnnouncement = {
      ...SRS,
      rtmp: [],
      http: [],
      api: [],
      srt: [],
      rtc: [],
      weight: 0,
      isBackup: true,
      zone: 'a',
      load: 0.5,
      kind: 'mediamtx',
      urls: { whip: 'http://10.0.0.5:8889/{app}/{stream}/whip' },
    }
    const text = serverValue({ announcement: ours, updateMs: UPDATE_MS })
    expect(text).toMatch(/"update_at":"[^"]*","sluice":\{.*\}\}$/)
    expect(readServerValue(text)).toEqual({ announcement: ours, updateMs: UPDATE_MS })
  })

  it.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['null', 'null'],
    ['without an address', { ip: undefined }],
    ['at an address where nobody is', { ip: '0.0.0.0' }],
    ['without a server id', { server_id: undefined }],
    ['with an empty service id', { service_id: '' }],
    ['with a control character in its id', { pid: '1\n2' }],
    ['without a time', { update_at: undefined }],
    ['at no time', { update_at: 'yesterday' }],
    ['with ports that are numbers', { rtmp: [1935] }],
    ['with too many ports', { rtmp: Array.from({ length: 65 }, () => '1935') }],
    ['with a weight out of range', { sluice: { weight: -1 } }],
    ['with a load out of range', { sluice: { load: 2 } }],
    ['of an unknown kind', { sluice: { kind: 'x' } }],
    ['with a URL that a client could aim', { sluice: { urls: { whip: 'http://{app}/' } } }],
    ['longer than any that is written', { summaries: 'x'.repeat(65 * 1024) }],
  ])('is not taken: %s', (_, given) => {
    const text = typeof given === 'string' ? given : JSON.stringify({ ...JSON.parse(OF_GO), ...given })
    expect(readServerValue(text)).toBeUndefined()
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(announcements, fc.integer({ min: 0, max: 4e12 }), (announcement, updateMs) => {
        const value = { announcement, updateMs }
        expect(readServerValue(serverValue(value))).toEqual(value)
      }),
    )
  })

  it('is read or not, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), mutated(OF_GO)), (text) => {
        readServerValue(text)
        readServerList(text)
      }),
    )
  })
})

describe('the list of servers', () => {
  it('is a JSON array of keys', () => {
    const keys = ['srs-proxy-server:vid-a-b-1', 'P:srs-proxy-server:"x"']
    expect(serverList(keys)).toBe('["srs-proxy-server:vid-a-b-1","P:srs-proxy-server:\\"x\\""]')
    expect(readServerList(serverList(keys))).toEqual(keys)
  })

  it('is read without what is no key, and bounded', () => {
    expect(readServerList('["a",1,null,"",["b"],"c"]')).toEqual(['a', 'c'])
    expect(readServerList(JSON.stringify(['x'.repeat(3000)]))).toEqual([])
    expect(readServerList(JSON.stringify(Array.from({ length: 10_001 }, String)))).toHaveLength(10_000)
    for (const text of ['', 'null', '{}', '"a"', '[']) expect(readServerList(text)).toBeUndefined()
  })
})

describe('a time of RFC 3339', () => {
  it.each([
    ['2026-11-21T08:41:59.76217798Z', UPDATE_MS],
    ['2026-11-21T08:41:59.762999999Z', UPDATE_MS],
    ['2026-11-21t09:41:59.762+01:00', UPDATE_MS],
    ['2026-11-21T03:11:59.762-05:30', UPDATE_MS],
    ['2026-11-21T08:41:59Z', UPDATE_MS - 762],
    ['2026-11-21T08:41:59.7z', UPDATE_MS - 62],
    ['0001-01-01T00:00:00Z', -62_135_596_800_000],
  ])('%s is read', (text, ms) => {
    expect(parseRfc3339(text)).toBe(ms)
  })

  it.each([
    '',
    '2026-11-21',
    '2026-11-21T08:41:59',
    '2026-11-21 08:41:59Z',
    '2026-11-21T24:00:00Z',
    '2026-11-21T08:60:59Z',
    '2026-02-30T08:41:59Z',
    '2026-13-01T08:41:59Z',
    '2026-11-21T08:41:59.1234567890Z',
    '2026-11-21T08:41:59+24:00',
    '2026-11-21T08:41:59+01:60',
  ])('%j is none', (text) => {
    expect(parseRfc3339(text)).toBeUndefined()
  })
})

const label = fc.string({ minLength: 1, maxLength: 20 }).filter((text) => !/\p{Cc}/u.test(text))
const ports = fc.array(fc.integer({ min: 1, max: 65_535 }), { maxLength: 4 })

const announcements: fc.Arbitrary<OriginAnnouncement> = fc.record(
  {
    ip: fc.oneof(
      fc.constantFrom('origin.example', '2001:db8::1'),
      fc.ipV4().filter((ip) => Number.parseInt(ip) > 0 && Number.parseInt(ip) < 224),
    ),
    deviceId: label,
    server: label,
    service: label,
    pid: label,
    rtmp: ports,
    http: ports,
    api: ports,
    srt: ports,
    rtc: ports,
    weight: fc.double({ min: 0, max: 1000, noNaN: true }).map((weight) => weight + 0),
    isBackup: fc.boolean(),
    zone: label,
    load: fc.double({ min: 0, max: 1, noNaN: true }).map((load) => load + 0),
    kind: fc.constantFrom('srs' as const, 'mediamtx' as const, 'custom' as const),
    urls: fc.constantFrom(
      { rtmp: 'rtmp://10.0.0.5/{app}/{stream}' },
      { hls: 'https://o.example/{vhost}/{app}/{stream}.m3u8' },
    ),
  },
  { requiredKeys: ['ip', 'server', 'service', 'pid', 'rtmp', 'http', 'api', 'srt', 'rtc'] },
)

/** A text with some of its characters changed. */
function mutated(text: string): fc.Arbitrary<string> {
  return fc
    .array(fc.tuple(fc.nat({ max: text.length - 1 }), fc.string({ minLength: 1, maxLength: 1 })), {
      maxLength: 4,
    })
    .map((changes) =>
      changes.reduce((made, [at, by]) => `${made.slice(0, at)}${by}${made.slice(at + 1)}`, text),
    )
}
