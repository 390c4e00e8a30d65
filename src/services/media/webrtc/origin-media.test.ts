import { describe, expect, test } from 'vitest'
import { sdpOf, sdpText } from '../../../protocols/sdp/sdp.testkit.ts'
import { isMediaOf, originMedia, originMediaPort } from './origin-media.ts'
import { answerSdp } from './webrtc.testkit.ts'

describe('originMediaPort', () => {
  const answer = sdpOf(answerSdp('or16', 8001))
  test.each([
    ['the one the answer names, when it is registered', [8000, 8001], 8001],
    ['the first registered, when the answer names another', [8000, 8002], 8000],
    ['what the answer names, when 0 is registered', [0], 8001],
    ['what the answer names, when 0 is among the registered', [8000, 0], 8001],
  ])('%s', (_, registered, port) => {
    expect(originMediaPort(answer, registered)).toBe(port)
  })

  test('an answer without candidates: the first registered port, or none', () => {
    const bare = sdpOf('v=0\r\nm=video 9 X 0\r\n')
    expect(originMediaPort(bare, [0, 8000])).toBe(8000)
    expect(originMediaPort(bare, [0])).toBeUndefined()
  })
})

describe('originMedia of an origin with URLs', () => {
  const names = new Map([['media.example', '203.0.113.7']])
  const resolveHost = async (name: string): Promise<string> => {
    const address = names.get(name)
    if (address === undefined) throw new Error('unknown')
    return address
  }
  const at = async (apiAddress: string, ...candidates: string[]): Promise<string | undefined> => {
    const lines = candidates.map((text, i) => `a=candidate:${i} 1 ${text}`)
    const answer = sdpOf(sdpText('v=0', 'm=video 9 X 0', ...lines))
    const media = await originMedia(answer, { urls: {}, rtc: [] }, { address: apiAddress }, resolveHost)
    return media && `${media.address} ${media.port}`
  }

  test.each([
    [
      'the one at the address of its API, of whatever type',
      ['udp 9 10.0.0.7 1 typ host', 'udp 1 192.0.2.5 2 typ srflx raddr 10.0.0.7 rport 1'],
      '192.0.2.5 2',
    ],
    [
      'else the first host',
      ['udp 1 198.51.100.1 3 typ srflx', 'udp 1 10.0.0.7 1 typ host', 'udp 1 10.0.0.8 2 typ host'],
      '10.0.0.7 1',
    ],
    [
      'of the family of the API first',
      ['udp 1 2001:db8::7 1 typ host', 'udp 1 10.0.0.7 2 typ host'],
      '10.0.0.7 2',
    ],
    ['else of the other family', ['udp 1 2001:DB8:0::7 1 typ host'], '2001:db8::7 1'],
    ['else any other', ['udp 1 198.51.100.1 3 typ srflx'], '198.51.100.1 3'],
    ['a name, looked up', ['udp 1 media.example 4 typ host'], '203.0.113.7 4'],
    [
      'not a name that nobody knows',
      ['udp 1 other.example 4 typ host', 'udp 1 10.0.0.7 1 typ host'],
      '10.0.0.7 1',
    ],
    ['not a name of mDNS', ['udp 1 4f1d.local 4 typ host'], undefined],
    ['not TCP', ['tcp 1 192.0.2.5 4 typ host tcptype passive'], undefined],
    ['not without a port', ['udp 1 192.0.2.5 0 typ host'], undefined],
    ['not a loopback of another machine', ['udp 1 127.0.0.1 4 typ host', 'udp 1 ::1 4 typ host'], undefined],
    ['not an unspecified address', ['udp 1 0.0.0.0 4 typ host', 'udp 1 :: 4 typ host'], undefined],
    [
      'not a group',
      ['udp 1 224.0.0.1 4 typ host', 'udp 1 255.255.255.255 4 typ host', 'udp 1 ff02::1 4 typ host'],
      undefined,
    ],
    ['not without an interface', ['udp 1 fe80::1 4 typ host'], undefined],
  ])('%s', async (_, candidates, expected) => {
    expect(await at('192.0.2.5', ...candidates)).toBe(expected)
  })

  test('a loopback of this machine', async () => {
    expect(await at('127.0.0.1', 'udp 1 10.0.0.7 1 typ host', 'udp 1 127.0.0.1 4 typ host')).toBe(
      '127.0.0.1 4',
    )
  })

  test('an answer with a thousand names looks up a bounded number of them', async () => {
    let asked = 0
    const lines = Array.from({ length: 1000 }, (_, i) => `a=candidate:${i} 1 udp 1 n${i}.example 4 typ host`)
    const answer = sdpOf(sdpText('v=0', 'm=video 9 X 0', ...lines))
    const count = async (): Promise<string> => {
      asked++
      throw new Error('unknown')
    }
    expect(await originMedia(answer, { urls: {}, rtc: [] }, { address: '192.0.2.5' }, count)).toBeUndefined()
    expect(asked).toBeLessThanOrEqual(16)
  })
})

describe('a place that another gateway says', () => {
  const api = { address: '10.0.0.5' }
  const urls = { whip: 'http://10.0.0.5/{app}/{stream}/whip' }
  test.each([
    ['its address and port', { rtc: [8000] }, '10.0.0.5', 8000, true],
    ['the same, written as IPv6', { rtc: [8000] }, '::ffff:10.0.0.5', 8000, true],
    ['another port', { rtc: [8000] }, '10.0.0.5', 8001, false],
    ['any port, where its answers say which', { rtc: [0] }, '10.0.0.5', 40_000, true],
    ['another address', { rtc: [8000] }, '10.0.0.6', 8000, false],
    ['of one with URLs, any that can be reached', { rtc: [], urls }, '203.0.113.9', 40_000, true],
    ['of one with URLs, this machine', { rtc: [], urls }, '127.0.0.1', 40_000, false],
    ['a group', { rtc: [], urls }, '224.0.0.1', 40_000, false],
    ['port 0', { rtc: [0] }, '10.0.0.5', 0, false],
    ['a port beyond all', { rtc: [0] }, '10.0.0.5', 65_536, false],
    ['part of a port', { rtc: [0] }, '10.0.0.5', 1.5, false],
    ['a name', { rtc: [], urls }, 'localhost', 8000, false],
  ] as const)('%s', (_, origin, address, port, isIts) => {
    expect(isMediaOf(origin, api, { address, port })).toBe(isIts)
  })
})
