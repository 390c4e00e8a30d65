import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  encodeAddress,
  longTermKey,
  StunAttribute,
  StunClass,
  StunMethod,
  StunWriter,
  userhash,
  verifyFingerprint,
  verifyMessageIntegrity,
  verifyMessageIntegritySha256,
} from '../../stun/index.ts'
import { decodeChannelData, encodeChannelData } from '../channel-data.ts'
import {
  AddressFamily,
  decodeChannelNumber,
  decodeRequestedTransport,
  encodeAddressErrorCode,
  encodeEvenPort,
  encodeIcmp,
  peerAddresses,
} from '../turn-attributes.ts'
import {
  Conversation,
  dataIndication,
  decoded,
  mapped,
  password,
  realm,
  relayed,
  username,
} from './scripted-server.testkit.ts'
import { TurnClient } from './turn-client.ts'

const peer = { address: '192.0.2.9', port: 9000 }
const bytes = Uint8Array.of(1, 2, 3, 4, 5)

describe('allocating', () => {
  test('the first request is bare; the challenge is answered with user, realm, nonce and integrity', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    const first = talk.request()
    expect([first.method, first.class, first.integrityOffset]).toEqual([
      StunMethod.allocate,
      StunClass.request,
      undefined,
    ])
    expect(
      decodeRequestedTransport(first.attribute(StunAttribute.requestedTransport) ?? new Uint8Array()),
    ).toBe(17)
    talk.deliver(talk.challenge(first, 401))
    const second = talk.request()
    expect(second.transactionId).not.toEqual(first.transactionId)
    expect(
      [StunAttribute.username, StunAttribute.realm, StunAttribute.nonce].map((type) => second.text(type)),
    ).toEqual([username, realm, 'nonce-1'])
    expect(verifyMessageIntegrity(second, talk.key)).toBe(true)
    talk.deliver(talk.allocated(second))
    expect(talk.told()).toEqual([{ kind: 'allocated', relayed, mapped, lifetimeSeconds: 600 }])
    expect(talk.sent()).toEqual([])
  })

  test('asks for what it is told to', () => {
    const talk = new Conversation({
      relayTransport: 'tcp',
      family: 2,
      lifetimeSeconds: 1234,
      useFingerprint: true,
      isStream: true,
    })
    talk.client.allocate(talk.nowMs, [{ type: StunAttribute.evenPort, value: encodeEvenPort(true) }])
    const request = talk.request()
    expect([...request.attributes()].map(({ type, value }) => [type, [...value]])).toEqual([
      [StunAttribute.requestedTransport, [6, 0, 0, 0]],
      [StunAttribute.requestedAddressFamily, [2, 0, 0, 0]],
      [StunAttribute.lifetime, [0, 0, 4, 210]],
      [StunAttribute.evenPort, [0x80]],
    ])
    expect(verifyFingerprint(request)).toBe(true)
  })

  test('tells of the second address, the token and the ticket', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    const additional = { address: '2001:db8::5', port: 50_001 }
    talk.deliver(
      talk.success(talk.request(), (writer) =>
        writer
          .xorAddress(StunAttribute.xorRelayedAddress, relayed)
          .xorAddress(StunAttribute.xorRelayedAddress, additional)
          .xorAddress(StunAttribute.xorMappedAddress, mapped)
          .u32(StunAttribute.lifetime, 600)
          .text(StunAttribute.reservationToken, '12345678')
          .text(StunAttribute.mobilityTicket, 'ticket'),
      ),
    )
    expect(talk.told()).toEqual([
      {
        kind: 'allocated',
        relayed,
        additional,
        mapped,
        lifetimeSeconds: 600,
        reservationToken: Uint8Array.from(Buffer.from('12345678')),
        mobilityTicket: Uint8Array.from(Buffer.from('ticket')),
      },
    ])
  })

  test('tells of the family that could not be had', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    const addressError = { family: AddressFamily.ipv6, code: 440 }
    talk.deliver(
      talk.success(talk.request(), (writer) =>
        writer
          .xorAddress(StunAttribute.xorRelayedAddress, relayed)
          .xorAddress(StunAttribute.xorMappedAddress, mapped)
          .u32(StunAttribute.lifetime, 600)
          .attribute(StunAttribute.addressErrorCode, encodeAddressErrorCode(addressError)),
      ),
    )
    expect(talk.told()).toEqual([{ kind: 'allocated', relayed, addressError, mapped, lifetimeSeconds: 600 }])
  })

  test('a wrong password is told after one try', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.deliver(talk.challenge(talk.request(), 401))
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'allocate', code: 401 }])
    expect([talk.sent(), talk.client.nextDeadlineMs()]).toEqual([[], undefined])
  })

  test('the other server of a 300 is told, if it is signed', () => {
    const alternateServer = { address: '192.0.2.77', port: 3478 }
    const talk = new Conversation({ isStream: true })
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.deliver(
      talk.error(talk.request(), 300, (writer) =>
        writer.attribute(StunAttribute.alternateServer, encodeAddress(alternateServer)),
      ),
    )
    expect(talk.told()).toMatchObject([{ kind: 'failed', code: 300, alternateServer }])

    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 300))
    talk.client.allocate(talk.nowMs)
    talk.key = Buffer.from('not the key')
    talk.deliver(talk.error(talk.request(), 300))
    expect(talk.told()).toMatchObject([
      { kind: 'failed', code: 'integrity' },
      { kind: 'failed', code: 'integrity' },
    ])
  })

  test('an error without integrity is told as it is', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.deliver(talk.challenge(talk.request(), 486))
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'allocate', code: 486, reason: '' }])
  })

  test.each([
    ['relayed address', StunAttribute.xorMappedAddress],
    ['mapped address', StunAttribute.xorRelayedAddress],
  ])('a success without its %s is malformed', (_name, given) => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.deliver(
      talk.success(talk.request(), (writer) =>
        writer.xorAddress(given, relayed).u32(StunAttribute.lifetime, 600),
      ),
    )
    expect(talk.told()).toMatchObject([{ kind: 'failed', code: 'malformed' }])
  })
})

describe('stale nonces', () => {
  test('the request is sent again with the new one', () => {
    const talk = new Conversation().establish()
    talk.client.permit([peer], talk.nowMs)
    talk.nonce = 'nonce-2'
    talk.deliver(talk.challenge(talk.request(), 438))
    const again = talk.request()
    expect(again.text(StunAttribute.nonce)).toBe('nonce-2')
    talk.deliver(talk.success(again))
    expect(talk.told()).toEqual([{ kind: 'permitted', peers: [peer] }])
  })

  test('a server that finds every nonce stale is not followed for ever', () => {
    const talk = new Conversation().establish()
    talk.client.permit([peer], talk.nowMs)
    let sends = 0
    for (let sent = talk.sent(); sent[0] !== undefined; sent = talk.sent()) {
      sends++
      talk.deliver(talk.challenge(decoded(sent[0]), 438))
    }
    expect(sends).toBe(5)
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'permit', code: 438, peers: [peer] }])
  })
})

describe('what the server says that it can do (RFC 8489 §9.2)', () => {
  const algorithms = (...numbers: number[]) => Uint8Array.from(numbers.flatMap((number) => [0, number, 0, 0]))

  test('SHA-256 keys and integrity', () => {
    const talk = new Conversation({}, 'obMatJos2gAAAnonce')
    talk.client.allocate(talk.nowMs)
    talk.deliver(
      talk.challenge(talk.request(), 401, (writer) =>
        writer.attribute(StunAttribute.passwordAlgorithms, algorithms(2, 1)),
      ),
    )
    const request = talk.request()
    talk.key = longTermKey(username, realm, password, 'sha256')
    talk.hash = 'sha256'
    expect(request.integrityOffset).toBeUndefined()
    expect(verifyMessageIntegritySha256(request, talk.key)).toBe(true)
    expect(request.attribute(StunAttribute.passwordAlgorithms)).toEqual(algorithms(2, 1))
    expect(request.attribute(StunAttribute.passwordAlgorithm)).toEqual(algorithms(2))
    expect(request.text(StunAttribute.username)).toBe(username)
    talk.deliver(talk.allocated(request))
    expect(talk.told()).toMatchObject([{ kind: 'allocated' }])
  })

  test('the user is hidden, and the first algorithm we know is MD5', () => {
    const talk = new Conversation({}, 'obMatJos2wAAAnonce')
    talk.client.allocate(talk.nowMs)
    talk.deliver(
      talk.challenge(talk.request(), 401, (writer) =>
        writer.attribute(StunAttribute.passwordAlgorithms, Buffer.from('00070003aabbcc0000010000', 'hex')),
      ),
    )
    const request = talk.request()
    expect(request.text(StunAttribute.username)).toBeUndefined()
    expect(request.attribute(StunAttribute.userhash)).toEqual(Uint8Array.from(userhash(username, realm)))
    expect(verifyMessageIntegritySha256(request, talk.key)).toBe(true)
  })

  test.each([
    ['its list was taken away', 'obMatJos2gAAAnonce', undefined],
    ['it knows none that we know', 'obMatJos2gAAAnonce', algorithms(7)],
  ])('%s', (_name, nonce, offered) => {
    const talk = new Conversation({}, nonce)
    talk.client.allocate(talk.nowMs)
    talk.deliver(
      talk.challenge(talk.request(), 401, (writer) => {
        if (offered !== undefined) writer.attribute(StunAttribute.passwordAlgorithms, offered)
      }),
    )
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'allocate', code: 'challenge' }])
  })

  test.each(['obMatJos2AAAAnonce', 'obMatJos2AAACnonce', 'obMatJos2', 'nonce', 'obMatJos2!!!!'])(
    'nonce %s asks for nothing new',
    (nonce) => {
      const talk = new Conversation({}, nonce).establish()
      expect(talk.client.nextDeadlineMs()).toBeDefined()
    },
  )
})

describe('over a network that loses and doubles', () => {
  test('a request is sent seven times in 39.5 seconds, then given up', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    const beganMs = talk.nowMs
    const times: number[] = []
    const copies: Uint8Array[] = []
    for (;;) {
      copies.push(...talk.sent())
      times.push(talk.nowMs - beganMs)
      const deadlineMs = talk.client.nextDeadlineMs()
      if (deadlineMs === undefined) break
      talk.advance(deadlineMs - talk.nowMs)
    }
    expect(times).toEqual([0, 500, 1500, 3500, 7500, 15_500, 31_500, 39_500])
    expect(copies).toHaveLength(7)
    expect(new Set(copies.map((copy) => Buffer.from(copy).toString('hex'))).size).toBe(1)
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'allocate', code: 'timeout' }])
  })

  test('over a stream it is sent once, and waited for as long', () => {
    const talk = new Conversation({ isStream: true })
    talk.client.allocate(talk.nowMs)
    talk.advance(39_499)
    expect([talk.sent().length, talk.told()]).toEqual([1, []])
    talk.advance(1)
    expect([talk.sent(), talk.told()]).toMatchObject([[], [{ kind: 'failed', code: 'timeout' }]])
  })

  test('an answer that comes twice counts once', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    const challenge = talk.challenge(talk.request(), 401)
    talk.deliver(challenge)
    talk.deliver(challenge)
    const success = talk.allocated(talk.request())
    talk.deliver(success)
    talk.deliver(success)
    expect(talk.told()).toHaveLength(1)
    expect(talk.client.dropped).toBe(2)
  })

  test('a forged answer is passed over; the true one still counts', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    const request = talk.request()
    const { key } = talk
    talk.key = Buffer.from('not the key')
    talk.deliver(talk.allocated(request))
    expect(talk.told()).toEqual([])
    talk.key = key
    talk.deliver(talk.allocated(request))
    expect(talk.told()).toMatchObject([{ kind: 'allocated' }])
  })

  test('when only forged answers came, that is what is told in the end', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.key = Buffer.from('not the key')
    talk.deliver(talk.allocated(talk.request()))
    talk.advance(40_000)
    expect(talk.told()).toMatchObject([{ kind: 'failed', code: 'integrity' }])
  })

  test('it comes to its allocation and its channel through any losses that leave one try in seven', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), (losses) => {
        const talk = new Conversation()
        const told: string[] = []
        talk.client.allocate(talk.nowMs)
        let inARow = 0
        for (let round = 0; round < 100 && !told.includes('bound'); round++) {
          for (const sent of talk.sent()) {
            const request = decoded(sent)
            const isLost = losses.next().value === true && inARow < 5
            inARow = isLost ? inARow + 1 : 0
            if (isLost) continue
            const answer =
              request.integrityOffset === undefined
                ? talk.challenge(request, 401)
                : request.method === StunMethod.allocate
                  ? talk.allocated(request)
                  : talk.success(request)
            talk.deliver(answer)
            if (losses.next().value === true) talk.deliver(answer)
          }
          for (const event of talk.told()) {
            told.push(event.kind)
            if (event.kind === 'allocated') talk.client.bind(peer, talk.nowMs)
          }
          talk.advance(Math.max(0, (talk.client.nextDeadlineMs() ?? talk.nowMs) - talk.nowMs))
        }
        expect(told).toEqual(['allocated', 'bound'])
      }),
      { numRuns: 50 },
    )
  })

  test('never throws, whatever comes', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(fc.uint8Array({ maxLength: 60 })), (isStream, chunks) => {
        const talk = new Conversation({ isStream }).establish()
        for (const chunk of chunks) talk.deliver(chunk)
        talk.told()
      }),
    )
  })
})

describe('keeping what was got', () => {
  test('the allocation is renewed a minute before its end, again and again', () => {
    const talk = new Conversation().establish()
    for (let round = 0; round < 3; round++) {
      talk.advance(539_999)
      expect(talk.sent()).toEqual([])
      talk.advance(1)
      const refresh = talk.request()
      expect([refresh.method, refresh.u32(StunAttribute.lifetime)]).toEqual([StunMethod.refresh, undefined])
      talk.deliver(talk.success(refresh, (writer) => writer.u32(StunAttribute.lifetime, 600)))
      expect(talk.told()).toEqual([{ kind: 'refreshed', lifetimeSeconds: 600 }])
    }
  })

  test('a refresh by hand moves the next one', () => {
    const talk = new Conversation().establish()
    talk.advance(500_000)
    talk.client.refresh(talk.nowMs)
    talk.deliver(talk.success(talk.request(), (writer) => writer.u32(StunAttribute.lifetime, 600)))
    talk.advance(539_999)
    expect(talk.sent()).toEqual([])
  })

  test('a short one is renewed half way', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.deliver(talk.allocated(talk.request(), 30))
    talk.told()
    talk.advance(15_000)
    expect(talk.request().method).toBe(StunMethod.refresh)
  })

  test('permissions and channels are renewed every four minutes, a repeated wish no more often', () => {
    const talk = new Conversation().establish()
    const other = { address: '192.0.2.10', port: 1 }
    talk.client.permit([peer, other], talk.nowMs)
    talk.deliver(talk.success(talk.request()))
    talk.client.permit([peer, other], talk.nowMs)
    talk.deliver(talk.success(talk.request()))
    talk.client.bind(peer, talk.nowMs)
    talk.deliver(talk.success(talk.request()))
    talk.advance(239_999)
    expect(talk.sent()).toEqual([])
    talk.advance(1)
    const [permission, binding, ...more] = talk.sent().map(decoded)
    expect(more).toEqual([])
    if (permission === undefined || binding === undefined) throw new Error('nothing was renewed')
    expect([permission.method, peerAddresses(permission)]).toEqual([
      StunMethod.createPermission,
      [peer, other],
    ])
    expect([
      binding.method,
      decodeChannelNumber(binding.attribute(StunAttribute.channelNumber) ?? new Uint8Array()),
      peerAddresses(binding),
    ]).toEqual([StunMethod.channelBind, 0x4000, [peer]])
  })

  test('a refresh that fails is the end of it all', () => {
    const talk = new Conversation().establish()
    talk.client.bind(peer, talk.nowMs)
    talk.deliver(talk.success(talk.request()))
    talk.client.refresh(talk.nowMs)
    talk.deliver(talk.error(talk.request(), 437))
    expect(talk.told().at(-1)).toMatchObject({ kind: 'failed', operation: 'refresh', code: 437 })
    expect(talk.client.nextDeadlineMs()).toBeUndefined()
  })

  test('a permission that is refused is not asked for again', () => {
    const talk = new Conversation().establish()
    talk.client.permit([peer], talk.nowMs)
    talk.deliver(talk.error(talk.request(), 403))
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'permit', code: 403, peers: [peer] }])
    talk.advance(500_000)
    expect(talk.sent()).toEqual([])
  })
})

describe('releasing', () => {
  test('is a refresh with lifetime 0', () => {
    const talk = new Conversation().establish()
    talk.client.bind(peer, talk.nowMs)
    talk.sent()
    talk.client.release(talk.nowMs)
    const request = talk.request()
    expect([request.method, request.u32(StunAttribute.lifetime)]).toEqual([StunMethod.refresh, 0])
    talk.deliver(talk.success(request, (writer) => writer.u32(StunAttribute.lifetime, 0)))
    expect(talk.told()).toEqual([{ kind: 'released' }])
    expect(talk.client.nextDeadlineMs()).toBeUndefined()
  })

  test('when the first answer was lost the second says that there is no allocation, which is as good', () => {
    const talk = new Conversation().establish()
    talk.client.release(talk.nowMs)
    talk.deliver(talk.error(talk.request(), 437))
    expect(talk.told()).toEqual([{ kind: 'released' }])
  })

  /** Has sent the request that makes the allocation, and then asked for its release. */
  function releasedEarly() {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    const allocate = talk.request()
    talk.client.release(talk.nowMs)
    expect([talk.sent(), talk.told()]).toEqual([[], []])
    return { talk, allocate }
  }

  test('while the allocation is being made waits for it', () => {
    const { talk, allocate } = releasedEarly()
    talk.deliver(talk.allocated(allocate))
    const request = talk.request()
    expect([request.method, request.u32(StunAttribute.lifetime)]).toEqual([StunMethod.refresh, 0])
    talk.deliver(talk.success(request))
    expect(talk.told()).toEqual([{ kind: 'released' }])
    expect(talk.client.nextDeadlineMs()).toBeUndefined()
  })

  test('repeats the request that makes the allocation when that was lost', () => {
    const { talk, allocate } = releasedEarly()
    talk.advance(500)
    expect(talk.request().transactionId).toEqual(allocate.transactionId)
  })

  test.each([
    ['refused', 486],
    ['asked for anew', 438],
  ])('while the allocation is being made is done when that is %s', (_what, code) => {
    const { talk, allocate } = releasedEarly()
    talk.deliver(code === 438 ? talk.challenge(allocate, code) : talk.error(allocate, code))
    expect([talk.sent(), talk.told()]).toEqual([[], [{ kind: 'released' }]])
  })

  test('asks for nothing when the allocation was refused', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.deliver(talk.error(talk.request(), 486))
    talk.told()
    talk.client.release(talk.nowMs)
    expect([talk.sent(), talk.told()]).toEqual([[], [{ kind: 'released' }]])
  })

  test('asks for nothing when a refresh has found the allocation gone', () => {
    const talk = new Conversation().establish()
    talk.client.refresh(talk.nowMs)
    talk.deliver(talk.error(talk.request(), 437))
    talk.told()
    talk.client.release(talk.nowMs)
    expect([talk.sent(), talk.told()]).toEqual([[], [{ kind: 'released' }]])
  })

  test('is tried when nobody answered the request that makes the allocation: the answers may have been lost', () => {
    const talk = new Conversation({ maxSends: 1 })
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.challenge(talk.request(), 401))
    talk.sent()
    talk.advance(60_000)
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'allocate', code: 'timeout' }])
    talk.client.release(talk.nowMs)
    expect(talk.request().u32(StunAttribute.lifetime)).toBe(0)
  })

  test('is for allocations of servers that ask nobody who they are, too', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.deliver(talk.allocated(talk.request()))
    talk.told()
    talk.client.release(talk.nowMs)
    expect(talk.request().u32(StunAttribute.lifetime)).toBe(0)
  })

  test('before a challenge came there is nothing to delete', () => {
    const talk = new Conversation()
    talk.client.allocate(talk.nowMs)
    talk.sent()
    talk.client.release(talk.nowMs)
    expect([talk.sent(), talk.told(), talk.client.nextDeadlineMs()]).toEqual([
      [],
      [{ kind: 'released' }],
      undefined,
    ])
  })
})

describe('data', () => {
  test('goes in an indication until a channel is confirmed, then in that', () => {
    const talk = new Conversation().establish()
    talk.client.send(peer, bytes)
    const channel = talk.client.bind(peer, talk.nowMs)
    talk.client.send(peer, bytes)
    const [first, bind, second] = talk.sent().map(decoded)
    for (const message of [first, second]) {
      expect(message && [message.method, message.class, peerAddresses(message)]).toEqual([
        StunMethod.send,
        StunClass.indication,
        [peer],
      ])
      expect(message?.attribute(StunAttribute.data)).toEqual(bytes)
    }
    if (bind !== undefined) talk.deliver(talk.success(bind))
    expect(talk.told()).toEqual([{ kind: 'bound', channel: 0x4000, peer }])
    talk.client.send(peer, bytes)
    const [third = new Uint8Array()] = talk.sent()
    expect(decodeChannelData(third)).toEqual({ channel, data: bytes })
    expect(third).toHaveLength(9)
  })

  test('is padded over a stream', () => {
    const talk = new Conversation({ isStream: true }).establish()
    talk.client.bind(peer, talk.nowMs)
    talk.deliver(talk.success(talk.request()))
    talk.client.send(peer, bytes)
    expect(talk.sent()[0]).toHaveLength(12)
  })

  test('comes by channel, also before the answer to its binding, and by indication', () => {
    const talk = new Conversation().establish()
    talk.client.bind(peer, talk.nowMs)
    talk.deliver(encodeChannelData(0x4000, bytes, false))
    talk.deliver(dataIndication(peer, bytes))
    talk.deliver(encodeChannelData(0x4001, bytes, false))
    expect(talk.told()).toEqual([
      { kind: 'data', peer, bytes, channel: 0x4000 },
      { kind: 'data', peer, bytes },
    ])
    expect(talk.client.dropped).toBe(1)
  })

  test('any chunking of a stream gives the same data', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 20 }), (sizes) => {
        const talk = new Conversation({ isStream: true }).establish()
        talk.client.bind(peer, talk.nowMs)
        const bind = talk.request()
        const stream = Buffer.concat([
          encodeChannelData(0x4000, bytes, true),
          talk.success(bind),
          encodeChannelData(0x4000, Uint8Array.of(6), true),
        ])
        let at = 0
        const told = [...sizes, stream.length].flatMap((size) => {
          talk.deliver(stream.subarray(at, at + size))
          at += size
          return talk
            .told()
            .map((event) => (event.kind === 'data' ? Buffer.from(event.bytes).toString('hex') : event.kind))
        })
        expect(told).toEqual(['0102030405', 'bound', '06'])
      }),
    )
  })

  test('ICMP errors of peers are told', () => {
    const talk = new Conversation().establish()
    const report = { type: 3, code: 3, data: 0 }
    talk.deliver(
      new StunWriter(StunMethod.data, StunClass.indication, new Uint8Array(12))
        .xorAddress(StunAttribute.xorPeerAddress, peer)
        .attribute(StunAttribute.icmp, encodeIcmp(report))
        .finish(),
    )
    expect(talk.told()).toEqual([{ kind: 'icmp', peer, report }])
  })

  test('a stream of something else is broken, once', () => {
    const talk = new Conversation({ isStream: true }).establish()
    talk.deliver(Buffer.from('\x80\x00\x00\x00'))
    talk.deliver(Buffer.from('more'))
    expect(talk.told()).toEqual([{ kind: 'broken' }])
    expect(talk.client.nextDeadlineMs()).toBeUndefined()
  })
})

describe('channels', () => {
  test('are numbered on, up to the last', () => {
    const talk = new Conversation().establish()
    const channels = Array.from({ length: 4096 }, (_, i) =>
      talk.client.bind({ ...peer, port: i + 1 }, talk.nowMs),
    )
    expect([channels[0], channels.at(-1)]).toEqual([0x4000, 0x4fff])
    expect(() => talk.client.bind(peer, talk.nowMs)).toThrow(RangeError)
  })

  test('a refused binding leaves the one in its way as it was', () => {
    const talk = new Conversation().establish()
    talk.client.bind(peer, talk.nowMs)
    talk.deliver(talk.success(talk.request()))
    talk.client.bind({ ...peer, port: 1 }, talk.nowMs, 0x4000)
    talk.deliver(talk.error(talk.request(), 400))
    talk.client.bind(peer, talk.nowMs, 0x4001)
    talk.deliver(talk.error(talk.request(), 400))
    talk.told()
    talk.client.send(peer, bytes)
    expect(decodeChannelData(talk.sent()[0] ?? new Uint8Array())?.channel).toBe(0x4000)
    talk.deliver(encodeChannelData(0x4000, bytes, false))
    expect(talk.told()).toMatchObject([{ kind: 'data', peer }])
  })
})

describe('connections of peers (RFC 6062)', () => {
  test('Connect gives the id that a new stream is bound with; what is pipelined behind belongs to the peer', () => {
    const control = new Conversation({ isStream: true, relayTransport: 'tcp' }).establish()
    control.client.connect(peer, control.nowMs)
    const connect = control.request()
    expect([connect.method, peerAddresses(connect)]).toEqual([StunMethod.connect, [peer]])
    control.deliver(control.success(connect, (writer) => writer.u32(StunAttribute.connectionId, 77)))
    expect(control.told()).toEqual([{ kind: 'connected', connectionId: 77, peer }])

    const data = new Conversation({ isStream: true })
    data.client.connectionBind(77, data.nowMs)
    data.deliver(data.challenge(data.request(), 401))
    const bind = data.request()
    expect([bind.method, bind.u32(StunAttribute.connectionId)]).toEqual([StunMethod.connectionBind, 77])
    data.deliver(Buffer.concat([data.success(bind), Buffer.from('hello')]))
    expect(data.told()).toEqual([{ kind: 'joined', rest: Uint8Array.from(Buffer.from('hello')) }])
    expect(data.client.nextDeadlineMs()).toBeUndefined()
  })

  test('the client for a connection signs its first request', () => {
    const control = new Conversation({ isStream: true, relayTransport: 'tcp' }).establish()
    const carrier = control.client.forConnection()
    carrier.connectionBind(77, control.nowMs)
    const out = carrier.poll()
    if (out?.kind !== 'send') throw new Error('nothing was sent')
    const request = decoded(out.bytes)
    expect(request.text(StunAttribute.nonce)).toBe('nonce-1')
    expect(verifyMessageIntegrity(request, control.key)).toBe(true)
    carrier.receive(control.success(request), control.nowMs)
    expect(carrier.poll()).toMatchObject({ kind: 'joined' })
  })

  test('a peer that connects is told', () => {
    const talk = new Conversation({ isStream: true }).establish()
    talk.deliver(
      new StunWriter(StunMethod.connectionAttempt, StunClass.indication, new Uint8Array(12))
        .u32(StunAttribute.connectionId, 5)
        .xorAddress(StunAttribute.xorPeerAddress, peer)
        .finish(),
    )
    expect(talk.told()).toEqual([{ kind: 'attempted', connectionId: 5, peer }])
  })

  test('a connection that cannot be made is told with its peer', () => {
    const talk = new Conversation({ isStream: true }).establish()
    talk.client.connect(peer, talk.nowMs)
    talk.deliver(talk.error(talk.request(), 447))
    expect(talk.told()).toMatchObject([{ kind: 'failed', operation: 'connect', code: 447, peers: [peer] }])
  })
})

test('options out of range are refused with their name', () => {
  const options = { username, password, isStream: false, random: (count: number) => new Uint8Array(count) }
  expect(() => new TurnClient({ ...options, maxSends: 0 })).toThrow('maxSends must be above 0, not 0')
  expect(() => new TurnClient({ ...options, lifetimeSeconds: -1 })).toThrow('lifetimeSeconds')
})
