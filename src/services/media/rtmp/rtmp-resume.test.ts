import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Claim } from '../../../mechanisms/balancer/index.ts'
import { commandMessage, MessageType, type RtmpMessage } from '../../../protocols/rtmp/index.ts'
import type { RtmpServiceOptions } from './options.ts'
import type { RtmpService } from './rtmp-service.ts'
import {
  chunksOf,
  type FakeOrigin,
  type OriginVisit,
  type TestClient,
  until,
} from './rtmp-service.testkit.ts'
import { RtmpStage } from './rtmp-stage.testkit.ts'

let stage: RtmpStage

beforeEach(() => {
  stage = new RtmpStage()
})

afterEach(() => stage[Symbol.asyncDispose]())

const play = { action: 'play' } as const

/** AVC: set-up of the decoder, and a picture. */
const header = (timestamp: number): RtmpMessage => avc(timestamp, [0x17, 0, 0, 0, 0], 40)
const picture = (timestamp: number, length = 2000): RtmpMessage => avc(timestamp, [0x17, 1, 0, 0, 0], length)

function avc(timestamp: number, start: readonly number[], length: number): RtmpMessage {
  const payload = Buffer.concat([Buffer.from(start), Buffer.alloc(length - start.length, timestamp & 0xff)])
  return { chunkStreamId: 6, type: MessageType.video, streamId: 1, timestamp, payload }
}

async function visitOf(origin: FakeOrigin, count = 1): Promise<OriginVisit> {
  await until(() => origin.visits.length === count)
  return origin.visits[count - 1]!
}

/** Until the service waits for its next search for an origin. */
const untilPause = (ms: number): Promise<void> => until(() => stage.clock.dueInMs === ms)

const times = (client: TestClient): readonly number[] => client.media.map(({ timestamp }) => timestamp)

describe('a player whose origin dies', () => {
  test('is joined to another, with times that go on, and hears of nothing but the media', async () => {
    const first = await stage.origin('a')
    const second = await stage.origin('b')
    const service = await stage.service({ resumeMs: 10_000 })
    const player = await stage.client(service, play).untilReady()
    const before = await visitOf(first)
    for (const message of [header(0), picture(900_000), picture(900_040)]) before.send(message)
    // A third that it does not finish.
    before.socket.write(chunksOf(picture(900_080, 5000), 65_536).subarray(0, 3000))
    await until(() => player.media.length === 3)
    await until(() => service.listSessions()[0]!.bytesOut > 3000 + 4000)
    await first[Symbol.asyncDispose]()

    const after = await visitOf(second)
    expect(after.request).toMatchObject({ action: 'play', streamName: 's' })
    const sent = [header(0), picture(5000), { ...picture(5020, 70_000), chunkStreamId: 4 }, picture(5040)]
    for (const message of sent) after.send(message)
    await until(() => player.media.length === 8)
    expect(times(player)).toEqual([0, 900_000, 900_040, 900_080, 900_080, 900_081, 900_101, 900_121])
    expect(player.media[3]?.payload.length).toBe(5000)
    expect(player.media.slice(4).map(({ payload }) => payload)).toEqual(sent.map(({ payload }) => payload))
    expect(player.statuses).toEqual(['NetStream.Play.Reset', 'NetStream.Play.Start'])
    expect(service.listSessions()).toMatchObject([{ role: 'play', originId: 'b-s-1' }])
    expect(await stage.store.streams()).toMatchObject([{ originId: 'b-s-1', players: 1 }])
    expect(await stage.errorCount('RTMP_BROKEN')).toBe(1)

    player.send(commandMessage({ name: 'pause', transactionId: 0, args: [null, true, 0] }, 1))
    await until(() => after.messages.length === 1)
    expect(after.messages[0]).toMatchObject({ type: MessageType.command, streamId: 1 })
  })

  test('is joined to the same one when that is there again, time after time', async () => {
    const origin = await stage.origin('a')
    const service = await stage.service({ resumeMs: 10_000 })
    const player = await stage.client(service, play).untilReady()
    for (let round = 1; round <= 12; round++) {
      const visit = await visitOf(origin, round)
      visit.send(picture(round % 2 === 0 ? 7000 : 100))
      await until(() => player.media.length === round)
      if (round % 3 === 0) visit.socket.end()
      else visit.socket.resetAndDestroy()
    }
    expect(times(player)).toEqual(Array.from({ length: 12 }, (_, index) => 100 + index))
    await until(() => !player.isClosed && service.listSessions().length === 1)
  })

  test('looks again and again until one gives the stream', async () => {
    const first = await stage.origin('a')
    const service = await stage.service({ resumeMs: 10_000 })
    const player = await stage.client(service, play).untilReady()
    await first[Symbol.asyncDispose]()
    const refusing = await stage.origin('b', {
      answer: ({ dialogue }) => dialogue.refuse('NetStream.Play.StreamNotFound', 'not yet'),
    })
    for (const pauseMs of [500, 1000, 2000]) {
      const seen = refusing.visits.length
      await untilPause(pauseMs)
      stage.clock.advance(pauseMs)
      await until(() => refusing.visits.length > seen)
    }
    await untilPause(4000)
    await stage.store.remove((await stage.store.list()).find(({ server }) => server === 'b')!.id)
    const third = await stage.origin('c')
    stage.clock.advance(4000)
    const visit = await visitOf(third)
    visit.send(picture(1))
    await until(() => player.media.length === 1)
    expect(times(player)).toEqual([1])
  })

  test('is cut when none does in time', async () => {
    const first = await stage.origin('a')
    const service = await stage.service({ resumeMs: 2000 })
    const player = await stage.client(service, play).untilReady()
    await first[Symbol.asyncDispose]()
    await untilPause(500)
    stage.clock.advance(500)
    await untilPause(1000)
    stage.clock.advance(1000)
    await until(() => stage.clock.dueInMs === 500)
    stage.clock.advance(499)
    expect(player.isClosed).toBe(false)
    stage.clock.advance(1)
    await until(() => player.isClosed)
    await until(() => service.listSessions().length === 0)
    expect(await stage.errorCount('RTMP_NOT_RESUMED')).toBe(1)
    expect(await stage.store.streams()).toEqual([])
  })

  test.each(['leaves', 'is kicked', 'is closed with the service'])(
    'and who %s meanwhile is gone',
    async (how) => {
      const first = await stage.origin('a')
      const silent = await stage.origin('b', { raw: (socket) => socket.resume() })
      const service = await stage.service({ resumeMs: 60_000 })
      const player = await stage.client(service, play).untilReady()
      await first[Symbol.asyncDispose]()
      await until(() => silent.sockets.size === 1)
      if (how === 'leaves') player.socket.destroy()
      else if (how === 'is kicked') service.kickSession(service.listSessions()[0]!.id)
      else void service.close()
      await until(() => player.isClosed && service.listSessions().length === 0)
      await until(() => [...silent.sockets].every((socket) => socket.readableEnded || socket.destroyed))
      await until(() => stage.clock.pending === 0)
      expect(stage.store.stats().pendingPicks).toBe(0)
    },
  )

  test('is cut when nothing else was asked for', async () => {
    const first = await stage.origin('a')
    await stage.origin('b')
    const service = await stage.service()
    const player = await stage.client(service, play).untilReady()
    await first[Symbol.asyncDispose]()
    await until(() => player.isClosed)
  })
})

test('a publisher whose origin dies is cut, so that it comes back and says anew what decoders need', async () => {
  const first = await stage.origin('a')
  const second = await stage.origin('b')
  const service = await stage.service({ resumeMs: 10_000 })
  const publisher = await stage.client(service).untilReady()
  await first[Symbol.asyncDispose]()
  await until(() => publisher.isClosed)
  await stage.client(service).untilReady()
  expect(second.visits).toHaveLength(1)
})

describe('a player whose stream has moved', () => {
  /** A balancer that tells when the test says so. */
  async function serviceThatMoves(
    options: Partial<RtmpServiceOptions>,
  ): Promise<{ service: RtmpService; move: () => void }> {
    let move = (): void => {}
    const { store } = stage
    const service = await stage.service({
      ...options,
      balancer: {
        async pick(...args): Promise<Claim> {
          const claim = await store.pick(...args)
          const keep: Claim['keep'] = (onMoved) => {
            move = onMoved ?? move
            return claim.keep()
          }
          return {
            origin: claim.origin,
            keep,
            release: () => claim.release(),
            failed: (how) => claim.failed(how),
          }
        },
      },
    })
    return { service, move: () => move() }
  }

  test('is cut, so that it comes back', async () => {
    await stage.origin('a')
    const { service, move } = await serviceThatMoves({})
    const player = await stage.client(service, play).untilReady()
    move()
    await until(() => player.isClosed)
    await until(() => service.listSessions().length === 0)
    expect(await stage.errorCount('RTMP_STREAM_MOVED')).toBe(1)
  })

  test('is led there when asked for', async () => {
    const first = await stage.origin('a')
    const { service, move } = await serviceThatMoves({ resumeMs: 10_000 })
    const player = await stage.client(service, play).untilReady()
    ;(await visitOf(first)).send(picture(50))
    await until(() => player.media.length === 1)
    const second = await stage.origin('b')
    const [origin] = await stage.store.list()
    await stage.store.drain(origin!.id, true)
    move()
    await until(() => first.visits[0]!.socket.destroyed || first.visits[0]!.socket.readableEnded)
    ;(await visitOf(second)).send(picture(9))
    await until(() => player.media.length === 2)
    expect(times(player)).toEqual([50, 51])
  })
})
