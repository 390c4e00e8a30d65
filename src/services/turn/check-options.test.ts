import { describe, expect, it } from 'vitest'
import { checkLimits, checkListeners } from './check-options.ts'
import { defaultLimits, type RelayOptions, type TurnListenerOptions } from './options.ts'
import { admitAll } from './peers/fixed-policies.ts'

const relays: readonly RelayOptions[] = [{ address: '192.0.2.1' }]
const udp: TurnListenerOptions = {
  name: 'a',
  transport: 'udp',
  listen: { port: 3478 },
  relays,
  peers: admitAll,
}

function refusal(...listeners: readonly TurnListenerOptions[]): string {
  try {
    checkListeners(listeners)
  } catch (error) {
    expect(error).toMatchObject({ code: 'TURN_BAD_OPTION', side: 'self' })
    return (error as Error).message
  }
  return 'none'
}

describe('limits', () => {
  it('are the defaults where nothing is said', () => {
    expect(checkLimits()).toEqual(defaultLimits)
    expect(checkLimits({ maxPerUser: 0, bytesPerSecond: 65_536 })).toEqual({
      ...defaultLimits,
      maxPerUser: 0,
      bytesPerSecond: 65_536,
    })
  })

  it('may be without bound only where that is said', () => {
    const unbounded = Object.keys(defaultLimits).filter((name) => {
      try {
        checkLimits({ [name]: 0 })
        return true
      } catch {
        return false
      }
    })
    expect(unbounded).toEqual([
      'maxPerUser',
      'maxPerAddress',
      'newPeersPerSecond',
      'packetsPerSecond',
      'bytesPerSecond',
      'userBytesPerSecond',
      'totalBytesPerSecond',
      'strangerRepliesPerSecond',
      'totalStrangerRepliesPerSecond',
      'attemptsPerSecond',
    ])
  })

  it.for([
    [{ maxAllocations: 0 }, 'limits.maxAllocations is 0: must be 1 or more'],
    [{ maxPerUser: -1 }, 'limits.maxPerUser is -1: must be 0 (no limit) or more'],
    [{ nonceSeconds: Number.NaN }, 'limits.nonceSeconds is NaN: must be 1 or more'],
    [{ idleSeconds: Number.POSITIVE_INFINITY }, 'limits.idleSeconds is Infinity: must be 1 or more'],
    [
      { maxLifetimeSeconds: 599 },
      'limits.maxLifetimeSeconds is 599: must not be less than lifetimeSeconds, 600',
    ],
    [
      { userBytesPerSecond: 65_535 },
      'limits.userBytesPerSecond is 65535: must be 0 (no limit) or 65536 and more',
    ],
  ] as const)('of %o are refused by name', ([limits, message]) => {
    expect(() => checkLimits(limits)).toThrow(expect.objectContaining({ code: 'TURN_BAD_OPTION', message }))
  })
})

describe('listeners', () => {
  it('are good with what they need', () => {
    const certificate = { cert: 'c', key: 'k' }
    const relays = [{ address: '0.0.0.0', advertised: '203.0.113.1' }, { address: '::' }]
    const proxied = { proxyProtocolFrom: ['10.0.0.0/8'], onHttp: () => {} }
    const tls = { ...udp, name: 'b', transport: 'tls', certificate, relays, ...proxied } as const
    expect(refusal(udp, tls, { ...udp, name: 'c', transport: 'dtls', certificate })).toBe('none')
  })

  it.for<[Partial<TurnListenerOptions>, string]>([
    [{ transport: 'tls' }, 'certificate: tls needs one, with its key'],
    [{ transport: 'dtls' }, 'certificate: dtls needs one, with its key'],
    [{ proxyProtocolFrom: ['10.0.0.1'] }, 'proxyProtocolFrom: only tcp and tls have a PROXY protocol'],
    [{ onHttp: () => {} }, 'onHttp: only tcp and tls can be shared with HTTP'],
    [{ listen: { host: 'localhost', port: 1 } }, 'listen.host: "localhost" is no literal address'],
    [{ relays: [{ address: 'host' }] }, 'relays: "host" and "host" must be literal addresses of one family'],
    [
      { relays: [{ address: '192.0.2.1', advertised: '::1' }] },
      'relays: "192.0.2.1" and "::1" must be literal addresses of one family',
    ],
    [{ relays: [{ address: '192.0.2.1' }, { address: '192.0.2.2' }] }, 'relays: more than one for IPv4'],
    [
      { relays: [{ address: '192.0.2.1', ports: { from: 1023, to: 2000 } }] },
      'relays: ports 1023 to 2000: must be within 1024 and 65535',
    ],
    [
      { relays: [{ address: '192.0.2.1', ports: { from: 3000, to: 2000 } }] },
      'relays: ports 3000 to 2000: must be within 1024 and 65535',
    ],
    [
      { relays: [{ address: '192.0.2.1', ports: { from: 3000, to: 65_536 } }] },
      'relays: ports 3000 to 65536: must be within 1024 and 65535',
    ],
  ])('are refused by name for %o', ([options, reason]) => {
    expect(refusal({ ...udp, ...options })).toBe(`listener "a": ${reason}`)
  })

  it('are refused when two have one name', () => {
    expect(refusal(udp, { ...udp, transport: 'tcp' })).toBe(
      'listener "a": name: each listener must have its own',
    )
  })
})
