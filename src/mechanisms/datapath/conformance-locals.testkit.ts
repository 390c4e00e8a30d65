import { beforeEach, describe, expect, it } from 'vitest'
import { at, DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import type { Endpoint, Flow, FlowId, FlowSource, Remote } from './contract.ts'
import type { UdpPeer } from './udp-peer.testkit.ts'

/** Endpoints whose flows are of one local address each. */
export function describeLocals(subject: Subject): void {
  const fixture = new DatapathFixture(subject)
  const addresses = ['127.0.0.1', '127.0.0.2', '::1'] as const
  let edge: Endpoint
  let client: UdpPeer

  beforeEach(async () => {
    edge = await fixture.open({ addresses, separateLocals: true })
    client = await fixture.peer()
  })

  const localOf = (address: string): number =>
    edge.locals.find((local) => local.address === address)?.local as number

  const sourceAt = (address: string, remote: Remote = client): FlowSource => ({
    endpoint: edge.id,
    remote,
    local: localOf(address),
  })

  const add = (flow: Flow): FlowId => fixture.engine.addFlow(flow)

  const throwing = (code: string): unknown => expect.objectContaining({ code })

  describe('separateLocals', () => {
    it('leads one channel of one client to a peer of its own at each address, and back', async () => {
      const relays = await Promise.all(
        ['127.0.0.1', '127.0.0.2'].map(async (address) => {
          const [relay, peer] = [await fixture.open(), await fixture.peer()]
          const there = { endpoint: relay.id, remote: peer }
          const channel = { kind: 'turn-channel', channel: 0x4000 } as const
          add({ ...channel, header: 'strip', from: sourceAt(address), to: there })
          const here = { endpoint: edge.id, remote: client, local: localOf(address) }
          add({ ...channel, header: 'add', from: there, to: here })
          return { address, peer }
        }),
      )
      for (const { address, peer } of relays) {
        await client.send(Buffer.from([0x40, 0, 0, 2, 1, 2]), at(edge, address))
        const passed = await peer.next()
        expect([...passed.bytes]).toEqual([1, 2])
        await peer.send(Buffer.from([3]), passed.from)
        const { bytes, from } = await client.next()
        expect([...bytes]).toEqual([0x40, 0, 0, 1, 3])
        expect(from).toEqual(at(edge, address))
      }
      expect(fixture.arrivals).toEqual([])
    })

    it('names the flow of the address that was asked, and none where there is none', async () => {
      const other = await fixture.peer('::1')
      const flows = new Map<string, FlowId>([
        ['127.0.0.2', add({ kind: 'deliver', from: sourceAt('127.0.0.2') })],
        ['::1', add({ kind: 'deliver', from: sourceAt('::1', other) })],
      ])
      for (const address of addresses) {
        await (address === '::1' ? other : client).send('hello', at(edge, address))
        const local = localOf(address)
        expect(await fixture.nextArrival()).toMatchObject({ flow: flows.get(address) ?? 0, local })
      }
    })

    it('has each source once for each address', async () => {
      const from = sourceAt('127.0.0.1')
      const first = add({ kind: 'deliver', from })
      const match = { offset: 0, value: 0x61626364 }
      const second = add({ kind: 'deliver', from: { ...sourceAt('127.0.0.2'), match } })
      expect(() => add({ kind: 'deliver', from })).toThrow(throwing('DATAPATH_FLOW_EXISTS'))
      const third = add({ kind: 'deliver', from: sourceAt('127.0.0.2') })
      const ask = async (address: string): Promise<FlowId> => {
        await client.send('abcd', at(edge, address))
        return (await fixture.nextArrival()).flow
      }
      expect([await ask('127.0.0.1'), await ask('127.0.0.2')]).toEqual([first, second])
      fixture.engine.removeFlow(first)
      fixture.engine.removeFlow(second)
      expect([await ask('127.0.0.1'), await ask('127.0.0.2')]).toEqual([0, third])
      expect(fixture.engine.totals().flows).toBe(1)
    })

    it('is of the pair too', async () => {
      const even = await fixture.open({ addresses: ['127.0.0.1'], evenPair: true, separateLocals: true })
      const { id: endpoint, port } = even.pair as Endpoint
      const from = { endpoint, remote: client }
      expect(() => add({ kind: 'deliver', from })).toThrow(throwing('DATAPATH_INVALID'))
      const flow = add({ kind: 'deliver', from: { ...from, local: 0 } })
      await client.send('hello', { address: '127.0.0.1', port })
      expect(await fixture.nextArrival()).toMatchObject({ endpoint, flow })
    })

    it('names the flow of the only peer in an ICMP record', async () => {
      const gone = await fixture.peer()
      await gone.close()
      const { id: endpoint } = await fixture.open({ remote: gone, separateLocals: true })
      const flow = add({ kind: 'deliver', from: { endpoint, remote: gone, local: 0 } })
      fixture.engine.send(endpoint, gone, Buffer.from('anyone?'))
      expect(await fixture.nextArrival()).toMatchObject({ kind: 'icmp', endpoint, flow })
    })

    it('removes the flows of all addresses with the endpoint', () => {
      for (const address of ['127.0.0.1', '127.0.0.2']) add({ kind: 'deliver', from: sourceAt(address) })
      fixture.engine.closeEndpoint(edge.id)
      expect(fixture.engine.totals()).toMatchObject({ flows: 0, endpoints: 0 })
    })

    it('wants an address that the endpoint has, of the family of the remote', () => {
      const { local: _, ...without } = sourceAt('127.0.0.1')
      const bad: readonly [string, FlowSource][] = [
        ['DATAPATH_INVALID', without],
        ['DATAPATH_UNKNOWN_LOCAL', { ...without, local: 3 }],
        ['DATAPATH_UNKNOWN_LOCAL', { ...without, local: -1 }],
        ['DATAPATH_UNKNOWN_LOCAL', { ...without, local: localOf('::1') }],
        ['DATAPATH_UNKNOWN_LOCAL', sourceAt('127.0.0.1', { address: '::1', port: 9 })],
      ]
      for (const [code, from] of bad) expect(() => add({ kind: 'deliver', from })).toThrow(throwing(code))
      expect(fixture.engine.totals().flows).toBe(0)
    })
  })

  describe('without separateLocals', () => {
    it('takes what arrives on any address, and wants none to be named', async () => {
      const plain = await fixture.open({ addresses: ['127.0.0.1', '127.0.0.2'] })
      const from = { endpoint: plain.id, remote: client }
      expect(() => add({ kind: 'deliver', from: { ...from, local: 0 } })).toThrow(
        throwing('DATAPATH_INVALID'),
      )
      const flow = add({ kind: 'deliver', from })
      for (const address of ['127.0.0.1', '127.0.0.2']) {
        await client.send('hello', at(plain, address))
        expect((await fixture.nextArrival()).flow).toBe(flow)
      }
    })
  })
}
