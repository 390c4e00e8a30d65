import { describe, expect, it } from 'vitest'
import { denyAll } from '../peers/fixed-policies.ts'
import { relay4, TurnKit } from './turn-kit.testkit.ts'

const nat = { ...relay4, advertised: '203.0.113.9' }

describe('two clients of one server', () => {
  it.each([
    ['the same address', relay4],
    ['an advertised address', nat],
  ])('talk with each other by %s, though rules deny it', async (_title, relay) => {
    const kit = await TurnKit.open({ relays: [relay], listener: { peers: denyAll } })
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2, user: 'bob' })
    expect(one.relayed.address).toBe(relay.advertised)
    await one.client.permit(two.relayed)
    await two.client.permit(one.relayed)
    one.client.sendTo(two.relayed, 'hello')
    two.client.sendTo(one.relayed, 'you too')
    expect(two.client.heard).toEqual([`${relay.advertised} ${one.relayed.port} hello`])
    expect(one.client.heard).toEqual([`${relay.advertised} ${two.relayed.port} you too`])
  })

  it.each([
    ['the same address', relay4],
    ['an advertised address', nat],
  ])('have channels to each other by %s', async (_title, relay) => {
    const kit = await TurnKit.open({ relays: [relay], listener: { peers: denyAll } })
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2 })
    expect(await one.client.bind(0x4001, two.relayed)).toBeUndefined()
    expect(await two.client.bind(0x4002, one.relayed)).toBeUndefined()
    one.client.sendChannel(0x4001, 'hello')
    two.client.sendChannel(0x4002, 'you too')
    expect([two.client.heard, one.client.heard]).toEqual([['0x4002 hello'], ['0x4001 you too']])
  })

  it('need the permission of both', async () => {
    const kit = await TurnKit.open()
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2 })
    await one.client.permit(two.relayed)
    one.client.sendTo(two.relayed, 'unwanted')
    expect(two.client.heard).toEqual([])
  })

  it('lose each other when one has gone, and whoever gets its port next hears nothing', async () => {
    const kit = await TurnKit.open({
      relays: [{ ...relay4, from: 50_000, to: 50_001 }],
      listener: { peers: denyAll },
    })
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2 })
    await one.client.bind(0x4001, two.relayed)
    await two.client.refresh(0)
    one.client.sendChannel(0x4001, 'to nobody')
    one.client.sendTo(two.relayed, 'to nobody')
    expect(await one.client.bind(0x4001, two.relayed)).toBe(403)
    const three = await kit.allocated({ port: 3 })
    expect(three.relayed).toEqual(two.relayed)
    await three.client.permit(one.relayed)
    one.client.sendChannel(0x4001, 'to somebody else')
    expect(three.client.heard).toEqual([])
  })

  it('forget each other when their permissions lapse', async () => {
    const kit = await TurnKit.open()
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2 })
    await one.client.permit(two.relayed)
    one.client.sendTo(two.relayed, 'hello')
    const relay = kit.state.relays.find(two.relayed)
    expect(relay?.incoming?.size).toBe(1)
    kit.clock.advance(302_000)
    expect(relay?.incoming?.size).toBe(0)
  })

  it('cannot reach other ports of the relayed address', async () => {
    const kit = await TurnKit.open({ listener: { peers: denyAll } })
    const { client, relayed } = await kit.allocated()
    const free = { address: relayed.address, port: relayed.port === 60_000 ? 60_001 : 60_000 }
    expect(await client.permit(free)).toBeUndefined()
    expect(await client.bind(0x4000, free)).toBe(403)
    const service = kit.peer(free.address, free.port)
    client.sendTo(free, 'x')
    expect(service.heard).toEqual([])
  })

  it('may name a relay by where it is bound and by what is advertised, and nothing breaks', async () => {
    const kit = await TurnKit.open({ relays: [nat] })
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2 })
    const bound = { address: nat.address, port: two.relayed.port }
    await one.client.permit(two.relayed, bound)
    await two.client.permit(one.relayed)
    one.client.sendTo(two.relayed, 'advertised')
    one.client.sendTo(bound, 'bound')
    expect(two.client.heard).toEqual([`${nat.advertised} ${one.relayed.port} advertised`])
    expect(await one.client.bind(0x4000, bound)).toBe(508)
    expect(await one.client.bind(0x4000, two.relayed)).toBeUndefined()
  })

  it('may talk with themselves', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await kit.allocated()
    await client.bind(0x4000, relayed)
    client.sendChannel(0x4000, 'echo')
    expect(client.heard).toEqual(['0x4000 echo'])
  })
})
