import { describe, expect, it } from 'vitest'
import { at, DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import { until } from './udp-peer.testkit.ts'

/** Much at once, from many, while things change. */
export function describeTraffic(subject: Subject): void {
  const fixture = new DatapathFixture(subject)

  describe('traffic', () => {
    it('passes on bursts of all lengths in order, and adds and strips channel headers on the way', async () => {
      const { engine } = fixture
      const [client, peer] = [await fixture.burstPeer(), await fixture.peer()]
      const [edge, relay] = [await fixture.open(), await fixture.open()]
      const plain = engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: relay.id, remote: peer },
      })
      // Runs of one length with a shorter last one, runs that grow, empty ones between.
      const lengths = [
        1200, 1200, 1200, 900, 1200, 0, 0, 5, 5, 4, 6, 3000, 3000, 1, 65_507, 1200, 1200, 1199, 1199,
      ]
      const burst = Array.from({ length: 12 }, (_, round) =>
        lengths.map((length, index) => Buffer.alloc(length, round * lengths.length + index)),
      ).flat()
      await client.burst(burst, at(edge))
      await until(() => peer.received.length === burst.length, 'all')
      expect(peer.received.every(({ bytes }, index) => bytes.equals(burst[index] as Buffer))).toBe(true)
      const bytes = burst.reduce((sum, { length }) => sum + length, 0)
      expect(fixture.counters(plain)).toMatchObject({ packets: burst.length, bytes, drops: 0 })

      engine.removeFlow(plain)
      peer.received.length = 0
      const there = { endpoint: relay.id, remote: peer }
      const here = { endpoint: edge.id, remote: client }
      engine.addFlow({ kind: 'turn-channel', channel: 0x4abc, header: 'add', from: here, to: there })
      const shorter = burst.filter(({ length }) => length < 65_000)
      await client.burst(shorter, at(edge))
      await until(() => peer.received.length === shorter.length, 'all with a header')
      for (const [index, { bytes }] of peer.received.entries()) {
        const sent = shorter[index] as Buffer
        expect([bytes.readUInt16BE(0), bytes.readUInt16BE(2)]).toEqual([0x4abc, sent.length])
        expect(bytes.subarray(4).equals(sent)).toBe(true)
      }
      engine.addFlow({ kind: 'turn-channel', channel: 0x4abc, header: 'strip', from: there, to: here })
      await peer.burst(
        peer.received.splice(0).map(({ bytes }) => bytes),
        at(relay),
      )
      await until(() => client.received.length === shorter.length, 'all without it')
      expect(client.received.every(({ bytes }, index) => bytes.equals(shorter[index] as Buffer))).toBe(true)
    })

    it('hands over bursts in order, with their lengths', async () => {
      const [edge, client] = [await fixture.open(), await fixture.burstPeer()]
      const flow = fixture.engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote: client } })
      const burst = Array.from({ length: 500 }, (_, index) =>
        Buffer.alloc([1200, 1200, 0, 7][index % 4] ?? 0, index),
      )
      await client.burst(burst, at(edge))
      await until(() => fixture.arrivals.length === burst.length, 'all')
      expect(
        fixture.arrivals.every(
          (arrival, index) => arrival.flow === flow && (burst[index] as Buffer).equals(arrival.bytes),
        ),
      ).toBe(true)
    })

    it('sends bursts of TypeScript to several remotes in order', async () => {
      const { engine } = fixture
      const edge = await fixture.open()
      const peers = [await fixture.peer(), await fixture.peer(), await fixture.peer()]
      for (let index = 0; index < 600; index++) {
        const bytes = Buffer.alloc([1200, 1200, 1200, 3, 0, 9000][Math.floor(index / 3) % 6] ?? 0, index)
        expect(engine.send(edge.id, peers[index % 3] as (typeof peers)[0], bytes)).toBe(true)
        bytes.fill(0xff)
      }
      for (const [at, peer] of peers.entries()) {
        await until(() => peer.received.length === 200, 'all')
        const isRight = peer.received.every(({ bytes }, index) =>
          bytes.equals(Buffer.alloc([1200, 1200, 1200, 3, 0, 9000][index % 6] ?? 0, index * 3 + at)),
        )
        expect(isRight).toBe(true)
      }
      await until(() => engine.totals().sent.packets === 600, 'the totals')
    })

    it('tells remotes apart that differ in their address only', async () => {
      const { engine } = fixture
      const edge = await fixture.open()
      const one = await fixture.peer('127.0.0.1')
      const two = await fixture.peer('127.0.0.2', one.port)
      for (let index = 0; index < 60; index++) {
        engine.send(edge.id, index % 2 === 0 ? one : two, Buffer.alloc(50, index))
      }
      for (const [offset, peer] of [one, two].entries()) {
        await until(() => peer.received.length === 30, 'all')
        const seen = peer.received.map(({ bytes }) => bytes[0])
        expect(seen).toEqual(Array.from({ length: 30 }, (_, index) => 2 * index + offset))
      }
    })

    it('finds the flows of many clients and keeps the order of each, both ways', async () => {
      const { engine } = fixture
      const [edge, inner, origin] = [await fixture.open(), await fixture.open(), await fixture.peer()]
      const clients = await Promise.all(Array.from({ length: 60 }, async () => await fixture.peer()))
      const flows = clients.map((client, index) => {
        const match = { offset: 0, value: index }
        const [here, there] = [
          { endpoint: edge.id, remote: client },
          { endpoint: inner.id, remote: origin },
        ]
        engine.addFlow({ kind: 'forward', from: { ...there, match }, to: here })
        return engine.addFlow({ kind: 'forward', from: here, to: there })
      })
      const rounds = 15
      const sends = Array.from({ length: rounds * clients.length }, async (_, index) => {
        const [round, client] = [Math.floor(index / clients.length), index % clients.length]
        await clients[client]?.send(numbers(client, round), at(edge))
      })
      await Promise.all(sends)
      await until(() => origin.received.length === rounds * clients.length, 'all at the origin')
      for (const { bytes } of origin.received) await origin.send(bytes, at(inner))
      for (const [index, client] of clients.entries()) {
        await until(() => client.received.length === rounds, 'all at a client')
        const seen = client.received.map(({ bytes }) => [bytes.readUInt32BE(0), bytes.readUInt32BE(4)])
        expect(seen).toEqual(Array.from({ length: rounds }, (_, round) => [index, round]))
      }
      expect(flows.map((flow) => fixture.counters(flow).packets)).toEqual(clients.map(() => rounds))
      expect(fixture.arrivals).toEqual([])
    })

    it('follows a client through many addresses', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner, flow } = await fixture.forward()
      engine.removeFlow(flow)
      const there = { endpoint: inner.id, remote: origin }
      const back = engine.addFlow({
        kind: 'forward',
        from: there,
        to: { endpoint: edge.id, remote: client },
      })
      let [last, forth] = [
        client,
        engine.addFlow({ kind: 'forward', from: { endpoint: edge.id, remote: client }, to: there }),
      ]
      for (let move = 0; move < 40; move++) {
        const moved = await fixture.peer()
        engine.removeFlow(forth)
        forth = engine.addFlow({ kind: 'forward', from: { endpoint: edge.id, remote: moved }, to: there })
        engine.aim(back, moved)
        await moved.send(`there ${move}`, at(edge))
        expect((await origin.next()).text).toBe(`there ${move}`)
        await origin.send(`back ${move}`, at(inner))
        expect((await moved.next()).text).toBe(`back ${move}`)
        // From where it was it is a stranger.
        await last.send('late', at(edge))
        expect(await fixture.nextArrival()).toMatchObject({ flow: 0, text: 'late', port: last.port })
        last = moved
      }
      expect(fixture.counters(back)).toMatchObject({ packets: 40, drops: 0 })
    })

    it('leads from one of its endpoints to another, as between two relays', async () => {
      const { engine } = fixture
      const [one, two] = [await fixture.peer(), await fixture.peer()]
      const [edge, near, far] = [await fixture.open(), await fixture.open(), await fixture.open()]
      const hop = (
        from: { endpoint: typeof edge; remote: { address: string; port: number } },
        to: typeof from,
      ) =>
        engine.addFlow({
          kind: 'forward',
          from: { endpoint: from.endpoint.id, remote: from.remote },
          to: { endpoint: to.endpoint.id, remote: to.remote },
        })
      hop({ endpoint: edge, remote: one }, { endpoint: near, remote: at(far) })
      hop({ endpoint: far, remote: at(near) }, { endpoint: edge, remote: two })
      hop({ endpoint: edge, remote: two }, { endpoint: far, remote: at(near) })
      hop({ endpoint: near, remote: at(far) }, { endpoint: edge, remote: one })
      await one.burst(['a', 'b', 'c'], at(edge))
      await until(() => two.received.length === 3, 'all')
      await two.burst(['d', 'e'], at(edge))
      await until(() => one.received.length === 2, 'all back')
      expect([...two.received, ...one.received].map(({ bytes }) => bytes.toString())).toEqual([
        'a',
        'b',
        'c',
        'd',
        'e',
      ])
    })

    it('does not apply the flows of an endpoint to another that takes its port at once', async () => {
      const { engine } = fixture
      const { client, origin, edge, flow } = await fixture.forward()
      let { id } = edge
      for (let round = 0; round < 30; round++) {
        const late = client.send('late', at(edge))
        engine.closeEndpoint(id)
        await until(() => true, 'one turn')
        ;({ id } = await fixture.open({ port: edge.port }))
        await Promise.all([late, client.send(`new ${round}`, at(edge))])
        await until(() => fixture.arrivals.at(-1)?.text === `new ${round}`, 'the new')
        expect(fixture.arrivals.splice(0).at(-1)).toMatchObject({ flow: 0, endpoint: id })
      }
      // The very first may have been in time.
      expect(origin.received.length).toBeLessThanOrEqual(1)
      expect(fixture.counters(flow)).toEqual({ packets: 0, bytes: 0, drops: 0, lastSeenMs: 0, framing: 0 })
    })

    it('leads to whoever has the address of a remote, and takes from whoever has it', async () => {
      const { client, origin, edge, inner, flow } = await fixture.forward()
      fixture.engine.addFlow({
        kind: 'forward',
        from: { endpoint: inner.id, remote: origin },
        to: { endpoint: edge.id, remote: client },
      })
      await origin.close()
      await client.burst(['lost', 'lost'], at(edge))
      await until(() => fixture.counters(flow).packets === 2, 'both to be sent')
      const heir = await fixture.peer('127.0.0.1', origin.port)
      await client.send('found', at(edge))
      let arrived = await heir.next()
      // What is counted is about to be sent, so the heir may get it.
      while (arrived.text === 'lost') arrived = await heir.next()
      expect(arrived.text).toBe('found')
      await heir.send('back', arrived.from)
      expect((await client.next()).text).toBe('back')
    })

    it('goes on while flows, meters and endpoints come and go', async () => {
      const { engine } = fixture
      const { client, origin, edge, flow } = await fixture.forward()
      const bystander = await fixture.burstPeer()
      let sent = 0
      for (let round = 0; round < 60; round++) {
        const other = await fixture.open()
        const meter = engine.openMeter({ bytesPerSecond: 1e9, packetsPerSecond: 1e6 })
        const passing = engine.addFlow({
          kind: 'forward',
          from: { endpoint: other.id, remote: bystander },
          to: { endpoint: edge.id, remote: origin },
          meters: [meter],
        })
        const traffic = [
          bystander.burst([Buffer.alloc(20, 1), Buffer.alloc(20, 2), Buffer.alloc(9, 3)], at(other)),
          client.burst(['a', 'b', 'c'], at(edge)),
        ]
        sent += 3
        engine.closeMeter(meter)
        if (round % 3 === 0) engine.removeFlow(passing)
        if (round % 3 === 1) engine.aim(passing, client)
        engine.closeEndpoint(other.id)
        await Promise.all(traffic)
      }
      const own = (): number => origin.received.filter(({ bytes }) => bytes.length === 1).length
      await until(() => own() === sent, 'all of the flow that stays')
      expect(fixture.counters(flow)).toMatchObject({ packets: sent, drops: 0 })
      expect(engine.totals()).toMatchObject({ endpoints: 2, flows: 1 })
    })

    it('counts each datagram to a place where nothing leads, and sends on when something does', async () => {
      const { engine } = fixture
      const [client, origin, edge] = [await fixture.burstPeer(), await fixture.peer(), await fixture.open()]
      // From a loopback address there is no way to the outside.
      const nowhere = { address: '203.0.113.9', port: 9 }
      const flow = engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: edge.id, remote: nowhere },
      })
      const burst = Array.from({ length: 20 }, (_, index) => Buffer.alloc(100, index))
      await client.burst(burst, at(edge))
      await until(() => fixture.counters(flow).drops === 20, 'all to be refused')
      expect(fixture.counters(flow)).toMatchObject({ packets: 0, bytes: 0 })
      await until(() => engine.totals().dropped.error === 20, 'the totals')
      expect(engine.totals().forwarded).toEqual({ packets: 0, bytes: 0 })
      engine.aim(flow, origin)
      await client.burst(burst, at(edge))
      await until(() => origin.received.length === 20, 'all')
      expect(origin.received.every(({ bytes }, index) => bytes.equals(burst[index] as Buffer))).toBe(true)
      expect(engine.send(edge.id, nowhere, Buffer.from('x'))).toBe(true)
      await until(() => engine.totals().dropped.error === 21, 'the error')
      expect(engine.totals().sent.packets).toBe(0)
    })

    it('sends what TypeScript sent just before it closed the endpoint, or the engine', async () => {
      const { engine } = fixture
      const [edge, other, client] = [await fixture.open(), await fixture.open(), await fixture.peer()]
      engine.send(edge.id, client, Buffer.from('goodbye'))
      engine.closeEndpoint(edge.id)
      expect((await client.next()).text).toBe('goodbye')
      engine.send(other.id, client, Buffer.from('the end'))
      await engine.close()
      expect((await client.next()).text).toBe('the end')
    })
  })
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index)
  return bytes
}
