import { describe, expect, test } from 'vitest'
import { ipToBytes, ipToText } from '../../../foundation/ip-text.ts'
import { embeddedIpv4, unmapIpv4 } from './embedded-ipv4.ts'

const bytesOf = (text: string): Uint8Array => ipToBytes(text) ?? expect.fail(text)
const embeddedIn = (text: string): readonly string[] =>
  embeddedIpv4(bytesOf(text)).map(({ ip }) => ipToText(ip))

describe('embeddedIpv4', () => {
  test.each<[what: string, text: string, ...embedded: string[]]>([
    ['IPv4 itself', '127.0.0.1'],
    ['unspecified', '::'],
    ['loopback', '::1'],
    ['IPv4-compatible', '::7f00:1', '127.0.0.1'],
    ['IPv4-compatible, the lowest', '::2', '0.0.0.2'],
    ['IPv4-compatible, low but over 16 bits', '::1:0', '0.1.0.0'],
    ['IPv4-translated', '::ffff:0:7f00:1', '127.0.0.1'],
    ['NAT64', '64:ff9b::7f00:1', '127.0.0.1'],
    ['beside NAT64', '64:ff9b:0:0:0:1:7f00:1'],
    ['6to4', '2002:7f00:1::', '127.0.0.1'],
    ['Teredo: server and client', '2001:0:c000:201:0:1234:80ff:fffe', '192.0.2.1', '127.0.0.1'],
    ['beside Teredo', '2001:1::80ff:fffe'],
    ['ISATAP of a private address', '2a00:1::5efe:a00:1', '10.0.0.1'],
    ['ISATAP of a global one', '2a00:1::200:5efe:808:808', '8.8.8.8'],
    ['ISATAP in 6to4: both', '2002:808:808::5efe:7f00:1', '8.8.8.8', '127.0.0.1'],
    // 10.1.2.3 by RFC 6052 §2.2, with prefixes of 48, 56, 64 and 96 bits; the other readings come along.
    ['local NAT64 /48', '64:ff9b:1:a01:2:300::', '10.1.2.3', '1.2.3.0', '2.3.0.0', '0.0.0.0'],
    ['local NAT64 /56', '64:ff9b:1:a:1:203::', '0.10.1.2', '10.1.2.3', '1.2.3.0', '0.0.0.0'],
    ['local NAT64 /64', '64:ff9b:1:0:a:102:300:0', '0.0.10.1', '0.10.1.2', '10.1.2.3', '3.0.0.0'],
    ['local NAT64 /96', '64:ff9b:1::a01:203', '0.0.0.0', '0.0.0.0', '0.0.0.10', '10.1.2.3'],
    ['a plain global address', '2a00:1450:4001:81b::200e'],
  ])('%s: %s', (_what, text, ...embedded) => {
    expect(embeddedIn(text)).toEqual(embedded)
  })
})

test.each([
  ['::ffff:7f00:1', '127.0.0.1'],
  ['::ffff:0.0.0.0', '0.0.0.0'],
  ['::fffe:7f00:1', '::fffe:7f00:1'],
  ['1::ffff:7f00:1', '1::ffff:7f00:1'],
  ['8.8.8.8', '8.8.8.8'],
])('%s is %s to policy', (text, canonical) => {
  expect(ipToText(unmapIpv4(bytesOf(text)))).toBe(canonical)
})
