import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { goldenMessages } from './golden.testkit.ts'
import { encodeMessage, FrpError, MessageDecoder, type FrpMessage, type WireVersion } from './index.ts'
import { messageType } from './message-structs.ts'

const versions: readonly WireVersion[] = ['v1', 'v2']

/** A message with any JSON as its content. */
function frame(version: WireVersion, name: FrpMessage['name'], json: string): Buffer {
  const content = Buffer.from(json)
  const { v1, v2 } = messageType(name)
  const head = Buffer.alloc(version === 'v1' ? 9 : 10)
  if (version === 'v1') {
    head[0] = v1
    head.writeUInt32BE(content.length, 5)
  } else {
    head.writeUInt16BE(16, 0)
    head.writeUInt32BE(content.length + 2, 4)
    head.writeUInt16BE(v2, 8)
  }
  return Buffer.concat([head, content])
}

function decodeAll(decoder: MessageDecoder, ...chunks: readonly Uint8Array[]): FrpMessage[] {
  const messages: FrpMessage[] = []
  for (const chunk of chunks) {
    decoder.push(chunk)
    for (let message = decoder.next(); message !== undefined; message = decoder.next()) messages.push(message)
  }
  return messages
}

function decodeOne(
  name: FrpMessage['name'],
  json: string,
  version: WireVersion = 'v1',
): FrpMessage | undefined {
  return decodeAll(new MessageDecoder(version), frame(version, name, json))[0]
}

describe.each(versions)('messages in %s', (version) => {
  it.each(goldenMessages.filter(([name]) => name !== 'UDPPacket'))(
    'are written as frp does: %s %s',
    (name, json) => {
      const body = JSON.parse(json) as Record<string, never>
      expect(encodeMessage(version, name, body).toString('utf8')).toBe(
        frame(version, name, json).toString('utf8'),
      )
    },
  )

  it.each(goldenMessages.filter(([name]) => name !== 'UDPPacket'))('of frp are read: %s %s', (name, json) => {
    const expected = JSON.parse(json) as Record<string, unknown>
    delete expected['client_spec']
    delete expected['detect_behavior']
    const message = decodeAll(new MessageDecoder(version), frame(version, name, json))[0]
    expect(message?.name).toBe(name)
    expect(message?.body).toMatchObject(expected)
  })

  it('come out the same however they are cut', () => {
    const frames = goldenMessages.map(([name, json]) => frame(version, name, json))
    const whole = decodeAll(new MessageDecoder(version), Buffer.concat(frames))
    expect(whole).toHaveLength(frames.length)
    const bytes = Buffer.concat(frames)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 40 }), (sizes) => {
        const chunks: Uint8Array[] = []
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = at + (sizes[i % sizes.length] ?? 1)
          chunks.push(bytes.subarray(at, end))
          at = end
        }
        expect(decodeAll(new MessageDecoder(version), ...chunks)).toEqual(whole)
      }),
      { numRuns: 30 },
    )
  })

  it('come out equal to what went in', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 20 })
    const body = fc.record({
      proxy_name: text,
      use_encryption: fc.boolean(),
      metas: fc.dictionary(text, text, { maxKeys: 5 }),
      remote_port: fc.maxSafeInteger(),
      custom_domains: fc.array(text, { maxLength: 5 }),
    })
    fc.assert(
      fc.property(body, (given) => {
        const [message] = decodeAll(new MessageDecoder(version), encodeMessage(version, 'NewProxy', given))
        expect(message?.body).toMatchObject({
          ...given,
          metas: Object.fromEntries(Object.entries(given.metas)),
        })
      }),
    )
  })

  it('of any bytes end in messages or a FrpError', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }),
        fc.boolean(),
        (chunks, isPlausible) => {
          const head = isPlausible
            ? frame(version, 'NewProxy', 'x'.repeat(30)).subarray(0, 9)
            : Buffer.alloc(0)
          try {
            decodeAll(new MessageDecoder(version), head, ...chunks)
          } catch (error) {
            expect(error).toBeInstanceOf(FrpError)
          }
        },
      ),
    )
  })

  it('of any JSON end in messages or a FrpError', () => {
    const field = fc.constantFrom(
      'metas',
      'timestamp',
      'run_id',
      'client_spec',
      'pool_count',
      'half_close',
      '__proto__',
    )
    fc.assert(
      fc.property(fc.dictionary(field, fc.jsonValue()), (body) => {
        try {
          decodeOne('Login', JSON.stringify(body), version)
        } catch (error) {
          expect(error).toMatchObject({ code: 'FRP_MESSAGE_INVALID' })
        }
      }),
    )
  })

  it('decode as fast in tiny pieces as in one', () => {
    // 2,000 messages and 100,000 pieces; a decoder that moves what waits each time would copy gigabytes.
    const ping = encodeMessage(version, 'Ping', { privilege_key: 'k'.repeat(40), timestamp: 1 })
    const bytes = Buffer.concat(Array.from({ length: 2000 }, () => ping))
    const decoder = new MessageDecoder(version)
    for (let at = 0; at < bytes.length; at++) decoder.push(bytes.subarray(at, at + 1))
    expect(decodeAll(decoder, Buffer.alloc(0))).toHaveLength(2000)
  })
})

describe('what is written', () => {
  it('holds half_close only when it is true', () => {
    const text = (half_close: boolean): string =>
      encodeMessage('v1', 'LoginResp', { half_close }).toString('latin1', 9)
    expect([text(false), text(true)]).toEqual(['{}', '{"half_close":true}'])
  })

  it.each([
    ['a message above the limit', { proxy_name: 'x'.repeat(10_240) }],
    ['a fraction', { remote_port: 1.5 }],
    ['no number', { remote_port: Number.NaN }],
  ])('is refused: %s', (_, body) => {
    expect(() => encodeMessage('v1', 'NewProxy', body)).toThrow(
      expect.objectContaining({ code: 'FRP_UNWRITABLE' }),
    )
  })
})

describe('what is read', () => {
  it('takes keys in any case, nulls as nothing, and passes unknown fields over', () => {
    const message = decodeOne(
      'NewWorkConn',
      '{"RUN_ID":"r","Timestamp":7,"privilege_key":null,"later":{"x":[1]}}',
    )
    expect(message?.body).toEqual({ run_id: 'r', timestamp: 7, privilege_key: '' })
  })

  it('keeps a map whose keys have meanings in JavaScript', () => {
    const message = decodeOne('Login', '{"metas":{"__proto__":"a","constructor":"b","n":null}}')
    expect(message?.name === 'Login' && Object.entries(message.body.metas)).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['n', ''],
    ])
  })

  it.each([
    ['Login', '{"timestamp":"1"}'],
    ['Login', '{"timestamp":1.5}'],
    ['Login', '{"timestamp":1e30}'],
    ['Login', '{"metas":{"a":1}}'],
    ['Login', '{"metas":[]}'],
    ['Login', '{"client_spec":"x"}'],
    ['NewProxy', '{"use_encryption":"true"}'],
    ['NewProxy', '{"custom_domains":"a"}'],
    ['NewProxy', '{"custom_domains":[1]}'],
    ['StartWorkConn', '{"src_port":65536}'],
    ['StartWorkConn', '{"src_port":-1}'],
    ['Ping', '[]'],
    ['Ping', '"x"'],
    ['Ping', ''],
    ['Ping', '{'],
    ['Ping', '{} x'],
  ] as const)('is refused as Go does: %s %s', (name, json) => {
    for (const version of versions) {
      expect(() => decodeOne(name, json, version)).toThrow(
        expect.objectContaining({ code: 'FRP_MESSAGE_INVALID' }),
      )
    }
  })
})

describe('a decoder', () => {
  it.each([
    ['an unknown type of v1, by its first byte', 'v1', 'ff', 'FRP_MESSAGE_TYPE'],
    ['a v1 length above the limit', 'v1', '6f0000000000002801', 'FRP_MESSAGE_TOO_LARGE'],
    ['a v1 length above 32 bits', 'v1', '6f0000000100000000', 'FRP_MESSAGE_TOO_LARGE'],
    ['a negative v1 length', 'v1', '6fffffffffffffffff', 'FRP_MESSAGE_TOO_LARGE'],
    ['flags', 'v2', '0010000100000002', 'FRP_FRAME'],
    ['a frame above the limit', 'v2', '0010000000010001', 'FRP_MESSAGE_TOO_LARGE'],
    ['a frame of an unknown type', 'v2', '0011', 'FRP_FRAME'],
    ['a message frame without an id', 'v2', '001000000000000101', 'FRP_FRAME'],
    ['an unknown message id', 'v2', '0010000000000002ffff', 'FRP_MESSAGE_TYPE'],
    ['a binary datagram that was not agreed on', 'v2', '00100000000000020013', 'FRP_MESSAGE_TYPE'],
  ] as const)('refuses %s, and goes on to', (_, version, hex, code) => {
    const decoder = new MessageDecoder(version)
    decoder.push(Buffer.from(hex, 'hex'))
    expect(() => decoder.next()).toThrow(expect.objectContaining({ code }))
    decoder.push(encodeMessage(version, 'Ping', {}))
    expect(() => decoder.next()).toThrow(expect.objectContaining({ code }))
    expect(decoder.rest()).toHaveLength(0)
  })

  it.each(versions)('takes a message of exactly the limit of %s', (version) => {
    const most = version === 'v1' ? 10_240 : 65_534
    const json = `{"error":"${'x'.repeat(most - 12)}"}`
    expect(decodeOne('Pong', json, version)?.name).toBe('Pong')
    expect(() => decodeOne('Pong', `${json} `, version)).toThrow(FrpError)
  })

  it('gives back what follows the last message, and is over', () => {
    const decoder = new MessageDecoder('v1')
    decoder.push(Buffer.concat([encodeMessage('v1', 'ReqWorkConn', {}), Buffer.from('raw bytes')]))
    expect(decoder.next()?.name).toBe('ReqWorkConn')
    expect(decoder.rest().toString()).toBe('raw bytes')
    expect(() => {
      decoder.push(Buffer.of(1))
    }).toThrow(TypeError)
  })

  it('copies what it is given', () => {
    const bytes = encodeMessage('v1', 'Pong', { error: 'kept' })
    const decoder = new MessageDecoder('v1')
    decoder.push(bytes)
    bytes.fill(0)
    expect(decoder.next()).toEqual({ name: 'Pong', body: { error: 'kept' } })
  })
})
