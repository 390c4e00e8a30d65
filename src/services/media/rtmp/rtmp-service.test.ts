import { createHash } from 'node:crypto'
import { connect, Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { MemoryBalancerStore, streamKeyOfRtmp } from '../../../mechanisms/balancer/index.ts'
import { Registry, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import {
  amf0Object,
  amf0Property,
  commandMessage,
  MessageType,
  type RtmpMessage,
  ServerHandshake,
  setChunkSizeMessage,
  UserControlEvent,
  userControlMessage,
} from '../../../protocols/rtmp/index.ts'
import { CommandPeer, testRandom } from '../../../protocols/rtmp/command-peer.testkit.ts'
import type { RtmpServiceOptions } from './options.ts'
import { RtmpService } from './rtmp-service.ts'
import {
  chunksOf,
  FakeOrigin,
  type FakeOriginOptions,
  TestClient,
  until,
  untilStill,
  videoMessage,
} from './rtmp-service.testkit.ts'

const opened: AsyncDisposable[] = []
let store: MemoryBalancerStore
let clock: ManualClock
let registry: Registry

beforeEach(() => {
  clock = new ManualClock()
  store = new MemoryBalancerStore({ clock, random: () => 0 })
  registry = new Registry()
})

afterEach(async () => {
  for (const thing of opened.splice(0).toReversed()) await thing[Symbol.asyncDispose]()
  expect(clock.pending).toBe(0)
})

async function startOrigin(name: string, options: FakeOriginOptions = {}): Promise<FakeOrigin> {
  const origin = await new FakeOrigin(options).start()
  opened.push(origin)
  await announce(name, origin.port)
  return origin
}

async function announce(name: string, port: number): Promise<void> {
  const announcement = { ip: '127.0.0.1', server: name, service: 's', pid: '1' }
  await store.announce({ ...announcement, rtmp: [port], http: [], api: [], srt: [], rtc: [] })
}

async function startService(options: Partial<RtmpServiceOptions> = {}): Promise<RtmpService> {
  const service = new RtmpService({
    listen: [{ host: '127.0.0.1', port: 0 }],
    balancer: store,
    origins: store,
    streamKeyOf: ({ tcUrl, app, streamName }) =>
      streamKeyOfRtmp(tcUrl || `/${app}`, streamName, { keys: 'normal', vhosts: [] }),
    logger: silentLogger(),
    registry,
    clock,
    ...options,
  })
  opened.push(service)
  await service.start()
  return service
}

const portOf = (service: RtmpService): number => service.ports[0]!

function client(service: RtmpService, fields: ConstructorParameters<typeof TestClient>[1] = {}): TestClient {
  const made = new TestClient(portOf(service), fields)
  opened.push(made)
  return made
}

function rawClient(service: RtmpService): Socket & { isClosed?: boolean } {
  const socket: Socket & { isClosed?: boolean } = connect(portOf(service), '127.0.0.1')
  socket.on('error', () => {})
  socket.on('close', () => {
    socket.isClosed = true
  })
  socket.resume()
  opened.push({ [Symbol.asyncDispose]: async () => void socket.destroy() })
  return socket
}

const hashOf = ({ payload }: { readonly payload: Uint8Array }): string =>
  createHash('sha1').update(payload).digest('hex')

async function errorCount(code: string): Promise<number> {
  const metric = await registry.getSingleMetric('sluice_rtmp_errors_total')!.get()
  return metric.values.find((value) => value.labels['code'] === code)?.value ?? 0
}

describe('a stream', () => {
  test('goes from a publisher to the origin, and from the origin to a player, byte for byte', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    const player = await client(service, { action: 'play' }).untilReady()
    expect(publisher.statuses).toContain('NetStream.Publish.Start')
    expect(player.statuses).toEqual(['NetStream.Play.Reset', 'NetStream.Play.Start'])
    const [published, played] = origin.visits
    const payloads = [1, 100, 5000, 70_000, 200_000].map((size) => Buffer.alloc(size, size))
    payloads.forEach((payload, index) => publisher.send(videoMessage(index * 40, payload)))
    await until(() => published!.messages.length === payloads.length)
    expect(published!.messages.map(hashOf)).toEqual(payloads.map((payload) => hashOf({ payload })))
    for (const message of published!.messages) played!.send(message)
    await until(
      () => player.messages.filter(({ type }) => type === MessageType.video).length === payloads.length,
    )
    const received = player.messages.filter(({ type }) => type === MessageType.video)
    expect(received.map((message) => [hashOf(message), message.timestamp])).toEqual(
      payloads.map((payload, index) => [hashOf({ payload }), index * 40]),
    )
  })

  test('is asked for at the origin as the client asked: connect, further arguments, name, type', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const sent = client(service, {
      tcUrl: 'rtmp://Edge.Example/live?k=v',
      streamName: 's?token=x',
      connectProperties: {
        flashVer: 'FMLE/3.0',
        fourCcList: ['hvc1', 'av01'],
        videoFourCcInfoMap: { kind: 'ecma-array', count: 1, entries: [['*', 7]] },
      },
      connectArguments: ['user', amf0Object({ a: null })],
    })
    await sent.untilReady()
    const { request } = origin.visits[0]!
    expect(request).toMatchObject({
      tcUrl: 'rtmp://Edge.Example/live?k=v',
      streamName: 's?token=x',
      publishType: 'live',
    })
    expect(amf0Property(request.connect.args[0], 'fourCcList')).toEqual(['hvc1', 'av01'])
    expect(amf0Property(request.connect.args[0], 'flashVer')).toBe('FMLE/3.0')
    expect(request.connect.args.slice(1)).toEqual(['user', amf0Object({ a: null })])
  })

  test('survives Set Chunk Size in its middle from either side, and small chunks', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    const player = await client(service, { action: 'play' }).untilReady()
    const [published, played] = origin.visits
    const payload = Buffer.alloc(10_000, 7)
    let before = 65_536
    for (const chunkSize of [128, 4096, 1, 65_536, 200]) {
      const bytes = [
        chunksOf(setChunkSizeMessage(chunkSize), before),
        chunksOf(videoMessage(chunkSize, payload), chunkSize),
      ]
      publisher.socket.write(Buffer.concat(bytes))
      played!.socket.write(Buffer.concat(bytes))
      before = chunkSize
    }
    await until(() => published!.messages.length === 5)
    const isVideo = ({ type }: { type: number }): boolean => type === MessageType.video
    await until(() => player.messages.filter(isVideo).length === 5)
    for (const message of [...published!.messages, ...player.messages.filter(isVideo)]) {
      expect(hashOf(message)).toBe(hashOf({ payload }))
    }
  })

  test('keeps media that a hasty publisher sends before the reply, in order', async () => {
    let accept = (): void => {}
    const origin = await startOrigin('a', {
      answer: (visit) => {
        accept = () => {
          visit.dialogue.accept()
          visit.flush()
        }
      },
    })
    const service = await startService()
    const publisher = client(service)
    await until(() => origin.visits.length === 1)
    for (let index = 0; index < 10; index++) publisher.send(videoMessage(index, Buffer.alloc(2000, index)))
    accept()
    await until(() => origin.visits[0]!.messages.length === 10)
    expect(origin.visits[0]!.messages.map(({ timestamp }) => timestamp)).toEqual([...Array(10).keys()])
  })

  test('loses nothing of a publisher that sends more than is kept before the reply', async () => {
    let accept = (): void => {}
    const origin = await startOrigin('a', {
      answer: (visit) => {
        accept = () => {
          visit.dialogue.accept()
          visit.flush()
        }
      },
    })
    const service = await startService()
    const publisher = client(service)
    await until(() => origin.visits.length === 1)
    const payload = Buffer.alloc(60_000, 3)
    for (let index = 0; index < 700; index++) publisher.send(videoMessage(index, payload))
    accept()
    await until(() => origin.visits[0]!.messages.length === 700, 15_000)
    expect(origin.visits[0]!.messages.map(({ timestamp }) => timestamp)).toEqual([...Array(700).keys()])
  })

  test('uses the message stream of each side', async () => {
    const messages: RtmpMessage[] = []
    await startOrigin('a', {
      raw: (socket) => {
        const peer = new CommandPeer(new ServerHandshake(testRandom))
        socket.on('data', (bytes: Buffer) => {
          peer.receive(bytes)
          messages.push(...peer.messages)
          for (const { name, transactionId } of peer.takeCommands()) {
            if (name === 'connect') peer.call('_result', transactionId, null, null)
            if (name === 'createStream') peer.call('_result', transactionId, null, 7)
            if (name === 'publish') {
              const begin = Buffer.from('00000007', 'hex')
              peer.send(userControlMessage(UserControlEvent.streamBegin, begin))
              peer.callOn(7, 'onStatus', 0, null, amf0Object({ code: 'NetStream.Publish.Start' }))
              peer.send({ ...videoMessage(5, Buffer.of(1)), streamId: 7 })
            }
          }
          socket.write(peer.takeSent())
        })
      },
    })
    const service = await startService()
    const publisher = await client(service).untilReady()
    publisher.send(videoMessage(9, Buffer.of(2)))
    await until(() => messages.some(({ timestamp }) => timestamp === 9))
    expect(messages.find(({ timestamp }) => timestamp === 9)?.streamId).toBe(7)
    await until(() => publisher.messages.length > 0)
    expect(publisher.messages[0]).toMatchObject({ streamId: 1, timestamp: 5 })
    const [begin, status] = publisher.ready!.messages
    expect(Buffer.from(begin!.payload).toString('hex')).toBe('000000000001')
    expect(status?.streamId).toBe(1)
  })
})

describe('choosing an origin', () => {
  test('one that is dead is passed over, and the stream runs on the other', async () => {
    const dead = await startOrigin('a')
    const { port } = dead
    await dead[Symbol.asyncDispose]()
    const alive = await startOrigin('b')
    const service = await startService()
    await client(service).untilReady()
    expect(alive.visits).toHaveLength(1)
    const origins = await store.list()
    expect(origins.find(({ rtmp }) => rtmp[0] === port)?.state).toBe('suspect')
    expect(await errorCount('RTMP_ORIGIN_UNREACHABLE')).toBe(1)
  })

  test.each([
    ['says nothing', (): void => {}],
    ['stops within the handshake', (socket: Socket): void => void socket.write(Buffer.alloc(100, 3))],
  ])('one that %s is passed over after its time', async (_name, raw) => {
    const silent = await startOrigin('a', { raw })
    const alive = await startOrigin('b')
    const service = await startService()
    const publisher = client(service)
    await until(() => silent.sockets.size === 1)
    // The dial has to be over before the clock moves to the end of the dialogue's time.
    await until(() => [...silent.sockets].every((socket) => socket.bytesRead > 0))
    clock.advance(9999)
    expect(alive.visits).toHaveLength(0)
    clock.advance(1)
    await publisher.untilReady()
    expect(alive.visits).toHaveLength(1)
    expect(await errorCount('RTMP_ORIGIN_TIMEOUT')).toBe(1)
  })

  test('one that cannot be dialled in time is passed over', async () => {
    await announce('a', 1)
    const alive = await startOrigin('b')
    const service = await startService({
      dial: (options) => (options.port === 1 ? new Socket() : connect(options)),
    })
    const publisher = client(service)
    await until(() => store.stats().pendingPicks === 1)
    clock.advance(3000)
    await publisher.untilReady()
    expect(alive.visits).toHaveLength(1)
  })

  test.each([
    ['is no RTMP server', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['breaks off', undefined],
  ])('one that %s is passed over', async (_name, reply) => {
    await startOrigin('a', {
      raw: (socket) => (reply === undefined ? socket.destroy() : socket.write(reply)),
    })
    const alive = await startOrigin('b')
    const service = await startService()
    await client(service).untilReady()
    expect(alive.visits).toHaveLength(1)
  })

  test('without any the client is told, and the connection ends', async () => {
    const service = await startService()
    const publisher = client(service)
    const player = client(service, { action: 'play' })
    await until(() => publisher.isClosed && player.isClosed)
    expect(publisher.refusal?.code).toBe('NetStream.Publish.Denied')
    expect(player.refusal?.code).toBe('NetStream.Play.Failed')
  })

  test('after three that failed the client is told', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await startOrigin(name, { raw: (socket) => socket.destroy() })
    const service = await startService()
    const publisher = client(service)
    await until(() => publisher.isClosed)
    expect(publisher.refusal?.code).toBe('NetStream.Publish.Denied')
    expect((await errorCount('RTMP_ORIGIN_CLOSED')) + (await errorCount('RTMP_ORIGIN_UNREACHABLE'))).toBe(3)
  })

  test('a name that makes no key is refused', async () => {
    const service = await startService()
    const publisher = client(service, { streamName: '..' })
    const player = client(service, { action: 'play', streamName: '' })
    await until(() => publisher.isClosed && player.isClosed)
    expect(publisher.refusal?.code).toBe('NetStream.Publish.BadName')
    expect(player.refusal?.code).toBe('NetStream.Play.StreamNotFound')
  })
})

describe('an origin that refuses', () => {
  test('is heard by the client, keeps its good name, and no other is tried', async () => {
    const origin = await startOrigin('a', {
      answer: ({ dialogue }) => dialogue.refuse('NetStream.Publish.BadName', 'in use'),
    })
    const other = await startOrigin('b')
    const service = await startService()
    const publisher = client(service)
    await until(() => publisher.isClosed)
    expect(publisher.refusal).toMatchObject({ code: 'NetStream.Publish.BadName', description: 'in use' })
    expect(publisher.refusal?.messages.at(-1)?.streamId).toBe(1)
    expect([origin.visits.length, other.visits.length]).toEqual([1, 0])
    expect(store.stats()).toMatchObject({ origins: { healthy: 2 }, streams: 0, pendingPicks: 0 })
  })

  test('is heard by a publisher that sends on and on', async () => {
    let refuse = (): void => {}
    const origin = await startOrigin('a', {
      answer: (visit) => {
        refuse = () => {
          visit.dialogue.refuse('NetStream.Publish.BadName', 'in use')
          visit.flush()
        }
      },
    })
    const service = await startService()
    const publisher = client(service)
    await until(() => origin.visits.length === 1)
    for (let index = 0; index < 400; index++) publisher.send(videoMessage(index, Buffer.alloc(60_000)))
    refuse()
    await until(() => publisher.isClosed)
    expect(publisher.refusal?.code).toBe('NetStream.Publish.BadName')
    await until(() => clock.pending === 0)
  })

  test('by closing the connection of a second publisher is a bad name', async () => {
    const origin = await startOrigin('a', {
      answer: ({ dialogue, socket }) =>
        void (origin.visits.length > 1 ? socket.destroy() : dialogue.accept()),
    })
    const service = await startService()
    await client(service).untilReady()
    const second = client(service)
    const elsewhere = client(service, { streamName: 'other' })
    await until(() => second.isClosed && elsewhere.isClosed)
    expect(second.refusal?.code).toBe('NetStream.Publish.BadName')
    expect(elsewhere.refusal?.code).toBe('NetStream.Publish.Denied')
  })

  test('by closing the connection is no dead origin', async () => {
    await startOrigin('a', { answer: ({ socket }) => socket.end() })
    const service = await startService()
    const publisher = client(service)
    await until(() => publisher.isClosed)
    expect(publisher.refusal?.code).toBe('NetStream.Publish.Denied')
    expect(store.stats().origins.healthy).toBe(1)
  })

  test('by never saying a word on the stream is no dead origin either', async () => {
    const origin = await startOrigin('a', { answer: () => {} })
    const service = await startService()
    const player = client(service, { action: 'play' })
    await until(() => origin.visits.length === 1)
    clock.advance(19_999)
    expect(player.isClosed).toBe(false)
    clock.advance(1)
    await until(() => player.isClosed)
    expect(player.refusal?.code).toBe('NetStream.Play.Failed')
    expect(store.stats().origins.healthy).toBe(1)
  })

  const redirectTo = (url: () => string): FakeOriginOptions => ({
    answer: (visit) => {
      const ex = amf0Object({ code: 302, redirect: url() })
      const info = amf0Object({
        level: 'error',
        code: 'NetConnection.Connect.Rejected',
        description: url(),
        ex,
      })
      visit.send(commandMessage({ name: 'onStatus', transactionId: 0, args: [null, info] }))
    },
  })

  test('and redirects to another registered origin is followed', async () => {
    let target = 0
    // The store picks the first of those that are healthy.
    const first = await startOrigin(
      'a',
      redirectTo(() => `rtmp://127.0.0.1:${target}/live/s`),
    )
    const second = await startOrigin('b')
    const third = await startOrigin('c')
    target = third.port
    const service = await startService()
    await client(service).untilReady()
    expect([first, second, third].map(({ visits }) => visits.length)).toEqual([1, 0, 1])
    expect(store.stats().origins.healthy).toBe(3)
  })

  test('and redirects elsewhere is a refusal that names no address', async () => {
    await startOrigin(
      'a',
      redirectTo(() => 'rtmp://10.1.2.3:1935/live/s'),
    )
    const service = await startService()
    const publisher = client(service)
    await until(() => publisher.isClosed)
    expect(publisher.refusal).toMatchObject({ code: 'NetConnection.Connect.Rejected', redirect: undefined })
    expect(publisher.refusal?.description).not.toContain('10.1.2.3')
  })
})

describe('clients that behave badly', () => {
  test.each([
    ['never sends a byte', (): void => {}],
    [
      'sends the handshake and nothing more',
      (socket: Socket): void => void socket.write(Buffer.alloc(3073, 3)),
    ],
  ])('one that %s is cut after its time', async (_name, act) => {
    const service = await startService()
    const socket = rawClient(service)
    act(socket)
    await until(() => clock.pending === 1)
    clock.advance(9999)
    expect(socket.isClosed).toBeUndefined()
    clock.advance(1)
    await until(() => socket.isClosed === true)
    expect(await errorCount('RTMP_CLIENT_TIMEOUT')).toBe(1)
  })

  test('one that sends a byte a second is cut as well', async () => {
    const service = await startService()
    const socket = rawClient(service)
    await until(() => clock.pending === 1)
    for (let second = 0; second < 11 && socket.isClosed !== true; second++) {
      socket.write(Buffer.of(3))
      clock.advance(1000)
    }
    await until(() => socket.isClosed === true)
    expect(await errorCount('RTMP_CLIENT_TIMEOUT')).toBe(1)
  })

  test('random bytes, another protocol and chunks that are none cut only who sent them', async () => {
    await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(9000, 0xff),
      Buffer.alloc(90_000, 3),
    ]) {
      const socket = rawClient(service)
      socket.write(bytes)
      await until(() => socket.isClosed === true)
    }
    expect(publisher.isClosed).toBe(false)
    expect(service.listSessions()).toHaveLength(1)
  })

  test('an origin that turns to nonsense ends only the stream it had', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const player = await client(service, { action: 'play' }).untilReady()
    const other = await client(service, { streamName: 'other' }).untilReady()
    origin.visits[0]!.socket.write(Buffer.alloc(1000, 0xff))
    await until(() => player.isClosed)
    await until(() => service.listSessions().length === 1)
    expect(other.isClosed).toBe(false)
    expect(await errorCount('RTMP_CHUNK_HEADER_INVALID')).toBe(1)
  })

  test('a message above the limit ends the stream', async () => {
    const origin = await startOrigin('a')
    const service = await startService({ maxMessageBytes: 100_000 })
    const publisher = await client(service).untilReady()
    publisher.send(videoMessage(0, Buffer.alloc(100_001)))
    await until(() => publisher.isClosed)
    expect(await errorCount('RTMP_MESSAGE_TOO_LARGE')).toBe(1)
    await until(() => [...origin.sockets].every((socket) => socket.readableEnded || socket.destroyed))
  })

  test('connections above the bounds are closed at once', async () => {
    await startOrigin('a')
    const service = await startService({ maxConnectionsPerAddress: 2 })
    await client(service).untilReady()
    const second = rawClient(service)
    await until(() => second.readyState === 'open')
    const third = rawClient(service)
    await until(() => third.isClosed === true)
    expect(service.listSessions()).toHaveLength(1)
  })

  test('one that leaves while an origin is being asked leaves nothing behind', async () => {
    const silent = await startOrigin('a', { raw: (socket) => socket.resume() })
    const service = await startService()
    const publisher = client(service)
    await until(() => silent.sockets.size === 1)
    publisher.socket.destroy()
    await until(() => [...silent.sockets].every((socket) => socket.readableEnded || socket.destroyed))
    await until(() => store.stats().pendingPicks === 0)
    expect(store.stats().origins.healthy).toBe(1)
  })
})

describe('a join', () => {
  test('passes the end of a publisher on and is over', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    publisher.send(videoMessage(1, Buffer.alloc(50_000)))
    publisher.socket.end()
    await until(() => origin.visits[0]!.socket.readableEnded)
    expect(origin.visits[0]!.messages).toHaveLength(1)
    origin.visits[0]!.send(videoMessage(2, Buffer.alloc(10)))
    origin.visits[0]!.socket.end()
    await until(() => publisher.isClosed)
    expect(publisher.messages.at(-1)?.timestamp).toBe(2)
    await until(() => service.listSessions().length === 0)
    expect(await errorCount('RTMP_BROKEN')).toBe(0)
  })

  test('that breaks is an error when it was the origin, and the end when it was the client', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const leaving = await client(service).untilReady()
    leaving.socket.resetAndDestroy()
    await until(() => origin.visits[0]!.socket.destroyed || origin.visits[0]!.socket.readableEnded)
    await until(() => service.listSessions().length === 0)
    expect(await errorCount('RTMP_BROKEN')).toBe(0)
    const cut = await client(service).untilReady()
    origin.visits[1]!.socket.resetAndDestroy()
    await until(() => cut.isClosed)
    expect(await errorCount('RTMP_BROKEN')).toBe(1)
  })

  test('does not wait for ever for the other side to end', async () => {
    await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    publisher.socket.end()
    // How long it lingers; the look at what is idle comes later.
    await until(() => clock.dueInMs === 5000)
    clock.advance(5000)
    await until(() => publisher.isClosed)
    expect(service.listSessions()).toEqual([])
  })

  test('ends when the origin dies', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    await origin[Symbol.asyncDispose]()
    await until(() => publisher.isClosed)
    await until(() => service.listSessions().length === 0)
  })

  test('a reader that takes nothing holds its origin back, and loses nothing', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const player = await client(service, { action: 'play' }).untilReady()
    const [visit] = origin.visits
    player.socket.pause()
    const payload = Buffer.alloc(60_000, 1)
    let sent = 0
    // Loopback buffers take some megabytes; a gateway that reads on would take all of 200.
    const fill = (): void => {
      while (sent < 200_000_000 && visit!.send(videoMessage(sent, payload))) sent += payload.length
    }
    visit!.socket.on('drain', fill)
    fill()
    await untilStill(() => sent)
    expect(sent).toBeLessThan(50_000_000)
    const [session] = service.listSessions()
    expect(session!.bytesOut).toBeLessThan(50_000_000)
    visit!.socket.off('drain', fill)
    const count = sent / payload.length
    player.socket.resume()
    await until(
      () => player.messages.filter(({ type }) => type === MessageType.video).length >= count,
      20_000,
    )
  })

  test('is cut when nothing came from its publisher for a minute', async () => {
    await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    clock.advance(59_000)
    publisher.send(videoMessage(1, Buffer.alloc(10)))
    const before = service.listSessions()[0]!.bytesIn
    await until(() => service.listSessions()[0]!.bytesIn > before)
    clock.advance(59_000)
    expect(service.listSessions()).toHaveLength(1)
    clock.advance(3000)
    await until(() => publisher.isClosed)
    expect(await errorCount('RTMP_IDLE')).toBe(1)
  })

  test('acknowledges to both sides', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    let acknowledged = 0
    publisher.socket.on('data', (bytes: Buffer) => {
      if (bytes.includes(Buffer.from('020000000000040300000000', 'hex'))) acknowledged++
    })
    for (let count = 0; count < 60; count++) publisher.send(videoMessage(count, Buffer.alloc(50_000)))
    await until(() => origin.visits[0]!.messages.length === 60)
    await until(() => acknowledged > 0)
  })
})

describe('operation', () => {
  test('sessions are listed with their bytes and can be kicked', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    publisher.send(videoMessage(1, Buffer.alloc(1000)))
    await until(() => origin.visits[0]!.messages.length === 1)
    const [session] = service.listSessions()
    expect(session).toMatchObject({
      protocol: 'rtmp',
      role: 'publish',
      streamKey: '__defaultVhost__/live/s',
      originId: 'a-s-1',
      sinceMs: clock.wallMs(),
    })
    expect(session!.bytesIn).toBeGreaterThan(1000)
    expect(await store.streams()).toMatchObject([{ publishers: 1, players: 0 }])
    expect(service.kickSession('nobody')).toBe(false)
    expect(service.kickSession(session!.id)).toBe(true)
    await until(() => publisher.isClosed)
    expect(service.listSessions()).toEqual([])
    expect(await store.streams()).toMatchObject([{ publishers: 0 }])
    expect(await errorCount('RTMP_SESSION_KICKED')).toBe(1)
  })

  test('metrics tell sessions by role, and bytes that never go back', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    publisher.send(videoMessage(1, Buffer.alloc(1000)))
    await until(() => origin.visits[0]!.messages.length === 1)
    const read = async (): Promise<readonly [string | undefined, number]> => {
      const text = await registry.metrics()
      const bytes = /sluice_rtmp_bytes_total\{direction="in"\} (\d+)/.exec(text)?.[1]
      return [/sluice_rtmp_sessions\{role="publish"\} (\d+)/.exec(text)?.[1], Number(bytes)]
    }
    const [sessions, bytes] = await read()
    expect(sessions).toBe('1')
    service.kickSession(service.listSessions()[0]!.id)
    await until(() => publisher.isClosed)
    const [sessionsAfter, bytesAfter] = await read()
    expect(sessionsAfter).toBe('0')
    expect(bytesAfter).toBeGreaterThanOrEqual(bytes)
  })

  test('close takes nobody new, lets streams go on for the grace, then cuts', async () => {
    await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    const waiting = rawClient(service)
    // The time that it has to say what it wants.
    await until(() => clock.dueInMs === 10_000)
    const closing = service.close({ graceMs: 5000 })
    await until(() => waiting.isClosed === true)
    expect(publisher.isClosed).toBe(false)
    expect(service.ports).toEqual([])
    clock.advance(5000)
    await closing
    await until(() => publisher.isClosed)
    await service.close()
  })

  test('close is over as soon as the last stream is', async () => {
    const origin = await startOrigin('a')
    const service = await startService()
    const publisher = await client(service).untilReady()
    const closing = service.close({ graceMs: 5000 })
    publisher.socket.destroy()
    origin.visits[0]!.socket.destroy()
    await closing
  })

  test('a port that is taken is an error with the address', async () => {
    const service = await startService()
    const other = startService({
      listen: [{ host: '127.0.0.1', port: portOf(service) }],
      registry: new Registry(),
    })
    await expect(other).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
  })
})
