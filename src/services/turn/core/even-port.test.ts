import { describe, expect, it } from 'vitest'
import { StunAttribute, StunMethod } from '../../../protocols/stun/index.ts'
import { encodeEvenPort } from '../../../protocols/turn/index.ts'
import { addressOf, type Answer, type Build, family, udpAnd, udpTransport } from './test-client.testkit.ts'
import { relay4, relay6, TurnKit } from './turn-kit.testkit.ts'

const even: Build = udpAnd((writer) => writer.attribute(StunAttribute.evenPort, encodeEvenPort(false)))
const pair: Build = udpAnd((writer) => writer.attribute(StunAttribute.evenPort, encodeEvenPort(true)))

function tokenOf({ message }: Answer): Uint8Array {
  return Uint8Array.from(message.attribute(StunAttribute.reservationToken) ?? [])
}

function redeeming(token: Uint8Array): Build {
  return udpAnd((writer) => writer.attribute(StunAttribute.reservationToken, token))
}

describe('EVEN-PORT', () => {
  it('gives an even port, and reserves none unless that is asked for', async () => {
    const kit = await TurnKit.open()
    for (let port = 1; port <= 8; port++) {
      const answer = await kit.client({ port }).request(StunMethod.allocate, even)
      expect((addressOf(answer, StunAttribute.xorRelayedAddress)?.port ?? 1) % 2).toBe(0)
      expect(tokenOf(answer)).toHaveLength(0)
    }
    expect(kit.held()).toMatchObject({ endpoints: 8 })
  })

  it('with R binds the next port, which the token gets, once', async () => {
    const kit = await TurnKit.open()
    const answer = await kit.client({ port: 1 }).request(StunMethod.allocate, pair)
    const first = addressOf(answer, StunAttribute.xorRelayedAddress)
    expect(kit.datapath.endpointAt('10.0.0.1', (first?.port ?? 0) + 1)).toBeDefined()
    const token = tokenOf(answer)
    expect(token).toHaveLength(8)
    const second = await kit.client({ port: 2 }).allocate(redeeming(token))
    expect(second.port).toBe((first?.port ?? 0) + 1)
    expect((await kit.client({ port: 3 }).request(StunMethod.allocate, redeeming(token))).code).toBe(508)
    expect(kit.held()).toMatchObject({ allocations: 2, endpoints: 2, quota: 2 })
  })

  it('keeps the reserved port for 30 seconds, not longer', async () => {
    const kit = await TurnKit.open()
    const token = tokenOf(await kit.client({ port: 1 }).request(StunMethod.allocate, pair))
    kit.clock.advance(29_900)
    expect(kit.held()).toMatchObject({ endpoints: 2 })
    kit.clock.advance(1200)
    expect(kit.held()).toMatchObject({ endpoints: 1 })
    expect((await kit.client({ port: 2 }).request(StunMethod.allocate, redeeming(token))).code).toBe(508)
    expect(kit.quota.outstanding).toBe(1)
  })

  it('gives the reserved port to no other user', async () => {
    const kit = await TurnKit.open()
    const token = tokenOf(await kit.client({ port: 1 }).request(StunMethod.allocate, pair))
    const other = kit.client({ port: 2, user: 'bob' })
    expect((await other.request(StunMethod.allocate, redeeming(token))).code).toBe(508)
    await kit.client({ port: 3 }).allocate(redeeming(token))
  })

  it('gives the reserved port up when its allocation ends, and not when it is another allocation’s by then', async () => {
    const kit = await TurnKit.open()
    const one = kit.client({ port: 1 })
    await one.request(StunMethod.allocate, pair)
    await one.refresh(0)
    expect(kit.held()).toMatchObject({ endpoints: 0 })
    const token = tokenOf(await one.request(StunMethod.allocate, pair))
    await kit.client({ port: 2 }).allocate(redeeming(token))
    await one.refresh(0)
    expect(kit.held()).toMatchObject({ allocations: 1, endpoints: 1 })
  })

  it('gets 508 when there is no even port, or no pair', async () => {
    const kit = await TurnKit.open({ relays: [{ ...relay4, from: 50_001, to: 50_002 }] })
    expect((await kit.client({ port: 1 }).request(StunMethod.allocate, pair)).code).toBe(508)
    await kit.client({ port: 1 }).allocate(even)
    expect((await kit.client({ port: 2 }).request(StunMethod.allocate, even)).code).toBe(508)
    await kit.client({ port: 2 }).allocate(udpTransport)
  })

  it('does not waste the token of who has no quota left', async () => {
    const kit = await TurnKit.open({ limits: { maxPerUser: 1 } })
    const one = kit.client({ port: 1 })
    const token = tokenOf(await one.request(StunMethod.allocate, pair))
    expect((await kit.client({ port: 2 }).request(StunMethod.allocate, redeeming(token))).code).toBe(486)
    expect(kit.held()).toMatchObject({ endpoints: 2 })
  })

  it('is redeemed where there is IPv6 only, though a token comes without a family', async () => {
    const kit = await TurnKit.open({ relays: [relay6] })
    const answer = await kit.client({ port: 1 }).request(StunMethod.allocate, (writer) => {
      pair(writer)
      family(2)(writer)
    })
    expect((await kit.client({ port: 2 }).allocate(redeeming(tokenOf(answer)))).address).toBe(relay6.address)
  })
})
