import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import type { RTCPeerConnection, RtpPacket } from 'werift'
import { ManualClock } from '../../foundation/clock.ts'
import { FlvTagType } from '../../protocols/flv/index.ts'
import type { FlvTag } from '../../protocols/flv/index.ts'
import { ChunkWriter, UserControlEvent, userControlMessage } from '../../protocols/rtmp/index.ts'
import type { DemoOrigin } from './demo-origin.ts'
import {
  browserPeer,
  FakeRegistration,
  FlvClient,
  RtmpClient,
  signal,
  startOrigin,
  until,
} from './demo.testkit.ts'
import { loadWerift } from './webrtc/werift.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function origin(options: Parameters<typeof startOrigin>[0] = {}): Promise<DemoOrigin> {
  const started = await startOrigin(options)
  closing.push(() => started.close())
  return started
}

function rtmp(port: number, action: 'publish' | 'play', stream: string): RtmpClient {
  const client = new RtmpClient(port, action, stream)
  closing.push(() => client[Symbol.asyncDispose]())
  return client
}

async function peer(codec?: 'vp8' | 'h264'): Promise<RTCPeerConnection> {
  const connection = await browserPeer(codec)
  closing.push(() => connection.close())
  return connection
}

const avcConfig = tag(FlvTagType.video, 0, [0x17, 0, 0, 0, 0, 1, 2, 3])
const aacConfig = tag(FlvTagType.audio, 0, [0xaf, 0, 0x12, 0x10])

function keyframe(timestamp: number, ...rest: number[]): FlvTag {
  return tag(FlvTagType.video, timestamp, [0x17, 1, 0, 0, 0, ...rest])
}

function interframe(timestamp: number, ...rest: number[]): FlvTag {
  return tag(FlvTagType.video, timestamp, [0x27, 1, 0, 0, 0, ...rest])
}

function tag(type: number, timestamp: number, payload: number[]): FlvTag {
  return { type, timestamp, payload: Buffer.from(payload) }
}

function at(timestamp: number, { type, payload }: FlvTag): FlvTag {
  return { type, timestamp, payload }
}

function flat({ header, payload }: RtpPacket): unknown {
  return { sequenceNumber: header.sequenceNumber, timestamp: header.timestamp, payload }
}

/** Sockets, servers and timers that are open. */
function openHandles(): number {
  return process.getActiveResourcesInfo().filter((name) => /Wrap|Timeout/.test(name)).length
}

function hashes(tags: readonly FlvTag[]): string[] {
  return tags.map(({ type, timestamp, payload }) => {
    return `${type} ${timestamp} ${createHash('sha256').update(payload).digest('hex')}`
  })
}

describe('registration', () => {
  test('announces ports with the token, and again after each interval', async () => {
    await using registration = await new FakeRegistration().start()
    const clock = new ManualClock()
    const { ports } = await origin({ registerUrl: registration.url, registerToken: 'let-me-in', clock })
    expect(registration.heartbeats).toHaveLength(1)
    expect(registration.heartbeats[0]?.authorization).toBe('Bearer let-me-in')
    expect(registration.heartbeats[0]?.body).toMatchObject({
      ip: '127.0.0.1',
      pid: String(process.pid),
      rtmp: [String(ports.rtmp)],
      http: [String(ports.http)],
      api: [String(ports.http)],
      rtc: ['udp://0.0.0.0:0'],
    })
    clock.advance(5_000)
    await until(() => registration.heartbeats.length === 2)
    expect(registration.heartbeats[1]?.body).toEqual(registration.heartbeats[0]?.body)
  })

  test('goes on after a refusal', async () => {
    await using registration = await new FakeRegistration().start()
    registration.status = 401
    const clock = new ManualClock()
    await origin({ registerUrl: registration.url, clock })
    clock.advance(5_000)
    await until(() => registration.heartbeats.length === 2)
  })
})

describe('rtmp', () => {
  test('a stream goes to players of RTMP and FLV as it was published, late ones from the key frame on', async () => {
    const { ports } = await origin()
    const publisher = rtmp(ports.rtmp, 'publish', 's?token=x')
    await until(() => publisher.isReady)
    const before = [avcConfig, aacConfig, keyframe(40, 1), interframe(80, 2), keyframe(5_000_000, 3)]
    const first = await FlvClient.open(ports.http, '/live/s.flv')
    for (const sent of before) publisher.send(sent)
    await until(() => first.tags.length === before.length)
    expect(hashes(first.tags)).toEqual(hashes(before))
    first.response.destroy()
    const late = await FlvClient.open(ports.http, '/live/s.flv?x=y')
    expect(late.response.statusCode).toBe(200)
    expect(late.response.headers['content-type']).toBe('video/x-flv')
    const player = rtmp(ports.rtmp, 'play', 's')
    await until(() => late.tags.length > 2 && player.tags.length > 3)
    const after = [
      interframe(5_000_040, 4),
      tag(
        FlvTagType.audio,
        5_000_041,
        Array.from({ length: 300_000 }, (_, i) => i & 255),
      ),
    ]
    for (const sent of after) publisher.send(sent)
    const expected = hashes([
      at(5_000_000, avcConfig),
      at(5_000_000, aacConfig),
      keyframe(5_000_000, 3),
      ...after,
    ])
    const media = (tags: readonly FlvTag[]): string[] =>
      hashes(tags.filter(({ type }) => type !== FlvTagType.script))
    await until(() => media(late.tags).length === 5 && media(player.tags).length === 5)
    expect(media(late.tags)).toEqual(expected)
    expect(media(player.tags)).toEqual(expected)
    await eventually(async () => {
      const list: unknown = await (await fetch(`http://127.0.0.1:${ports.http}/api/v1/streams`)).json()
      expect(list).toEqual([{ app: 'live', stream: 's', protocol: 'rtmp', players: 2 }])
    })
    await publisher[Symbol.asyncDispose]()
    await until(() => late.response.complete && player.socket.closed)
  })

  test('a player who comes first gets the stream once it is published', async () => {
    const { ports } = await origin()
    const player = rtmp(ports.rtmp, 'play', 'later')
    await until(() => player.isReady)
    const publisher = rtmp(ports.rtmp, 'publish', 'later')
    await until(() => publisher.isReady)
    publisher.send(keyframe(0, 9))
    await until(() => player.tags.some(({ type }) => type === FlvTagType.video))
  })

  test('a player of a stream that nobody publishes is accepted, and refused in the end', async () => {
    const clock = new ManualClock()
    const { ports } = await origin({ clock })
    const player = rtmp(ports.rtmp, 'play', 'none')
    await until(() => player.isReady)
    expect(player.refusedWith).toBeUndefined()
    clock.advance(15_000)
    await until(() => player.refusedWith !== undefined)
    expect(player.refusedWith).toBe('NetStream.Play.StreamNotFound')
    await until(() => player.socket.closed)
  })

  test('a second publisher is refused and the first goes on', async () => {
    const { ports } = await origin()
    const first = rtmp(ports.rtmp, 'publish', 's')
    await until(() => first.isReady)
    const second = rtmp(ports.rtmp, 'publish', 's')
    await until(() => second.refusedWith !== undefined)
    expect(second.refusedWith).toBe('NetStream.Publish.BadName')
    const viewer = await FlvClient.open(ports.http, '/live/s.flv')
    first.send(keyframe(1))
    await until(() => viewer.tags.length === 1)
    viewer.response.destroy()
  })

  test('a publisher that asks on and on and reads no answer is cut', async () => {
    const { ports } = await origin()
    const publisher = rtmp(ports.rtmp, 'publish', 's')
    await until(() => publisher.isReady)
    const { socket } = publisher
    socket.pause()
    const ping = new ChunkWriter().write(userControlMessage(UserControlEvent.pingRequest, Buffer.alloc(4)))
    const pings = Buffer.concat(Array.from({ length: 5000 }, () => ping))
    await until(() => {
      if (!socket.writableNeedDrain) socket.write(pings)
      return socket.closed
    })
  })

  test('a client that talks nonsense or nothing is cut', async () => {
    const clock = new ManualClock()
    const { ports } = await origin({ clock })
    const nonsense = connect(ports.rtmp, '127.0.0.1')
    nonsense.on('error', () => undefined)
    nonsense.write(Buffer.alloc(4_000, 0xff))
    const silent = connect(ports.rtmp, '127.0.0.1')
    silent.on('error', () => undefined)
    silent.write(Buffer.of(3))
    await until(() => nonsense.closed)
    expect(silent.closed).toBe(false)
    clock.advance(10_000)
    await until(() => silent.closed)
  })
})

describe('http', () => {
  test.each([
    ['GET', '/live/none.flv', 404, 'DEMO_STREAM_NOT_FOUND'],
    ['GET', '/live/%ff.flv', 400, 'DEMO_STREAM_NAME_INVALID'],
    ['GET', '/other', 404, 'DEMO_NOT_SERVED'],
    ['POST', '/rtc/v1/whep/?app=live&stream=none', 404, 'DEMO_STREAM_NOT_FOUND'],
    ['POST', '/rtc/v1/whip/?app=live', 400, 'DEMO_STREAM_NAME_INVALID'],
    ['POST', '/rtc/v1/whip/?app=live&stream=s', 400, 'DEMO_OFFER_INVALID'],
    ['PATCH', '/rtc/v1/whip/?app=live&stream=s', 405, 'DEMO_NOT_SERVED'],
    ['DELETE', '/rtc/v1/whip/?action=delete&token=guess', 404, 'DEMO_SESSION_NOT_FOUND'],
  ])('%s %s gives %i %s', async (method, path, status, code) => {
    const { ports } = await origin()
    const response = await fetch(`http://127.0.0.1:${ports.http}${path}`, {
      method,
      ...(method === 'POST' ? { body: 'v=0' } : {}),
    })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ code })
  })

  test('an offer above the limit gets 413', async () => {
    const { ports } = await origin()
    const url = `http://127.0.0.1:${ports.http}/rtc/v1/whip/?app=live&stream=s`
    const response = await fetch(url, { method: 'POST', body: 'v'.repeat(70_000) })
    expect(response.status).toBe(413)
  })
})

describe('webrtc', () => {
  test.each(['vp8', 'h264'] as const)('%s packets reach two viewers as they were sent', async (codec) => {
    const { ports } = await origin()
    const base = `http://127.0.0.1:${ports.http}/rtc/v1`
    const { MediaStreamTrack, RtpHeader, RtpPacket } = await loadWerift()
    const publisher = await peer(codec)
    const track = new MediaStreamTrack({ kind: 'video' })
    const { sender } = publisher.addTransceiver(track, { direction: 'sendonly' })
    let keyFrameRequests = 0
    sender.onPictureLossIndication.subscribe(() => keyFrameRequests++)
    const published = await signal(publisher, `${base}/whip/?app=live&stream=s`)
    expect(published.status).toBe(201)
    expect(published.headers.get('content-type')).toBe('application/sdp')
    const answer = await published.text()
    expect(answer.match(/^a=rtpmap:.*/gm)).toHaveLength(1)
    expect(answer).not.toContain('transport-cc')
    expect(answer).toContain('a=ice-lite')
    for (const candidate of answer.match(/^a=candidate:.*/gm) ?? [])
      expect(candidate).toContain(' 127.0.0.1 ')

    const received = await Promise.all(
      [0, 1].map(async () => {
        const packets: RtpPacket[] = []
        const viewer = await peer()
        viewer.addTransceiver('video', { direction: 'recvonly' })
        viewer.addTransceiver('audio', { direction: 'recvonly' })
        viewer.ontrack = ({ track: { onReceiveRtp } }) =>
          onReceiveRtp.subscribe((packet) => packets.push(packet))
        expect((await signal(viewer, `${base}/whep/?app=live&stream=s`)).status).toBe(201)
        await until(() => viewer.connectionState === 'connected')
        return packets
      }),
    )
    await until(() => publisher.connectionState === 'connected' && keyFrameRequests > 0)
    const sent = Array.from({ length: 40 }, (_, index) => ({
      sequenceNumber: (65_520 + index) & 0xffff,
      timestamp: 1_000_000 + index * 3_000,
      payload: createHash('sha256').update(String(index)).digest(),
    }))
    for (const { payload, ...header } of sent) track.writeRtp(new RtpPacket(new RtpHeader(header), payload))
    await until(() => received.every((packets) => packets.length === sent.length))
    for (const packets of received) expect(packets.map(flat)).toEqual(sent)
  })

  test('a second publisher gets 409; after DELETE the name is free and viewers are gone', async () => {
    const { ports } = await origin()
    const base = `http://127.0.0.1:${ports.http}`
    const url = `${base}/rtc/v1/whip/?app=live&stream=s`
    const first = await peer()
    first.addTransceiver('audio', { direction: 'sendonly' })
    const published = await signal(first, url)
    const second = await peer()
    second.addTransceiver('audio', { direction: 'sendonly' })
    expect((await signal(second, url)).status).toBe(409)
    const viewer = await peer()
    viewer.addTransceiver('audio', { direction: 'recvonly' })
    const watched = await signal(viewer, `${base}/rtc/v1/whep/?app=live&stream=s`)
    expect(watched.status).toBe(201)
    const location = published.headers.get('location') ?? ''
    expect(location).toMatch(/^\/rtc\/v1\/whip\/\?action=delete&token=[0-9a-f]{32}&app=live&stream=s$/)
    expect((await fetch(base + location, { method: 'DELETE' })).status).toBe(200)
    expect(await (await fetch(`${base}/api/v1/streams`)).json()).toEqual([])
    expect((await fetch(base + (watched.headers.get('location') ?? ''), { method: 'DELETE' })).status).toBe(
      404,
    )
    expect((await fetch(base + location, { method: 'DELETE' })).status).toBe(404)
    const third = await peer()
    third.addTransceiver('audio', { direction: 'sendonly' })
    expect((await signal(third, url)).status).toBe(201)
  })

  test('peers that send no checks are gone after the idle time, and the bound on peers holds', async () => {
    const clock = new ManualClock()
    const { ports } = await origin({ clock, maxPeers: 1 })
    const base = `http://127.0.0.1:${ports.http}`
    const silent = await peer()
    silent.addTransceiver('audio', { direction: 'sendonly' })
    await silent.setLocalDescription(await silent.createOffer())
    const publish = (stream: string): Promise<Response> =>
      fetch(`${base}/rtc/v1/whip/?app=live&stream=${stream}`, {
        method: 'POST',
        body: silent.localDescription?.sdp ?? '',
      })
    expect((await publish('a')).status).toBe(201)
    expect((await publish('b')).status).toBe(503)
    clock.advance(20_000)
    await until(() => clock.pending === 1)
    expect(await (await fetch(`${base}/api/v1/streams`)).json()).toEqual([])
    expect((await publish('b')).status).toBe(201)
  })
})

test('close leaves no socket, server or timer', async () => {
  const held = openHandles()
  await using registration = await new FakeRegistration().start()
  const clock = new ManualClock()
  const server = await startOrigin({ clock, registerUrl: registration.url })
  const publisher = new RtmpClient(server.ports.rtmp, 'publish', 's')
  await until(() => publisher.isReady)
  const waiting = new RtmpClient(server.ports.rtmp, 'play', 'none')
  const viewer = await FlvClient.open(server.ports.http, '/live/s.flv')
  const silent = await browserPeer()
  silent.addTransceiver('audio', { direction: 'sendonly' })
  expect(
    (await signal(silent, `http://127.0.0.1:${server.ports.http}/rtc/v1/whip/?app=a&stream=s`)).status,
  ).toBe(201)
  const timers = clock.pending
  const undecided = connect(server.ports.rtmp, '127.0.0.1')
  undecided.on('error', () => undefined)
  await until(() => clock.pending > timers)
  await server.close()
  await server.close()
  expect(clock.pending).toBe(0)
  await until(
    () => publisher.socket.closed && waiting.socket.closed && undecided.closed && viewer.response.destroyed,
  )
  await silent.close()
  await registration[Symbol.asyncDispose]()
  await until(() => openHandles() <= held)
})
