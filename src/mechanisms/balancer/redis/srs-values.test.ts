import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { HlsSession } from '../contract.ts'
import { originIdOf } from '../origin-id.ts'
import { streamKeyOf } from '../stream-key.ts'
import { hlsValue, readHlsValue } from './srs-hls-value.ts'
import {
  gatewayMark,
  OURS_MARK,
  readRtcValue,
  type RtcValue,
  rtcValue,
  tokenMark,
  usernameMark,
} from './srs-rtc-value.ts'

const OF_GO = '{"stream_url":"__defaultVhost__/live/livestream","ufrag":"nnx8:c8Qg"}'
const HLS_OF_GO =
  '{"spbhid":"8e44b3c","stream_url":"__defaultVhost__/live/livestream","full_url":"http://127.0.0.1/live/livestream.m3u8"}'

describe('the value of an HLS session', () => {
  it('is that of the SRS proxy', () => {
    const session: HlsSession = {
      id: '8e44b3c',
      streamKey: streamKeyOf('', 'live', 'livestream'),
      fullUrl: 'http://127.0.0.1/live/livestream.m3u8',
    }
    expect(hlsValue(session)).toBe(HLS_OF_GO)
    expect(readHlsValue(HLS_OF_GO)).toEqual(session)
    // As Go escapes it.
    expect(readHlsValue(HLS_OF_GO.replace('127.0.0.1', 'a\\u0026b'))?.fullUrl).toContain('a&b')
  })

  it('is read or not, whatever it is', () => {
    fc.assert(fc.property(texts(HLS_OF_GO), (text) => void readHlsValue(text)))
  })
})

describe('the value of a WebRTC session', () => {
  it('is that of the SRS proxy, with what is ours behind', () => {
    const bare: RtcValue = { streamKey: streamKeyOf('', 'live', 'livestream'), username: 'nnx8:c8Qg' }
    expect(rtcValue(bare)).toBe(OF_GO)
    expect(readRtcValue(OF_GO)).toEqual(bare)
    expect(readRtcValue(OF_GO.replace('}', ',"new":1}'))).toEqual(bare)
    expect(readRtcValue(OF_GO.replace('}', ',"sluice":{}}'))).toBeUndefined()
    expect(rtcValue({ ...bare, ours: { ...OURS, gateway: 'g' } })).toBe(
      OF_GO.replace(
        '}',
        ',"sluice":{"gateway":"g","role":"play","origin":"s-v-1","address":"10.0.0.5","port":8000}}',
      ),
    )
  })

  it('is read as it was written, and its marks are in it alone', () => {
    fc.assert(
      fc.property(values, names, (value, other) => {
        const text = rtcValue(value)
        expect(readRtcValue(text)).toEqual(value)
        expect(text.includes(OURS_MARK)).toBe(value.ours !== undefined)
        if (value.ours !== undefined) expect(text).toContain(gatewayMark(value.ours.gateway))
        if (other !== value.ours?.gateway) expect(text).not.toContain(gatewayMark(other))
        expect(text).toContain(usernameMark(value.username))
        if (value.ours?.resource !== undefined)
          expect(text).toContain(tokenMark(value.ours.resource.tokenHash))
      }),
    )
  })

  it('is read or not, whatever it is', () => {
    const sample = rtcValue({
      streamKey: streamKeyOf('', 'live', 's'),
      username: 'a:b',
      ours: {
        ...OURS,
        gateway: 'g',
        sealed: 'abc',
        resource: { id: 'i', tokenHash: 't', clientAddress: '', sinceMs: 1, hasTcp: true },
      },
    })
    fc.assert(fc.property(texts(sample), (text) => void readRtcValue(text)))
  })
})

const OURS = {
  role: 'play' as const,
  originId: originIdOf({ server: 's', service: 'v', pid: '1' }),
  originAddress: '10.0.0.5',
  originPort: 8000,
}

/** Names with what JSON escapes, and with what a script looks for. */
const names = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }),
    fc.constantFrom('"', '\\', `x${OURS_MARK}`, gatewayMark('g'), tokenMark('t'), 'g'),
  )
  .filter((name) => !/[\p{Cc}\p{Cs}]/u.test(name))
const usernames = fc
  .tuple(names, names)
  .map((parts) => parts.map((part) => part.replaceAll(':', '') || 'u').join(':'))

const values: fc.Arbitrary<RtcValue> = fc.record(
  {
    streamKey: names
      .filter((name) => name.replaceAll('/', '') !== '' && !/^\.+$/.test(name.replaceAll('/', '')))
      .map((name) => streamKeyOf('', 'live', `x${name}`)),
    username: usernames,
    ours: fc.record(
      {
        gateway: names,
        role: fc.constantFrom('publish' as const, 'play' as const),
        originId: names.map((name) => originIdOf({ server: name, service: 'v', pid: '1' })),
        originAddress: fc.constantFrom('10.0.0.5', '2001:db8::1'),
        originPort: fc.integer({ min: 1, max: 65_535 }),
        resource: fc.record(
          {
            id: names,
            tokenHash: names,
            previous: usernames,
            etag: names,
            clientAddress: fc.constantFrom('192.0.2.1', ''),
            sinceMs: fc.nat(),
            hasTcp: fc.boolean(),
            untilMs: fc.nat(),
          },
          { requiredKeys: ['id', 'tokenHash', 'clientAddress', 'sinceMs', 'hasTcp'] },
        ),
        sealed: fc.constantFrom('AQ-_', 'x'),
      },
      { requiredKeys: ['gateway', 'role', 'originId', 'originAddress', 'originPort'] },
    ),
  },
  { requiredKeys: ['streamKey', 'username'] },
)

/** Any text, any JSON, and a good value with some of its characters changed. */
function texts(good: string): fc.Arbitrary<string> {
  const changes = fc.array(
    fc.tuple(fc.nat({ max: good.length - 1 }), fc.string({ minLength: 1, maxLength: 1 })),
    { maxLength: 4 },
  )
  const changed = changes.map((all) =>
    all.reduce((made, [at, by]) => `${made.slice(0, at)}${by}${made.slice(at + 1)}`, good),
  )
  return fc.oneof(fc.string(), fc.json(), changed)
}
