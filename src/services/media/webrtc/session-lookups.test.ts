import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { type LookupTransport, SessionLookups } from './session-lookups.ts'

function open(bounds: Partial<ConstructorParameters<typeof SessionLookups>[0]> = {}) {
  const clock = new ManualClock()
  const lookups = new SessionLookups({
    maxLookups: 256,
    lookupsPerSecond: 2000,
    lookupsPerSecondPerSource: 20,
    maxLookupSources: 10_000,
    unknownForMs: 5000,
    maxUnknown: 10_000,
    clock,
    ...bounds,
  })
  let names = 0
  /** So many look-ups of new names that end at once; gives how many were let through. */
  const ask = (
    count: number,
    addressOf: (i: number) => string,
    transport: LookupTransport = 'tcp',
  ): number => {
    let passed = 0
    for (let i = 0; i < count; i++) {
      const name = `name:${names++}`
      if (lookups.begin(name, addressOf(i), transport) !== undefined) continue
      passed++
      lookups.end(name, 'found')
    }
    return passed
  }
  return { clock, lookups, ask }
}

/** Each in a /24 of its own. */
const far = (i: number): string => `10.${i >> 8}.${i & 255}.1`

describe('look-ups', () => {
  test('are bounded per second, whoever asks, and come back with time', () => {
    const { clock, lookups, ask } = open({ lookupsPerSecond: 100 })
    expect(ask(150, far)).toBe(100)
    expect(lookups.results).toMatchObject({ found: 100, rate: 50 })
    clock.advance(100)
    expect(ask(150, far)).toBe(10)
    clock.advance(60_000)
    expect(ask(150, far)).toBe(100)
  })

  test('are bounded per source: the /24 of IPv4, the /48 of IPv6', () => {
    const { clock, lookups, ask } = open()
    expect(ask(50, (i) => `192.0.2.${i}`)).toBe(20)
    expect(ask(50, (i) => `192.0.3.${i}`)).toBe(20)
    expect(ask(50, (i) => `2001:db8:1:${i}::1`)).toBe(20)
    expect(ask(50, (i) => `2001:db8:2:${i}::1`)).toBe(20)
    expect(lookups.results).toMatchObject({ found: 80, source: 120 })
    clock.advance(50)
    expect(ask(5, () => '192.0.2.200')).toBe(1)
  })

  test('that one source is refused take nothing from others', () => {
    const { ask } = open({ lookupsPerSecond: 30 })
    expect(ask(1000, () => '192.0.2.1')).toBe(20)
    expect(ask(1000, far)).toBe(10)
  })

  test('of datagrams, whose address may be forged, leave a quarter to those who connect', () => {
    const { clock, lookups, ask } = open({ lookupsPerSecond: 100, maxLookups: 4 })
    expect(ask(200, far, 'udp')).toBe(75)
    expect(ask(200, far, 'tcp')).toBe(25)
    clock.advance(1000)
    for (const [i, name] of ['a:x', 'b:x', 'c:x'].entries()) {
      expect(lookups.begin(name, far(i), 'udp')).toBeUndefined()
    }
    expect(lookups.begin('d:x', far(4), 'udp')).toBe('in-flight')
    expect(lookups.begin('d:x', far(4), 'tcp')).toBeUndefined()
    expect(lookups.begin('e:x', far(5), 'tcp')).toBe('in-flight')
  })

  test('are bounded in flight, and a place that is given back is free', () => {
    const { lookups } = open({ maxLookups: 2 })
    expect(lookups.begin('a:x', far(1), 'tcp')).toBeUndefined()
    expect(lookups.begin('b:x', far(2), 'tcp')).toBeUndefined()
    expect(lookups.begin('c:x', far(3), 'tcp')).toBe('in-flight')
    expect(lookups.begin('a:x', far(4), 'tcp')).toBe('joined')
    expect(lookups.inFlight).toBe(2)
    lookups.end('a:x', 'failed')
    expect(lookups.begin('c:x', far(3), 'tcp')).toBeUndefined()
  })

  test('of a name that nobody knows are not repeated for a while; a failure is no such answer', () => {
    const { clock, lookups } = open()
    lookups.begin('a:x', far(1), 'tcp')
    lookups.end('a:x', 'unknown')
    lookups.begin('b:x', far(1), 'tcp')
    lookups.end('b:x', 'failed')
    clock.advance(4999)
    expect(lookups.begin('a:x', far(1), 'tcp')).toBe('remembered')
    expect(lookups.begin('b:x', far(1), 'tcp')).toBeUndefined()
    clock.advance(1)
    expect(lookups.begin('a:x', far(1), 'tcp')).toBeUndefined()
    expect(lookups.results).toMatchObject({ unknown: 1, failed: 1, remembered: 1 })
  })

  test('remember a bounded number of names and of sources, the newest', () => {
    const { lookups } = open({ maxUnknown: 3, maxLookupSources: 2, lookupsPerSecondPerSource: 1 })
    for (const name of ['1:x', '2:x', '3:x', '4:x']) lookups.remember(name)
    expect(lookups.begin('1:x', far(1), 'tcp')).toBeUndefined()
    expect(lookups.begin('2:x', far(9), 'tcp')).toBe('remembered')
    expect(lookups.begin('5:x', far(1), 'tcp')).toBe('source')
    expect(lookups.begin('6:x', far(2), 'tcp')).toBeUndefined()
    expect(lookups.begin('7:x', far(3), 'tcp')).toBeUndefined()
    // Forgotten, and with it what it had used up.
    expect(lookups.begin('5:x', far(1), 'tcp')).toBeUndefined()
  })
})
