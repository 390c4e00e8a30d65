import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SluiceError } from '../../../foundation/errors.ts'
import { commandMessage, MessageType } from '../../../protocols/rtmp/index.ts'
import type { RtmpService } from './rtmp-service.ts'
import { type TestClient, until, untilStill, videoMessage } from './rtmp-service.testkit.ts'
import { FakeAccess, RtmpStage } from './rtmp-stage.testkit.ts'

let stage: RtmpStage
let access: FakeAccess

beforeEach(() => {
  stage = new RtmpStage()
  access = new FakeAccess()
})

afterEach(async () => {
  await stage[Symbol.asyncDispose]()
  // Whoever was let in was let go, once.
  expect(access.ended.every((times) => times === 1)).toBe(true)
})

const refusal = (code: string, message: string): SluiceError =>
  new SluiceError(code, message, { side: 'client', retryable: false })

describe('who is asked', () => {
  test('access hears all that speaks for a client, before an origin is picked', async () => {
    await stage.origin('a')
    const service = await stage.service({ access })
    let pending = 0
    access.decide = () => void (pending = stage.store.stats().pendingPicks)
    await stage
      .client(service, {
        action: 'play',
        tcUrl: 'rtmp://edge.example/live?key=outer&app=1',
        streamName: 's?token=inner',
        connectProperties: { pageUrl: 'https://page.example/' },
      })
      .untilReady()
    expect(access.requests).toEqual([
      {
        protocol: 'rtmp',
        role: 'play',
        key: '__defaultVhost__/live/s',
        address: '127.0.0.1',
        query: 'token=inner&key=outer&app=1',
        tcUrl: 'rtmp://edge.example/live',
        pageUrl: 'https://page.example/',
        sessionId: service.listSessions()[0]?.id,
        signal: expect.any(AbortSignal),
      },
    ])
    expect(pending).toBe(0)
    expect(service.listSessions()[0]?.address).toBe('127.0.0.1')
  })

  test('a client without tcUrl has one made of its app', async () => {
    await stage.origin('a')
    const service = await stage.service({ access })
    await stage.client(service, { tcUrl: '' }).untilReady()
    expect(access.requests[0]).toMatchObject({ tcUrl: 'rtmp://__defaultVhost__/live', query: '' })
    expect(access.requests[0]).not.toHaveProperty('pageUrl')
  })

  test('one that leaves while access thinks is let go', async () => {
    const origin = await stage.origin('a')
    const service = await stage.service({ access })
    let decide = (): void => {}
    access.decide = () => new Promise((resolve) => (decide = resolve))
    const client = stage.client(service)
    await until(() => access.requests.length === 1)
    client.socket.destroy()
    await until(() => access.requests[0]?.signal?.aborted === true)
    decide()
    await until(() => access.ended[0] === 1)
    expect(origin.sockets.size).toBe(0)
    expect(await stage.errorCount('RTMP_CLIENT_GONE')).toBe(1)
  })
})

describe('a refusal', () => {
  test.each([
    ['publish', 'NetStream.Publish.Denied'],
    ['play', 'NetStream.Play.Failed'],
  ] as const)('of %s is told as %s with its reason, and no origin hears of it', async (action, code) => {
    const origin = await stage.origin('a')
    const service = await stage.service({ access })
    access.decide = () => {
      throw refusal('ACCESS_CREDENTIALS_WRONG', 'the token has expired')
    }
    const client = stage.client(service, { action })
    await until(() => client.isClosed)
    expect(client.refusal).toMatchObject({ code, description: 'the token has expired' })
    expect(origin.sockets.size).toBe(0)
    expect(access.ended).toEqual([])
    expect(await stage.errorCount('ACCESS_CREDENTIALS_WRONG')).toBe(1)
  })

  test('that is none of access tells nothing of the inside', async () => {
    const service = await stage.service({ access })
    access.decide = () => {
      throw new Error('redis at 10.0.0.7 is away')
    }
    const client = stage.client(service)
    await until(() => client.isClosed)
    expect(client.refusal?.description).toBe('no origin can serve the stream now')
  })

  test('by the origin lets the client go as well', async () => {
    await stage.origin('a', {
      answer: ({ dialogue }) => dialogue.refuse('NetStream.Publish.BadName', 'in use'),
    })
    const service = await stage.service({ access })
    const client = stage.client(service)
    await until(() => client.isClosed)
    expect(access.ended).toEqual([1])
  })
})

describe('the end of an admission', () => {
  test('ends a stream that runs', async () => {
    await stage.origin('a')
    const service = await stage.service({ access })
    const client = await stage.client(service).untilReady()
    access.endings[0]?.abort(refusal('ACCESS_EXPIRED', 'the token has run out'))
    await until(() => client.isClosed)
    await until(() => service.listSessions().length === 0)
    expect(await stage.errorCount('ACCESS_EXPIRED')).toBe(1)
  })

  test('ends a client whose origin has not answered yet', async () => {
    const silent = await stage.origin('a', { raw: (socket) => socket.resume() })
    const service = await stage.service({ access })
    const client = stage.client(service)
    await until(() => silent.sockets.size === 1)
    access.endings[0]?.abort(refusal('ACCESS_EXPIRED', 'the token has run out'))
    await until(() => client.isClosed)
    expect(await stage.errorCount('ACCESS_EXPIRED')).toBe(1)
    await until(() => stage.store.stats().pendingPicks === 0)
  })
})

describe('a bandwidth limit', () => {
  test.each(['publish', 'play'] as const)(
    'makes media to or from one who wants to %s wait',
    async (action) => {
      const origin = await stage.origin('a')
      const service = await stage.service({ access })
      let charged = 0
      let waits = 0
      access.limits = [10, 500].map((waitMs) => ({
        id: `limit ${waitMs}`,
        bytesPerSecond: 1,
        burstBytes: 1,
        charge: (bytes) => {
          charged += bytes
          waits++
          return waitMs
        },
      }))
      const client = await stage.client(service, { action }).untilReady()
      const visit = origin.visits[0]!
      const [from, to] = action === 'publish' ? [client, visit] : [visit, client]
      const videos = (): number => to.messages.filter(({ type }) => type === MessageType.video).length
      for (let index = 0; index < 20; index++) from.send(videoMessage(index, Buffer.alloc(10_000)))
      await until(() => charged > 0)
      expect(videos()).toBeLessThan(20)
      // The shorter wait changes nothing.
      const before = waits
      stage.clock.advance(499)
      await untilStill(() => charged)
      expect(waits).toBe(before)
      while (videos() < 20) {
        stage.clock.advance(500)
        await untilStill(() => charged)
      }
      expect(charged).toBeGreaterThan(2 * 200_000)
    },
  )
})

describe('a second stream on one connection', () => {
  async function secondStream(service: RtmpService, name: string, client: TestClient): Promise<void> {
    client.send(commandMessage({ name, transactionId: 9, args: [null, 'other'] }, 1))
    await until(() => client.statuses.includes(statuses[name] ?? ''))
    expect(service.listSessions()).toHaveLength(1)
  }
  const statuses: Readonly<Record<string, string>> = {
    publish: 'NetStream.Publish.Denied',
    play: 'NetStream.Play.Failed',
  }

  test.each(['publish', 'play'] as const)(
    'is refused when %s asks for it, and the first goes on',
    async (name) => {
      const origin = await stage.origin('a')
      const service = await stage.service({ access })
      const client = await stage.client(service).untilReady()
      await secondStream(service, name, client)
      client.send(videoMessage(7, Buffer.alloc(1000)))
      client.send(commandMessage({ name: 'FCUnpublish', transactionId: 10, args: [null, 's'] }))
      const visit = origin.visits[0]!
      await until(() => visit.messages.length === 2)
      expect(visit.messages.map(({ type }) => type)).toEqual([MessageType.video, MessageType.command])
      expect(access.requests).toHaveLength(1)
    },
  )

  test('asked for again and again ends the connection', async () => {
    await stage.origin('a')
    const service = await stage.service({ access })
    const client = await stage.client(service).untilReady()
    const ask = commandMessage({ name: 'play', transactionId: 9, args: [null, 'other'] }, 1)
    for (let count = 0; count < 100 && !client.isClosed; count++) client.send(ask)
    await until(() => client.isClosed)
    expect(await stage.errorCount('RTMP_SECOND_STREAM')).toBe(1)
  })

  test('sent with the first request, before there was an answer, is refused as well', async () => {
    const origin = await stage.origin('a')
    const service = await stage.service({ access })
    let decide = (): void => {}
    access.decide = () => new Promise((resolve) => (decide = resolve))
    const client = stage.client(service)
    await until(() => access.requests.length === 1)
    client.send(commandMessage({ name: 'publish', transactionId: 9, args: [null, 'other', 'live'] }, 1))
    decide()
    await until(() => client.statuses.includes('NetStream.Publish.Denied') || client.refusal !== undefined)
    expect(origin.visits[0]?.messages).toEqual([])
  })
})
