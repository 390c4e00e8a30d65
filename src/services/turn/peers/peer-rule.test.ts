import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ipToText } from '../../../foundation/ip-text.ts'
import { type ParsedPeerRule, parsePeerRule } from './peer-rule.ts'

/** Address and prefix length or name, then ports. */
function shown({ target, ports }: ParsedPeerRule): string {
  const where = typeof target === 'string' ? target : `${ipToText(target.ip)}/${target.bits}`
  return `${where} ${ports.join('-')}`
}

describe('parsePeerRule', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1/32 1-65535'],
    ['0.0.0.0/0', '0.0.0.0/0 1-65535'],
    ['10.0.0.0/8:<1000-2000>', '10.0.0.0/8 1000-2000'],
    ['10.0.0.0/8:1000-2000', '10.0.0.0/8 1000-2000'],
    ['1.2.3.4/16:<1-2>', '1.2.0.0/16 1-2'],
    ['1.2.3.4/12', '1.0.0.0/12 1-65535'],
    ['1.2.3.4:53', '1.2.3.4/32 53-53'],
    ['1.2.3.4:<53>', '1.2.3.4/32 53-53'],
    ['1.2.3.4:<0-65535>', '1.2.3.4/32 1-65535'],
    ['::/0', '::/0 1-65535'],
    ['fd00::1', 'fd00::1/128 1-65535'],
    ['fd00::1:80', 'fd00::1:80/128 1-65535'],
    ['[fd00::1]', 'fd00::1/128 1-65535'],
    ['[fd00::1]:80', 'fd00::1/128 80-80'],
    ['fd00::1:<80-90>', 'fd00::1/128 80-90'],
    ['fd00::/8:<80-90>', 'fd00::/8 80-90'],
    ['fd00::/8:80-90', 'fd00::/8 80-90'],
    ['[fd00::]/8:<80-90>', 'fd00::/8 80-90'],
    ['[fdff::]/8:80', 'fd00::/8 80-80'],
    ['::ffff:10.1.2.3', '10.1.2.3/32 1-65535'],
    ['::ffff:10.1.2.3/104', '10.0.0.0/8 1-65535'],
    ['::ffff:0:0/96', '0.0.0.0/0 1-65535'],
    ['Media.Example.org.', 'media.example.org. 1-65535'],
    ['media_server.default:<5000-6000>', 'media_server.default 5000-6000'],
    ['localhost:5000', 'localhost 5000-5000'],
  ])('%s is %s', (text, expected) => {
    expect(shown(parsePeerRule(text, 'allow[0]'))).toBe(expected)
  })

  test.each([
    '',
    ':<1-65535>',
    ':80',
    '10.0.0',
    '1.2.3.256',
    '0x7f000001',
    '2130706433',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0.0/8:0',
    '10.0.0.0/8:<0-0>',
    '10.0.0.0/8:2000-1000',
    '10.0.0.0/8:65536',
    '10.0.0.0/8:',
    '10.0.0.0/8:<>',
    '10.0.0.0/8:<1-2',
    '10.0.0.0/8 ',
    '[10.0.0.1]:80',
    '[fd00::/8]:80',
    '[fd00::1',
    'fd00::/129',
    'fd00::1:80-90',
    'fe80::1%eth0',
    'media..example.org',
    '-media.example.org',
    'media.example.org/24',
    `${'a'.repeat(64)}.org`,
    'a b',
  ])('"%s" is refused', (text) => {
    expect(() => parsePeerRule(text, 'allow[3]')).toThrow(
      expect.objectContaining({
        code: 'PEERS_BAD_RULE',
        message: expect.stringContaining(`allow[3] "${text}"`),
      }),
    )
  })

  test('a protocol is udp or tcp', () => {
    expect(parsePeerRule({ to: '192.0.2.1', protocol: 'tcp' }, 'allow[0]').protocol).toBe('tcp')
    const written: { to: string; protocol?: 'udp' } = JSON.parse('{"to":"192.0.2.1","protocol":"sctp"}')
    expect(() => parsePeerRule(written, 'allow[0]')).toThrow(/sctp.*udp nor tcp/)
  })

  test('what is written is what is read', () => {
    const range = fc.oneof(
      fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.integer({ min: 0, max: 32 })),
      // Not of ::/16, where the mapped ones are.
      fc.tuple(
        fc.uint8Array({ minLength: 16, maxLength: 16 }).filter(([first = 0]) => first > 0),
        fc.integer({ min: 0, max: 128 }),
      ),
    )
    const port = fc.integer({ min: 1, max: 65_535 })
    fc.assert(
      fc.property(range, port, port, fc.boolean(), ([bytes, bits], one, other, isAngled) => {
        const ports = [Math.min(one, other), Math.max(one, other)]
        const text = isAngled ? `:<${ports.join('-')}>` : `:${ports.join('-')}`
        const { target, ports: read } = parsePeerRule(`${ipToText(bytes)}/${bits}${text}`, 'allow[0]')
        if (typeof target === 'string') expect.fail(target)
        const inBits = (ip: Uint8Array): string =>
          Array.from(ip, (byte) => byte.toString(2).padStart(8, '0')).join('')
        expect(inBits(target.ip)).toBe(
          inBits(bytes)
            .slice(0, bits)
            .padEnd(bytes.length * 8, '0'),
        )
        expect([target.bits, read]).toEqual([bits, ports])
      }),
    )
  })
})
