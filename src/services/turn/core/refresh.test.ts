import { describe, expect, it } from 'vitest'
import { StunAttribute, StunMethod } from '../../../protocols/stun/index.ts'
import { family, udpTransport } from './test-client.testkit.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }

describe('Refresh', () => {
  it('without an allocation gets 437, signed', async () => {
    const kit = await TurnKit.open()
    const answer = await kit.client().refresh(600)
    expect([answer.code, answer.signed]).toEqual([437, 'sha1'])
  })

  it.each([
    [undefined, 600],
    [1, 600],
    [900, 900],
    [3600, 3600],
    [100_000, 3600],
  ])('of %s seconds grants %i from now on', async (asked, granted) => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    kit.clock.advance(300_000)
    const answer = await client.refresh(asked)
    expect(answer.message.u32(StunAttribute.lifetime)).toBe(granted)
    kit.clock.advance(granted * 1000 - 1000)
    expect(kit.held()['allocations']).toBe(1)
    kit.clock.advance(2000)
    expect(kit.ended).toEqual(['expired'])
  })

  it('may shorten the lifetime', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    await client.refresh(3600)
    await client.refresh(600)
    kit.clock.advance(601_000)
    expect(kit.ended).toEqual(['expired'])
  })

  it('with lifetime 0 deletes the allocation, and again gets 437', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await kit.allocated()
    await client.bind(0x4000, peer)
    const answer = await client.refresh(0)
    expect([answer.code, answer.signed, answer.message.u32(StunAttribute.lifetime)]).toEqual([
      undefined,
      'sha1',
      0,
    ])
    expect(kit.held()).toMatchObject({ allocations: 0, endpoints: 0, flows: 0, quota: 0, timers: 0 })
    expect(kit.datapath.endpointAt(relayed.address, relayed.port)).toBeUndefined()
    expect((await client.refresh(0)).code).toBe(437)
    expect(kit.ended).toEqual(['released'])
  })

  it('with a family that the allocation has not gets 443, and one that is malformed 400', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    expect((await client.refresh(600, family(2))).code).toBe(443)
    expect((await client.refresh(0, family(2))).code).toBe(443)
    expect((await client.refresh(600, family(1))).code).toBeUndefined()
    const short = await client.refresh(600, (writer) =>
      writer.attribute(StunAttribute.requestedAddressFamily, Uint8Array.of(1)),
    )
    expect(short.code).toBe(400)
    const lifetime = await client.refresh(undefined, (writer) =>
      writer.attribute(StunAttribute.lifetime, Uint8Array.of(1)),
    )
    expect(lifetime.code).toBe(400)
    expect(kit.held()['allocations']).toBe(1)
  })

  it('by another user gets 441 and changes nothing', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    client.user = 'bob'
    const answer = await client.refresh(0)
    expect([answer.code, answer.signed]).toEqual([441, 'sha1'])
    expect(await client.permit(peer)).toBe(441)
    expect(await client.bind(0x4000, peer)).toBe(441)
    expect((await client.request(StunMethod.connect)).code).toBe(441)
    expect(kit.held()['allocations']).toBe(1)
  })

  it('renews neither permissions nor channels', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    await client.permit(peer)
    kit.clock.advance(299_000)
    await client.refresh(3600)
    kit.clock.advance(2000)
    const heard = kit.peer(peer.address, peer.port)
    client.sendTo(peer, 'late')
    expect(heard.heard).toEqual([])
  })

  it('does not outlive a credential that is strict', async () => {
    const kit = await TurnKit.open()
    const expiresAtMs = kit.clock.wallMs() + 700_000
    const { credentials } = kit.state.settings
    kit.core.configure({
      ...kit.state.settings,
      credentials: {
        find: (claim) => {
          const found = credentials.find(claim)
          if (found instanceof Promise) throw new TypeError('asked somebody')
          return found.map((credential) => ({
            username: credential.username,
            userId: credential.userId,
            key: (algorithm) => credential.key(algorithm),
            expiresAtMs,
            isStrict: true,
          }))
        },
      },
    })
    const client = kit.client()
    const answer = await client.request(StunMethod.allocate, udpTransport)
    expect(answer.message.u32(StunAttribute.lifetime)).toBe(600)
    expect((await client.refresh(3600)).message.u32(StunAttribute.lifetime)).toBe(700)
    kit.clock.advance(400_000)
    expect((await client.refresh(3600)).message.u32(StunAttribute.lifetime)).toBe(300)
    kit.clock.advance(301_000)
    expect(kit.ended).toEqual(['expired'])
  })
})
