import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { PeersError } from './errors.ts'
import { PeerRules } from './peer-rules.ts'
import { ResolvedNames, type ResolvedNamesOptions } from './resolved-names.ts'

/** Answers a name by hand: addresses, an error code, or a question that stays open. */
class FakeDns {
  readonly answers = new Map<string, readonly string[] | string | Promise<readonly string[]>>()
  readonly asked: string[] = []

  readonly resolve = async (name: string): Promise<readonly string[]> => {
    this.asked.push(name)
    const answer = this.answers.get(name) ?? 'ENOTFOUND'
    if (typeof answer !== 'string') return answer
    throw Object.assign(new Error(answer), { code: answer })
  }
}

let clock: ManualClock
let dns: FakeDns
let names: ResolvedNames
let errors: string[]

beforeEach(() => {
  clock = new ManualClock()
  dns = new FakeDns()
  errors = []
  names = make()
})

afterEach(async () => {
  await names.close()
  expect(clock.pending).toBe(0)
})

function make(options: ResolvedNamesOptions = {}): ResolvedNames {
  return new ResolvedNames({
    resolve: dns.resolve,
    clock,
    random: () => 0.5,
    onError: (error: PeersError, name) => errors.push(`${error.code} ${name}`),
    ...options,
  })
}

/** Lets pending promises run. */
const settle = (): Promise<void> => new Promise((done) => setImmediate(done))

async function pass(ms: number): Promise<void> {
  clock.advance(ms)
  await settle()
}

describe('ResolvedNames', () => {
  test('asks from start on, then after each interval, and tells of other addresses only', async () => {
    dns.answers.set('a.example', ['10.0.0.2', '10.0.0.1', 'FD00::1', '::ffff:10.0.0.3', '10.0.0.1', 'junk'])
    const changed = vi.fn()
    const watch = names.watch(new Set(['a.example']), changed)
    await settle()
    expect(dns.asked).toEqual([])
    await names.start()
    await names.start()
    await settle()
    expect(watch.addressesOf('a.example')).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1'])
    expect(changed).toHaveBeenCalledTimes(1)

    dns.answers.set('a.example', ['10.0.0.3', 'fd00::1', '10.0.0.1', '10.0.0.2'])
    await pass(4999)
    expect(dns.asked).toHaveLength(1)
    await pass(1)
    expect(dns.asked).toHaveLength(2)
    expect(changed).toHaveBeenCalledTimes(1)

    dns.answers.set('a.example', ['10.0.0.4'])
    await pass(5000)
    expect(watch.addressesOf('a.example')).toEqual(['10.0.0.4'])
    expect(changed).toHaveBeenCalledTimes(2)
    expect(errors).toEqual([])
  })

  test('intervals differ by up to a tenth', async () => {
    names = make({ random: () => 0 })
    names.watch(new Set(['a.example']), () => {})
    await names.start()
    await settle()
    await pass(4500)
    expect(dns.asked).toHaveLength(2)
  })

  test('a failure keeps the last answer for a while and is told once per outage', async () => {
    dns.answers.set('a.example', ['10.0.0.1'])
    const changed = vi.fn()
    const watch = names.watch(new Set(['a.example']), changed)
    await names.start()
    await settle()
    dns.answers.set('a.example', 'EAI_AGAIN')
    for (let i = 0; i < 59; i++) await pass(5000)
    expect(watch.addressesOf('a.example')).toEqual(['10.0.0.1'])
    expect(errors).toEqual(['PEERS_NAME_UNRESOLVED a.example'])
    await pass(5000)
    expect(watch.addressesOf('a.example')).toEqual([])
    expect(changed).toHaveBeenCalledTimes(2)
    expect(errors).toHaveLength(1)

    dns.answers.set('a.example', ['10.0.0.1'])
    await pass(5000)
    expect(watch.addressesOf('a.example')).toEqual(['10.0.0.1'])
    dns.answers.set('a.example', 'EAI_AGAIN')
    await pass(5000)
    expect(errors).toHaveLength(2)
  })

  test.each(['ENOTFOUND', 'ENODATA', []])('that a name has no address holds at once (%s)', async (answer) => {
    dns.answers.set('a.example', ['10.0.0.1'])
    const watch = names.watch(new Set(['a.example']), () => {})
    await names.start()
    await settle()
    dns.answers.set('a.example', answer)
    await pass(5000)
    await pass(5000)
    expect(watch.addressesOf('a.example')).toEqual([])
    expect(errors).toEqual(['PEERS_NAME_UNRESOLVED a.example'])
  })

  test('a resolver that never comes back is asked no second time, and its last answer ends', async () => {
    dns.answers.set('a.example', ['10.0.0.1'])
    const watch = names.watch(new Set(['a.example']), () => {})
    await names.start()
    await settle()
    dns.answers.set('a.example', new Promise(() => {}))
    await pass(5000)
    await pass(294_999)
    expect(watch.addressesOf('a.example')).toEqual(['10.0.0.1'])
    await pass(1)
    expect(watch.addressesOf('a.example')).toEqual([])
    expect(dns.asked).toHaveLength(2)
    expect(errors).toEqual(['PEERS_NAME_UNRESOLVED a.example'])
  })

  test('addresses over the most are left out, the same ones each time, and told of once', async () => {
    names = make({ maxAddressesPerName: 2 })
    dns.answers.set('a.example', ['10.0.0.3', '10.0.0.1', '10.0.0.2'])
    const changed = vi.fn()
    const watch = names.watch(new Set(['a.example']), changed)
    await names.start()
    await settle()
    dns.answers.set('a.example', ['10.0.0.2', '10.0.0.3', '10.0.0.1'])
    await pass(5000)
    expect(watch.addressesOf('a.example')).toEqual(['10.0.0.1', '10.0.0.2'])
    expect(changed).toHaveBeenCalledTimes(1)
    expect(errors).toEqual(['PEERS_TOO_MANY_ADDRESSES a.example'])
  })

  test('a name that several watch is asked for once, until nobody does', async () => {
    dns.answers.set('a.example', ['10.0.0.1'])
    const [one, other] = [vi.fn(), vi.fn()]
    const first = names.watch(new Set(['a.example']), one)
    const second = names.watch(new Set(['a.example', 'b.example']), other)
    await names.start()
    await settle()
    expect(dns.asked).toEqual(['a.example', 'b.example'])
    expect([one.mock.calls.length, other.mock.calls.length]).toEqual([1, 1])
    first.close()
    expect(first.addressesOf('a.example')).toEqual([])
    expect(second.addressesOf('a.example')).toEqual(['10.0.0.1'])
    second.replace(new Set(['a.example']))
    await pass(5000)
    expect(dns.asked).toEqual(['a.example', 'b.example', 'a.example'])
    second.close()
    expect(clock.pending).toBe(0)
  })

  test('more names than the most are refused, and those there were stay', async () => {
    names = make({ maxNames: 2 })
    const watch = names.watch(new Set(['a.example', 'b.example']), () => {})
    const tooMany = expect.objectContaining({ code: 'PEERS_TOO_MANY_NAMES' })
    expect(() => names.watch(new Set(['c.example']), () => {})).toThrow(tooMany)
    expect(() => watch.replace(new Set(['a.example', 'c.example', 'd.example']))).toThrow(tooMany)
    dns.answers.set('b.example', ['10.0.0.1'])
    await names.start()
    await settle()
    expect(watch.addressesOf('b.example')).toEqual(['10.0.0.1'])
    // In one step, since the old ones go.
    watch.replace(new Set(['c.example', 'd.example']))
    expect(watch.addressesOf('b.example')).toEqual([])
  })

  test('an answer that comes after close is late', async () => {
    let answer: (addresses: readonly string[]) => void = () => {}
    dns.answers.set('a.example', new Promise((done) => (answer = done)))
    const changed = vi.fn()
    names.watch(new Set(['a.example']), changed)
    await names.start()
    await names.close()
    answer(['10.0.0.1'])
    await settle()
    expect(changed).not.toHaveBeenCalled()
    expect(clock.pending).toBe(0)
  })

  test('started anew, old addresses do not outlive a resolver that is gone', async () => {
    dns.answers.set('a.example', ['10.0.0.1'])
    const watch = names.watch(new Set(['a.example']), () => {})
    await names.start()
    await settle()
    await names.close()
    dns.answers.set('a.example', new Promise(() => {}))
    await names.start()
    await pass(299_999)
    expect(watch.addressesOf('a.example')).toEqual(['10.0.0.1'])
    await pass(1)
    expect(watch.addressesOf('a.example')).toEqual([])
    expect(errors).toEqual(['PEERS_NAME_UNRESOLVED a.example'])
  })

  test.each([
    ['refreshMs', { refreshMs: 999 }],
    ['keepMs', { refreshMs: 5000, keepMs: 9999 }],
    ['maxNames', { maxNames: 0 }],
    ['maxAddressesPerName', { maxAddressesPerName: 1.5 }],
  ])('%s out of range is refused by name', (field, options) => {
    expect(() => make(options)).toThrow(
      expect.objectContaining({ code: 'PEERS_BAD_OPTION', message: expect.stringContaining(field) }),
    )
  })

  test('the system resolver knows localhost', async () => {
    const local = new ResolvedNames({ clock })
    let changed: () => void = () => {}
    const resolved = new Promise<void>((done) => (changed = done))
    const watch = local.watch(new Set(['localhost']), () => changed())
    await local.start()
    await resolved
    expect(watch.addressesOf('localhost')).toContain('127.0.0.1')
    await local.close()
  })
})

describe('PeerRules with names', () => {
  test('admit the very addresses of a name, private ones too, in its ports', async () => {
    dns.answers.set('media.default.svc', ['10.0.0.1', '64:ff9b::a00:1'])
    const rules = new PeerRules({ byDefault: 'none', allow: ['media.default.svc:<5000-6000>'] }, { names })
    const changed = vi.fn()
    rules.onChange(changed)
    expect(rules.admitsAddress('10.0.0.1', 'udp')).toBe(false)
    await names.start()
    await settle()
    expect(changed).toHaveBeenCalledTimes(1)
    expect(rules.admits('10.0.0.1', 5000, 'udp')).toBe(true)
    expect(rules.admits('64:ff9b::a00:1', 5000, 'udp')).toBe(true)
    expect(rules.admits('10.0.0.1', 4999, 'udp')).toBe(false)
    expect(rules.admitsAddress('10.0.0.2', 'udp')).toBe(false)

    dns.answers.set('media.default.svc', ['10.0.0.2'])
    await pass(5000)
    expect(changed).toHaveBeenCalledTimes(2)
    expect(rules.admitsAddress('10.0.0.1', 'udp')).toBe(false)
    expect(rules.admitsAddress('10.0.0.2', 'udp')).toBe(true)
  })

  test('a name that stays in the rules stays resolved', async () => {
    dns.answers.set('a.example', ['10.0.0.1'])
    const rules = new PeerRules({ byDefault: 'none', allow: ['a.example'] }, { names })
    await names.start()
    await settle()
    rules.replace({ byDefault: 'none', allow: ['a.example:80', 'b.example'] })
    expect(rules.admits('10.0.0.1', 80, 'tcp')).toBe(true)
    rules.replace({ byDefault: 'none', allow: ['b.example'] })
    expect(rules.admitsAddress('10.0.0.1', 'tcp')).toBe(false)
  })

  test('too many names change nothing', async () => {
    names = make({ maxNames: 1 })
    dns.answers.set('a.example', ['10.0.0.1'])
    const rules = new PeerRules({ byDefault: 'none', allow: ['a.example'] }, { names })
    await names.start()
    await settle()
    expect(() => rules.replace({ byDefault: 'none', allow: ['b.example', 'c.example', '8.8.8.8'] })).toThrow(
      expect.objectContaining({ code: 'PEERS_TOO_MANY_NAMES' }),
    )
    expect([rules.admitsAddress('10.0.0.1', 'udp'), rules.admitsAddress('8.8.8.8', 'udp')]).toEqual([
      true,
      false,
    ])
  })

  test('closed, they follow no name', async () => {
    dns.answers.set('a.example', ['10.0.0.1'])
    const rules = new PeerRules({ byDefault: 'none', allow: ['a.example', '8.8.8.8'] }, { names })
    await names.start()
    await settle()
    rules.close()
    expect(clock.pending).toBe(0)
    expect([rules.admitsAddress('10.0.0.1', 'udp'), rules.admitsAddress('8.8.8.8', 'udp')]).toEqual([
      false,
      true,
    ])
  })
})
