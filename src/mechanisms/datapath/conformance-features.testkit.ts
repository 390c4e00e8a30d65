import { closeSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { beforeEach, describe, expect, it } from 'vitest'
import { at, DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import type { Arrival, DatapathFeature } from './contract.ts'
import { listenOnDescriptor } from '../net/bound-socket.ts'
import { listenTcp } from '../net/listen-tcp.ts'
import { until } from './udp-peer.testkit.ts'

/** What an engine says that it can do, it does; what it cannot, it refuses. */
export function describeFeatures(subject: Subject): void {
  const fixture = new DatapathFixture(subject)
  const icmp: Arrival[] = []

  beforeEach(() => {
    icmp.length = 0
  })

  describe('features', () => {
    const features = subject.create({}).features
    /** A test for engines that have the feature, or have not. */
    const only = (feature: DatapathFeature, has: boolean) => (features.has(feature) === has ? it : noTest)

    only('dont-fragment', false)('refuses dontFragment without the feature', async () => {
      const [edge, client] = [await fixture.open(), await fixture.peer()]
      const send = (): boolean =>
        fixture.engine.send(edge.id, client, Buffer.from('x'), { dontFragment: true })
      expect(send).toThrow(expect.objectContaining({ code: 'DATAPATH_UNSUPPORTED' }))
      expect(fixture.engine.send(edge.id, client, Buffer.from('x'), { dontFragment: false })).toBe(true)
    })

    only('dscp', false)('refuses dscp without the feature', async () => {
      await expect(fixture.open({ dscp: 46 })).rejects.toMatchObject({ code: 'DATAPATH_UNSUPPORTED' })
      expect(fixture.engine.totals().endpoints).toBe(0)
    })

    only('icmp-errors', false)('refuses icmpErrors without the feature', async () => {
      await expect(fixture.open({ icmpErrors: true })).rejects.toMatchObject({ code: 'DATAPATH_UNSUPPORTED' })
      expect((await fixture.open({ icmpErrors: false })).port).toBeGreaterThan(0)
    })

    only('dont-fragment', true)('sends with and without dontFragment in turn', async () => {
      const [edge, client] = [await fixture.open(), await fixture.peer()]
      for (let index = 0; index < 60; index++) {
        const bytes = Buffer.alloc([1000, 1000, 0, 65_507][index % 4] ?? 0, index)
        const options = { dontFragment: index % 3 === 0 }
        expect(fixture.engine.send(edge.id, client, bytes, options)).toBe(true)
      }
      await until(() => client.received.length === 60, 'all')
      for (const [index, { bytes }] of client.received.entries()) {
        expect(bytes.equals(Buffer.alloc([1000, 1000, 0, 65_507][index % 4] ?? 0, index))).toBe(true)
      }
    })

    only('dscp', true)('takes a code point from 0 to 63, over IPv4 and IPv6', async () => {
      for (const [address, dscp] of [
        ['127.0.0.1', 0],
        ['127.0.0.1', 63],
        ['::1', 46],
      ] as const) {
        const [edge, client] = [
          await fixture.open({ addresses: [address], dscp }),
          await fixture.peer(address),
        ]
        fixture.engine.send(edge.id, client, Buffer.from('marked'))
        expect((await client.next()).text).toBe('marked')
      }
      for (const dscp of [-1, 64, 1.5]) {
        await expect(fixture.open({ dscp })).rejects.toMatchObject({ code: 'DATAPATH_INVALID' })
      }
    })

    only('icmp-errors', true).each([
      ['127.0.0.1', { type: 3, code: 3, mtu: 0 }],
      ['::1', { type: 1, code: 4, mtu: 0 }],
    ])('says of which type an error from %s is, and of which flow', async (address, error) => {
      const { engine } = fixture
      const edge = await fixture.open({ addresses: [address], icmpErrors: true }, (arrival) => {
        icmp.push({ ...arrival, address: arrival.address, bytes: Buffer.from(arrival.bytes) })
      })
      const [gone, known, client] = [
        await fixture.peer(address),
        await fixture.peer(address),
        await fixture.peer(address),
      ]
      const flow = engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote: known } })
      await Promise.all([gone.close(), known.close()])
      for (const [remote, id] of [
        [gone, 0],
        [known, flow],
      ] as const) {
        engine.send(edge.id, remote, Buffer.from('anyone?'))
        await until(() => icmp.length === 1, 'the error')
        expect(icmp.pop()).toMatchObject({
          kind: 'icmp',
          endpoint: edge.id,
          flow: id,
          local: edge.locals[0]?.local,
          address,
          port: remote.port,
          icmp: error,
          bytes: Buffer.alloc(0),
        })
        // It costs nobody else a datagram, in neither direction.
        engine.send(edge.id, client, Buffer.from('there'))
        expect((await client.next()).text).toBe('there')
        await client.send('back', at(edge, address))
        await until(() => icmp.length === 1, 'what the other sent')
        expect(icmp.pop()).toMatchObject({ kind: 'data', icmp: undefined, bytes: Buffer.from('back') })
      }
      expect(engine.totals().dropped).toMatchObject({ error: 0, queue: 0 })
    })

    only('icmp-errors', true)(
      'says it of the only peer of a connected endpoint too, once for each',
      async () => {
        const { engine } = fixture
        const gone = await fixture.peer()
        const edge = await fixture.open({ remote: gone, icmpErrors: true })
        await gone.close()
        for (let count = 1; count <= 50; count++) {
          engine.send(edge.id, gone, Buffer.from('anyone?'))
          await until(() => fixture.arrivals.length >= count, 'the error')
        }
        await until(() => true, 'one turn')
        expect(fixture.arrivals.length).toBe(50)
        for (const arrival of fixture.arrivals) {
          expect(arrival).toMatchObject({ kind: 'icmp', port: gone.port, icmp: { type: 3, code: 3, mtu: 0 } })
        }
        expect(engine.totals().dropped.error).toBe(0)
      },
    )

    only('icmp-errors', true)('loses nothing while errors pour in', async () => {
      const { engine } = fixture
      const edge = await fixture.open({ icmpErrors: true }, (arrival) => {
        if (arrival.kind === 'icmp')
          icmp.push({ ...arrival, address: arrival.address, bytes: Buffer.alloc(0) })
      })
      const [gone, client, origin] = [await fixture.peer(), await fixture.burstPeer(), await fixture.peer()]
      await gone.close()
      engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: edge.id, remote: origin },
      })
      let sent = 0
      for (let round = 0; round < 100; round++) {
        for (let count = 0; count < 5; count++) engine.send(edge.id, gone, Buffer.from('anyone?'))
        await client.burst(
          [Buffer.alloc(10, round), Buffer.alloc(10, round), Buffer.alloc(3, round)],
          at(edge),
        )
        sent += 3
      }
      await until(() => origin.received.length === sent, 'all of the flow')
      await until(() => icmp.length > 0, 'an error')
      expect(icmp.every(({ icmp }) => icmp?.type === 3)).toBe(true)
      expect(engine.totals().dropped).toMatchObject({ error: 0, queue: 0 })
    })

    only('tcp-reuse', false)('refuses bindTcp without the feature', () => {
      expect(() => fixture.engine.bindTcp('127.0.0.1', 0)).toThrow(
        expect.objectContaining({ code: 'DATAPATH_UNSUPPORTED' }),
      )
    })

    only('tcp-reuse', true).each(['127.0.0.1', '::1', '0.0.0.0', '::'])(
      'binds TCP sockets of %s that share a port',
      async (address) => {
        const server = createServer()
        await listenOnDescriptor(server, fixture.engine.bindTcp(address, 0))
        const { port } = server.address() as AddressInfo
        const beside = fixture.engine.bindTcp(address, port)
        expect(beside).toBeGreaterThan(2)
        closeSync(beside)
        // IPv6 leaves the port of IPv4 to others, and the other way round.
        const other = createServer()
        await listenTcp(other, { host: address.includes(':') ? '127.0.0.1' : '::1', port })
        for (const one of [server, other]) await new Promise((resolve) => one.close(resolve))
      },
    )

    only('tcp-reuse', true)('says why a TCP socket cannot be bound', async () => {
      const { engine } = fixture
      const taken = createServer()
      await listenTcp(taken, { host: '127.0.0.1', port: 0 })
      const bad: readonly [string, string, number][] = [
        ['DATAPATH_PORT_TAKEN', '127.0.0.1', (taken.address() as AddressInfo).port],
        ['DATAPATH_ADDRESS_UNAVAILABLE', '203.0.113.9', 0],
        ['DATAPATH_INVALID', 'localhost', 0],
        ['DATAPATH_INVALID', '127.0.0.1', -1],
        ['DATAPATH_INVALID', '127.0.0.1', 65_536],
      ]
      for (const [code, address, port] of bad) {
        expect(() => engine.bindTcp(address, port)).toThrow(expect.objectContaining({ code }))
      }
      await new Promise((resolve) => taken.close(resolve))
      await engine.close()
      expect(() => engine.bindTcp('127.0.0.1', 0)).toThrow(
        expect.objectContaining({ code: 'DATAPATH_NOT_RUNNING' }),
      )
    })

    it('says how many threads it has, and of what sizes its batches are when it makes some', async () => {
      const { engine } = fixture
      const { client, origin, edge } = await fixture.forward()
      await client.burst(['a', 'b', 'c'], at(edge))
      await until(() => origin.received.length === 3, 'all')
      engine.send(edge.id, client, Buffer.from('d'))
      await client.next()
      const { threads, batches } = engine.totals()
      if (engine.engine === 'node') {
        expect([threads, batches]).toEqual([0, undefined])
        return
      }
      expect(threads).toBeGreaterThanOrEqual(1)
      expect(batches?.segments.sum).toBe(4)
      expect(batches?.received.sum).toBeGreaterThanOrEqual(1)
      expect(batches?.sent.counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(2)
      await engine.close()
      expect(engine.totals()).toMatchObject({ threads: 0, endpoints: 0, forwarded: { packets: 3 } })
    })
  })
}

/** In place of `it`: a test that is for other engines. */
const noTest = Object.assign(() => {}, { each: () => () => {} }) as unknown as typeof it
