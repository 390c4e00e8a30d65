import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseCandidate, udpCandidates } from './candidate.ts'
import { iceCredentials } from './ice-credentials.ts'
import { browserOffer, originAnswer, sdpOf, sdpText } from './sdp.testkit.ts'
import { SessionDescription } from './session-description.ts'

describe('SessionDescription', () => {
  test('any bytes come out as they came in', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (body) => {
        const bytes = Buffer.concat([Buffer.from('v=0\n'), body])
        const description = SessionDescription.parse(bytes)
        expect(typeof description === 'string' ? description : description.toBytes()).toEqual(bytes)
      }),
    )
  })

  test('line endings of all kinds are kept', () => {
    const text = 'v=0\r\na=1\na=2\ra=3\r\n\r\n\n\ra=4'
    const description = sdpOf(text)
    expect(description.lines.map((line) => line.text)).toEqual([
      'v=0',
      'a=1',
      'a=2',
      'a=3',
      '',
      '',
      '',
      'a=4',
    ])
    expect(description.toBytes().toString()).toBe(text)
  })

  test('too many bytes, too many lines and other texts are refused with a reason', () => {
    const bytes = Buffer.from(browserOffer)
    expect(SessionDescription.parse(bytes, { maxBytes: bytes.length - 1 })).toBe('too-long')
    expect(SessionDescription.parse(bytes, { maxLines: 3 })).toBe('too-many-lines')
    expect(SessionDescription.parse(Buffer.from('{"sdp":"v=0"}'))).toBe('not-sdp')
    expect(SessionDescription.parse(Buffer.alloc(0))).toBe('not-sdp')
    expect(SessionDescription.parse(Buffer.from('a=ice-ufrag:x\r\n'), { fragment: true })).not.toBeTypeOf(
      'string',
    )
  })
})

describe('iceCredentials', () => {
  test('those of the first media section that has them', () => {
    expect(iceCredentials(sdpOf(browserOffer))).toEqual({ ufrag: 'Cl1t', pwd: 'clientpasswordclientpass' })
  })

  test('those before the first media section, when the sections have none', () => {
    const text = sdpText('v=0', 'a=ice-ufrag:abcd', `a=ice-pwd:${'p'.repeat(22)}`, 'm=audio 9 X 0', 'a=mid:0')
    expect(iceCredentials(sdpOf(text))).toEqual({ ufrag: 'abcd', pwd: 'p'.repeat(22) })
  })

  test('a section wins over the level above it', () => {
    const text = sdpText(
      'v=0',
      'a=ice-ufrag:abcd',
      `a=ice-pwd:${'p'.repeat(22)}`,
      'm=audio 9 X 0',
      'a=ice-ufrag:efgh',
    )
    expect(iceCredentials(sdpOf(text))).toEqual({ ufrag: 'efgh', pwd: 'p'.repeat(22) })
  })

  test.each([
    ['no ufrag', ['a=ice-pwd:' + 'p'.repeat(22)]],
    ['no pwd', ['a=ice-ufrag:abcd']],
    ['a short ufrag', ['a=ice-ufrag:abc', 'a=ice-pwd:' + 'p'.repeat(22)]],
    ['a short pwd', ['a=ice-ufrag:abcd', 'a=ice-pwd:' + 'p'.repeat(21)]],
    ['a long ufrag', ['a=ice-ufrag:' + 'u'.repeat(257), 'a=ice-pwd:' + 'p'.repeat(22)]],
    ['a colon in the ufrag', ['a=ice-ufrag:ab:cd', 'a=ice-pwd:' + 'p'.repeat(22)]],
  ])('%s: none', (_, lines) => {
    expect(iceCredentials(sdpOf(sdpText('v=0', 'm=audio 9 X 0', ...lines)))).toBeUndefined()
  })
})

describe('candidates', () => {
  test('of an answer: UDP of component 1 in their order', () => {
    const found = udpCandidates(sdpOf(originAnswer))
    expect(found.map(({ address, port, type }) => [address, port, type])).toEqual([
      ['10.0.0.5', 8001, 'host'],
      ['10.0.0.5', 8001, 'host'],
      ['198.51.100.4', 61_000, 'srflx'],
    ])
  })

  test.each([
    'a=candidate:1 1 udp 1 1.2.3.4 65536 typ host',
    'a=candidate:1 1 udp 1 1.2.3.4 -1 typ host',
    'a=candidate:1 x udp 1 1.2.3.4 5 typ host',
    'a=candidate:1 1 udp 1 1.2.3.4 5 host',
    'a=candidate:1 1 udp',
    'a=candidate:',
    'a=mid:0',
  ])('%s is none', (text) => {
    expect(parseCandidate({ text, ending: '\n' })).toBeUndefined()
  })
})
