import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { ManualClock, systemClock } from '../../foundation/clock.ts'
import { createLogger, silentLogger } from '../../mechanisms/telemetry/index.ts'
import { StunMethod } from '../../protocols/stun/index.ts'
import type { ControlLinkOptions } from './control-link.ts'
import { DatagramTunnel } from './datagram-tunnel.ts'
import { FakeTurnServer } from './fake-turn-server.testkit.ts'
import { credentialsOf, identityFrom } from './identity.ts'
import { pump } from './pump.ts'
import { StreamLocal } from './stream-local.ts'
import { StreamTunnel } from './stream-tunnel.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'
import { turncat } from './turncat.ts'
import { UdpLocal } from './udp-local.ts'

const peer = { address: '192.0.2.1', port: 9 }
const logger = silentLogger()

type MakeTunnel = (handlers: TunnelHandlers) => Tunnel

function tunnels(
  { server }: FakeTurnServer,
  clock: ControlLinkOptions['clock'] = systemClock,
  kind: typeof DatagramTunnel | typeof StreamTunnel = DatagramTunnel,
): MakeTunnel {
  const options: ControlLinkOptions = {
    link: { server, isInsecure: false },
    client: { username: 'user', password: 'pass' },
    clock,
    logger,
  }
  return (handlers) => new kind(options, peer, handlers)
}

function pumpThrough(makeTunnel: MakeTunnel, input: Uint8Array) {
  const source = new PassThrough()
  const sink = new PassThrough()
  const output = buffer(sink)
  const done = pump({
    source,
    sink,
    makeTunnel,
    waitMs: 50,
    clock: systemClock,
    signal: new AbortController().signal,
  }).finally(() => sink.end())
  source.end(input)
  return { done, output }
}

describe('a stream to a datagram peer', () => {
  test.each(['udp', 'tcp'] as const)(
    'goes through %s in pieces and comes back; the allocation is released',
    async (way) => {
      await using fake = await FakeTurnServer[way]()
      const input = Buffer.alloc(3001, 'abc')
      const { done, output } = pumpThrough(tunnels(fake), input)
      await done
      expect((await output).equals(input)).toBe(true)
      expect(fake.came).toEqual(['allocate', 'channelBind', 'data', 'data', 'data', 'release'])
    },
  )

  test('what the server refuses ends it, and is told without what a terminal would act on', async () => {
    await using fake = await FakeTurnServer.udp()
    fake.refusal = { method: StunMethod.channelBind, code: 403 }
    await expect(pumpThrough(tunnels(fake), Buffer.from('x')).done).rejects.toMatchObject({
      code: 'TURNCAT_SERVER_REFUSED',
      message: 'bind failed: error 403 no',
    })
  })

  test('a wrong password is told', async () => {
    await using fake = await FakeTurnServer.udp()
    const makeTunnel: MakeTunnel = (handlers) =>
      new DatagramTunnel(
        {
          link: { server: fake.server, isInsecure: false },
          client: { username: 'user', password: 'wrong' },
          clock: systemClock,
          logger,
        },
        peer,
        handlers,
      )
    await expect(pumpThrough(makeTunnel, Buffer.from('x')).done).rejects.toMatchObject({
      code: 'TURNCAT_SERVER_REFUSED',
      message: expect.stringContaining('401'),
    })
  })

  test('a server that closes the connection ends it', async () => {
    await using fake = await FakeTurnServer.tcp()
    const source = new PassThrough()
    const sink = new PassThrough()
    const done = pump({
      source,
      sink,
      makeTunnel: tunnels(fake),
      waitMs: 50,
      clock: systemClock,
      signal: new AbortController().signal,
    })
    source.write('x')
    await once(sink, 'readable')
    for (const socket of fake.sockets) socket.destroy()
    await expect(done).rejects.toMatchObject({ code: 'TURNCAT_SERVER_LOST' })
  })

  test.each(['udp', 'tcp'] as const)('a %s port where nobody listens is told', async (way) => {
    const fake = await FakeTurnServer[way]()
    await fake[Symbol.asyncDispose]()
    await expect(pumpThrough(tunnels(fake), Buffer.from('x')).done).rejects.toMatchObject({
      code: 'TURNCAT_SERVER_UNREACHABLE',
    })
  })

  test('what a server over TCP does not take is dropped beyond a bound, and counted', async () => {
    await using fake = await FakeTurnServer.tcp()
    const lines: string[] = []
    const options: ControlLinkOptions = {
      link: { server: fake.server, isInsecure: false },
      client: { username: 'user', password: 'pass' },
      clock: systemClock,
      logger: createLogger({ stream: { write: (line) => lines.push(line) } }),
    }
    const tunnel = await new Promise<Tunnel>((resolve, reject) => {
      const opening = new DatagramTunnel(options, peer, {
        onData: () => undefined,
        onReady: () => resolve(opening),
        onEnd: reject,
      })
      opening.open()
    })
    const [socket] = fake.sockets
    socket?.pause()
    const datagram = new Uint8Array(60_000)
    for (let count = 0; count < 1000; count++) tunnel.send(datagram)
    socket?.resume()
    await tunnel.close()
    const { dropped } = JSON.parse(lines.at(-1) ?? '{}') as { readonly dropped: number }
    // None has left before the loop ended, so the bound of 262,144 bytes is all that was taken.
    expect(dropped).toBeGreaterThan(900)
    expect(fake.came.filter((what) => what === 'data')).toHaveLength(1000 - dropped)
  })

  test('a signal ends it, and releases', async () => {
    await using fake = await FakeTurnServer.tcp()
    const stop = new AbortController()
    const source = new PassThrough()
    const sink = new PassThrough()
    const done = pump({
      source,
      sink,
      makeTunnel: tunnels(fake),
      waitMs: 50,
      clock: systemClock,
      signal: stop.signal,
    })
    source.write('x')
    await once(sink, 'readable')
    stop.abort()
    await done
    expect(fake.came.at(-1)).toBe('release')
  })
})

describe('a stream to a stream peer (RFC 6062)', () => {
  test('three megabytes come back whole', async () => {
    await using fake = await FakeTurnServer.tcp()
    const input = Buffer.alloc(3_000_000, 'abcdefg')
    const { done, output } = pumpThrough(tunnels(fake, systemClock, StreamTunnel), input)
    await done
    expect((await output).equals(input)).toBe(true)
    expect(fake.came).toEqual(['allocate', 'connect', 'connectionBind', 'release'])
  })

  test('a peer that cannot be reached is told', async () => {
    await using fake = await FakeTurnServer.tcp()
    fake.refusal = { method: StunMethod.connect, code: 447 }
    await expect(
      pumpThrough(tunnels(fake, systemClock, StreamTunnel), Buffer.from('x')).done,
    ).rejects.toMatchObject({ code: 'TURNCAT_SERVER_REFUSED', message: expect.stringContaining('447') })
  })

  test('when the peer closes it is over', async () => {
    await using fake = await FakeTurnServer.tcp()
    const source = new PassThrough()
    const sink = new PassThrough()
    const done = pump({
      source,
      sink,
      makeTunnel: tunnels(fake, systemClock, StreamTunnel),
      waitMs: 50,
      clock: systemClock,
      signal: new AbortController().signal,
    })
    source.write('x')
    await once(sink, 'readable')
    ;[...fake.sockets].at(-1)?.end()
    await done
    expect(fake.came.at(-1)).toBe('release')
  })
})

describe('a local UDP port', () => {
  async function echo(port: number, text: string): Promise<string> {
    const socket = createSocket('udp4')
    try {
      const answered = once(socket, 'message')
      socket.send(text, port, '127.0.0.1')
      return String((await answered)[0])
    } finally {
      socket.close()
    }
  }

  test('gives each source an allocation of its own, and releases them all', async () => {
    await using fake = await FakeTurnServer.udp()
    const local = new UdpLocal({
      host: '127.0.0.1',
      port: 0,
      makeTunnel: tunnels(fake),
      clock: systemClock,
      logger,
    })
    const { port } = await local.start()
    expect(await Promise.all([echo(port, 'one'), echo(port, 'two')])).toEqual(['one', 'two'])
    await local.close()
    expect(fake.came.filter((what) => what === 'allocate')).toHaveLength(2)
    expect(fake.came.filter((what) => what === 'release')).toHaveLength(2)
  })

  test('a source that is silent for too long is released', async () => {
    await using fake = await FakeTurnServer.udp()
    const clock = new ManualClock()
    const local = new UdpLocal({
      host: '127.0.0.1',
      port: 0,
      makeTunnel: tunnels(fake, clock),
      clock,
      logger,
      idleMs: 60_000,
    })
    const { port } = await local.start()
    expect(await echo(port, 'one')).toBe('one')
    clock.advance(59_000)
    expect(fake.came).not.toContain('release')
    clock.advance(2000)
    await expect.poll(() => fake.came).toContain('release')
    await local.close()
    expect(clock.pending).toBe(0)
  })

  test('sources over the bound are dropped', async () => {
    await using fake = await FakeTurnServer.udp()
    const local = new UdpLocal({
      host: '127.0.0.1',
      port: 0,
      makeTunnel: tunnels(fake),
      clock: systemClock,
      logger,
      maxSources: 1,
    })
    const { port } = await local.start()
    const [first, second] = [createSocket('udp4'), createSocket('udp4')]
    const answered = once(first, 'message')
    first.send('one', port, '127.0.0.1')
    await answered
    const answeredAgain = once(first, 'message')
    await new Promise((resolve) => second.send('two', port, '127.0.0.1', resolve))
    first.send('three', port, '127.0.0.1')
    await answeredAgain
    expect(fake.came.filter((what) => what === 'allocate')).toHaveLength(1)
    first.close()
    second.close()
    await local.close()
  })

  test('a server that refuses is asked again after five seconds, not for each datagram', async () => {
    await using fake = await FakeTurnServer.udp()
    fake.refusal = { method: StunMethod.allocate, code: 486 }
    const clock = new ManualClock()
    const makeTunnel = tunnels(fake, clock)
    let failures = 0
    const local = new UdpLocal({
      host: '127.0.0.1',
      port: 0,
      makeTunnel: (handlers) =>
        makeTunnel({
          ...handlers,
          onEnd(error) {
            handlers.onEnd(error)
            failures++
          },
        }),
      clock,
      logger,
    })
    const { port } = await local.start()
    const allocations = () => fake.came.filter((what) => what === 'allocate').length
    const socket = createSocket('udp4')
    socket.send('one', port, '127.0.0.1')
    await expect.poll(() => failures).toBe(1)
    fake.refusal = undefined
    clock.advance(4000)
    await new Promise((resolve) => socket.send('two', port, '127.0.0.1', resolve))
    // Datagrams are taken in their order: this one comes after the one that was dropped.
    expect(await echo(port, 'probe')).toBe('probe')
    expect(allocations()).toBe(2)
    clock.advance(2000)
    const answered = once(socket, 'message')
    await new Promise((resolve) => socket.send('three', port, '127.0.0.1', resolve))
    expect(String((await answered)[0])).toBe('three')
    expect(allocations()).toBe(3)
    socket.close()
    await local.close()
  })
})

describe('a local stream port', () => {
  test('gives each connection an allocation of its own; answers come after its end', async () => {
    await using fake = await FakeTurnServer.udp()
    const local = new StreamLocal({
      endpoint: { kind: 'tcp', host: '127.0.0.1', port: 0 },
      makeTunnel: tunnels(fake),
      waitMs: 50,
      clock: systemClock,
      logger,
    })
    const address = await local.start()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const texts = await Promise.all(
      ['one', 'two'].map(async (text) => {
        const socket = connect(port, '127.0.0.1')
        socket.end(text)
        return String(await buffer(socket))
      }),
    )
    expect(texts).toEqual(['one', 'two'])
    await local.close()
    expect(fake.came.filter((what) => what === 'release')).toHaveLength(2)
  })

  test('a port that is taken is told', async () => {
    await using fake = await FakeTurnServer.tcp()
    const local = new StreamLocal({
      endpoint: { kind: 'tcp', host: '127.0.0.1', port: fake.server.port },
      makeTunnel: tunnels(fake),
      waitMs: 50,
      clock: systemClock,
      logger,
    })
    await expect(local.start()).rejects.toMatchObject({ code: 'TURNCAT_LISTEN_FAILED' })
  })
})

describe('who we are', () => {
  test('from the environment when the URI does not say', () => {
    expect(
      identityFrom({ SLUICE_TURN_USERNAME: 'u', SLUICE_TURN_PASSWORD: 'p', SLUICE_TURN_SECRET: 's' }),
    ).toEqual({
      username: 'u',
      password: 'p',
    })
    expect(identityFrom({ SLUICE_TURN_SECRET: 's' })).toEqual({ secret: 's' })
    expect(() => identityFrom({ SLUICE_TURN_USERNAME: 'u' })).toThrow(
      expect.objectContaining({ code: 'TURNCAT_NO_CREDENTIALS' }),
    )
  })

  test('a secret makes credentials for a day', () => {
    // HMAC-SHA1 of "86400" under "north", by OpenSSL.
    expect(credentialsOf({ secret: 'north' }, 0)).toMatchObject({
      username: '86400',
      password: 'eajt6WNkZ2X+Zybd9RgeqGLkiEg=',
    })
  })
})

describe('what does not go together', () => {
  test.each([
    ['-', 'turn://u:p@127.0.0.1', 'tcp://127.0.0.1:1', 'TURNCAT_URI_INVALID'],
    ['udp://127.0.0.1:0', 'turn://u:p@127.0.0.1?transport=tcp', 'tcp://127.0.0.1:1', 'TURNCAT_URI_INVALID'],
    ['-', 'k8s://a/b:c', 'udp://127.0.0.1:1', 'TURNCAT_K8S_UNSUPPORTED'],
    ['-', 'turn://u:p@127.0.0.1', 'udp://[fe80::1%1]:1', 'TURNCAT_URI_INVALID'],
    ['nothing', 'turn://u:p@127.0.0.1', 'udp://127.0.0.1:1', 'TURNCAT_URI_INVALID'],
  ])('%s %s %s', async (client, server, peer, code) => {
    await expect(turncat(client, server, peer, {})).rejects.toMatchObject({ code })
  })

  test.each([{ wait: '-1' }, { wait: 'soon' }, { log: 'loud' }])('%j', async (options) => {
    await expect(turncat('-', 'turn://u:p@127.0.0.1', 'udp://127.0.0.1:1', options)).rejects.toMatchObject({
      code: 'TURNCAT_OPTION_INVALID',
    })
  })
})
