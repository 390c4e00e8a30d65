import { once } from 'node:events'
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { type Clock, ManualClock, systemClock } from '../../foundation/clock.ts'
import { silentLogger } from '../../mechanisms/telemetry/index.ts'
import { StunMethod } from '../../protocols/stun/index.ts'
import { DatagramTunnel } from './datagram-tunnel.ts'
import { FakeTurnServer } from './fake-turn-server.testkit.ts'
import { pump } from './pump.ts'
import { StreamLocal } from './stream-local.ts'
import { StreamTunnel } from './stream-tunnel.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'
import { UdpLocal } from './udp-local.ts'

const peer = { address: '192.0.2.1', port: 9 }
const logger = silentLogger()

type Kind = typeof DatagramTunnel | typeof StreamTunnel

function tunnelsOf({ server }: FakeTurnServer, kind: Kind, clock: Clock = systemClock) {
  const options = {
    link: { server, isInsecure: false },
    client: { username: 'user', password: 'pass' },
    clock,
    logger,
  }
  return (handlers: TunnelHandlers): Tunnel => new kind(options, peer, handlers)
}

/** A stream that goes through a tunnel until something ends it. */
function begin(fake: FakeTurnServer, kind: Kind, clock: Clock = systemClock) {
  const source = new PassThrough()
  const sink = new PassThrough()
  const stop = new AbortController()
  const done = pump({
    source,
    sink,
    makeTunnel: tunnelsOf(fake, kind, clock),
    waitMs: 50,
    clock: systemClock,
    signal: stop.signal,
  })
  source.write('x')
  return { source, sink, stop, done }
}

/** The same, and its first bytes have come back. */
async function echoing(fake: FakeTurnServer, kind: Kind, clock?: Clock) {
  const running = begin(fake, kind, clock)
  await once(running.sink, 'readable')
  return running
}

/** What was asked last, and how often for the release: before the tunnel was over. */
function released({ came }: FakeTurnServer) {
  return { last: came.at(-1), releases: came.filter((what) => what === 'release').length }
}

const releasedOnce = { last: 'release', releases: 1 }

describe('the allocation is given back when', () => {
  test.each(['udp', 'tcp'] as const)('the channel is refused, over %s', async (way) => {
    await using fake = await FakeTurnServer[way]()
    fake.refusal = { method: StunMethod.channelBind, code: 403 }
    await expect(begin(fake, DatagramTunnel).done).rejects.toMatchObject({
      code: 'TURNCAT_SERVER_REFUSED',
      message: 'bind failed: error 403 no',
    })
    expect(released(fake)).toEqual(releasedOnce)
  })

  test.each([
    ['the peer is forbidden', StunMethod.connect, 403],
    ['the peer cannot be reached', StunMethod.connect, 447],
    ["the peer's connection is not handed over", StunMethod.connectionBind, 400],
  ])('%s (RFC 6062)', async (_what, method, code) => {
    await using fake = await FakeTurnServer.tcp()
    fake.refusal = { method, code }
    await expect(begin(fake, StreamTunnel).done).rejects.toMatchObject({
      code: 'TURNCAT_SERVER_REFUSED',
      message: expect.stringContaining(`error ${code}`),
    })
    expect(released(fake)).toEqual(releasedOnce)
  })

  test('the connection that carries the bytes breaks', async () => {
    await using fake = await FakeTurnServer.tcp()
    const { done } = await echoing(fake, StreamTunnel)
    ;[...fake.sockets].at(-1)?.resetAndDestroy()
    await expect(done).rejects.toMatchObject({ code: 'TURNCAT_SERVER_LOST' })
    expect(released(fake)).toEqual(releasedOnce)
  })

  test('the peer ends its stream', async () => {
    await using fake = await FakeTurnServer.tcp()
    const { done } = await echoing(fake, StreamTunnel)
    ;[...fake.sockets].at(-1)?.end()
    await done
    expect(released(fake)).toEqual(releasedOnce)
  })

  const ways = [
    ['datagrams over UDP', 'udp', DatagramTunnel],
    ['datagrams over TCP', 'tcp', DatagramTunnel],
    ['a stream', 'tcp', StreamTunnel],
  ] as const

  describe.each(ways)('%s', (_what, way, kind) => {
    test('has its signal to end', async () => {
      await using fake = await FakeTurnServer[way]()
      const { done, stop } = await echoing(fake, kind)
      stop.abort()
      await done
      expect(released(fake)).toEqual(releasedOnce)
    })

    test('has no more input', async () => {
      await using fake = await FakeTurnServer[way]()
      const { done, source } = await echoing(fake, kind)
      source.end()
      await done
      expect(released(fake)).toEqual(releasedOnce)
    })

    test('has nobody to read it', async () => {
      await using fake = await FakeTurnServer[way]()
      const { done, sink } = await echoing(fake, kind)
      sink.destroy(new Error('broken pipe'))
      await done
      expect(released(fake)).toEqual(releasedOnce)
    })

    test('is stopped while the allocation is being made', async () => {
      await using fake = await FakeTurnServer[way]()
      fake.held.add('allocate')
      const { done, stop } = begin(fake, kind)
      await expect.poll(() => fake.came, { interval: 2 }).toContain('allocate')
      stop.abort()
      fake.answerHeld()
      await done
      expect(fake.came).toEqual(['allocate', 'release'])
    })
  })

  test('the channel cannot be renewed', async () => {
    await using fake = await FakeTurnServer.udp()
    const clock = new ManualClock()
    const { done } = await echoing(fake, DatagramTunnel, clock)
    fake.refusal = { method: StunMethod.channelBind, code: 403 }
    clock.advance(240_000)
    await expect(done).rejects.toMatchObject({ code: 'TURNCAT_SERVER_REFUSED' })
    expect(released(fake)).toEqual(releasedOnce)
  })

  test('the server does not answer any longer: it may still listen', async () => {
    await using fake = await FakeTurnServer.tcp()
    const clock = new ManualClock()
    const { done } = await echoing(fake, DatagramTunnel, clock)
    fake.held.add('channelBind')
    clock.advance(240_000 + 39_500)
    await expect(done).rejects.toMatchObject({ code: 'TURNCAT_SERVER_LOST' })
    expect(released(fake)).toEqual(releasedOnce)
  })

  test('a source of the local UDP port is refused', async () => {
    await using fake = await FakeTurnServer.udp()
    fake.refusal = { method: StunMethod.channelBind, code: 403 }
    const makeTunnel = tunnelsOf(fake, DatagramTunnel)
    const local = new UdpLocal({ host: '127.0.0.1', port: 0, makeTunnel, clock: systemClock, logger })
    const { port } = await local.start()
    const socket = createSocket('udp4')
    socket.send('x', port, '127.0.0.1')
    await expect.poll(() => released(fake), { interval: 2 }).toEqual(releasedOnce)
    socket.close()
    await local.close()
    expect(released(fake)).toEqual(releasedOnce)
  })

  describe('a connection of the local port', () => {
    async function connected(fake: FakeTurnServer, kind: Kind) {
      const local = new StreamLocal({
        endpoint: { kind: 'tcp', host: '127.0.0.1', port: 0 },
        makeTunnel: tunnelsOf(fake, kind),
        waitMs: 50,
        clock: systemClock,
        logger,
      })
      const address = await local.start()
      const socket = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write('x')
      return { local, socket }
    }

    test('is refused', async () => {
      await using fake = await FakeTurnServer.udp()
      fake.refusal = { method: StunMethod.channelBind, code: 403 }
      const { local, socket } = await connected(fake, DatagramTunnel)
      await once(socket, 'close')
      expect(released(fake)).toEqual(releasedOnce)
      await local.close()
    })

    test('is reset', async () => {
      await using fake = await FakeTurnServer.tcp()
      const { local, socket } = await connected(fake, StreamTunnel)
      await once(socket, 'data')
      socket.resetAndDestroy()
      await expect.poll(() => released(fake), { interval: 2 }).toEqual(releasedOnce)
      await local.close()
    })

    test('is closed with the port, though its program reads nothing', async () => {
      await using fake = await FakeTurnServer.tcp()
      const { local, socket } = await connected(fake, StreamTunnel)
      await once(socket, 'data')
      socket.pause()
      await local.close()
      expect(released(fake)).toEqual(releasedOnce)
      socket.destroy()
    })
  })
})

describe('a server that does not answer the release', () => {
  test('is waited for one second, and over UDP asked again in it', async () => {
    await using fake = await FakeTurnServer.udp()
    fake.held.add('release')
    const clock = new ManualClock()
    const { done, stop } = await echoing(fake, DatagramTunnel, clock)
    let isOver = false
    void done.then(() => {
      isOver = true
    })
    stop.abort()
    await expect.poll(() => fake.came, { interval: 2 }).toContain('release')
    clock.advance(500)
    await expect.poll(() => released(fake).releases, { interval: 2 }).toBe(2)
    clock.advance(499)
    await new Promise(setImmediate)
    expect(isOver).toBe(false)
    clock.advance(1)
    await done
    expect(clock.pending).toBe(0)
  })
})

describe('there is nothing to give back when', () => {
  test('the allocation was refused', async () => {
    await using fake = await FakeTurnServer.tcp()
    fake.refusal = { method: StunMethod.allocate, code: 486 }
    await expect(begin(fake, DatagramTunnel).done).rejects.toMatchObject({ code: 'TURNCAT_SERVER_REFUSED' })
    expect(fake.came).toEqual(['allocate'])
  })

  test('the connection to the server is lost: the server ends the allocation with it', async () => {
    await using fake = await FakeTurnServer.tcp()
    const { done } = await echoing(fake, StreamTunnel)
    for (const socket of fake.sockets) socket.destroy()
    await expect(done).rejects.toMatchObject({ code: 'TURNCAT_SERVER_LOST' })
  })
})
