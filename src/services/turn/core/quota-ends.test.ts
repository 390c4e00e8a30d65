import { describe, expect, it } from 'vitest'
import { StunMethod } from '../../../protocols/stun/index.ts'
import { MemoryQuota } from '../quota.ts'
import { udpTransport, settle } from './test-client.testkit.ts'
import { CountingQuota, TurnKit } from './turn-kit.testkit.ts'

const empty = {
  allocations: 0,
  allocating: 0,
  waiting: 0,
  endpoints: 0,
  flows: 0,
  flowOwners: 0,
  meters: 0,
  timers: 0,
  quota: 0,
}

describe('an allocation gives back all that it held', () => {
  it('when it is released', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    await client.refresh(0)
    expect([kit.ended, kit.held()]).toEqual([['released'], empty])
  })

  it('when it expires', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    await client.bind(0x4000, { address: '192.0.2.200', port: 9 })
    kit.clock.advance(601_000)
    expect([kit.ended, kit.held()]).toEqual([['expired'], empty])
  })

  it('when its connection is closed', async () => {
    const kit = await TurnKit.open()
    const client = kit.streamClient()
    await client.allocate()
    client.disconnect()
    expect([kit.ended, kit.held()]).toEqual([['disconnected'], empty])
  })

  it.each(['killed', 'closed'] as const)('when it is %s, once', async (reason) => {
    const kit = await TurnKit.open()
    await kit.allocated()
    const [allocation] = kit.state.allocations.all()
    if (allocation === undefined) throw new TypeError('none')
    kit.core.end(allocation, reason)
    kit.core.end(allocation, reason)
    expect([kit.ended, kit.held()]).toEqual([[reason], empty])
    expect(kit.core.stats.ended[reason]).toBe(1)
  })

  it('when its client has gone before it was made', async () => {
    const kit = await TurnKit.open()
    const client = kit.streamClient()
    await client.challenge()
    const open = kit.datapath.holdOpening()
    client.put(client.signed(StunMethod.allocate, udpTransport))
    await settle()
    client.disconnect()
    open()
    await settle()
    expect([kit.ended, kit.held()]).toEqual([[], empty])
    expect(kit.core.stats.created).toBe(0)
  })

  it('to whoever counted it, also when another counts by then', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    const other = new CountingQuota(new MemoryQuota(64))
    kit.core.configure({ ...kit.state.settings, quota: other })
    await client.refresh(0)
    expect([kit.quota.outstanding, other.outstanding]).toEqual([0, 0])
  })

  it('when an event callback throws', async () => {
    const kit = await TurnKit.open({
      events: {
        allocationCreated: () => {
          throw new Error('bug')
        },
        allocationDeleted: () => {
          throw new Error('bug')
        },
      },
    })
    const { client } = await kit.allocated()
    await client.refresh(0)
    expect(kit.held()).toEqual(empty)
  })
})

describe('a quota', () => {
  it('may take its time, and refuse then', async () => {
    const kit = await TurnKit.open({
      quota: { take: () => Promise.resolve(false), give: () => undefined },
    })
    expect((await kit.client().request(StunMethod.allocate, udpTransport)).code).toBe(486)
    expect(kit.held()).toEqual(empty)
  })

  it.each([
    ['rejects', () => Promise.reject(new Error('down'))],
    [
      'throws',
      () => {
        throw new Error('down')
      },
    ],
  ])('that %s makes the request fail with 500, and is given nothing back', async (_title, take) => {
    let given = 0
    const kit = await TurnKit.open({ quota: { take, give: () => given++ } })
    expect((await kit.client().request(StunMethod.allocate, udpTransport)).code).toBe(500)
    expect([kit.held(), given]).toEqual([empty, 0])
  })

  it('is not asked about what is wrong anyway, nor about strangers', async () => {
    let asked = 0
    const kit = await TurnKit.open({
      quota: {
        take: () => {
          asked++
          return true
        },
        give: () => undefined,
      },
    })
    const client = kit.client()
    await client.request(StunMethod.allocate)
    await client.request(StunMethod.allocate, udpTransport, { password: 'x' })
    expect(asked).toBe(0)
  })

  it('is told who asks, by which listener and from where', async () => {
    const requests: unknown[] = []
    const kit = await TurnKit.open({
      quota: {
        take: (request) => {
          requests.push(request)
          return true
        },
        give: (request) => requests.push(request),
      },
    })
    const { client } = await kit.allocated()
    await client.refresh(0)
    const request = { userId: 'alice', realm: 'sluice', listener: 'udp', clientAddress: '192.0.2.10' }
    expect(requests).toEqual([request, request])
  })
})
