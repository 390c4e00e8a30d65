import { describe, expect, it } from 'vitest'
import { StunClass, StunMethod, StunWriter } from '../../../protocols/stun/index.ts'
import { StrangerBudget } from './stranger-budget.ts'
import { transaction, udpTransport } from './test-client.testkit.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const key = new Uint8Array(16).fill(1)

function admitted(budget: StrangerBudget, count: number, address: string, bytes = 28, nowMs = 0): number {
  let number = 0
  for (let i = 0; i < count; i++) if (budget.admits(address, bytes, nowMs)) number++
  return number
}

describe('StrangerBudget', () => {
  it('answers a network so often per second, two seconds’ worth at once', () => {
    const budget = new StrangerBudget({ perPrefix: 10, total: 0, key })
    expect(admitted(budget, 100, '192.0.2.1')).toBe(20)
    expect(admitted(budget, 100, '192.0.2.254')).toBe(0)
    expect(admitted(budget, 100, '192.0.3.1')).toBe(20)
    expect(admitted(budget, 100, '192.0.2.1', 28, 1000)).toBe(10)
    expect(budget.refused).toBe(80 + 100 + 80 + 90)
  })

  it('takes an IPv6 /56 for one network', () => {
    const budget = new StrangerBudget({ perPrefix: 10, total: 0, key })
    expect(admitted(budget, 100, '2001:db8:0:100::1')).toBe(20)
    expect(admitted(budget, 100, '2001:db8:0:1ff::1')).toBe(0)
    expect(admitted(budget, 100, '2001:db8:0:200::1')).toBe(20)
  })

  it('answers all together so often', () => {
    const budget = new StrangerBudget({ perPrefix: 0, total: 50, key })
    let number = 0
    for (let i = 0; i < 256; i++) number += admitted(budget, 10, `10.${i}.0.1`)
    expect(number).toBe(100)
  })

  it('answers what is shorter than its challenge only while there is no flood', () => {
    const budget = new StrangerBudget({ perPrefix: 10, total: 0, key })
    expect(admitted(budget, 100, '192.0.2.1', 20)).toBe(10)
    expect(admitted(budget, 100, '192.0.2.1', 28)).toBe(10)
  })

  it('does not limit with 0', () => {
    const budget = new StrangerBudget({ perPrefix: 0, total: 0, key })
    expect(admitted(budget, 10_000, '192.0.2.1', 20)).toBe(10_000)
  })

  it('never gives more than two seconds’ worth, however long nobody asked', () => {
    const budget = new StrangerBudget({ perPrefix: 10, total: 1000, key })
    expect(admitted(budget, 5000, '192.0.2.1', 28, 86_400_000)).toBe(20)
  })
})

describe('a flood of strangers', () => {
  it('leaves nothing behind, whatever it asks for and wherever it seems to come from', async () => {
    const kit = await TurnKit.open()
    const before = kit.held()
    const challenge = new StunWriter(StunMethod.allocate, StunClass.request, transaction())
    udpTransport(challenge)
    const requests = [
      challenge.finish(),
      new StunWriter(StunMethod.binding, StunClass.request, transaction()).finish(),
      new StunWriter(StunMethod.refresh, StunClass.request, transaction()).finish(),
      Buffer.from([0x40, 0, 0, 1, 9]),
      Buffer.from('GET / HTTP/1.1\r\n'),
      Buffer.alloc(0),
    ]
    const [listener] = kit.datapath.endpoints.values()
    if (listener === undefined) throw new TypeError('no listener')
    for (let i = 0; i < 20_000; i++) {
      const address = `${1 + (i % 200)}.${(i >> 3) % 256}.${(i >> 5) % 256}.7`
      const request = requests[i % requests.length] ?? Buffer.alloc(0)
      kit.datapath.receive(listener.id, { address, port: 1024 + (i % 60_000) }, request)
      kit.datapath.sent.length = 0
    }
    expect(kit.held()).toEqual(before)
  })

  it('from one network is answered as often as is allowed, and those who are known go on', async () => {
    const kit = await TurnKit.open({ limits: { strangerRepliesPerSecond: 10 } })
    const { client } = await kit.allocated()
    const flood = new StunWriter(StunMethod.binding, StunClass.request, transaction())
    const bytes = flood.attribute(0x8022, new Uint8Array(8)).finish()
    const stranger = kit.client({ port: 7 })
    for (let i = 0; i < 1000; i++) stranger.put(bytes)
    expect(stranger.inbox.length).toBeLessThanOrEqual(20)
    expect(kit.core.unanswered).toBe(1000 - stranger.inbox.length)
    expect((await client.refresh(600)).code).toBeUndefined()
    kit.core.configure({ ...kit.state.settings })
    expect(kit.core.unanswered).toBe(1000 - stranger.inbox.length)
  })

  it('with wrong passwords is limited too', async () => {
    const kit = await TurnKit.open({ limits: { strangerRepliesPerSecond: 10 } })
    const client = kit.client()
    await client.challenge()
    const before = client.inbox.length
    for (let i = 0; i < 100; i++) {
      client.put(client.signed(StunMethod.allocate, udpTransport, { password: `guess ${i}` }))
    }
    expect(client.inbox.length - before).toBeLessThanOrEqual(20)
  })
})
