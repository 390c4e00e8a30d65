import { isIP, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, expect, it } from 'vitest'
import { resolveRelays } from './resolve-relays.ts'

const ports = { from: 49_152, to: 65_535 }

describe('relays', () => {
  it('take the literal address, and all ports of RFC 8656', async () => {
    expect(await resolveRelays([{ address: '192.0.2.1' }])).toEqual([
      { family: 4, address: '192.0.2.1', advertised: '192.0.2.1', ...ports },
    ])
  })

  it('keep what is advertised and which ports', async () => {
    const relay = { address: '10.0.0.5', advertised: '203.0.113.5', ports: { from: 2000, to: 3000 } }
    expect(await resolveRelays([relay])).toEqual([
      { family: 4, address: '10.0.0.5', advertised: '203.0.113.5', from: 2000, to: 3000 },
    ])
  })

  it('come with IPv4 first, which a client gets that names no family', async () => {
    const resolved = await resolveRelays([{ address: '2001:db8::1' }, { address: '192.0.2.1' }])
    expect(resolved.map(({ family }) => family)).toEqual([4, 6])
  })

  it('of the wildcard are on an address of this machine', async () => {
    const [relay] = await resolveRelays([{ address: '0.0.0.0' }])
    const own = Object.values(networkInterfaces()).flatMap(
      (list) => list?.map(({ address }) => address) ?? [],
    )
    expect(own.filter(isIPv4)).toContain(relay?.address)
    expect(relay?.advertised).toBe(relay?.address)
  })

  it('of the wildcard may be advertised as another', async () => {
    const [relay] = await resolveRelays([{ address: '0.0.0.0', advertised: '203.0.113.5' }])
    expect(relay?.advertised).toBe('203.0.113.5')
    expect(isIP(relay?.address ?? '')).toBe(4)
    expect(relay?.address).not.toBe('0.0.0.0')
  })
})
