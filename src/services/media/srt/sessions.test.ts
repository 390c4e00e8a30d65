import { describe, expect, test } from 'vitest'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import {
  destinationOf,
  encodeHandshake,
  type Handshake,
  shutdownPacket,
} from '../../../protocols/srt/index.ts'
import type { BandwidthLimit } from '../access/index.ts'
import type { SrtServiceOptions } from './options.ts'
import { data, type EngineName, FakeOrigin, TestCaller, TestGateway, textOf } from './srt.testkit.ts'

const engines: readonly EngineName[] = ['node', 'native']

describe.each(engines)('a session on engine-%s', (engine) => {
  async function stage(options: Partial<SrtServiceOptions> = {}): Promise<{
    gateway: TestGateway
    origin: FakeOrigin
    caller: TestCaller
  }> {
    const gateway = await TestGateway.start(engine, options)
    const origin = await FakeOrigin.start()
    await gateway.add(origin)
    return { gateway, origin, caller: await TestCaller.open(gateway) }
  }

  /** A packet of the caller as the origin gets it, with where it came from. */
  async function atOrigin(
    caller: TestCaller,
    origin: FakeOrigin,
    answer: Handshake,
  ): ReturnType<FakeOrigin['next']> {
    await caller.send(data(answer.socketId, 'there'))
    const arrived = await origin.next()
    expect(arrived.bytes).toEqual(data(answer.socketId, 'there'))
    return arrived
  }

  async function isOver(gateway: TestGateway): Promise<void> {
    await until(() => gateway.service.listSessions().length === 0, 'the session to end')
    const { flows, endpoints } = gateway.datapath.totals()
    expect({ flows, endpoints }).toEqual({ flows: 0, endpoints: 1 })
  }

  test('carries packets unchanged both ways, and is listed', async () => {
    const { gateway, origin, caller } = await stage()
    const answer = await caller.call()
    expect(answer).toMatchObject({ socketId: 0x1000, destination: 0x77 })
    const { from } = await atOrigin(caller, origin, answer)
    origin.send(data(0x77, 'and back'), from)
    expect(await caller.next()).toEqual(data(0x77, 'and back'))
    expect(gateway.service.listSessions()).toMatchObject([
      {
        protocol: 'srt',
        role: 'publish',
        streamKey: '__defaultVhost__/live/s',
        address: '127.0.0.1',
        bytesIn: 21,
        bytesOut: 24,
      },
    ])
    // Not by TypeScript.
    expect(gateway.datapath.totals().forwarded.packets).toBe(2)
    expect(await gateway.metric('sluice_srt_sessions{role="publish"}')).toBe(1)
    expect(await gateway.metric('sluice_srt_packets_total{direction="from_caller"}')).toBe(1)
    expect(await gateway.metric('sluice_srt_bytes_total{direction="from_origin"}')).toBe(24)
  })

  test("is answered with our cookie and the caller's address, nothing of the origin's network", async () => {
    const { caller } = await stage()
    const conclusion = await caller.conclude()
    const answer = await caller.handshake()
    expect(answer.cookie).toBe(conclusion.cookie)
    expect(Buffer.from(answer.peerIp).toString('hex')).toBe('0100007f'.padEnd(32, '0'))
  })

  test('is not heard by anybody else: a socket id without its address is nothing', async () => {
    const { gateway, origin, caller } = await stage()
    const answer = await caller.call()
    const stranger = await TestCaller.open(gateway)
    await stranger.send(data(answer.socketId, 'injected'))
    await stranger.send(shutdownPacket(answer.socketId, 0))
    await until(() => gateway.datapath.totals().delivered.packets >= 6, 'the strange packets to be looked at')
    const { from } = await atOrigin(caller, origin, answer)
    // Nor can an origin, or who pretends to be one, reach a socket that is not its own.
    origin.send(data(0x78, 'for another socket'), from)
    const other = await FakeOrigin.start()
    other.send(data(0x77, 'from another origin'), from)
    origin.send(data(0x77, 'genuine'), from)
    expect(textOf(await caller.next())).toBe('genuine')
    expect(gateway.service.listSessions()).toHaveLength(1)
    expect(await gateway.metric('sluice_srt_dropped_total{reason="unknown-session"}')).toBe(2)
  })

  test('ends when the caller shuts it down, and the origin is told', async () => {
    const { gateway, origin, caller } = await stage()
    const answer = await caller.call()
    await atOrigin(caller, origin, answer)
    await caller.send(shutdownPacket(answer.socketId, 9))
    const { bytes } = await origin.next()
    expect([textOf(bytes), destinationOf(bytes)]).toEqual(['shutdown', answer.socketId])
    await isOver(gateway)
    expect(await gateway.metric('sluice_srt_sessions_ended_total{reason="caller"}')).toBe(1)
    // It may call again from the same socket at once.
    expect((await caller.call({ initialSequence: 43 })).socketId).toBe(0x1001)
  })

  test('ends when the origin shuts it down, and the caller is told', async () => {
    const { gateway, origin, caller } = await stage()
    const { from } = await atOrigin(caller, origin, await caller.call())
    origin.send(shutdownPacket(0x77, 9), from)
    const bytes = await caller.next()
    expect([textOf(bytes), destinationOf(bytes)]).toEqual(['shutdown', 0x77])
    await isOver(gateway)
    expect(await gateway.metric('sluice_srt_sessions_ended_total{reason="origin"}')).toBe(1)
  })

  test('ends when nothing is at the origin any more, and the caller is told', async () => {
    const { gateway, origin, caller } = await stage()
    const answer = await caller.call()
    await atOrigin(caller, origin, answer)
    await origin.close()
    await caller.send(data(answer.socketId, 'anybody?'))
    expect(textOf(await caller.next())).toBe('shutdown')
    await isOver(gateway)
    expect(await gateway.metric('sluice_srt_sessions_ended_total{reason="origin-gone"}')).toBe(1)
  })

  test.each(['caller', 'origin'] as const)(
    'ends when the %s is silent, though the other is not',
    async (silent) => {
      const { gateway, origin, caller } = await stage({ idleMs: 4000 })
      const answer = await caller.call()
      const { from } = await atOrigin(caller, origin, answer)
      for (let second = 1; second < 8 && gateway.service.listSessions().length > 0; second++) {
        if (silent === 'origin') await atOrigin(caller, origin, answer)
        else {
          origin.send(data(0x77, 'on'), from)
          expect(textOf(await caller.next())).toBe('on')
        }
        gateway.clock.advance(1000)
      }
      await isOver(gateway)
      expect(await gateway.metric('sluice_srt_sessions_ended_total{reason="idle"}')).toBe(1)
      expect(textOf(await caller.next())).toBe('shutdown')
      expect(textOf((await origin.next()).bytes)).toBe('shutdown')
    },
  )

  test('stays while both sides are heard now and then', async () => {
    const { gateway, origin, caller } = await stage({ idleMs: 4000 })
    const answer = await caller.call()
    const { from } = await atOrigin(caller, origin, answer)
    for (let turn = 0; turn < 5; turn++) {
      gateway.clock.advance(3000)
      await atOrigin(caller, origin, answer)
      origin.send(data(0x77, 'on'), from)
      await caller.next()
    }
    expect(gateway.service.listSessions()).toHaveLength(1)
  })

  test('is kicked by an operator', async () => {
    const { gateway, origin, caller } = await stage()
    await atOrigin(caller, origin, await caller.call())
    const [session] = gateway.service.listSessions()
    expect(gateway.service.kickSession('nobody')).toBe(false)
    expect(gateway.service.kickSession(session?.id ?? '')).toBe(true)
    expect(textOf(await caller.next())).toBe('shutdown')
    expect(textOf((await origin.next()).bytes)).toBe('shutdown')
    await isOver(gateway)
  })

  test('may go on while the gateway drains, and is shut down after that', async () => {
    const { gateway, origin, caller } = await stage()
    const answer = await caller.call()
    const closed = gateway.service.close({ graceMs: 5000 })
    await until(() => gateway.clock.dueInMs === 1000 && gateway.clock.pending === 2, 'the grace to begin')
    const late = await TestCaller.open(gateway)
    expect(await late.refusal({ socketId: 0x78 })).toBe(1503)
    await atOrigin(caller, origin, answer)
    gateway.clock.advance(5000)
    await closed
    expect(textOf(await caller.next())).toBe('shutdown')
    const { flows, endpoints } = gateway.datapath.totals()
    expect({ flows, endpoints, timers: gateway.clock.pending }).toEqual({ flows: 0, endpoints: 0, timers: 0 })
  })

  test('closes at once when the last caller of a draining gateway leaves', async () => {
    const { gateway, caller } = await stage()
    const answer = await caller.call()
    const closed = gateway.service.close({ graceMs: 5000 })
    await until(() => gateway.clock.pending === 2, 'the grace to begin')
    await caller.send(shutdownPacket(answer.socketId, 0))
    await closed
    expect(gateway.clock.pending).toBe(0)
  })

  test('goes where its stream goes: who played it at another origin is shut down', async () => {
    const { gateway, origin, caller } = await stage()
    const { from } = await atOrigin(caller, origin, await caller.call({ streamId: '#!::r=live/s' }))
    expect(from.port).not.toBe(0)
    const elsewhere = await FakeOrigin.start()
    const id = await gateway.store.announce(elsewhere.announcement)
    const [session] = gateway.service.listSessions()
    const key = session?.streamKey as Parameters<typeof gateway.store.follow>[0]
    expect(await gateway.store.follow(key, id, true)).toBe(true)
    expect(textOf(await caller.next())).toBe('shutdown')
    await isOver(gateway)
    expect(await gateway.metric('sluice_srt_sessions_ended_total{reason="moved"}')).toBe(1)
  })

  test('has its bandwidth limited as access says, in the direction of media', async () => {
    const limit: BandwidthLimit = { id: 'stream s', bytesPerSecond: 1, burstBytes: 100, charge: () => 0 }
    const { gateway, origin, caller } = await stage({
      access: {
        admit: async () => ({ limits: [limit], signal: new AbortController().signal, end: () => {} }),
      },
    })
    const answer = await caller.call()
    const { from } = await atOrigin(caller, origin, answer)
    for (let packet = 0; packet < 10; packet++) await caller.send(data(answer.socketId, 'x'.repeat(30)))
    for (let packet = 0; packet < 10; packet++) origin.send(data(0x77, 'y'.repeat(30)), from)
    for (let packet = 0; packet < 10; packet++) expect(textOf(await caller.next())).toMatch(/^y/)
    await until(() => gateway.datapath.totals().dropped.meter >= 8, 'what is over the limit to be dropped')
    await caller.send(shutdownPacket(answer.socketId, 0))
    await isOver(gateway)
  })

  describe("and its caller's address", () => {
    test('changes only with the conclusion that it began with, and a cookie', async () => {
      const { gateway, origin, caller } = await stage()
      const answer = await caller.call()
      const { from } = await atOrigin(caller, origin, answer)
      const moved = await TestCaller.open(gateway)
      // Packets prove nothing.
      await moved.send(data(answer.socketId, 'from elsewhere'))
      expect(await moved.call()).toEqual({ ...answer, cookie: expect.any(Number) as number })
      await moved.send(data(answer.socketId, 'proved'))
      expect(textOf((await origin.next()).bytes)).toBe('proved')
      origin.send(data(0x77, 'to the new one'), from)
      expect(textOf(await moved.next())).toBe('to the new one')
      // The old address is a stranger's now.
      await caller.send(data(answer.socketId, 'from the old one'))
      await moved.send(data(answer.socketId, 'still here'))
      expect(textOf((await origin.next()).bytes)).toBe('still here')
      expect([origin.conclusions.length, gateway.service.listSessions().length]).toEqual([1, 1])
      await moved.send(shutdownPacket(answer.socketId, 0))
      await isOver(gateway)
    })

    test.each([
      ['first sequence number', { initialSequence: 43 }],
      ['stream id', { streamId: '#!::r=live/s,m=publish,k=1' }],
      ['socket id', { socketId: 0x78 }],
    ])('does not change with another %s: that is another session', async (_what, other) => {
      const { gateway, caller } = await stage()
      await caller.call()
      const stranger = await TestCaller.open(gateway)
      expect((await stranger.call(other)).socketId).toBe(0x1001)
      expect(gateway.service.listSessions()).toHaveLength(2)
    })

    test('does not change with a cookie that was given to the old one', async () => {
      const { gateway, origin, caller } = await stage()
      const conclusion = await caller.conclude()
      const answer = await caller.handshake()
      const thief = await TestCaller.open(gateway)
      await thief.send(encodeHandshake(conclusion))
      await until(
        () => gateway.datapath.totals().delivered.packets >= 5,
        'the stolen conclusion to be looked at',
      )
      const { from } = await atOrigin(caller, origin, answer)
      origin.send(data(0x77, 'still here'), from)
      expect(textOf(await caller.next())).toBe('still here')
      expect(await gateway.metric('sluice_srt_dropped_total{reason="bad-cookie"}')).toBe(1)
    })
  })

  test("is replaced when its caller's socket calls anew, and only the origin is told", async () => {
    const { gateway, origin, caller } = await stage()
    await atOrigin(caller, origin, await caller.call())
    const again = await caller.call({ initialSequence: 43 })
    expect(again.socketId).toBe(0x1001)
    const { bytes } = await origin.next()
    expect([textOf(bytes), destinationOf(bytes)]).toEqual(['shutdown', 0x1000])
    await atOrigin(caller, origin, again)
    expect(gateway.service.listSessions()).toHaveLength(1)
  })

  test("of an origin that gave the same socket id as another is told from it by the caller's address", async () => {
    const { gateway, origin, caller } = await stage()
    const other = await FakeOrigin.start()
    const first = await caller.call()
    await gateway.store.drain((await gateway.store.list())[0]?.id ?? ('' as never), true)
    await gateway.add(other)
    const second = await TestCaller.open(gateway)
    const answer = await second.call({ streamId: '#!::r=live/t,m=publish' })
    expect(answer.socketId).toBe(first.socketId)
    await second.send(data(answer.socketId, 'to the other'))
    expect(textOf((await other.next()).bytes)).toBe('to the other')
    await atOrigin(caller, origin, first)
    expect(other.received).toEqual([])
  })

  test('of one port with the same socket id from another origin is asked for again', async () => {
    const { gateway, origin, caller } = await stage()
    const other = await FakeOrigin.start()
    const first = await caller.call()
    await gateway.store.drain((await gateway.store.list())[0]?.id ?? ('' as never), true)
    await gateway.add(other)
    const answer = await caller.call({ streamId: '#!::r=live/t,m=publish', socketId: 0x99 })
    expect(answer.socketId).toBe(0x1001)
    await caller.send(data(answer.socketId, 'to the other'))
    expect(textOf((await other.next()).bytes)).toBe('to the other')
    await caller.send(shutdownPacket(answer.socketId, 0))
    expect(textOf((await other.next()).bytes)).toBe('shutdown')
    // The first one goes on, and its shutdown is still seen.
    await atOrigin(caller, origin, first)
    await caller.send(shutdownPacket(first.socketId, 0))
    await isOver(gateway)
  })
})
