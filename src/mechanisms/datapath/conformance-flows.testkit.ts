import { describe, expect, it } from 'vitest'
import { at, DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import { COUNTER_STRIDE, type Flow, type FlowId, type MeterId } from './contract.ts'
import { until } from './udp-peer.testkit.ts'

/** Forwarding, matches, channels, meters, counters. */
export function describeFlows(subject: Subject): void {
  const fixture = new DatapathFixture(subject)

  describe('forward flows', () => {
    it.each([0, 1, 1200, 9000, 65_507])('passes on %i bytes unchanged', async (length) => {
      const { client, origin, edge, inner } = await fixture.forward()
      const bytes = Buffer.alloc(length, 'abcdefg')
      await client.send(bytes, at(edge))
      const passed = await origin.next()
      expect(passed.bytes.equals(bytes)).toBe(true)
      expect(passed.from).toEqual({ address: '127.0.0.1', port: inner.port })
      expect(fixture.arrivals).toEqual([])
    })

    it('leads from IPv4 to IPv6 and back', async () => {
      const { engine } = fixture
      const [client, origin] = [await fixture.peer(), await fixture.peer('::1')]
      const [edge, inner] = [await fixture.open(), await fixture.open({ addresses: ['::1'] })]
      const there = { endpoint: inner.id, remote: { address: '0:0:0:0:0:0:0:1', port: origin.port } }
      const here = { endpoint: edge.id, remote: client }
      engine.addFlow({ kind: 'forward', from: here, to: there })
      engine.addFlow({ kind: 'forward', from: there, to: here })
      await client.send('there', at(edge))
      const passed = await origin.next()
      expect(passed.text).toBe('there')
      await origin.send('back', passed.from)
      expect(await client.next()).toMatchObject({ text: 'back', from: at(edge) })
    })

    it('leaves from the local address that was named, else from the first of the family', async () => {
      const [client, origin] = [await fixture.peer(), await fixture.peer()]
      const edge = await fixture.open({ addresses: ['::1', '127.0.0.1', '127.0.0.2'] })
      const flow = fixture.engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: edge.id, remote: origin },
      })
      await client.send('one', at(edge))
      expect((await origin.next()).from).toEqual(at(edge))
      const second = edge.locals.find(({ address }) => address === '127.0.0.2')
      fixture.engine.aim(flow, origin, second?.local)
      await client.send('two', at(edge))
      expect((await origin.next()).from).toEqual(at(edge, '127.0.0.2'))
    })

    it('follows a remote that moved', async () => {
      const { client, origin, edge, flow } = await fixture.forward()
      const moved = await fixture.peer()
      await client.send('before', at(edge))
      expect((await origin.next()).text).toBe('before')
      fixture.engine.aim(flow, moved)
      await client.send('after', at(edge))
      expect((await moved.next()).text).toBe('after')
      expect(origin.received).toEqual([])
    })

    it('drops while paused', async () => {
      const { client, origin, edge, flow } = await fixture.forward()
      fixture.engine.pause(flow, true)
      await client.send('dropped', at(edge))
      await until(() => fixture.counters(flow).drops === 1, 'the drop')
      expect(fixture.engine.totals().dropped.paused).toBe(1)
      fixture.engine.pause(flow, false)
      await client.send('passed', at(edge))
      expect((await origin.next()).text).toBe('passed')
      expect(fixture.arrivals).toEqual([])
    })

    it('is a stranger again when the flow is removed, also under traffic', async () => {
      const { client, origin, edge, flow } = await fixture.forward()
      const total = 200
      for (let sent = 0; sent < total; sent++) {
        if (sent === total / 2) {
          await until(() => origin.received.length === sent, 'the first half')
          fixture.engine.removeFlow(flow)
        }
        await client.send(String(sent), at(edge))
      }
      await until(() => fixture.arrivals.length === total / 2, 'the second half')
      expect(origin.received.length).toBe(total / 2)
      expect(fixture.arrivals.every((arrival) => arrival.flow === 0)).toBe(true)
      fixture.engine.removeFlow(flow)
      expect(fixture.counters(flow)).toEqual({ packets: 0, bytes: 0, drops: 0, lastSeenMs: 0, framing: 0 })
    })

    it('can be closed under traffic', async () => {
      const { client, origin, edge, inner } = await fixture.forward()
      for (let sent = 0; sent < 50; sent++) void client.send('x', at(edge))
      await until(() => origin.received.length > 0, 'the first')
      fixture.engine.closeEndpoint(inner.id)
      for (let sent = 0; sent < 50; sent++) await client.send('y', at(edge))
      fixture.engine.closeEndpoint(edge.id)
      expect(fixture.engine.totals()).toMatchObject({ endpoints: 0, flows: 0 })
    })

    it('hands over STUN requests besides forwarding them when asked', async () => {
      const [client, origin] = [await fixture.peer(), await fixture.peer()]
      const edge = await fixture.open()
      const flow = fixture.engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: edge.id, remote: origin },
        copyStunRequests: true,
      })
      for (const text of ['\u0000\u0001request', '\u0001\u0001response', '\u0080media', '\u0000', '']) {
        await client.send(Buffer.from(text, 'latin1'), at(edge))
        expect((await origin.next()).text).toBe(text)
      }
      expect(fixture.arrivals).toMatchObject([{ flow, text: '\u0000\u0001request', port: client.port }])
    })

    it('does not hand over STUN requests unasked', async () => {
      const { client, origin, edge } = await fixture.forward()
      await client.send(Buffer.from([0, 1, 2, 3]), at(edge))
      await origin.next()
      expect(fixture.arrivals).toEqual([])
    })
  })

  describe('sources', () => {
    it('tells remotes apart by address and by port', async () => {
      const { engine } = fixture
      const edge = await fixture.open({ addresses: ['127.0.0.1', '::1'] })
      const first = await fixture.peer('127.0.0.1')
      const remotes = [
        first,
        await fixture.peer('127.0.0.2', first.port),
        await fixture.peer('::1', first.port),
      ]
      remotes.push(await fixture.peer('127.0.0.1'))
      const flows = remotes.map((remote) =>
        engine.addFlow({ kind: 'deliver', from: { endpoint: edge.id, remote } }),
      )
      const ask = async (index: number): Promise<FlowId> => {
        const remote = remotes[index]
        await remote?.send('?', at(edge, remote.address === '::1' ? '::1' : '127.0.0.1'))
        return (await fixture.nextArrival()).flow
      }
      for (const [index, flow] of flows.entries()) expect(await ask(index)).toBe(flow)
      // The others stay when one of those that share a port goes.
      for (const [gone, flow] of flows.entries()) {
        engine.removeFlow(flow)
        expect(await ask(gone)).toBe(0)
        for (let index = gone + 1; index < flows.length; index++) expect(await ask(index)).toBe(flows[index])
      }
    })

    it('lets a flow win whose match holds', async () => {
      const { engine } = fixture
      const [edge, client] = [await fixture.open(), await fixture.peer()]
      const add = (match?: { offset: number; value: number }): FlowId =>
        engine.addFlow({
          kind: 'deliver',
          from: { endpoint: edge.id, remote: client, ...(match && { match }) },
        })
      const plain = add()
      const four = add({ offset: 4, value: 0xfffefdfc })
      const five = add({ offset: 4, value: 5 })
      const far = add({ offset: 12, value: 0 })
      const ask = async (bytes: readonly number[]): Promise<FlowId> => {
        await client.send(Buffer.from(bytes), at(edge))
        return (await fixture.nextArrival()).flow
      }
      expect(await ask([0, 0, 0, 0, 0xff, 0xfe, 0xfd, 0xfc])).toBe(four)
      expect(await ask([0, 0, 0, 0, 0, 0, 0, 5, 9])).toBe(five)
      expect(await ask([0, 0, 0, 0, 0, 0, 0, 6, 9, 9, 9, 9, 0, 0, 0, 0])).toBe(far)
      expect(await ask([0, 0, 0, 0, 0, 0, 0])).toBe(plain)
      expect(await ask([])).toBe(plain)
      engine.removeFlow(five)
      expect(await ask([0, 0, 0, 0, 0, 0, 0, 5])).toBe(plain)
      engine.removeFlow(plain)
      expect(await ask([0, 0, 0, 0, 0, 0, 0, 5])).toBe(0)
      expect(await ask([0, 0, 0, 0, 0xff, 0xfe, 0xfd, 0xfc])).toBe(four)
    })

    it('lets the offset win that was there first where two matches hold', async () => {
      const { engine } = fixture
      const [edge, client, far] = [await fixture.open(), await fixture.peer(), await fixture.peer()]
      const from = { endpoint: edge.id, remote: client }
      const match = (offset: number, value: number): Flow['from'] => ({ ...from, match: { offset, value } })
      const kinds = [1, 2].map((kind) => engine.addFlow({ kind: 'deliver', from: match(0, kind) }))
      const to = { endpoint: edge.id, remote: far }
      const socket = engine.addFlow({ kind: 'forward', from: match(4, 7), to })
      engine.addFlow({ kind: 'forward', from: match(4, 8), to })
      const send = (kind: number, socket: number): Promise<void> =>
        client.send(Buffer.from([0, 0, 0, kind, 0, 0, 0, socket]), at(edge))
      const forwarded = async (): Promise<number | undefined> => (await far.next()).bytes[7]
      for (const [index, flow] of kinds.entries()) {
        await send(index + 1, 7)
        expect((await fixture.nextArrival()).flow).toBe(flow)
      }
      await send(3, 8)
      expect(await forwarded()).toBe(8)
      // As long as one is left with an offset, it keeps its place.
      engine.removeFlow(kinds[0] as FlowId)
      await send(1, 7)
      expect(await forwarded()).toBe(7)
      engine.addFlow({ kind: 'deliver', from: match(0, 4) })
      engine.removeFlow(socket)
      engine.addFlow({ kind: 'forward', from: match(4, 7), to })
      await send(2, 7)
      expect((await fixture.nextArrival()).flow).toBe(kinds[1])
    })

    it('refuses a second flow for the same source', async () => {
      const { engine } = fixture
      const [edge, client] = [await fixture.open({ addresses: ['::1'] }), await fixture.peer('::1')]
      const from = { endpoint: edge.id, remote: client }
      const same = { endpoint: edge.id, remote: { address: '0::1', port: client.port } }
      const match = { offset: 0, value: 1 }
      const to = from
      const flows: readonly [Flow, Flow][] = [
        [
          { kind: 'deliver', from },
          { kind: 'forward', from: same, to },
        ],
        [
          { kind: 'deliver', from: { ...from, match } },
          { kind: 'deliver', from: { ...same, match } },
        ],
        [
          { kind: 'turn-channel', from, to, channel: 0x4000, header: 'strip' },
          { kind: 'turn-channel', from: same, to, channel: 0x4000, header: 'strip' },
        ],
      ]
      for (const [first, second] of flows) {
        const id = engine.addFlow(first)
        expect(() => engine.addFlow(second)).toThrow(
          expect.objectContaining({ code: 'DATAPATH_FLOW_EXISTS' }),
        )
        engine.removeFlow(id)
        engine.removeFlow(engine.addFlow(second))
      }
      expect(engine.totals().flows).toBe(0)
    })

    it('refuses what makes no sense', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner, flow } = await fixture.forward()
      const from = { endpoint: edge.id, remote: origin }
      const to = { endpoint: inner.id, remote: client }
      const bad: readonly [string, () => unknown][] = [
        ['DATAPATH_UNKNOWN_FLOW', () => engine.pause(999 as FlowId, true)],
        ['DATAPATH_UNKNOWN_FLOW', () => engine.aim(999 as FlowId, client)],
        [
          'DATAPATH_UNKNOWN_METER',
          () => engine.addFlow({ kind: 'forward', from, to, meters: [999 as MeterId] }),
        ],
        ['DATAPATH_UNKNOWN_LOCAL', () => engine.addFlow({ kind: 'forward', from, to: { ...to, local: 7 } })],
        ['DATAPATH_UNKNOWN_LOCAL', () => engine.aim(flow, { address: '::1', port: 9 })],
        ['DATAPATH_INVALID', () => engine.aim(flow, { address: 'localhost', port: 9 })],
        ['DATAPATH_INVALID', () => engine.aim(flow, { address: '127.0.0.1', port: 0 })],
        [
          'DATAPATH_INVALID',
          () => engine.addFlow({ kind: 'deliver', from: { ...from, match: { offset: -1, value: 0 } } }),
        ],
        [
          'DATAPATH_INVALID',
          () => engine.addFlow({ kind: 'turn-channel', from, to, channel: 70_000, header: 'add' }),
        ],
        ['DATAPATH_INVALID', () => engine.openMeter({ bytesPerSecond: -1 })],
        ['DATAPATH_INVALID', () => engine.readCounters([flow], new Float64Array(3))],
      ]
      for (const [code, misuse] of bad) expect(misuse).toThrow(expect.objectContaining({ code }))
      expect(engine.totals().flows).toBe(1)
    })
  })

  describe('turn-channel flows', () => {
    it('adds and strips the four bytes', async () => {
      const { engine } = fixture
      const [client, peer] = [await fixture.peer(), await fixture.peer()]
      const [edge, relay] = [await fixture.open(), await fixture.open()]
      const here = { endpoint: edge.id, remote: client }
      const there = { endpoint: relay.id, remote: peer }
      const channel = { kind: 'turn-channel', channel: 0x4001 } as const
      const stripped = engine.addFlow({ ...channel, header: 'strip', from: here, to: there })
      const added = engine.addFlow({ ...channel, header: 'add', from: there, to: here })
      for (const text of ['', 'a', 'abcde', 'x'.repeat(1200)]) {
        await client.send(channelData(0x4001, text), at(edge))
        const passed = await peer.next()
        expect(passed.text).toBe(text)
        await peer.send(text, passed.from)
        expect((await client.next()).bytes).toEqual(channelData(0x4001, text))
      }
      // What follows the length is padding.
      await client.send(Buffer.concat([channelData(0x4001, 'abcde'), Buffer.alloc(3)]), at(edge))
      expect((await peer.next()).text).toBe('abcde')
      expect(fixture.counters(stripped)).toMatchObject({ packets: 5, bytes: 1211, framing: 23 })
      expect(fixture.counters(added)).toMatchObject({ packets: 4, bytes: 1222, framing: 16 })
    })

    it('drops what is shorter than its length field says', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner } = await fixture.forward()
      const flow = engine.addFlow({
        kind: 'turn-channel',
        channel: 0x4001,
        header: 'strip',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: inner.id, remote: origin },
      })
      const whole = channelData(0x4001, 'abcdefg')
      for (const length of [2, 3, 4, whole.length - 1]) await client.send(whole.subarray(0, length), at(edge))
      await client.send(whole, at(edge))
      expect((await origin.next()).text).toBe('abcdefg')
      expect(fixture.counters(flow)).toMatchObject({ packets: 1, bytes: 7, drops: 4 })
      expect(engine.totals().dropped.malformed).toBe(4)
      expect(fixture.arrivals).toEqual([])
    })

    it('leaves other channels and everything else to other flows', async () => {
      const { engine } = fixture
      const [client, first, second] = [await fixture.peer(), await fixture.peer(), await fixture.peer()]
      const edge = await fixture.open()
      const from = { endpoint: edge.id, remote: client }
      for (const [channel, remote] of [
        [0x4001, first],
        [0x4002, second],
      ] as const) {
        engine.addFlow({
          kind: 'turn-channel',
          channel,
          header: 'strip',
          from,
          to: { endpoint: edge.id, remote },
        })
      }
      const control = engine.addFlow({ kind: 'deliver', from })
      await client.send(channelData(0x4002, 'two'), at(edge))
      await client.send(channelData(0x4001, 'one'), at(edge))
      expect([(await first.next()).text, (await second.next()).text]).toEqual(['one', 'two'])
      await client.send(channelData(0x4003, 'three'), at(edge))
      expect((await fixture.nextArrival()).flow).toBe(control)
      await client.send('\u0040', at(edge))
      expect((await fixture.nextArrival()).flow).toBe(control)
    })
  })

  describe('meters', () => {
    it('limits packets of all flows that share one', async () => {
      const { engine } = fixture
      const one = await fixture.forward()
      const other = await fixture.peer()
      engine.removeFlow(one.flow)
      const meter = engine.openMeter({ packetsPerSecond: 0.001, burstSeconds: 5000 })
      const free = engine.openMeter({})
      const flows = [one.client, other].map((remote) =>
        engine.addFlow({
          kind: 'forward',
          from: { endpoint: one.edge.id, remote },
          to: { endpoint: one.inner.id, remote: one.origin },
          meters: [free, meter],
        }),
      )
      for (let sent = 0; sent < 4; sent++) {
        await one.client.send('one', at(one.edge))
        await other.send('other', at(one.edge))
      }
      await until(() => engine.totals().dropped.meter === 3, 'three drops')
      await until(() => one.origin.received.length === 5, 'five datagrams')
      expect(flows.reduce((drops, flow) => drops + fixture.counters(flow).drops, 0)).toBe(3)
      engine.closeMeter(meter)
      engine.closeMeter(meter)
      await other.send('free', at(one.edge))
      await until(() => one.origin.received.length === 6, 'a datagram without the meter')
      expect(engine.totals().flows).toBe(2)
    })

    it('limits bytes, and charges no meter for what another refused', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner, flow } = await fixture.forward()
      engine.removeFlow(flow)
      const narrow = engine.openMeter({ bytesPerSecond: 0.001, burstSeconds: 1_000_000 })
      const wide = engine.openMeter({ packetsPerSecond: 0.001, burstSeconds: 3000 })
      const metered = engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: inner.id, remote: origin },
        meters: [wide, narrow],
      })
      for (let sent = 0; sent < 6; sent++) await client.send(Buffer.alloc(400), at(edge))
      await until(() => fixture.counters(metered).drops === 4, 'four drops')
      await client.send(Buffer.alloc(200), at(edge))
      await until(() => origin.received.length === 3, 'what still fits')
      await client.send(Buffer.alloc(0), at(edge))
      await until(() => fixture.counters(metered).drops === 5, 'the wide meter to be empty')
    })

    it('can be charged with what TypeScript passes on, and then refuses flows too', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner, flow } = await fixture.forward()
      engine.removeFlow(flow)
      const meter = engine.openMeter({ bytesPerSecond: 0.001, burstSeconds: 1_000_000 })
      const from = { endpoint: edge.id, remote: client }
      engine.addFlow({ kind: 'forward', from, to: { endpoint: inner.id, remote: origin }, meters: [meter] })
      expect([600, 401, 300, 0].map((bytes) => engine.charge(meter, bytes))).toEqual([
        true,
        false,
        true,
        true,
      ])
      for (const length of [101, 100]) await client.send(Buffer.alloc(length), at(edge))
      expect((await origin.next()).bytes.length).toBe(100)
      await until(() => engine.totals().dropped.meter === 1, 'the drop')
      expect(engine.charge(meter, 1)).toBe(false)
      const narrow = engine.openMeter({ packetsPerSecond: 0.001, burstSeconds: 2000 })
      expect([1, 1, 1].map((bytes) => engine.charge(narrow, bytes))).toEqual([true, true, false])
      expect(() => engine.charge(meter, -1)).toThrow(expect.objectContaining({ code: 'DATAPATH_INVALID' }))
      engine.closeMeter(meter)
      expect(() => engine.charge(meter, 1)).toThrow(
        expect.objectContaining({ code: 'DATAPATH_UNKNOWN_METER' }),
      )
    })

    it('takes three of them, not four', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner } = await fixture.forward()
      const meters = [0, 1, 2, 3].map(() => engine.openMeter({}))
      const flow = (count: number): Flow => ({
        kind: 'forward',
        from: { endpoint: edge.id, remote: origin },
        to: { endpoint: inner.id, remote: client },
        meters: meters.slice(0, count),
      })
      expect(() => engine.addFlow(flow(4))).toThrow(
        expect.objectContaining({ code: 'DATAPATH_TOO_MANY_METERS' }),
      )
      engine.addFlow(flow(3))
    })
  })

  describe('counters', () => {
    it('counts datagrams and bytes per flow and in total', async () => {
      const { engine } = fixture
      const { client, origin, edge, flow } = await fixture.forward()
      expect(fixture.counters(flow)).toEqual({ packets: 0, bytes: 0, drops: 0, lastSeenMs: 0, framing: 0 })
      await client.send('12345', at(edge))
      await client.send('123', at(edge))
      await until(() => origin.received.length === 2, 'both')
      const counters = fixture.counters(flow)
      expect(counters).toMatchObject({ packets: 2, bytes: 8, drops: 0 })
      expect(counters.lastSeenMs).toBeGreaterThan(0)
      await client.send('1', at(edge))
      await until(() => origin.received.length === 3, 'the third')
      expect(fixture.counters(flow).lastSeenMs).toBeGreaterThanOrEqual(counters.lastSeenMs)
      expect(engine.totals()).toMatchObject({
        forwarded: { packets: 3, bytes: 9 },
        delivered: { packets: 0, bytes: 0 },
        sent: { packets: 0, bytes: 0 },
        endpoints: 2,
        flows: 1,
      })
    })

    it('reads many flows at once, unknown ones as zeros', async () => {
      const { client, origin, edge, flow } = await fixture.forward()
      await client.send('12345', at(edge))
      await origin.next()
      const into = new Float64Array(3 * COUNTER_STRIDE).fill(-1)
      fixture.engine.readCounters([12_345 as FlowId, flow], into)
      into[COUNTER_STRIDE + 3] = 0
      expect([...into]).toEqual([0, 0, 0, 0, 0, 1, 5, 0, 0, 0, -1, -1, -1, -1, -1])
    })

    it('counts what the system refuses to send', async () => {
      const { engine } = fixture
      const { client, origin, edge, inner } = await fixture.forward()
      const flow = engine.addFlow({
        kind: 'turn-channel',
        channel: 0x4001,
        header: 'add',
        from: { endpoint: inner.id, remote: origin },
        to: { endpoint: edge.id, remote: client },
      })
      await origin.send(Buffer.alloc(65_507), at(inner))
      await until(() => engine.totals().dropped.error === 1, 'the error')
      expect(fixture.counters(flow)).toMatchObject({ packets: 0, drops: 1 })
    })
  })
}

function channelData(channel: number, text: string): Buffer {
  const bytes = Buffer.alloc(4 + text.length)
  bytes.writeUInt16BE(channel, 0)
  bytes.writeUInt16BE(text.length, 2)
  bytes.write(text, 4, 'latin1')
  return bytes
}
