import { expect, it, vi } from 'vitest'
import { StunAttribute } from '../../../protocols/stun/index.ts'
import type { Traffic } from './allocation.ts'
import { family as requestedFamily, udpAnd } from './test-client.testkit.ts'
import { type AllocatedClient, TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }
const peer6 = { address: '2001:db8::200', port: 9000 }

/** A client that has sent something to its peer, so that the engine knows the way. */
async function begun(options: Parameters<typeof TurnKit.open>[0] = {}): Promise<{
  readonly kit: TurnKit
  readonly client: AllocatedClient['client']
  readonly relayed: AllocatedClient['relayed']
  readonly far: ReturnType<TurnKit['peer']>
}> {
  const kit = await TurnKit.open(options)
  const { client, relayed } = await kit.allocated()
  await client.permit(peer)
  const far = kit.peer(peer.address, peer.port)
  client.sendTo(peer, 'first')
  return { kit, client, relayed, far }
}

/** What TypeScript has had from clients so far, and the engine's flows by kind. */
const taken = (kit: TurnKit): number => kit.listener.traffic.rxPackets
const kinds = (kit: TurnKit): string[] =>
  [...kit.datapath.flows.values()].map(({ flow }) =>
    'header' in flow ? `${flow.kind} ${flow.header}` : flow.kind,
  )
const view = (kit: TurnKit) => {
  const [info] = [...kit.state.allocations.all()].map((one) => kit.core.view(one))
  return info
}

it('lets the engine carry what follows the first datagram, both ways', async () => {
  const { kit, client, relayed, far } = await begun()
  expect(kinds(kit)).toEqual(['deliver', 'turn-indication add', 'turn-indication strip'])
  const before = taken(kit)
  const sentBefore = kit.listener.traffic.txPackets
  client.sendTo(peer, 'second')
  far.send(relayed, 'answer')
  expect(far.heard).toEqual(['first', 'second'])
  expect(client.heard).toEqual([`${peer.address} ${peer.port} answer`])
  expect([taken(kit), kit.listener.traffic.txPackets]).toEqual([before, sentBefore])
})

it.each([
  [peer, 1],
  [peer6, 2],
] as const)(
  'counts payload exactly, and whole messages between client and listener: %j',
  async (remote, family) => {
    const kit = await TurnKit.open()
    const client = kit.client()
    const put = vi.spyOn(client, 'put')
    const relayed = await client.allocate(udpAnd(requestedFamily(family)))
    await client.permit(remote)
    const far = kit.peer(remote.address, remote.port)
    for (let length = 0; length < 9; length++) {
      client.sendTo(remote, 'x'.repeat(length), (writer) =>
        writer.text(StunAttribute.software, 'y'.repeat(length)),
      )
      far.send(relayed, 'z'.repeat(length + 1))
    }
    const [allocation] = [...kit.state.allocations.all()]
    const seen = () => {
      const { rxPackets, rxBytes, txPackets, txBytes } = kit.listener.traffic
      const [rx, tx] = [
        { packets: rxPackets, bytes: rxBytes },
        { packets: txPackets, bytes: txBytes },
      ]
      if (allocation?.isGone === false) kit.state.paths.addFlowTraffic(allocation, rx, tx)
      return {
        rx,
        tx,
        sent: totals(allocation?.sent, 'sent'),
        received: totals(allocation?.received, 'received'),
      }
    }
    // While flows are there they are asked; when they go they leave what they have counted.
    const totals = (gone: Traffic | undefined, way: 'sent' | 'received') =>
      allocation?.isGone === false ? view(kit)?.[way] : gone
    const expected = {
      rx: { packets: put.mock.calls.length, bytes: sum(put.mock.calls.map(([{ length }]) => length)) },
      tx: { packets: client.inbox.length, bytes: sum(client.inbox.map(({ length }) => length)) },
      sent: { packets: 9, bytes: 36 },
      received: { packets: 9, bytes: 45 },
    }
    expect(seen()).toEqual(expected)
    kit.endAll()
    expect(seen()).toEqual(expected)
  },
)

it('leaves to TypeScript what asks for more than to pass data on', async () => {
  const { kit, client, far } = await begun({ features: ['dont-fragment'] })
  const before = taken(kit)
  client.sendTo(peer, 'whole', (writer) => writer.attribute(StunAttribute.dontFragment, new Uint8Array(0)))
  client.sendTo(peer, 'odd', (writer) => writer.attribute(0x7001, new Uint8Array(0)))
  client.sendTo(peer6, 'not permitted')
  client.sendTo(peer, 'by the engine', (writer) => writer.text(StunAttribute.software, 'client'))
  expect(far.heard).toEqual(['first', 'whole', 'by the engine'])
  expect(taken(kit) - before).toBe(3)
  expect(kit.datapath.sent.filter(({ dontFragment }) => dontFragment).length).toBe(1)
  expect(kit.data.dropped).toMatchObject({ malformed: 1, 'no-permission': 1 })
  expect(view(kit)?.sent).toEqual({ packets: 3, bytes: 'first whole by the engine'.length - 2 })
})

it('gives way to a channel, and comes back when that expires', async () => {
  const { kit, client, relayed, far } = await begun()
  await client.bind(0x4000, peer)
  expect(kinds(kit)).toEqual(['deliver', 'turn-channel add', 'turn-channel strip'])
  const before = taken(kit)
  client.sendTo(peer, 'indication')
  expect(taken(kit)).toBe(before + 1)
  far.send(relayed, 'x')
  expect(client.heard).toEqual(['0x4000 x'])
  for (let minutes = 0; minutes < 12; minutes += 4) {
    kit.clock.advance(240_000)
    await client.refresh()
    await client.permit(peer)
  }
  expect(kinds(kit)).toEqual(['deliver', 'turn-indication add', 'turn-indication strip'])
  far.send(relayed, 'y')
  client.sendTo(peer, 'again')
  expect(client.heard.at(-1)).toBe(`${peer.address} ${peer.port} y`)
  expect(far.heard).toEqual(['first', 'indication', 'again'])
  expect(view(kit)).toMatchObject({ sent: { packets: 3, bytes: 20 }, received: { packets: 2, bytes: 2 } })
})

it('ends with the permission', async () => {
  const { kit, client, relayed, far } = await begun()
  kit.clock.advance(301_000)
  expect(kinds(kit)).toEqual(['deliver'])
  client.sendTo(peer, 'late')
  far.send(relayed, 'late')
  expect([far.heard, client.heard]).toEqual([['first'], []])
  expect(kit.data.dropped['no-permission']).toBe(2)
})

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
