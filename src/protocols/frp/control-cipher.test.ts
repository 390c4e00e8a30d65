import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { goldenAeadStreams, goldenCfbStream, goldenHellos } from './golden.testkit.ts'
import {
  acceptServerHello,
  aeadAlgorithms,
  aeadCodec,
  aeadNonceBytes,
  cfbCodec,
  cfbKey,
  chooseServerHello,
  clientHello,
  encodeClientHello,
  encodeMessage,
  encodeServerHello,
  FrpError,
  helloFrame,
  isPrivilegeKey,
  MessageDecoder,
  parseClientHello,
  parseServerHello,
  privilegeKey,
  refusalHello,
  transcriptHash,
  type AeadAlgorithm,
  type AeadCodecOptions,
  type ByteCodec,
} from './index.ts'
import { aeadKey } from './keys.ts'

// Reference, section 28.
const token = '12345678'
const transcript = transcriptHash(Buffer.from('{"a":1}'), Buffer.from('{"b":2}'))

function makeAead(
  algorithm: AeadAlgorithm,
  role: 'client' | 'server',
  changes: Partial<AeadCodecOptions> = {},
): ByteCodec {
  const nonce = Buffer.alloc(aeadNonceBytes(algorithm), role === 'client' ? 0xff : 0x01)
  nonce[0] = 0
  return aeadCodec({ algorithm, token, transcript, role, nonce, ...changes })
}

function decodeInChunks(codec: ByteCodec, bytes: Uint8Array, size: number): Buffer {
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) parts.push(codec.decode(bytes.subarray(at, at + size)))
  return Buffer.concat(parts)
}

describe('keys', () => {
  it('are those of frp', () => {
    expect(privilegeKey(token, 1_700_000_000)).toBe('3d8aac6cc09d79da303be74c311e5808')
    expect(cfbKey(token).toString('hex')).toBe('b7eac3f66310824c114f56f8274fdfea')
    expect(cfbKey('').toString('hex')).toBe('cdc9dc4c472c37331281df4c232a8407')
    expect(transcript.toString('hex')).toBe(
      '78370d88a15058b8c472aaa4a622bdcfb6a007f31cda8bea050ddc9b914c4349',
    )
  })

  it.each([
    ['aes-256-gcm', 'client-to-server', '2d608398c3829ddf460be969a041ea7acc69e6411c57cffee98ce8644dc5a0c6'],
    ['aes-256-gcm', 'server-to-client', '87d5a2a4bd327175c7ec3508fadd7cc6bbb36196dc34a35e1676937fc517c3c5'],
    [
      'xchacha20-poly1305',
      'client-to-server',
      'dc72510ae3cb3982d7678f24c25e2f9095381abf26da8dd057f213a4d989f32a',
    ],
    [
      'xchacha20-poly1305',
      'server-to-client',
      '3060ad2d965e10b7c79bf107809a44cd798293e3e34169185c05553902338367',
    ],
  ] as const)('of %s, %s are those of frp', (algorithm, direction, hex) => {
    expect(aeadKey(algorithm, direction, token, transcript).toString('hex')).toBe(hex)
  })

  it('hold for their secret and time only', () => {
    const key = privilegeKey(token, 5)
    expect(isPrivilegeKey(key, token, 5)).toBe(true)
    expect(isPrivilegeKey(key, token, 6)).toBe(false)
    expect(isPrivilegeKey('', token, 5)).toBe(false)
  })
})

describe('cfbCodec', () => {
  const iv = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')

  it('writes a Ping as frp does', () => {
    const sent = cfbCodec(cfbKey(token), iv).encode(encodeMessage('v1', 'Ping', {}))
    expect(Buffer.from(sent).toString('hex')).toBe('000102030405060708090a0b0c0d0e0f4498a24026e4cf47613434')
  })

  it('reads what frp wrote, cut anywhere', () => {
    const bytes = Buffer.from(goldenCfbStream, 'hex')
    for (let size = 1; size <= bytes.length; size++) {
      expect(decodeInChunks(cfbCodec(cfbKey(token), iv), bytes, size).toString()).toBe('hello world')
    }
  })

  it('sends the IV once, and nothing for nothing', () => {
    const codec = cfbCodec(cfbKey(token), iv)
    const lengths = ['', 'a', '', 'b'].map((text) => codec.encode(Buffer.from(text)).length)
    expect(lengths).toEqual([0, 17, 0, 1])
  })
})

describe.each(aeadAlgorithms)('aeadCodec with %s', (algorithm) => {
  it.each(goldenAeadStreams.filter((stream) => stream.algorithm === algorithm))(
    'reads what frp wrote as $role',
    ({ role, hex }) => {
      const bytes = Buffer.from(hex, 'hex')
      for (let size = 1; size <= bytes.length; size++) {
        const codec = makeAead(algorithm, role === 'client' ? 'server' : 'client')
        expect(decodeInChunks(codec, bytes, size).toString()).toBe('hello world')
      }
    },
  )

  it('carries any bytes, whatever their number', () => {
    const sizes = fc.oneof(fc.nat(300), fc.constantFrom(65_535, 65_536, 65_537, 140_000))
    fc.assert(
      fc.property(fc.array(sizes, { maxLength: 4 }), fc.integer({ min: 1, max: 50_000 }), (lengths, size) => {
        const plain = lengths.map((length, i) => Buffer.alloc(length, i + 1))
        const client = makeAead(algorithm, 'client')
        const sent = Buffer.concat(plain.map((part) => client.encode(part)))
        const received = decodeInChunks(makeAead(algorithm, 'server'), sent, size)
        expect(received.equals(Buffer.concat(plain))).toBe(true)
      }),
      { numRuns: 15 },
    )
  })

  it('refuses a record that was changed anywhere', () => {
    const client = makeAead(algorithm, 'client')
    const sent = Buffer.concat([client.encode(Buffer.from('one')), client.encode(Buffer.from('two'))])
    for (let at = 0; at < sent.length; at++) {
      const changed = Buffer.from(sent)
      changed[at] = (changed[at] ?? 0) ^ 0x01
      const codec = makeAead(algorithm, 'server')
      let error: unknown
      try {
        // More follows, so that a length that has grown is not merely waited for.
        codec.decode(Buffer.concat([changed, Buffer.alloc(70_000)]))
      } catch (thrown) {
        error = thrown
      }
      expect(error).toMatchObject({ code: 'FRP_CIPHER' })
    }
  })

  it('refuses a record that was left out, repeated or sent back', () => {
    const client = makeAead(algorithm, 'client')
    const first = Buffer.from(client.encode(Buffer.from('one')))
    const second = client.encode(Buffer.from('two'))
    const nonce = first.subarray(0, aeadNonceBytes(algorithm))
    const refusesAll = [Buffer.concat([nonce, second]), Buffer.concat([first, first.subarray(nonce.length)])]
    for (const bytes of refusesAll) {
      expect(() => makeAead(algorithm, 'server').decode(bytes)).toThrow(FrpError)
    }
    expect(() => makeAead(algorithm, 'client').decode(first)).toThrow(FrpError)
  })

  it('refuses another token, other hellos, and lengths that cannot be', () => {
    const sent = makeAead(algorithm, 'client').encode(Buffer.from('one'))
    expect(() => makeAead(algorithm, 'server', { token: 'x' }).decode(sent)).toThrow(FrpError)
    expect(() => makeAead(algorithm, 'server', { transcript: Buffer.alloc(32) }).decode(sent)).toThrow(
      FrpError,
    )
    for (const length of [0, 15, 65_553, 0xffffffff]) {
      const record = Buffer.alloc(aeadNonceBytes(algorithm) + 4)
      record.writeUInt32BE(length, aeadNonceBytes(algorithm))
      expect(() => makeAead(algorithm, 'server').decode(record)).toThrow(
        expect.objectContaining({ code: 'FRP_CIPHER' }),
      )
    }
  })
})

describe('hellos', () => {
  const random = Buffer.alloc(32, 7)
  const own = clientHello({ transport: 'tcp', tls: true, tcpMux: true }, random)
  const older = { ...own, udpPacketCodecs: [] }

  it('are written as frp does', () => {
    expect(encodeClientHello(older).toString()).toBe(goldenHellos.client)
    expect(encodeServerHello(chooseServerHello(older, random).hello).toString()).toBe(goldenHellos.server)
    expect(encodeServerHello(refusalHello('no supported crypto algorithm')).toString()).toBe(
      goldenHellos.refusal,
    )
    const hash = transcriptHash(Buffer.from(goldenHellos.client), Buffer.from(goldenHellos.server))
    expect(hash.toString('hex')).toBe(goldenHellos.transcript)
  })

  it('of frp 0.71 agree on binary datagrams', () => {
    // Written by frp 0.71.0, its random in our place.
    const client =
      '{"bootstrap":{"transport":"tcp","tls":true,"tcpMux":true},"capabilities":{"message":{"codecs":["json"],"udpPacketCodecs":["binary-v1"]},"crypto":{"algorithms":["aes-256-gcm","xchacha20-poly1305"],"clientRandom":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}}'
    const server =
      '{"selected":{"message":{"codec":"json","udpPacketCodec":"binary-v1"},"crypto":{"algorithm":"aes-256-gcm","serverRandom":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}}'
    expect(encodeClientHello(own).toString()).toBe(client)
    expect(parseClientHello(Buffer.from(client))).toEqual(own)
    expect(encodeServerHello(chooseServerHello(own, random).hello).toString()).toBe(server)
    expect(acceptServerHello(own, parseServerHello(Buffer.from(server)))).toEqual({
      algorithm: 'aes-256-gcm',
      udpPacketCodec: 'binary-v1',
    })
    expect(acceptServerHello(older, parseServerHello(Buffer.from(goldenHellos.server))).udpPacketCodec).toBe(
      'json',
    )
  })

  it('may hold members that we do not know', () => {
    const text = goldenHellos.client.replace('{"bootstrap"', '{"later":[{}],"bootstrap"')
    expect(parseClientHello(Buffer.from(text))).toEqual(older)
  })

  it('choose the first cipher of the client that both know', () => {
    const offer = { ...own, algorithms: ['later', 'xchacha20-poly1305', 'aes-256-gcm'] }
    expect(chooseServerHello(offer, random).algorithm).toBe('xchacha20-poly1305')
  })

  it.each([
    [{ codecs: [] }, 'unsupported message codec'],
    [{ clientRandom: Buffer.alloc(31) }, 'invalid crypto client random length 31, want 32'],
    [{ algorithms: ['rot13'] }, 'no supported crypto algorithm'],
  ])('of a client are refused in the words of frp: %o', (changes, message) => {
    expect(() => chooseServerHello({ ...own, ...changes }, random)).toThrow(
      expect.objectContaining({ code: 'FRP_HELLO', message }),
    )
  })

  it.each([
    { error: 'go away' },
    { codec: 'cbor' },
    { algorithm: 'rot13' },
    { udpPacketCodec: 'binary-v2' },
    { serverRandom: Buffer.alloc(5) },
  ])('of a server are refused: %o', (changes) => {
    const { hello } = chooseServerHello(own, random)
    expect(() => acceptServerHello(own, { ...hello, ...changes })).toThrow(
      expect.objectContaining({ code: 'FRP_HELLO' }),
    )
  })

  it('may not choose what was not offered', () => {
    const { hello } = chooseServerHello(own, random)
    expect(() => acceptServerHello({ ...own, algorithms: ['xchacha20-poly1305'] }, hello)).toThrow(FrpError)
    expect(() => acceptServerHello(older, hello)).toThrow(FrpError)
  })

  it('come out of a decoder ahead of messages', () => {
    const payload = encodeClientHello(own)
    const decoder = new MessageDecoder('v2')
    const bytes = Buffer.concat([helloFrame('client', payload), encodeMessage('v2', 'Login', { user: 'u' })])
    const seen: string[] = []
    for (const byte of bytes) {
      decoder.push(Buffer.of(byte))
      const hello = decoder.nextHello('client')
      if (hello !== undefined) seen.push(hello.toString())
      const message = decoder.next()
      if (message !== undefined) seen.push(message.name)
    }
    expect(seen).toEqual([payload.toString(), 'Login'])
  })

  it('of the other side, or where a message should be, are refused', () => {
    const decoder = new MessageDecoder('v2')
    decoder.push(helloFrame('server', encodeClientHello(own)))
    expect(decoder.nextHello('client')).toBeUndefined()
    expect(() => decoder.next()).toThrow(expect.objectContaining({ code: 'FRP_FRAME' }))
  })

  it('end in hellos or a FrpError whatever the JSON is', () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom('bootstrap', 'capabilities', 'selected', 'error'),
        (value, key) => {
          for (const parse of [parseClientHello, parseServerHello]) {
            try {
              parse(Buffer.from(JSON.stringify({ [key]: value })))
            } catch (error) {
              expect(error).toBeInstanceOf(FrpError)
            }
          }
        },
      ),
    )
  })
})
