import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeProxyHeader, encodeProxyHeader, maxProxyHeaderBytes, type ProxyHeader } from './index.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'

const hex = (...parts: string[]): Buffer => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')
const line = (text: string): Buffer => Buffer.from(`${text}\r\n`, 'latin1')

const between = (source: string, sourcePort: number, destination: string, destinationPort: number) => ({
  source: { address: source, port: sourcePort },
  destination: { address: destination, port: destinationPort },
})

/** Written out by hand from the specification. */
const vectors: readonly (readonly [name: string, bytes: Buffer, header: ProxyHeader])[] = [
  [
    'v1 TCP4',
    line('PROXY TCP4 192.0.2.1 198.51.100.7 56324 443'),
    { version: 1, command: 'proxy', addresses: between('192.0.2.1', 56_324, '198.51.100.7', 443) },
  ],
  [
    'v1 TCP6',
    line('PROXY TCP6 2001:db8::1 fe80:0:0:0:0:0:0:2 0 65535'),
    { version: 1, command: 'proxy', addresses: between('2001:db8::1', 0, 'fe80::2', 65_535) },
  ],
  ['v1 UNKNOWN', line('PROXY UNKNOWN'), { version: 1, command: 'proxy' }],
  [
    'the longest line of v1',
    line(`PROXY UNKNOWN ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535`),
    { version: 1, command: 'proxy' },
  ],
  [
    'v2 TCP over IPv4',
    hex(SIGNATURE, '21 11 000c c0000201 c6336407 dc04 01bb'),
    { version: 2, command: 'proxy', addresses: between('192.0.2.1', 56_324, '198.51.100.7', 443) },
  ],
  [
    'v2 TCP over IPv6, with ALPN, authority and a field to skip',
    hex(
      SIGNATURE,
      '21 21 003d 20010db8000000000000000000000001 20010db8000000000000000000000002 dc04 01bb',
      '04 0001 00  01 0009 7374756e2e7475726e  02 0006 612e74657374',
    ),
    {
      version: 2,
      command: 'proxy',
      addresses: between('2001:db8::1', 56_324, '2001:db8::2', 443),
      alpn: 'stun.turn',
      authority: 'a.test',
    },
  ],
  ['v2 LOCAL', hex(SIGNATURE, '20 00 0000'), { version: 2, command: 'local' }],
  [
    'v2 LOCAL with addresses, which do not count',
    hex(SIGNATURE, '20 11 000c c0000201 c6336407 dc04 01bb'),
    { version: 2, command: 'local' },
  ],
  ['v2 unspecified', hex(SIGNATURE, '21 00 0000'), { version: 2, command: 'proxy' }],
  [
    'v2 over IPv4 without a transport',
    hex(SIGNATURE, '21 10 000c c0000201 c6336407 dc04 01bb'),
    { version: 2, command: 'proxy' },
  ],
  ['v2 over a UNIX socket', hex(SIGNATURE, '21 31 00d8', '2f'.repeat(216)), { version: 2, command: 'proxy' }],
]

describe('decodeProxyHeader', () => {
  it.each(vectors)('reads %s, however it is cut', (_, bytes, header) => {
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeProxyHeader(bytes.subarray(0, length))).toEqual({ kind: 'more' })
    }
    const expected = { kind: 'header', header, bytes: bytes.length }
    expect(decodeProxyHeader(bytes)).toEqual(expected)
    expect(decodeProxyHeader(Buffer.concat([bytes, Buffer.from('PROXY UNKNOWN\r\n')]))).toEqual(expected)
  })

  it.each([
    ['a TLS ClientHello', hex('16 03 01')],
    ['a STUN request', hex('0001 0000 2112a442')],
    ['an HTTP request', Buffer.from('POST / HTTP/1.1\r\n')],
    ['lower case', Buffer.from('proxy TCP4')],
    ['a signature with a wrong last byte', hex(SIGNATURE.slice(0, -2), '0b')],
  ])('%s is none', (_, bytes) => {
    expect(decodeProxyHeader(bytes)).toEqual({ kind: 'none' })
  })

  it.each([
    ['an unknown family', line('PROXY TCP5 1.2.3.4 1.2.3.4 1 1')],
    ['a family that goes on', line('PROXY UNKNOWNS')],
    ['two spaces', line('PROXY  TCP4 1.2.3.4 1.2.3.4 1 1')],
    ['a space at the end', line('PROXY TCP4 1.2.3.4 1.2.3.4 1 1 ')],
    ['an address of the other family', line('PROXY TCP4 1.2.3.4 ::1 1 1')],
    ['an address with a zone', line('PROXY TCP6 ::1 fe80::1%eth0 1 1')],
    ['a name', line('PROXY TCP4 localhost 1.2.3.4 1 1')],
    ['a missing port', line('PROXY TCP4 1.2.3.4 1.2.3.4 1')],
    ['a port with a leading zero', line('PROXY TCP4 1.2.3.4 1.2.3.4 01 1')],
    ['a port out of range', line('PROXY TCP4 1.2.3.4 1.2.3.4 65536 1')],
    ['a line feed alone', Buffer.from(`PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n${'x'.repeat(107)}`)],
    ['a line of 108 bytes', line(`PROXY UNKNOWN ${'x'.repeat(92)}`)],
    ['version 1 in the form of version 2', hex(SIGNATURE, '11 11 000c')],
    ['an unknown command', hex(SIGNATURE, '22 11 000c')],
    ['an unknown family of version 2', hex(SIGNATURE, '21 41 0000')],
    ['an unknown transport', hex(SIGNATURE, '21 13 000c', '00'.repeat(12))],
    ['less than its addresses', hex(SIGNATURE, '21 21 0023', '00'.repeat(35))],
    ['a field that is cut short', hex(SIGNATURE, '21 11 0010', '00'.repeat(12), '01 0002 61')],
    ['a field without a whole head', hex(SIGNATURE, '21 11 000e', '00'.repeat(12), '01 00')],
    ['more bytes than are taken', hex(SIGNATURE, '21 11 0ff1')],
  ])('%s is malformed', (_, bytes) => {
    expect(decodeProxyHeader(bytes)).toMatchObject({ kind: 'malformed' })
  })

  it('waits for no more than its bound', () => {
    const longest = hex(SIGNATURE, '20 00', (maxProxyHeaderBytes - 16).toString(16).padStart(4, '0'))
    expect(decodeProxyHeader(longest)).toEqual({ kind: 'more' })
    expect(decodeProxyHeader(longest, maxProxyHeaderBytes - 1)).toMatchObject({ kind: 'malformed' })
  })

  it('says the same of any bytes whatever follows them, and never throws', () => {
    const anyBytes = fc.uint8Array({ maxLength: 300 })
    const nearly = fc
      .tuple(
        fc.constantFrom(...vectors.map(([, bytes]) => bytes)),
        fc.array(fc.tuple(fc.nat(), fc.nat(255))),
        anyBytes,
      )
      .map(([bytes, edits, tail]) => {
        const changed = Uint8Array.from([...bytes, ...tail])
        for (const [at, value] of edits) changed[at % changed.length] = value
        return changed
      })
    fc.assert(
      fc.property(fc.oneof(anyBytes, nearly), fc.nat(), (bytes, cut) => {
        const early = decodeProxyHeader(bytes.subarray(0, cut % (bytes.length + 1)))
        const late = decodeProxyHeader(bytes)
        if (early.kind !== 'more') expect(late).toEqual(early)
        if (late.kind === 'header') expect(late.bytes).toBeLessThanOrEqual(bytes.length)
      }),
      { numRuns: 5000 },
    )
  })
})

describe('encodeProxyHeader', () => {
  const port = fc.nat(65_535)
  const ends = (address: fc.Arbitrary<string>) =>
    fc.tuple(address, port, address, port).map((parts) => between(...parts))
  const addresses = fc.oneof(ends(fc.ipV4()), ends(fc.ipV6().map(canonical)))
  const field = fc.string({ minLength: 1, maxLength: 200, unit: 'binary' })

  it('writes what is read, version 1', () => {
    fc.assert(
      fc.property(fc.record({ addresses }, { requiredKeys: [] }), (rest) => {
        const header: ProxyHeader = { version: 1, command: 'proxy', ...rest }
        const bytes = encodeProxyHeader(header)
        expect(decodeProxyHeader(bytes)).toEqual({ kind: 'header', header, bytes: bytes.length })
      }),
    )
  })

  it('writes what is read, version 2', () => {
    fc.assert(
      fc.property(fc.record({ addresses, alpn: field, authority: field }, { requiredKeys: [] }), (rest) => {
        const header: ProxyHeader = { version: 2, command: 'proxy', ...rest }
        const bytes = encodeProxyHeader(header)
        expect(decodeProxyHeader(bytes)).toEqual({ kind: 'header', header, bytes: bytes.length })
      }),
    )
  })

  it('writes the vectors byte for byte', () => {
    for (const name of ['v1 TCP4', 'v1 UNKNOWN', 'v2 TCP over IPv4', 'v2 LOCAL', 'v2 unspecified']) {
      const [, bytes, header] = vectors.find(([title]) => title === name) ?? []
      expect(header && Buffer.from(encodeProxyHeader(header))).toEqual(bytes)
    }
  })

  it('writes a pair of mixed families as IPv6, and a local header of version 1 as UNKNOWN', () => {
    const mixed = between('192.0.2.1', 1, '2001:db8::1', 2)
    const read = decodeProxyHeader(encodeProxyHeader({ version: 1, command: 'proxy', addresses: mixed }))
    expect(read).toMatchObject({ header: { addresses: between('::ffff:c000:201', 1, '2001:db8::1', 2) } })
    const local = encodeProxyHeader({ version: 1, command: 'local', addresses: mixed })
    expect(Buffer.from(local).toString()).toBe('PROXY UNKNOWN\r\n')
  })

  it.each([
    ['a name for an address', { addresses: between('localhost', 1, '::1', 1) }],
    ['a port out of range', { addresses: between('::1', 65_536, '::1', 1) }],
    ['a field that is too long', { alpn: 'x'.repeat(65_536) }],
  ])('refuses %s', (_, rest) => {
    expect(() => encodeProxyHeader({ version: 2, command: 'proxy', ...rest })).toThrow(RangeError)
  })
})

/** IPv6 text as the decoder writes it. */
function canonical(address: string): string {
  const result = decodeProxyHeader(Buffer.from(`PROXY TCP6 ${address} ${address} 1 1\r\n`))
  return result.kind === 'header' ? (result.header.addresses?.source.address ?? '') : ''
}
