import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isCandidateLine, udpCandidates } from './candidate.ts'
import { iceCredentials } from './ice-credentials.ts'
import { withoutCandidates, withPublicCandidates } from './rewrite.ts'
import { browserOffer, originAnswer, sdpOf, sdpText } from './sdp.testkit.ts'
import { SessionDescription } from './session-description.ts'

const v4 = { address: '203.0.113.9', port: 8000 }
const v6 = { address: '2001:db8::9', port: 8000 }

/** Lines that a rewrite must not touch. */
function others(description: SessionDescription): string[] {
  return description.lines
    .filter(
      ({ text }) => !/^(m=|c=|a=rtcp:|a=candidate:|a=remote-candidates:|a=end-of-candidates$)/.test(text),
    )
    .map(({ text, ending }) => text + ending)
}

function rewritten(text: string): string {
  return withPublicCandidates(sdpOf(text), [v4]).toBytes().toString()
}

describe('withoutCandidates', () => {
  test('an offer loses its candidates and its default destination, and nothing else', () => {
    const text = withoutCandidates(sdpOf(browserOffer)).toBytes().toString('latin1')
    const expected = browserOffer
      .split('\r\n')
      .filter((line) => !line.startsWith('a=candidate') && line !== 'a=end-of-candidates')
      .join('\r\n')
      .replace('m=audio 50000 ', 'm=audio 9 ')
      .replace('c=IN IP4 192.0.2.7', 'c=IN IP4 0.0.0.0')
      .replace('a=rtcp:50001 IN IP4 192.0.2.7', 'a=rtcp:9 IN IP4 0.0.0.0')
    expect(text).toBe(expected)
    expect(text).not.toContain('192.0.2.7')
  })

  test('a candidate behind a lone CR is found', () => {
    const text = 'v=0\r\na=x\ra=candidate:1 1 udp 1 192.0.2.7 5 typ host\r\n'
    expect(withoutCandidates(sdpOf(text)).toBytes().toString()).toBe('v=0\r\na=x\r')
  })

  test.each([
    ' a=candidate:1 1 udp 1 192.0.2.7 5 typ host',
    'A = Candidate : 1 1 udp 1 192.0.2.7 5 typ host',
    'a=x\va=candidate:1 1 udp 1 192.0.2.7 5 typ host',
    'a=x\u001c a=candidate:1 1 udp 1 192.0.2.7 5 typ host',
    'a=x\u0085a=candidate:1 1 udp 1 192.0.2.7 5 typ host',
    'a=x\u00e2\u0080\u00a8a=candidate:1 1 udp 1 192.0.2.7 5 typ host',
    'a=remote-candidates:1 192.0.2.7 5',
  ])('a candidate that only a lenient parser sees goes too: %j', (line) => {
    const text = withoutCandidates(sdpOf(sdpText('v=0', 'm=audio 9 X 0', line, 'a=mid:0'))).toBytes()
    expect(text.toString()).toBe(sdpText('v=0', 'm=audio 9 X 0', 'a=mid:0'))
  })

  test('looking for candidates takes no longer than reading', () => {
    for (const run of [' ', '\v', 'a=', 'a =', '\va']) {
      // Were the time quadratic, the test would not end in its time.
      expect(isCandidateLine({ text: run.repeat(300_000), ending: '' })).toBe(false)
    }
  })

  test('a refused section stays refused', () => {
    const text = sdpText('v=0', 'm=audio 0 UDP/TLS/RTP/SAVPF 111')
    expect(withoutCandidates(sdpOf(text)).toBytes().toString()).toBe(text)
  })
})

describe('withPublicCandidates', () => {
  test('an answer names the public addresses, and nothing of the origin', () => {
    const text = withPublicCandidates(sdpOf(originAnswer), [v4, v6]).toBytes().toString('latin1')
    const ours = [
      'a=candidate:1 1 udp 2130706431 203.0.113.9 8000 typ host',
      'a=candidate:2 1 udp 2130706175 2001:db8::9 8000 typ host',
    ]
    expect(text).toBe(
      sdpText(
        'v=0',
        'o=SRS/7.0.18 4611 2 IN IP4 0.0.0.0',
        's=SRSPublishSession',
        't=0 0',
        'a=ice-lite',
        'a=group:BUNDLE 0 1',
        'm=audio 8000 UDP/TLS/RTP/SAVPF 111',
        'c=IN IP4 203.0.113.9',
        'a=rtcp:8000 IN IP4 203.0.113.9',
        'a=ice-ufrag:or16',
        'a=ice-pwd:originpasswordoriginpass',
        ...ours,
        'a=mid:0',
        'm=video 9 UDP/TLS/RTP/SAVPF 96',
        'c=IN IP4 0.0.0.0',
        'a=ice-ufrag:or16',
        'a=ice-pwd:originpasswordoriginpass',
        ...ours,
        'a=mid:1',
        'a=end-of-candidates',
      ),
    )
  })

  test.each([
    ['o=SRS 1 2 IN IP4 10.9.8.7', 'o=SRS 1 2 IN IP4 203.0.113.9'],
    ['o=- 1 2 IN IP6 fd00::7', 'o=- 1 2 IN IP4 203.0.113.9'],
    ['o=- 1 2 IN IP4 media7.inner', 'o=- 1 2 IN IP4 203.0.113.9'],
    ['o=- 1 2 IN IP4 127.0.0.1', 'o=- 1 2 IN IP4 127.0.0.1'],
    ['o=- 1 2 IN IP6 ::1', 'o=- 1 2 IN IP6 ::1'],
    ['o=odd', 'o=odd'],
  ])('an origin does not name itself: %s', (line, expected) => {
    expect(rewritten(sdpText('v=0', line))).toBe(sdpText('v=0', expected))
  })

  test('without candidates of the origin the first open section gets ours', () => {
    const text = sdpText(
      'v=0',
      'm=audio 0 X 0',
      'a=mid:0',
      'm=video 9 X 0',
      'a=mid:1',
      'm=video 9 X 0',
      'a=mid:2',
    )
    expect(withPublicCandidates(sdpOf(text), [v4]).toBytes().toString()).toBe(
      text.replace('a=mid:1\r\n', 'a=mid:1\r\na=candidate:1 1 udp 2130706431 203.0.113.9 8000 typ host\r\n'),
    )
  })

  test('a text without a last newline, and one with blank lines at its end, stay in order', () => {
    const candidate = 'a=candidate:1 1 udp 2130706431 203.0.113.9 8000 typ host'
    expect(rewritten('v=0\nm=audio 9 X 0\na=mid:0')).toBe(`v=0\nm=audio 9 X 0\na=mid:0\n${candidate}\n`)
    expect(rewritten('v=0\nm=audio 9 X 0\na=mid:0\n\n')).toBe(`v=0\nm=audio 9 X 0\na=mid:0\n${candidate}\n\n`)
  })

  test('an IPv6 address is written as one', () => {
    const text = withPublicCandidates(sdpOf(originAnswer), [v6]).toBytes().toString()
    expect(text).toContain('c=IN IP6 2001:db8::9\r\n')
    expect(text).toContain('a=rtcp:8000 IN IP6 2001:db8::9\r\n')
  })

  test('an address over TCP is a passive candidate behind those over UDP', () => {
    const tcp = { ...v4, port: 8443, transport: 'tcp' } as const
    const text = withPublicCandidates(sdpOf(originAnswer), [v4, tcp]).toBytes().toString()
    expect(text.match(/a=candidate.*/g)?.slice(0, 2)).toEqual([
      'a=candidate:1 1 udp 2130706431 203.0.113.9 8000 typ host',
      'a=candidate:2 1 tcp 1520434943 203.0.113.9 8443 typ host tcptype passive',
    ])
    expect(text).toContain('m=audio 8000 ')
  })

  test('no public address at all is misuse', () => {
    expect(() => withPublicCandidates(sdpOf(originAnswer), [])).toThrow(RangeError)
  })
})

describe('properties', () => {
  const interesting = [
    ...new Set(`${browserOffer}${originAnswer}`.split('\r\n')),
    'a=candidate:',
    'c=IN IP4 10.1.2.3',
    'c=IN IP6 ::',
    'a=rtcp:1234',
    'a=rtcp:',
    'm=',
    'm=audio',
    '',
  ]
  const line = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...interesting) },
    fc.string({ unit: 'binary-ascii', maxLength: 60 }).filter((text) => !/[\r\n]/.test(text)),
  )
  const text = fc
    .array(fc.tuple(line, fc.constantFrom('\r\n', '\n')), { maxLength: 40 })
    .map((lines) => `v=0\r\n${lines.map(([text, ending]) => text + ending).join('')}`)

  test('all lines but those of candidates and destinations come through byte for byte', () => {
    fc.assert(
      fc.property(text, (text) => {
        const description = sdpOf(text)
        expect(others(withoutCandidates(description))).toEqual(others(description))
        expect(others(withPublicCandidates(description, [v4, v6]))).toEqual(others(description))
      }),
      { numRuns: 500 },
    )
  })

  test('no candidate and no address but ours is left', () => {
    fc.assert(
      fc.property(text, (text) => {
        const description = sdpOf(text)
        expect(withoutCandidates(description).lines.filter(isCandidateLine)).toEqual([])
        const answer = withPublicCandidates(description, [v4])
        for (const { address, port } of udpCandidates(answer)) expect({ address, port }).toEqual(v4)
        for (const { text } of answer.lines) {
          if (/^(c=|a=rtcp:|a=candidate:)/.test(text)) expect(text).not.toMatch(/10\.|192\.0\.2|198\.51/)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('any bytes are read without throwing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const description = SessionDescription.parse(bytes, { fragment: true })
        if (typeof description === 'string') return
        iceCredentials(description)
        udpCandidates(description)
        withPublicCandidates(withoutCandidates(description), [v4])
      }),
      { numRuns: 1000 },
    )
  })
})
