import type { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { decodeProxyHeader } from '../../../protocols/proxy-protocol/index.ts'
import {
  amf0Object,
  amf0Property,
  commandMessage,
  MessageType,
  ServerHandshake,
} from '../../../protocols/rtmp/index.ts'
import { CommandPeer, testRandom } from '../../../protocols/rtmp/command-peer.testkit.ts'
import { FakeOrigin, type FakeOriginOptions, until, videoMessage } from './rtmp-service.testkit.ts'
import { RtmpStage } from './rtmp-stage.testkit.ts'

let stage: RtmpStage

beforeEach(() => {
  stage = new RtmpStage()
})

afterEach(() => stage[Symbol.asyncDispose]())

async function originAt(
  name: string,
  url: (port: number) => string,
  options: FakeOriginOptions = {},
): Promise<FakeOrigin> {
  const origin = stage.own(await new FakeOrigin(options).start())
  await stage.announce(name, { kind: 'custom', urls: { rtmp: url(origin.port) } })
  return origin
}

describe('an origin of another make', () => {
  test('is asked for its own app and name, behind which the queries of the client stand', async () => {
    const origin = await originAt('n', (port) => `rtmp://127.0.0.1:${port}/{app}/{vhost}-{stream}?via=gw`)
    const service = await stage.service()
    await stage
      .client(service, {
        tcUrl: 'rtmp://Edge.example/live?k=v',
        streamName: 's?token=x',
        connectProperties: { flashVer: 'FMLE/3.0', fourCcList: ['hvc1'] },
        connectArguments: ['user'],
      })
      .untilReady()
    const { request } = origin.visits[0]!
    expect(request).toMatchObject({
      action: 'publish',
      app: 'live',
      tcUrl: `rtmp://127.0.0.1:${origin.port}/live?k=v`,
      streamName: '__defaultVhost__-s?via=gw&token=x',
      publishType: 'live',
    })
    expect(amf0Property(request.connect.args[0], 'fourCcList')).toEqual(['hvc1'])
    expect(request.connect.args.slice(1)).toEqual(['user'])
  })

  test('is told names as they are, without escapes of URLs', async () => {
    const origin = await originAt('n', (port) => `rtmp://127.0.0.1:${port}/{app}/{stream}`)
    const service = await stage.service()
    await stage.client(service, { action: 'play', app: 'a b', tcUrl: '/a b', streamName: 'ü#1' }).untilReady()
    expect(origin.visits[0]?.request).toMatchObject({ app: 'a b', streamName: 'ü#1' })
  })

  test('is not asked for another stream by what looks like an escape or a query in a name', async () => {
    const origin = await originAt('n', (port) => `rtmp://127.0.0.1:${port}/{app}/{stream}`)
    const service = await stage.service()
    const names = { action: 'play', app: 'live', tcUrl: '/live' } as const
    await stage.client(service, { ...names, streamName: 'secre%2574' }).untilReady()
    expect(origin.visits[0]?.request.streamName).toBe('secre%74')
    const client = stage.client(service, { ...names, streamName: 'secret%3fx' })
    await until(() => client.isClosed)
    expect(origin.visits).toHaveLength(1)
  })

  test('is a host that a redirect may lead to', async () => {
    let port = 0
    await stage.origin('a', {
      answer: (visit) => {
        const ex = amf0Object({ code: 302, redirect: `rtmp://127.0.0.1:${port}/live/s` })
        const info = amf0Object({ level: 'error', code: 'NetConnection.Connect.Rejected', ex })
        visit.send(commandMessage({ name: 'onStatus', transactionId: 0, args: [null, info] }))
      },
    })
    const target = await originAt('n', (at) => `rtmp://127.0.0.1:${at}/{app}/{stream}`)
    port = target.port
    const service = await stage.service()
    await stage.client(service).untilReady()
    expect(target.visits).toHaveLength(1)
  })
})

describe('an origin that speaks RTMPS', () => {
  test('is dialled by TLS, and carries media', async () => {
    const certificate = await makeCertificate()
    const origin = await originAt('s', (port) => `rtmps://127.0.0.1:${port}/{app}/{stream}`, {
      tls: certificate,
    })
    const service = await stage.service({
      dialOptionsOf: ({ host, port }) => ({ host, port, tls: { ca: certificate.cert } }),
    })
    const publisher = await stage.client(service).untilReady()
    const payload = Buffer.alloc(300_000, 9)
    publisher.send(videoMessage(1, payload))
    await until(() => origin.visits[0]!.messages.length === 1)
    expect(Buffer.compare(origin.visits[0]!.messages[0]!.payload, payload)).toBe(0)
    origin.visits[0]!.socket.end()
    await until(() => publisher.socket.readableEnded)
  })

  test('whose certificate does not hold is passed over', async () => {
    await originAt('s', (port) => `rtmps://127.0.0.1:${port}/{app}/{stream}`, {
      tls: await makeCertificate(),
    })
    const other = await stage.origin('t')
    const service = await stage.service()
    await stage.client(service).untilReady()
    expect(other.visits).toHaveLength(1)
    expect(await stage.errorCount('RTMP_ORIGIN_UNREACHABLE')).toBe(1)
  })
})

describe('the PROXY protocol towards origins', () => {
  test.each([
    ['v1', 'rtmp', 0x03],
    ['v2', 'rtmp', 0x03],
    ['v1', 'rtmps', 0x16],
    ['v2', 'rtmps', 0x16],
  ] as const)('of version %s goes ahead of all that is spoken to %s', async (version, scheme, first) => {
    let bytes = Buffer.alloc(0)
    const keep = (socket: Socket): void =>
      void socket.on('data', (more: Buffer) => (bytes = Buffer.concat([bytes, more])))
    await originAt('p', (port) => `${scheme}://127.0.0.1:${port}/{app}/{stream}`, { raw: keep })
    const service = await stage.service({ proxyProtocolToOrigins: version })
    const client = stage.client(service)
    await until(() => bytes.length > 200)
    const result = decodeProxyHeader(bytes)
    if (result.kind !== 'header') throw new Error(result.kind)
    expect(result.header.version).toBe(version === 'v1' ? 1 : 2)
    expect(result.header.addresses).toEqual({
      source: { address: '127.0.0.1', port: client.socket.localPort },
      destination: { address: '127.0.0.1', port: service.ports[0] },
    })
    expect(bytes[result.bytes]).toBe(first)
  })

  test('reads on behind it as ever', async () => {
    const origin = await stage.origin('p', {
      raw: (socket) => {
        socket.once('data', (bytes: Buffer) => {
          const result = decodeProxyHeader(bytes)
          if (result.kind === 'header') speak(socket, bytes.subarray(result.bytes))
        })
      },
    })
    const service = await stage.service({ proxyProtocolToOrigins: 'v2' })
    await stage.client(service).untilReady()
    expect(origin.sockets.size).toBe(1)
  })
})

/** Answers everything, but for what `instead` takes over. */
function speak(
  socket: Socket,
  first: Uint8Array = Buffer.of(),
  instead: (name: string) => boolean = () => false,
): void {
  const peer = new CommandPeer(new ServerHandshake(testRandom))
  const receive = (bytes: Uint8Array): void => {
    peer.receive(bytes)
    for (const { name, transactionId } of peer.takeCommands()) {
      if (instead(name)) return
      if (name === 'connect') peer.call('_result', transactionId, null, null)
      if (name === 'createStream') peer.call('_result', transactionId, null, 1)
      if (name === 'publish' || name === 'play') {
        const code = name === 'publish' ? 'NetStream.Publish.Start' : 'NetStream.Play.Start'
        peer.callOn(1, 'onStatus', 0, null, amf0Object({ code }))
      }
    }
    socket.write(peer.takeSent())
  }
  socket.on('data', receive)
  receive(first)
}

/** An origin that does something at the first command of this name, in the place of an answer. */
async function originThat(
  point: string,
  act: (origin: FakeOrigin, socket: Socket) => void,
): Promise<FakeOrigin> {
  const origin: FakeOrigin = await stage.origin('a', {
    raw: (socket) =>
      speak(socket, Buffer.of(), (name) => {
        if (name !== point) return false
        act(origin, socket)
        return true
      }),
  })
  return origin
}

const points = [
  ['connect', 'publish'],
  ['connect', 'play'],
  ['createStream', 'publish'],
  ['createStream', 'play'],
  ['publish', 'publish'],
  ['play', 'play'],
] as const

describe('an origin that dies', () => {
  test.each(points)('at %s is left, and another carries the %s', async (point, action) => {
    await originThat(point, (origin) => void origin[Symbol.asyncDispose]())
    const other = await stage.origin('b')
    const service = await stage.service()
    await stage.client(service, { action }).untilReady()
    expect(other.visits).toHaveLength(1)
    expect(await stage.errorCount('RTMP_ORIGIN_CLOSED')).toBe(1)
  })
})

describe('an origin that closes the connection', () => {
  test.each(points)('at %s, and is still there, has refused the %s', async (point, action) => {
    const origin = await originThat(point, (_, socket) => socket.end())
    const other = await stage.origin('b')
    const service = await stage.service()
    const client = stage.client(service, { action })
    await until(() => client.isClosed)
    expect(client.refusal?.code).toBe(
      action === 'publish' ? 'NetStream.Publish.Denied' : 'NetStream.Play.Failed',
    )
    expect(other.visits).toHaveLength(0)
    expect(stage.store.stats().origins.healthy).toBe(2)
    // The one that asked, and the look whether it still listens.
    await until(() => origin.sockets.size === 2)
  })
})

describe('an origin that refuses for itself', () => {
  const refuse = (code: string): FakeOriginOptions => ({
    answer: ({ dialogue }) => dialogue.refuse(code, `${code}!`),
  })

  test('a player because it has no such stream is left for one that has it', async () => {
    await stage.origin('a', refuse('NetStream.Play.StreamNotFound'))
    const other = await stage.origin('b')
    const service = await stage.service()
    await stage.client(service, { action: 'play' }).untilReady()
    expect(other.visits).toHaveLength(1)
    expect(stage.store.stats().origins.healthy).toBe(2)
  })

  test.each([
    ['no other has', refuse('NetStream.Play.StreamNotFound')],
    ['another does not give', refuse('NetStream.Play.Failed')],
    ['another cannot say', { raw: (socket: Socket) => socket.destroy() }],
  ])('a player for a stream that %s is heard', async (_name, otherwise) => {
    await stage.origin('a', refuse('NetStream.Play.StreamNotFound'))
    const others = [await stage.origin('b', otherwise), await stage.origin('c', otherwise)]
    const unasked = await stage.origin('d')
    const service = await stage.service()
    const player = stage.client(service, { action: 'play' })
    await until(() => player.isClosed)
    expect(player.refusal?.description).toBe('NetStream.Play.StreamNotFound!')
    expect(others.every(({ sockets }) => sockets.size > 0) || others[0]!.visits.length === 1).toBe(true)
    expect(unasked.sockets.size).toBe(0)
  })

  test('a player where a publisher is live is heard, for the stream is nowhere else', async () => {
    const origin = await stage.origin('a', {
      answer: ({ dialogue, request }) =>
        request.action === 'publish'
          ? dialogue.accept()
          : dialogue.refuse('NetStream.Play.StreamNotFound', 'no'),
    })
    const other = await stage.origin('b')
    const service = await stage.service()
    await stage.client(service).untilReady()
    const player = stage.client(service, { action: 'play' })
    await until(() => player.isClosed)
    expect(player.refusal?.code).toBe('NetStream.Play.StreamNotFound')
    expect([origin.visits.length, other.visits.length]).toEqual([2, 0])
  })

  test.each(['publish', 'play'] as const)(
    'any connection is left for another, which takes the %s',
    async (action) => {
      await stage.origin('a', {
        raw: (socket) => {
          const peer = new CommandPeer(new ServerHandshake(testRandom))
          socket.on('data', (bytes: Buffer) => {
            peer.receive(bytes)
            for (const { transactionId } of peer.takeCommands()) {
              const info = amf0Object({
                level: 'error',
                code: 'NetConnection.Connect.Rejected',
                description: 'full',
              })
              peer.call('_error', transactionId, null, info)
            }
            socket.write(peer.takeSent())
          })
        },
      })
      const other = await stage.origin('b')
      const service = await stage.service()
      await stage.client(service, { action }).untilReady()
      expect(other.visits).toHaveLength(1)
    },
  )
})

describe('an origin that falls silent', () => {
  test.each(points.slice(0, 4))(
    'at %s is left for another after its time, which carries the %s',
    async (point, action) => {
      let isAsked = false
      await originThat(point, () => (isAsked = true))
      const other = await stage.origin('b')
      const service = await stage.service()
      const client = stage.client(service, { action })
      await until(() => isAsked)
      stage.clock.advance(9999)
      expect(other.visits).toHaveLength(0)
      stage.clock.advance(1)
      await client.untilReady()
      expect(other.visits).toHaveLength(1)
      expect(await stage.errorCount('RTMP_ORIGIN_TIMEOUT')).toBe(1)
    },
  )

  test('towards a player keeps its good name while a publisher is live there', async () => {
    let visits = 0
    await stage.origin('a', {
      raw: (socket) => speak(socket, Buffer.of(), (name) => name === 'connect' && ++visits > 1),
    })
    const service = await stage.service()
    const publisher = await stage.client(service).untilReady()
    const player = stage.client(service, { action: 'play' })
    await until(() => visits === 2)
    stage.clock.advance(10_000)
    await until(() => player.isClosed)
    expect(player.refusal?.code).toBe('NetStream.Play.Failed')
    expect(publisher.isClosed).toBe(false)
    expect(stage.store.stats().origins.healthy).toBe(1)
  })
})

describe('what was wrong with the SRS proxy', () => {
  test('messages without payload arrive (reference 9.2, 10)', async () => {
    const origin = await stage.origin('a')
    const service = await stage.service()
    const publisher = await stage.client(service).untilReady()
    publisher.send({ ...videoMessage(5, Buffer.alloc(0)), type: MessageType.audio })
    publisher.send(videoMessage(6, Buffer.alloc(1)))
    await until(() => origin.visits[0]!.messages.length === 2)
    expect(origin.visits[0]!.messages.map(({ timestamp, payload }) => [timestamp, payload.length])).toEqual([
      [5, 0],
      [6, 1],
    ])
  })

  test.each([63, 64, 319, 320, 65_599])(
    'chunk stream %i keeps its number (reference 9.2, 8)',
    async (chunkStreamId) => {
      const origin = await stage.origin('a')
      const service = await stage.service()
      const publisher = await stage.client(service).untilReady()
      for (const timestamp of [1, 0xffffff, 0x1000050])
        publisher.send({ ...videoMessage(timestamp, Buffer.alloc(150_000, 1)), chunkStreamId })
      await until(() => origin.visits[0]!.messages.length === 3)
      expect(origin.visits[0]!.messages.map((message) => [message.chunkStreamId, message.timestamp])).toEqual(
        [
          [chunkStreamId, 1],
          [chunkStreamId, 0xffffff],
          [chunkStreamId, 0x1000050],
        ],
      )
    },
  )

  test('streams of an app whose tcUrl has a query have keys of their own (reference 9.2, 14)', async () => {
    await stage.origin('a')
    const service = await stage.service()
    const tcUrl = 'rtmp://127.0.0.1/live?token=x'
    for (const streamName of ['one', 'two']) await stage.client(service, { tcUrl, streamName }).untilReady()
    expect((await stage.store.streams()).map(({ key }) => key)).toEqual([
      '__defaultVhost__/live/one',
      '__defaultVhost__/live/two',
    ])
  })
})

describe('an origin that is asked as the client asked, and joins the two texts', () => {
  test.each([
    ['rtmp://h/live?a=1', 's?b=2', 'rtmp://h/live?a=1', 's?b=2'],
    ['rtmp://h/live', 'a/s?b=2', 'rtmp://h/live', 'a/s?b=2'],
    // The stream would be `secret`, of the app `live/s`.
    ['rtmp://h/live', 's?x=/secret', 'rtmp://h/live', 's?x=%2Fsecret'],
    ['rtmp://h/live?x=/y', 's', 'rtmp://h/live?x=%2Fy', 's'],
    // It would be `s` of `live`.
    ['rtmp://h/live?x=1', '/a/b/s', 'rtmp://h/live/a/b?x=1', 's'],
    ['rtmp://h/live#x', 's#y', 'rtmp://h/live%23x', 's%23y'],
  ])('%s and %s name the stream that was decided on', async (tcUrl, streamName, askedUrl, askedName) => {
    const origin = await stage.origin('a')
    const service = await stage.service()
    await stage.client(service, { tcUrl, streamName }).untilReady()
    expect(origin.visits[0]?.request).toMatchObject({ tcUrl: askedUrl, streamName: askedName })
  })
})
