import { describe, expect, it } from 'vitest'
import { at, DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import type { FlowId, Remote } from './contract.ts'
import { until } from './udp-peer.testkit.ts'

/** What reaches TypeScript, what it sends, and that strangers cost the known nothing. */
export function describeDelivery(subject: Subject): void {
  const fixture = new DatapathFixture(subject)

  describe('delivery', () => {
    it.each([0, 1, 65_507])('hands over a stranger with %i bytes and where from', async (length) => {
      const [edge, client] = [await fixture.open(), await fixture.peer()]
      await client.send(Buffer.alloc(length, 'xyz'), at(edge))
      const arrival = await fixture.nextArrival()
      expect(arrival).toMatchObject({
        endpoint: edge.id,
        flow: 0,
        local: edge.locals[0]?.local,
        kind: 'data',
        address: client.address,
        port: client.port,
      })
      expect(Buffer.alloc(length, 'xyz').equals(arrival.bytes)).toBe(true)
    })

    it('hands over a known remote with the id of its flow, and counts', async () => {
      const [edge, client] = [await fixture.open(), await fixture.peer()]
      const flow = fixture.engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote: client } })
      await client.send('hello', at(edge))
      expect(await fixture.nextArrival()).toMatchObject({ flow, text: 'hello' })
      expect(fixture.counters(flow)).toMatchObject({ packets: 1, bytes: 5, drops: 0 })
      expect(fixture.engine.totals().delivered).toEqual({ packets: 1, bytes: 5 })
    })

    it('pauses and meters what is delivered', async () => {
      const { engine } = fixture
      const [edge, client] = [await fixture.open(), await fixture.peer()]
      const meter = engine.openMeter({ packetsPerSecond: 0.001, burstSeconds: 1000 })
      const flow = engine.addFlow({
        kind: 'deliver',
        from: { endpoint: edge.id, remote: client },
        meters: [meter],
      })
      engine.pause(flow, true)
      await client.send('paused', at(edge))
      await until(() => engine.totals().dropped.paused === 1, 'the pause')
      engine.pause(flow, false)
      for (const text of ['one', 'two']) await client.send(text, at(edge))
      await until(() => engine.totals().dropped.meter === 1, 'the meter')
      expect(await fixture.nextArrival()).toMatchObject({ text: 'one' })
      expect(fixture.arrivals).toEqual([])
    })

    it.each([
      ['127.0.0.1', 65_507],
      ['::1', 65_527],
    ])('hands over, passes on and sends the longest datagram of %s, %i bytes', async (address, length) => {
      const { engine } = fixture
      const [client, origin] = [await fixture.peer(address), await fixture.peer(address)]
      const [edge, stranger] = [await fixture.open({ addresses: [address] }), await fixture.peer(address)]
      const known = engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote: client } })
      const here = { endpoint: edge.id, remote: origin }
      engine.addFlow({ kind: 'forward', from: here, to: { endpoint: edge.id, remote: client } })
      const bytes = Buffer.alloc(length, 'abcdefg')
      for (const [peer, flow] of [
        [client, known],
        [stranger, 0],
      ] as const) {
        await peer.send(bytes, at(edge, address))
        const arrival = await fixture.nextArrival()
        expect(arrival.flow).toBe(flow)
        expect(bytes.equals(arrival.bytes)).toBe(true)
      }
      await origin.send(bytes, at(edge, address))
      expect((await client.next()).bytes.equals(bytes)).toBe(true)
      expect(engine.send(edge.id, client, bytes)).toBe(true)
      expect((await client.next()).bytes.equals(bytes)).toBe(true)
    })

    it('charges bytes of what is delivered to a meter that others share', async () => {
      const { engine } = fixture
      const [edge, client, other] = [await fixture.open(), await fixture.peer(), await fixture.peer()]
      const meters = [engine.openMeter({ bytesPerSecond: 0.001, burstSeconds: 1_000_000 })]
      const deliver = (remote: Remote): FlowId =>
        engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote }, meters })
      const [one, two] = [deliver(client), deliver(other)]
      for (let sent = 0; sent < 3; sent++) await client.send(Buffer.alloc(400), at(edge))
      await until(() => fixture.counters(one).drops === 1, 'the drop')
      for (const length of [201, 200, 1]) await other.send(Buffer.alloc(length), at(edge))
      await until(() => fixture.counters(two).drops === 2, 'the drops')
      await until(() => fixture.arrivals.length === 3, 'the others')
      expect(fixture.counters(one)).toMatchObject({ packets: 2, bytes: 800 })
      expect(fixture.counters(two)).toMatchObject({ packets: 1, bytes: 200 })
      expect(engine.totals()).toMatchObject({ delivered: { packets: 3, bytes: 1000 }, dropped: { meter: 3 } })
    })

    it('gives each arrival to the receiver of its own endpoint', async () => {
      const seen: string[] = []
      const one = await fixture.open({}, (arrival) => seen.push(`one ${arrival.bytes.length}`))
      const two = await fixture.open({}, (arrival) => seen.push(`two ${arrival.bytes.length}`))
      const client = await fixture.peer()
      await client.send('1', at(two))
      await client.send('22', at(one))
      await until(() => seen.length === 2, 'both')
      expect(seen.sort()).toEqual(['one 2', 'two 1'])
    })

    it('lets a receiver add a flow, send, and close its endpoint during the call', async () => {
      const { engine } = fixture
      const [client, origin] = [await fixture.peer(), await fixture.peer()]
      const edge = await fixture.open({}, (arrival) => {
        const from = { address: arrival.address, port: arrival.port }
        if (arrival.bytes.length === 0) {
          engine.closeEndpoint(arrival.endpoint)
          return
        }
        const remote = { endpoint: arrival.endpoint, remote: from }
        engine.addFlow({ kind: 'forward', from: remote, to: { endpoint: arrival.endpoint, remote: origin } })
        engine.send(arrival.endpoint, from, Buffer.from('welcome'), { local: arrival.local })
      })
      await client.send('first', at(edge))
      expect((await client.next()).text).toBe('welcome')
      await client.send('second', at(edge))
      expect((await origin.next()).text).toBe('second')
      await origin.send('', at(edge))
      await until(() => engine.totals().endpoints === 0, 'the endpoint to close')
    })
  })

  describe('send', () => {
    it('sends any length, and the bytes as they were at the call', async () => {
      const [edge, client] = [await fixture.open(), await fixture.peer()]
      for (const length of [0, 1, 1200, 65_507]) {
        const bytes = Buffer.alloc(length, 'abc')
        const sent = Buffer.from(bytes)
        expect(fixture.engine.send(edge.id, client, bytes)).toBe(true)
        bytes.fill(0)
        expect((await client.next()).bytes.equals(sent)).toBe(true)
      }
      await until(() => fixture.engine.totals().sent.packets === 4, 'the totals')
      expect(fixture.engine.totals().sent.bytes).toBe(66_708)
    })

    it.each([
      ['a port that cannot be', { address: '127.0.0.1', port: 0 }],
      ['a family the endpoint does not have', { address: '::1', port: 9 }],
    ])('drops and counts what goes to %s', async (_, remote) => {
      const edge = await fixture.open()
      expect(fixture.engine.send(edge.id, remote, Buffer.from('x'))).toBe(false)
      expect(fixture.engine.totals().dropped.error).toBe(1)
    })
  })

  describe('receivers', () => {
    const errors: unknown[] = []
    const fixture = new DatapathFixture(subject, { onReceiverError: (error) => errors.push(error) })

    it('may throw, which the engine tells and survives', async () => {
      const [edge, client] = [
        await fixture.open({}, () => {
          throw new Error('a bug')
        }),
        await fixture.peer(),
      ]
      for (let sent = 1; sent <= 3; sent++) {
        await client.send('x', at(edge))
        await until(() => errors.length === sent, 'the error')
      }
      expect(fixture.engine.totals().delivered.packets).toBe(3)
    })
  })

  // Without a refill, so that all is exact.
  const two = { packetsPerSecond: 0, burst: 2 }
  describe.each([
    ['strangers of an endpoint', { strangersPerEndpoint: two }, false, 'stranger'],
    ['strangers of all endpoints', { strangers: two }, false, 'stranger'],
    ['the known of an endpoint', { knownPerEndpoint: two }, true, 'known'],
    ['the known of all endpoints', { known: two }, true, 'known'],
  ] as const)('a budget for %s', (name, options, deliver, reason) => {
    const fixture = new DatapathFixture(subject, options)

    it('hands over that many and counts the others', async () => {
      const { engine } = fixture
      const [edge, other, client] = [
        await fixture.open({ deliver }),
        await fixture.open({ deliver }),
        await fixture.burstPeer(),
      ]
      await client.burst(
        ['1', '2', '3', '4', '5'].map((text) => Buffer.from(text)),
        at(edge),
      )
      await until(() => engine.totals().dropped[reason] === 3, 'the drops')
      await until(() => fixture.arrivals.length === 2, 'the others')
      expect(fixture.arrivals.map(({ text }) => text)).toEqual(['1', '2'])
      await client.burst([Buffer.from('6')], at(other))
      const isShared = name.includes('all')
      await until(
        () =>
          engine.totals().dropped[reason] === (isShared ? 4 : 3) &&
          fixture.arrivals.length === (isShared ? 2 : 3),
        'what the other endpoint does',
      )
    })

    const itOfKnown = deliver ? it : () => {}
    itOfKnown('forwards a STUN request whose copy is over it', async () => {
      const { engine } = fixture
      const [edge, client, origin] = [await fixture.open(), await fixture.peer(), await fixture.peer()]
      const flow = engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: edge.id, remote: origin },
        copyStunRequests: true,
      })
      for (let sent = 0; sent < 5; sent++) {
        await client.send(Buffer.from([0, 1]), at(edge))
        await origin.next()
      }
      await until(() => engine.totals().dropped.known === 3, 'the copies to be dropped')
      await until(() => fixture.arrivals.length === 2, 'the others')
      // What was dropped is a copy: the flow lost nothing.
      expect(fixture.counters(flow)).toMatchObject({ packets: 5, drops: 0 })
    })
  })

  describe('budgets', () => {
    it('drops and counts strangers over their budget while a known flow loses nothing', async () => {
      const { engine } = fixture
      const { client, origin, edge, flow } = await fixture.forward()
      const stranger = await fixture.peer()
      const delivered = await fixture.peer()
      const deliver = engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote: delivered } })
      let sent = 0
      for (; engine.totals().dropped.stranger < 2000 && sent < 4000; sent++) {
        // Paced by the system taking each, so that it is the budget that is over and not the kernel's buffer.
        await Promise.all(Array.from({ length: 10 }, () => stranger.send('junk', at(edge))))
        await client.send('media', at(edge))
        await delivered.send('control', at(edge))
      }
      expect(engine.totals().dropped.stranger).toBeGreaterThanOrEqual(2000)
      await until(() => origin.received.length === sent, 'all of the known')
      await until(() => fixture.counters(deliver).packets === sent, 'all of the delivered')
      expect(fixture.counters(flow)).toMatchObject({ packets: sent, drops: 0 })
      expect(engine.totals().dropped).toMatchObject({ known: 0, queue: 0, error: 0 })
    })

    it('gives an endpoint that delivers as a whole the budget of the known', async () => {
      const { engine } = fixture
      const edge = await fixture.open({ deliver: true })
      const client = await fixture.peer()
      let sent = 0
      // As many as strangers would not get through.
      for (let round = 0; round < 800; round++, sent += 10) {
        await Promise.all(Array.from({ length: 10 }, () => client.send('hello', at(edge))))
      }
      await until(() => engine.totals().delivered.packets === sent, 'all')
      expect(fixture.arrivals.every((arrival) => arrival.flow === (0 as FlowId))).toBe(true)
      expect(engine.totals().dropped).toMatchObject({ stranger: 0, known: 0 })
    })
  })
}
