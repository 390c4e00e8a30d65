import * as fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { ipToBytes, ipToText } from '../../../foundation/ip-text.ts'
import { admitAll, denyAll } from './fixed-policies.ts'
import { defaultDenyList } from './default-deny-list.ts'
import { PeerRules } from './peer-rules.ts'

const open = new PeerRules({ byDefault: 'public' })
const admits = (rules: PeerRules, address: string, port = 5004): boolean => rules.admits(address, port, 'udp')

describe('by default public', () => {
  test.each([
    '0.0.0.0',
    '0.0.0.1',
    '127.0.0.1',
    '127.255.255.254',
    '10.0.0.1',
    '100.100.100.200',
    '169.254.169.254',
    '169.254.170.2',
    '172.31.255.255',
    '192.0.0.192',
    '192.168.1.1',
    '224.0.0.1',
    '239.255.255.255',
    '255.255.255.255',
    '::',
    '::1',
    '::2',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:0:0',
    '::ffff:a9fe:a9fe',
    '::127.0.0.1',
    '::7f00:1',
    '::ffff:0:7f00:1',
    '64:ff9b::7f00:1',
    '64:ff9b::808:808',
    '64:ff9b:1::7f00:1',
    '2002:7f00:1::',
    '2002:808:808::1',
    '2001:0:808:808:0:ffff:80ff:fffe',
    '2001:0:7f00:1:0:ffff:f7f7:f7f7',
    '2a00:1::5efe:7f00:1',
    '2a00:1::200:5efe:a9fe:a9fe',
    '2001:db8::1',
    '100::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%eth0',
    'fec0::1',
    'ff02::1',
    'not an address',
    '',
    '0x7f000001',
    '2130706433',
  ])('%s is refused', (address) => {
    expect(open.admitsAddress(address, 'udp')).toBe(false)
    expect(open.admits(address, 5004, 'udp')).toBe(false)
    expect(open.admits(address, 5004, 'tcp')).toBe(false)
  })

  test.each([
    '8.8.8.8',
    '::ffff:8.8.8.8',
    '2a00:1450:4001:81b::200e',
    '2606:4700::1111',
    '2a00:1::5efe:808:808',
  ])('%s is admitted, but for port 0', (address) => {
    expect(open.admitsAddress(address, 'tcp')).toBe(true)
    expect([1, 65_535].map((port) => admits(open, address, port))).toEqual([true, true])
    expect([0, 65_536, -1, Number.NaN].map((port) => admits(open, address, port))).toEqual(
      Array(4).fill(false),
    )
  })

  // First and last of each range, and whether what is just outside is admitted (`null`: nothing is there).
  test.each<[range: string, first: string, last: string, before: boolean | null, after: boolean | null]>([
    ['0.0.0.0/8', '0.0.0.0', '0.255.255.255', null, true],
    ['10.0.0.0/8', '10.0.0.0', '10.255.255.255', true, true],
    ['100.64.0.0/10', '100.64.0.0', '100.127.255.255', true, true],
    ['127.0.0.0/8', '127.0.0.0', '127.255.255.255', true, true],
    ['169.254.0.0/16', '169.254.0.0', '169.254.255.255', true, true],
    ['172.16.0.0/12', '172.16.0.0', '172.31.255.255', true, true],
    ['192.0.0.0/24', '192.0.0.0', '192.0.0.255', true, true],
    ['192.0.2.0/24', '192.0.2.0', '192.0.2.255', true, true],
    ['192.88.99.0/24', '192.88.99.0', '192.88.99.255', true, true],
    ['192.168.0.0/16', '192.168.0.0', '192.168.255.255', true, true],
    ['198.18.0.0/15', '198.18.0.0', '198.19.255.255', true, true],
    ['198.51.100.0/24', '198.51.100.0', '198.51.100.255', true, true],
    ['203.0.113.0/24', '203.0.113.0', '203.0.113.255', true, true],
    ['224.0.0.0/4', '224.0.0.0', '239.255.255.255', true, false],
    ['240.0.0.0/4', '240.0.0.0', '255.255.255.255', false, null],
    ['255.255.255.255', '255.255.255.255', '255.255.255.255', false, null],
    // ::2 carries 0.0.0.2.
    ['::', '::', '::', null, false],
    ['::1', '::1', '::1', false, false],
    ['64:ff9b::/96', '64:ff9b::', '64:ff9b::ffff:ffff', true, true],
    ['64:ff9b:1::/48', '64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff', true, true],
    ['100::/64', '100::', '100::ffff:ffff:ffff:ffff', true, true],
    ['2001::/23', '2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', true, true],
    ['2001:db8::/32', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', true, true],
    ['2002::/16', '2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff', true, true],
    ['fc00::/7', 'fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', true, true],
    ['fe80::/10', 'fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff', true, false],
    ['fec0::/10', 'fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', false, false],
    ['ff00::/8', 'ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', false, null],
  ])('%s ends where it should', (range, first, last, before, after) => {
    expect(defaultDenyList.map((denied) => denied.range)).toContain(range)
    expect([admits(open, first), admits(open, last)]).toEqual([false, false])
    if (before !== null) expect(admits(open, moved(first, -1n))).toBe(before)
    if (after !== null) expect(admits(open, moved(last, 1n))).toBe(after)
  })

  test('the list holds no more than the table above', () => {
    expect(defaultDenyList).toHaveLength(28)
    expect(defaultDenyList.every(({ why }) => why !== '')).toBe(true)
  })

  test('what is denied as IPv4 is denied however IPv6 carries it, whatever wide range is allowed', () => {
    const rules = new PeerRules({ byDefault: 'public', deny: ['8.8.8.0/24'], allow: ['::/0'] })
    const denied = defaultDenyList.filter(({ range }) => !range.includes(':')).map(({ range }) => range)
    const ipv4 = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc
        .tuple(fc.constantFrom(...denied, '8.8.8.0/24'), fc.uint8Array({ minLength: 4, maxLength: 4 }))
        .map(([range, [, b = 0, c = 0, d = 0]]) => {
          const [w = 0, x = 0, y = 0] = bytesOf(range.split('/')[0] ?? '')
          return Uint8Array.of(w, range.endsWith('/8') ? b : x, range.endsWith('/24') ? y : c, d)
        }),
    )
    fc.assert(
      fc.property(ipv4, fc.uint8Array({ minLength: 8, maxLength: 8 }), (ip, noise) => {
        const [isAdmitted, isPublic] = [admits(rules, ipToText(ip)), admits(open, ipToText(ip))]
        const texts = embeddings(ip, noise)
        // Mapped it is the same host, carried by others it may be refused for more.
        expect(admits(rules, texts['mapped'] ?? '')).toBe(isAdmitted)
        for (const text of Object.values(texts)) {
          expect.soft(isAdmitted || !admits(rules, text), text).toBe(true)
          expect.soft(isPublic || !admits(open, text), text).toBe(true)
        }
      }),
    )
  })
})

describe('rules', () => {
  test('allow beats deny and the default list; deny narrows what is public', () => {
    const rules = new PeerRules({
      byDefault: 'public',
      allow: ['10.1.0.0/16', '9.9.9.9'],
      deny: ['9.9.9.0/24', '10.1.1.0/24', '8.8.0.0/16:53'],
    })
    expect(['10.1.1.1', '10.2.0.1', '9.9.9.9', '9.9.9.8'].map((ip) => admits(rules, ip))).toEqual([
      true,
      false,
      true,
      false,
    ])
    expect([52, 53, 54].map((port) => admits(rules, '8.8.8.8', port))).toEqual([true, false, true])
  })

  test('none admits what is allowed, in its ports and protocol', () => {
    const rules = new PeerRules({
      byDefault: 'none',
      allow: ['10.0.0.0/8:<1000-2000>', { to: '10.0.0.7:53', protocol: 'tcp' }, '[fd00::]/8:80'],
    })
    expect([999, 1000, 2000, 2001, 53].map((port) => admits(rules, '10.0.0.7', port))).toEqual([
      false,
      true,
      true,
      false,
      false,
    ])
    expect(rules.admits('10.0.0.7', 53, 'tcp')).toBe(true)
    expect(rules.admits('10.0.0.8', 53, 'tcp')).toBe(false)
    expect([admits(rules, 'fd12::1', 80), admits(rules, 'fd12::1', 81)]).toEqual([true, false])
    expect(['8.8.8.8', '11.0.0.1', '2a00::1'].map((ip) => rules.admitsAddress(ip, 'udp'))).toEqual([
      false,
      false,
      false,
    ])
    expect(new PeerRules({ byDefault: 'none' }).admitsAddress('8.8.8.8', 'udp')).toBe(false)
  })

  test('an address is admitted when some port of it is', () => {
    const rules = new PeerRules({
      byDefault: 'public',
      allow: [{ to: '10.0.0.1:80', protocol: 'tcp' }],
      deny: ['9.9.9.9:1-1000', '9.9.9.9:900-65535', '9.9.9.8:2-65535'],
    })
    expect(rules.admitsAddress('10.0.0.1', 'tcp')).toBe(true)
    expect(rules.admitsAddress('10.0.0.1', 'udp')).toBe(false)
    expect(rules.admitsAddress('9.9.9.9', 'udp')).toBe(false)
    expect(rules.admitsAddress('9.9.9.8', 'udp')).toBe(true)
  })

  test('an IPv4-mapped address is the IPv4 host, in rules too', () => {
    const rules = new PeerRules({ byDefault: 'public', allow: ['10.0.0.0/8', '::ffff:192.168.1.0/120'] })
    expect(['::ffff:10.0.0.1', '::ffff:a00:1', '192.168.1.1'].map((ip) => admits(rules, ip))).toEqual([
      true,
      true,
      true,
    ])
    expect(admits(rules, '::ffff:192.168.2.1')).toBe(false)
    expect(admits(new PeerRules({ byDefault: 'none', allow: ['::/0'] }), '::ffff:8.8.8.8')).toBe(false)
    expect(admits(new PeerRules({ byDefault: 'none', allow: ['0.0.0.0/0'] }), '2a00::1')).toBe(false)
  })

  test('allowing an IPv4 range opens no translator or tunnel to it', () => {
    for (const byDefault of ['public', 'none'] as const) {
      const rules = new PeerRules({ byDefault, allow: ['10.0.0.0/8', '127.0.0.1'] })
      const others = embeddings(bytesOf('10.0.0.1'), new Uint8Array(8))
      for (const [form, text] of Object.entries(others)) {
        expect.soft(admits(rules, text), text).toBe(form === 'mapped')
      }
      expect(admits(rules, '::7f00:1')).toBe(false)
    }
  })

  test('a wide IPv6 range opens a translator to what IPv4 may reach', () => {
    const nat64 = new PeerRules({ byDefault: 'public', allow: ['64:ff9b::/96'] })
    expect(['64:ff9b::808:808', '64:ff9b::a00:1', '64:ff9b::7f00:1'].map((ip) => admits(nat64, ip))).toEqual([
      true,
      false,
      false,
    ])
    const both = new PeerRules({ byDefault: 'none', allow: ['64:ff9b::/96', '10.0.0.0/8:80'] })
    expect(admits(both, '64:ff9b::a00:1', 80)).toBe(true)
    expect(admits(both, '64:ff9b::a00:1', 81)).toBe(false)
    expect(admits(both, '64:ff9b::7f00:1', 80)).toBe(false)
  })

  test('a rule that spells the carried address out is taken at its word', () => {
    const rules = new PeerRules({ byDefault: 'none', allow: ['64:ff9b::a00:0/104', '64:ff9b:1::/96'] })
    expect(admits(rules, '64:ff9b::a00:1')).toBe(true)
    expect(admits(rules, '64:ff9b::7f00:1')).toBe(false)
    expect(admits(rules, '64:ff9b:1::808:808')).toBe(true)
    expect(admits(rules, '64:ff9b:1::a00:1')).toBe(false)
  })
})

describe('replace', () => {
  test('holds at once and tells of it', () => {
    const rules = new PeerRules({ byDefault: 'none', allow: ['10.0.0.1'] })
    expect(admits(rules, '10.0.0.1')).toBe(true)
    const changed = vi.fn(() => expect(admits(rules, '10.0.0.1')).toBe(false))
    const stop = rules.onChange(changed)
    rules.replace({ byDefault: 'none', allow: ['10.0.0.2'] })
    expect(changed).toHaveBeenCalledTimes(1)
    expect(admits(rules, '10.0.0.2')).toBe(true)
    stop()
    rules.replace({ byDefault: 'public' })
    expect(changed).toHaveBeenCalledTimes(1)
  })

  test.each([
    ['PEERS_BAD_RULE', 'allow[1] "10.0.0.0/99"', { byDefault: 'none', allow: ['10.0.0.2', '10.0.0.0/99'] }],
    ['PEERS_BAD_RULE', 'deny[0] "no/rule"', { byDefault: 'public', deny: ['no/rule'] }],
    ['PEERS_BAD_RULE', 'deny[0] "a.example"', { byDefault: 'public', deny: ['a.example'] }],
    ['PEERS_BAD_OPTION', 'deny has no effect', { byDefault: 'none', deny: ['8.8.8.8'] }],
    ['PEERS_BAD_OPTION', '"a.example"', { byDefault: 'none', allow: ['a.example'] }],
  ] as const)('%s changes nothing: %s', (code, message, options) => {
    const rules = new PeerRules({ byDefault: 'none', allow: ['10.0.0.1'] })
    const changed = vi.fn()
    rules.onChange(changed)
    expect(() => rules.replace(options)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    )
    expect([admits(rules, '10.0.0.1'), admits(rules, '10.0.0.2'), admits(rules, '8.8.8.8')]).toEqual([
      true,
      false,
      false,
    ])
    expect(changed).not.toHaveBeenCalled()
  })

  test('a default that is neither is refused', () => {
    const written: { byDefault: 'none' } = JSON.parse('{"byDefault":"private"}')
    expect(() => new PeerRules(written)).toThrow(expect.objectContaining({ code: 'PEERS_BAD_OPTION' }))
  })
})

test('denyAll and admitAll do, port 0 aside', () => {
  expect([denyAll.admitsAddress('8.8.8.8', 'udp'), denyAll.admits('8.8.8.8', 1, 'udp')]).toEqual([
    false,
    false,
  ])
  expect(admitAll.admitsAddress('127.0.0.1', 'udp')).toBe(true)
  expect([0, 1, 65_535, 65_536].map((port) => admitAll.admits('127.0.0.1', port, 'udp'))).toEqual([
    false,
    true,
    true,
    false,
  ])
})

function bytesOf(text: string): Uint8Array {
  return ipToBytes(text) ?? expect.fail(text)
}

function moved(text: string, by: bigint): string {
  const bytes = bytesOf(text)
  const value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`) + by
  return ipToText(Buffer.from(value.toString(16).padStart(bytes.length * 2, '0'), 'hex'))
}

/** Every IPv6 form of an IPv4 address, with noise where the form leaves bytes open. */
function embeddings(ip: Uint8Array, noise: Uint8Array): Record<string, string> {
  const [a = 0, b = 0, c = 0, d = 0] = ip
  const [n1 = 0, n2 = 0, n3 = 0, n4 = 0, n5 = 0, n6 = 0, n7 = 0, n8 = 0] = noise
  const text = (...bytes: number[]): string =>
    ipToText(Uint8Array.from({ length: 16 }, (_, i) => bytes[i] ?? 0))
  const local = [0, 0x64, 0xff, 0x9b, 0, 1]
  return {
    mapped: text(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d),
    compatible: text(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d),
    translated: text(0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, a, b, c, d),
    nat64: text(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d),
    localNat64Of48: text(...local, a, b, 0, c, d, n1, n2, n3, n4, n5),
    localNat64Of56: text(...local, n1, a, 0, b, c, d, n2, n3, n4, n5),
    localNat64Of64: text(...local, n1, n2, 0, a, b, c, d, n3, n4, n5),
    localNat64Of96: text(...local, n1, n2, 0, n3, n4, n5, a, b, c, d),
    sixToFour: text(0x20, 0x02, a, b, c, d, n1, n2, n3, n4, n5, n6, n7, n8),
    teredoClient: text(0x20, 1, 0, 0, n1, n2, n3, n4, n5, n6, n7, n8, a ^ 255, b ^ 255, c ^ 255, d ^ 255),
    teredoServer: text(0x20, 1, 0, 0, a, b, c, d, n1, n2, n3, n4, n5, n6, n7, n8),
    isatap: text(0x2a, n1, n2, n3, n4, n5, n6, n7, n8 & 3, 0, 0x5e, 0xfe, a, b, c, d),
  }
}
