import { Duplex } from 'node:stream'
import { connect, type ConnectionOptions } from 'node:tls'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readServerName, UNRECOGNIZED_NAME_ALERT } from './server-name.ts'

/** The first bytes that Node's own TLS client sends. */
function realHello(options: ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, callback) {
        resolve(chunk)
        callback()
      },
    })
    connect({ socket: wire, rejectUnauthorized: false, ...options }).on('error', () => {})
  })
}

const u16 = (value: number): number[] => [value >> 8, value & 0xff]
const withLength16 = (bytes: readonly number[]): number[] => [...u16(bytes.length), ...bytes]
const ascii = (text: string): number[] => [...Buffer.from(text, 'latin1')]

const serverName = (name: string): number[] => [
  ...u16(0),
  ...withLength16(withLength16([0, ...withLength16(ascii(name))])),
]
const GREASE = [...u16(0x3a3a), ...withLength16([0])]

function hello(extensions: readonly number[] | undefined): number[] {
  const body = [3, 3, ...Array<number>(32).fill(7), 0, ...withLength16([0x8a, 0x8a, 0x13, 1]), 1, 0]
  const whole = extensions === undefined ? body : [...body, ...withLength16(extensions)]
  return [1, 0, ...withLength16(whole)]
}

/** Cuts a message into records of at most `size` bytes. */
function records(message: readonly number[], size = 16_384): Uint8Array {
  const out: number[] = []
  for (let at = 0; at < message.length; at += size) {
    out.push(22, 3, 1, ...withLength16(message.slice(at, at + size)))
  }
  return Uint8Array.from(out)
}

/** Says that its extensions are longer than they are. */
function withLongExtensions(): Uint8Array {
  const message = hello([1, 2, 0, 0])
  message[message.length - 5] = 9
  return records(message)
}

describe('readServerName', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('reads what Node sends with %s', async (version) => {
    const bytes = await realHello({ servername: 'Cam.Example.com', minVersion: version, maxVersion: version })
    expect(readServerName(bytes)).toEqual({ kind: 'hello', name: 'cam.example.com' })
  })

  it('gives an empty name when the client asks for none', async () => {
    expect(readServerName(await realHello({}))).toEqual({ kind: 'hello', name: '' })
    expect(readServerName(records(hello(undefined)))).toEqual({ kind: 'hello', name: '' })
    expect(readServerName(records(hello([])))).toEqual({ kind: 'hello', name: '' })
  })

  it('passes over GREASE, and takes off a trailing dot', () => {
    const bytes = records(hello([...GREASE, ...serverName('a.example.com.'), ...GREASE]))
    expect(readServerName(bytes)).toEqual({ kind: 'hello', name: 'a.example.com' })
  })

  it('does not look at what follows the ClientHello', () => {
    const bytes = Buffer.concat([records(hello(serverName('a.b.c'))), Buffer.from([23, 3, 3, 0, 1, 0, 99])])
    expect(readServerName(bytes)).toEqual({ kind: 'hello', name: 'a.b.c' })
  })

  it.each([
    ['plain text', Buffer.from('GET / HTTP/1.1\r\n'), 'not a TLS handshake'],
    ['another version', Buffer.from([22, 2]), 'not a version of TLS'],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0]), 'a record of a length that cannot be'],
    ['a record too long', Buffer.from([22, 3, 1, 0x40, 1]), 'a record of a length that cannot be'],
    ['a ServerHello', records([2, 0, 0, 0]), 'the first message is no ClientHello'],
    ['a hello too short', records([1, 0, 0, 5, 3, 3, 0, 0, 0]), 'the ClientHello is cut short'],
    [
      'a hello that breaks off',
      Buffer.concat([records(hello(GREASE).slice(0, 20)), Buffer.from([21, 3, 3, 0, 2, 2, 0])]),
      'the ClientHello is broken off',
    ],
    ['a hello too long', records([1, 1, 0, 0, 3, 3]), 'the ClientHello exceeds 16384 bytes'],
    ['two names', records(hello([...serverName('a.b'), ...serverName('c.d')])), 'more than one server_name'],
    ['a name that is none', records(hello(serverName('a b'))), 'a server_name that cannot be'],
    ['an empty name', records(hello(serverName(''))), 'a server_name that cannot be'],
    ['an extension too long', records(hello([0, 0, 0, 9, 0])), 'an extension is cut short'],
    ['extensions too long', withLongExtensions(), 'the extensions are cut short'],
  ])('refuses %s', (_, bytes, reason) => {
    expect(readServerName(bytes)).toEqual({ kind: 'bad', reason })
  })

  it('reads the same however it is cut, and needs all of it', () => {
    fc.assert(
      fc.property(
        fc.domain().filter((name) => name.length < 250),
        fc.integer({ min: 1, max: 300 }),
        fc.nat(),
        (name, recordBytes, cut) => {
          const bytes = records(hello([...GREASE, ...serverName(name)]), recordBytes)
          expect(readServerName(bytes)).toEqual({ kind: 'hello', name: name.toLowerCase() })
          expect(readServerName(bytes.subarray(0, cut % bytes.length))).toEqual({ kind: 'more' })
        },
      ),
    )
  })

  it('never throws on any bytes', () => {
    const anything = fc.uint8Array({ maxLength: 200 })
    fc.assert(fc.property(anything, (bytes) => void readServerName(bytes)))
    const almost = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    const good = records(hello([...GREASE, ...serverName('a.example.com')]))
    fc.assert(
      fc.property(fc.array(almost, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Uint8Array.from(good)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        readServerName(bytes)
      }),
      { numRuns: 2000 },
    )
  })

  it('has an alert that Node understands', async () => {
    const error = await new Promise<Error>((resolve) => {
      const wire: Duplex = new Duplex({
        read() {},
        write(_chunk, _encoding, callback) {
          wire.push(UNRECOGNIZED_NAME_ALERT)
          callback()
        },
      })
      connect({ socket: wire, servername: 'x.example.com' }).on('error', resolve)
    })
    expect(error.message).toMatch(/unrecognized name/)
  })
})
