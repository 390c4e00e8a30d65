import { setImmediate as endOfTurn } from 'node:timers/promises'
import { networkInterfaces } from 'node:os'
import { describe, expect, it } from 'vitest'
import { at, DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import type { EndpointId, LocalAddress } from './contract.ts'
import { until } from './udp-peer.testkit.ts'

/** Binding: addresses, ports, pairs, connected endpoints, closing. */
export function describeEndpoints(subject: Subject): void {
  const fixture = new DatapathFixture(subject)

  describe('endpoints', () => {
    it('binds any free port and says which', async () => {
      const endpoint = await fixture.open()
      expect(endpoint.port).toBeGreaterThan(0)
      expect(endpoint.locals).toEqual([
        { address: '127.0.0.1', port: endpoint.port, local: expect.any(Number) },
      ])
      expect(endpoint.receiveBufferBytes).toBeGreaterThan(0)
      expect(endpoint.pair).toBeUndefined()
    })

    it('never uses an id again', async () => {
      const first = await fixture.open()
      fixture.engine.closeEndpoint(first.id)
      expect((await fixture.open()).id).not.toBe(first.id)
    })

    it('binds all addresses of an endpoint on one port', async () => {
      const endpoint = await fixture.open({ addresses: ['127.0.0.1', '127.0.0.2', '::1'] })
      expect(endpoint.locals.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.2', '::1'])
      expect(new Set(endpoint.locals.map(({ port }) => port))).toEqual(new Set([endpoint.port]))
      expect(new Set(endpoint.locals.map(({ local }) => local)).size).toBe(3)
    })

    it.each([
      ['127.0.0.1', '127.0.0.3'],
      ['127.0.0.2', '127.0.0.3'],
      ['::1', '::1'],
    ])('answers from %s, which was asked', async (asked, from) => {
      const endpoint = await fixture.open({ addresses: ['127.0.0.1', '127.0.0.2', '::1'] })
      const peer = await fixture.peer(from)
      await peer.send('ask', at(endpoint, asked))
      const { local, address, port } = await fixture.nextArrival()
      expect({ address, port }).toEqual({ address: peer.address, port: peer.port })
      expect(fixture.engine.send(endpoint.id, peer, Buffer.from('answer'), { local })).toBe(true)
      const answer = await peer.next()
      expect(answer.text).toBe('answer')
      expect(answer.from).toEqual({ address: asked, port: endpoint.port })
    })

    it.each(['0.0.0.0', '::'])(
      'binds every address of the machine for %s, without link-local ones',
      async (any) => {
        const endpoint = await fixture.open({ addresses: [any] })
        const family = any === '::' ? 'IPv6' : 'IPv4'
        const ofMachine = Object.values(networkInterfaces())
          .flatMap((entries) => entries ?? [])
          .filter((entry) => entry.family === family && !entry.address.startsWith('fe80'))
          .map((entry) => entry.address)
        expect(endpoint.locals.map(({ address }) => address).sort()).toEqual([...new Set(ofMachine)].sort())
      },
    )

    it('answers from the address that was asked of a wildcard endpoint', async () => {
      const endpoint = await fixture.open({ addresses: ['0.0.0.0', '::'] })
      for (const asked of endpoint.locals) {
        const peer = await fixture.peer(asked.address)
        await peer.send('ask', asked)
        const { local } = await fixture.nextArrival()
        fixture.engine.send(endpoint.id, peer, Buffer.from('answer'), { local })
        expect((await peer.next()).from).toEqual({ address: asked.address, port: asked.port })
      }
    })

    it('takes a free port of a range, until there is none', async () => {
      const { port: from } = await freePorts(fixture, 3)
      const ports = new Set<number>()
      for (let count = 0; count < 3; count++) {
        ports.add((await fixture.open({ port: { from, to: from + 2 } })).port)
      }
      expect(ports).toEqual(new Set([from, from + 1, from + 2]))
      await expect(fixture.open({ port: { from, to: from + 2 } })).rejects.toMatchObject({
        code: 'DATAPATH_PORTS_EXHAUSTED',
      })
    })

    it('takes an even port and keeps the next higher one as its pair', async () => {
      const endpoint = await fixture.open({ evenPair: true })
      expect(endpoint.port % 2).toBe(0)
      expect(endpoint.pair?.port).toBe(endpoint.port + 1)
      expect(endpoint.pair?.id).not.toBe(endpoint.id)
      await (await fixture.peer()).send('to the pair', { address: '127.0.0.1', port: endpoint.port + 1 })
      expect(await fixture.nextArrival()).toMatchObject({ endpoint: endpoint.pair?.id, text: 'to the pair' })
    })

    it('takes a pair from a range only where both ports are free', async () => {
      const { port: from } = await freePorts(fixture, 4)
      const even = from % 2 === 0 ? from : from + 1
      const blocker = await fixture.peer('127.0.0.1', even + 1)
      await expect(
        fixture.open({ port: { from: even, to: even + 1 }, evenPair: true }),
      ).rejects.toMatchObject({ code: 'DATAPATH_PORTS_EXHAUSTED' })
      expect(blocker.port).toBe(even + 1)
      // The even port was given back.
      expect((await fixture.open({ port: even })).port).toBe(even)
    })

    it('says when a port is taken, and when an address is not of this machine', async () => {
      const { port } = await fixture.open()
      await expect(fixture.open({ port })).rejects.toMatchObject({ code: 'DATAPATH_PORT_TAKEN' })
      await expect(fixture.open({ addresses: ['127.0.0.2', '127.0.0.1'], port })).rejects.toMatchObject({
        code: 'DATAPATH_PORT_TAKEN',
      })
      expect((await fixture.open({ addresses: ['127.0.0.2'], port })).port).toBe(port)
      await expect(fixture.open({ addresses: ['203.0.113.9'] })).rejects.toMatchObject({
        code: 'DATAPATH_ADDRESS_UNAVAILABLE',
      })
    })

    it.each([
      ['no address', { addresses: [] }],
      ['a name as address', { addresses: ['localhost'] }],
      ['a port above 65535', { port: 65_536 }],
      ['a negative port', { port: -1 }],
      ['an odd port for an even pair', { port: 40_001, evenPair: true }],
      ['no thread', { threads: 0 }],
      ['two addresses with a remote', { addresses: ['127.0.0.1', '127.0.0.2'], remote: discard }],
      ['a remote of the other family', { addresses: ['::1'], remote: discard }],
      ['a remote without port', { remote: { address: '127.0.0.1', port: 0 } }],
    ])('refuses %s', async (_, options) => {
      await expect(fixture.open(options)).rejects.toMatchObject({ code: 'DATAPATH_INVALID' })
      expect(fixture.engine.totals().endpoints).toBe(0)
    })

    it('serves with one thread or with four', async () => {
      const endpoint = await fixture.open({ threads: 4 })
      await (await fixture.peer()).send('hello', at(endpoint))
      expect((await fixture.nextArrival()).text).toBe('hello')
    })

    it('says what receive buffer it got', async () => {
      const small = await fixture.open({ receiveBufferBytes: 16 * 1024 })
      const large = await fixture.open({ receiveBufferBytes: 1024 * 1024 })
      expect(large.receiveBufferBytes).toBeGreaterThan(small.receiveBufferBytes)
    })
  })

  describe('connected endpoints', () => {
    it.each(['127.0.0.1', '::1'])('hears only its peer on %s', async (address) => {
      const [peer, other] = [await fixture.peer(address), await fixture.peer(address)]
      const endpoint = await fixture.open({ addresses: [address], remote: peer })
      await other.send('not me', at(endpoint, address))
      await peer.send('me', at(endpoint, address))
      expect(await fixture.nextArrival()).toMatchObject({ kind: 'data', text: 'me', port: peer.port })
      fixture.engine.send(endpoint.id, peer, Buffer.from('you'))
      expect((await peer.next()).text).toBe('you')
    })

    it.each([
      ['0.0.0.0', '127.0.0.9', '127.0.0.1'],
      ['::', '::1', '::1'],
    ])('on %s is bound where the system reaches %s from', async (wildcard, far, local) => {
      const peer = await fixture.peer(far)
      const endpoint = await fixture.open({ addresses: [wildcard], remote: peer })
      expect(endpoint.locals).toEqual([{ address: local, port: endpoint.port, local: 0 }])
      fixture.engine.send(endpoint.id, peer, Buffer.from('you'))
      expect(await peer.next()).toMatchObject({ text: 'you', from: { address: local, port: endpoint.port } })
      await peer.send('me', at(endpoint, local))
      expect(await fixture.nextArrival()).toMatchObject({ kind: 'data', text: 'me', port: peer.port })
    })

    it('is refused where the peer cannot be reached from its address', async () => {
      await expect(
        fixture.open({ addresses: ['127.0.0.1'], remote: { address: '203.0.113.9', port: 9 } }),
      ).rejects.toMatchObject({ code: 'DATAPATH_ADDRESS_UNAVAILABLE' })
    })

    it('hands on that nobody is there as an ICMP record', async () => {
      const gone = await goneAddress(fixture)
      const endpoint = await fixture.open({ remote: gone })
      fixture.engine.send(endpoint.id, gone, Buffer.from('anyone?'))
      const arrival = await fixture.nextArrival()
      expect(arrival).toMatchObject({
        kind: 'icmp',
        endpoint: endpoint.id,
        address: gone.address,
        port: gone.port,
      })
      expect(arrival.bytes.length).toBe(0)
    })

    it('names the flow of the peer in an ICMP record', async () => {
      const gone = await goneAddress(fixture)
      const endpoint = await fixture.open({ remote: gone })
      const flow = fixture.engine.addFlow({ kind: 'deliver', from: { endpoint: endpoint.id, remote: gone } })
      fixture.engine.send(endpoint.id, gone, Buffer.from('anyone?'))
      expect(await fixture.nextArrival()).toMatchObject({ kind: 'icmp', flow })
    })

    it('loses no datagram to the error of an earlier one', async () => {
      const gone = await goneAddress(fixture)
      const endpoint = await fixture.open({ remote: gone })
      // The error of the first waits in the socket; whether receiving or sending finds it is a race.
      fixture.engine.send(endpoint.id, gone, Buffer.from('lost'))
      await endOfTurn()
      const back = await fixture.peer('127.0.0.1', gone.port)
      fixture.engine.send(endpoint.id, gone, Buffer.from('arrives'))
      expect((await back.next()).text).toBe('arrives')
      expect((await fixture.nextArrival()).kind).toBe('icmp')
    })

    it('forwards again when the peer is back', async () => {
      const client = await fixture.peer()
      const gone = await goneAddress(fixture)
      const [edge, inner] = [await fixture.open(), await fixture.open({ remote: gone })]
      fixture.engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: inner.id, remote: gone },
      })
      await client.send('lost', at(edge))
      expect((await fixture.nextArrival()).kind).toBe('icmp')
      const back = await fixture.peer('127.0.0.1', gone.port)
      await client.send('arrives', at(edge))
      expect((await back.next()).text).toBe('arrives')
    })

    it('has flows of its own remote only', async () => {
      const [peer, other] = [await fixture.peer(), await fixture.peer()]
      const endpoint = await fixture.open({ remote: peer })
      const edge = await fixture.open()
      expect(() =>
        fixture.engine.addFlow({ kind: 'deliver', from: { endpoint: endpoint.id, remote: other } }),
      ).toThrow(expect.objectContaining({ code: 'DATAPATH_INVALID' }))
      expect(() =>
        fixture.engine.addFlow({
          kind: 'forward',
          from: { endpoint: edge.id, remote: other },
          to: { endpoint: endpoint.id, remote: other },
        }),
      ).toThrow(expect.objectContaining({ code: 'DATAPATH_INVALID' }))
      expect(() => fixture.engine.send(endpoint.id, other, Buffer.from('x'))).toThrow(
        expect.objectContaining({ code: 'DATAPATH_INVALID' }),
      )
    })
  })

  describe('closing', () => {
    it('removes the flows that come from a closed endpoint and those that go out of it', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner } = await fixture.forward()
      engine.addFlow({
        kind: 'forward',
        from: { endpoint: inner.id, remote: origin },
        to: { endpoint: edge.id, remote: client },
      })
      engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote: origin } })
      expect(engine.totals()).toMatchObject({ flows: 3, endpoints: 2 })
      engine.closeEndpoint(inner.id)
      expect(engine.totals()).toMatchObject({ flows: 1, endpoints: 1 })
      engine.closeEndpoint(inner.id)
      engine.closeEndpoint(edge.id)
      expect(engine.totals()).toMatchObject({ flows: 0, endpoints: 0 })
    })

    it('frees the port', async () => {
      const { port, id } = await fixture.open()
      fixture.engine.closeEndpoint(id)
      await until(() => true, 'one turn')
      expect((await fixture.open({ port })).port).toBe(port)
    })

    it('leaves no handle', async () => {
      const before = udpHandles()
      await fixture.open({ addresses: ['127.0.0.1', '127.0.0.2', '::1'] })
      await fixture.open({ evenPair: true })
      await fixture.engine.close()
      expect(udpHandles()).toBe(before)
      expect(fixture.engine.totals().endpoints).toBe(0)
    })

    it('can be started and closed twice, and is of no use when closed', async () => {
      await fixture.engine.start()
      await fixture.engine.close()
      await fixture.engine.close()
      await expect(fixture.open()).rejects.toMatchObject({ code: 'DATAPATH_NOT_RUNNING' })
    })

    it('leaves no socket of an endpoint that was still opening', async () => {
      const before = udpHandles()
      const opening = fixture.open({ addresses: ['127.0.0.1', '127.0.0.2'] })
      const closing = fixture.engine.close()
      await expect(opening).rejects.toMatchObject({ code: 'DATAPATH_NOT_RUNNING' })
      await closing
      await until(() => udpHandles() === before, 'the sockets to close')
    })

    it('refuses ids that are not there', async () => {
      const { engine } = fixture
      const unknown = 987_654 as EndpointId
      const remote = { address: '127.0.0.1', port: 9 }
      expect(() => engine.send(unknown, remote, Buffer.from('x'))).toThrow(
        throwing('DATAPATH_UNKNOWN_ENDPOINT'),
      )
      expect(() => engine.addFlow({ kind: 'deliver', from: { endpoint: unknown, remote } })).toThrow(
        throwing('DATAPATH_UNKNOWN_ENDPOINT'),
      )
      engine.closeEndpoint(unknown)
      const { id } = await fixture.open()
      engine.closeEndpoint(id)
      expect(() => engine.send(id, remote, Buffer.from('x'))).toThrow(throwing('DATAPATH_UNKNOWN_ENDPOINT'))
    })
  })
}

const discard = { address: '127.0.0.1', port: 9 }

function throwing(code: string): unknown {
  return expect.objectContaining({ code })
}

function udpHandles(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'UDPWRAP').length
}

/** An address at which nobody is any more. */
async function goneAddress(fixture: DatapathFixture): Promise<{ address: string; port: number }> {
  const endpoint = await fixture.open()
  fixture.engine.closeEndpoint(endpoint.id)
  return { address: '127.0.0.1', port: endpoint.port }
}

/** The first of some adjacent ports that were free a moment ago. */
async function freePorts(fixture: DatapathFixture, count: number): Promise<LocalAddress> {
  for (;;) {
    const first = await fixture.open()
    const opened = [first]
    try {
      while (opened.length < count) opened.push(await fixture.open({ port: first.port + opened.length }))
      const [local] = first.locals
      if (local !== undefined) return local
    } catch {
      // Taken; look elsewhere.
    } finally {
      for (const { id } of opened) fixture.engine.closeEndpoint(id)
    }
  }
}
