import { describe, expect, it } from 'vitest'
import { TurnKit } from '../core/turn-kit.testkit.ts'

describe('a listener by UDP', () => {
  it('passes over ICMP errors about clients, known or not', async () => {
    const kit = await TurnKit.open({ features: ['icmp-errors'] })
    const { client } = await kit.allocated()
    const count = client.inbox.length
    const [listener] = kit.datapath.endpoints.values()
    if (listener === undefined) throw new TypeError('no listener')
    for (const about of [client, { address: '192.0.2.77', port: 7 }]) {
      kit.datapath.receiveIcmp(listener.id, about, { type: 3, code: 3, mtu: 0 })
    }
    expect(client.inbox).toHaveLength(count)
    expect(kit.held()).toMatchObject({ allocations: 1 })
    expect(kit.core.stats.malformed).toBe(0)
  })

  it('keeps clients at its addresses apart, and answers from the one that was asked', async () => {
    const kit = await TurnKit.open({ interfaces: ['198.51.100.1', '198.51.100.2'] })
    const one = kit.client({ local: 0 })
    const two = kit.client({ local: 1 })
    await one.allocate()
    expect((await two.refresh(600)).code).toBe(437)
    await two.allocate()
    await one.refresh(0)
    expect((await two.refresh(600)).code).toBeUndefined()
    expect((await one.refresh(600)).code).toBe(437)
  })

  it('may be closed and opened again', async () => {
    const kit = await TurnKit.open()
    expect(kit.udp.port).toBe(3478)
    await kit.udp.close()
    await kit.udp.close()
    expect(kit.udp.port).toBe(0)
    await kit.udp.start()
    await kit.client().allocate()
  })
})
