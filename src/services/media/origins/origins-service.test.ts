import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { MemoryBalancerStore, streamKeyOf } from '../../../mechanisms/balancer/index.ts'
import { makeCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { OriginsService, type OriginsServiceOptions } from './origins-service.ts'
import type { StaticOrigin } from './static-origin.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open(options: Partial<OriginsServiceOptions> = {}) {
  const clock = new ManualClock()
  const store = new MemoryBalancerStore({ clock, heartbeatTtlMs: 60_000 })
  const registry = new Registry()
  const lines: Record<string, unknown>[] = []
  const service = new OriginsService({
    balancer: store,
    logger: pino({ base: null, level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    registry,
    streamKeyOf: ({ vhost, app, stream }) => streamKeyOf(vhost, app, stream),
    clock,
    ...options,
  })
  closers.push(() => service.close())
  await service.start()
  const metric = async (name: string, result: string): Promise<number | undefined> => {
    const values = (await registry.getSingleMetric(name)?.get())?.values ?? []
    return values.find(({ labels }) => labels['result'] === result)?.value
  }
  /** What runs now has ended when it has waited for its next turn; then time goes on until that comes. */
  const nextRound = async (timers = 1): Promise<void> => {
    clock.advance(clock.dueInMs ?? 0)
    await settled(clock, timers)
  }
  const state = async (): Promise<string | undefined> => (await store.list())[0]?.state
  return { clock, store, service, lines, metric, nextRound, state }
}

/** All that runs has ended: nothing waits but the timers of the next rounds, each of them 1 s away or more. */
async function settled(clock: ManualClock, timers = 1): Promise<void> {
  await vi.waitFor(
    () => {
      expect(clock.pending).toBe(timers)
      expect(clock.dueInMs).toBeGreaterThanOrEqual(INTERVAL_MS)
    },
    { timeout: 10_000, interval: 5 },
  )
}

const INTERVAL_MS = 10_000
/** Shorter than the interval, so that a check which runs cannot be taken for one that is over. */
const TIMEOUT_MS = 3000

async function listen(server: Server | TcpServer, port = 0): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  closers.push(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** An HTTP server, with the requests it got. */
async function httpOrigin(
  listener: RequestListener,
): Promise<{ port: number; seen: IncomingMessage[]; server: Server }> {
  const seen: IncomingMessage[] = []
  const server = createServer((request, response) => {
    seen.push(request)
    listener(request, response)
  })
  closers.push(() => server.closeAllConnections())
  return { port: await listen(server), seen, server }
}

function nginx(port: number, given: Partial<StaticOrigin> = {}): StaticOrigin {
  const urls = { rtmp: `rtmp://HOST:${port}/{app}/{stream}`, hls: false } as const
  return { name: 'nginx', kind: 'nginx-rtmp', host: '127.0.0.1', urls, ...given }
}

describe('static origins', () => {
  it('are registered at start, before any check, and serve picks', async () => {
    const silent = await httpOrigin(() => {})
    const check = `http://127.0.0.1:${silent.port}/health`
    const { store } = await open({ origins: [nginx(1, { check, weight: 2 })] })
    expect(await store.list()).toMatchObject([
      { id: 'nginx-static-0', kind: 'nginx-rtmp', state: 'healthy', weight: 2, rtmp: [] },
    ])
    const claim = await store.pick(streamKeyOf('', 'live', 's'), 'rtmp', { role: 'publish' })
    expect(claim.origin.server).toBe('nginx')
  })

  it('a check by TCP keeps one healthy past the heartbeat TTL, and a port that closes makes it suspect', async () => {
    const server = createTcpServer((socket) => socket.on('error', () => {}))
    const port = await listen(server)
    const { clock, store, lines, metric, nextRound, state } = await open({ origins: [nginx(port)] })
    await settled(clock)
    for (let round = 0; round < 9; round++) await nextRound()
    expect(await state()).toBe('healthy')
    expect(await metric('sluice_origin_checks_total', 'passed')).toBe(10)
    await new Promise((resolve) => server.close(resolve))
    await nextRound()
    expect(await state()).toBe('healthy')
    await nextRound()
    expect(await state()).toBe('suspect')
    await nextRound()
    expect(lines.filter(({ msg }) => msg === 'origin fails its checks')).toMatchObject([
      { origin: 'nginx-static-0', failure: 'ECONNREFUSED' },
    ])
    const again = createTcpServer((socket) => socket.on('error', () => {}))
    await listen(again, port)
    await nextRound()
    expect(await state()).toBe('healthy')
    expect(lines.at(-1)).toMatchObject({ msg: 'origin passes its checks again' })
    expect(await store.list()).toHaveLength(1)
  })

  it.each([
    [204, 'healthy'],
    [302, 'healthy'],
    [401, 'healthy'],
    [404, 'suspect'],
    [503, 'suspect'],
  ])('a check by HTTP that is answered %s makes it %s', async (status, expected) => {
    const { port, seen } = await httpOrigin((_, response) => response.writeHead(status).end('x'))
    const check = `http://127.0.0.1:${port}/health?x=1`
    const { clock, state } = await open({ origins: [nginx(1, { check, checkFailures: 1 })] })
    await settled(clock)
    expect(await state()).toBe(expected)
    expect([seen[0]?.method, seen[0]?.url]).toEqual(['GET', '/health?x=1'])
  })

  it('a check that is not answered fails after its time, and the next one comes all the same', async () => {
    let isDown = true
    const { port, seen } = await httpOrigin((_, response) => {
      if (!isDown) response.end()
    })
    const check = `http://127.0.0.1:${port}/`
    const { clock, state, lines } = await open({ origins: [nginx(1, { check, checkFailures: 1 })] })
    await eventually(() => expect(seen).toHaveLength(1))
    clock.advance(TIMEOUT_MS)
    await settled(clock)
    expect(await state()).toBe('suspect')
    expect(lines.at(-1)).toMatchObject({ failure: 'ORIGINS_TIMEOUT' })
    isDown = false
    clock.advance(INTERVAL_MS)
    await settled(clock)
    expect(await state()).toBe('healthy')
  })

  it('HTTPS is checked with its certificate', async () => {
    const certificate = await makeCertificate()
    const server = createSecureServer(certificate, (_, response) => response.end())
    closers.push(() => server.closeAllConnections())
    const check = `https://127.0.0.1:${await listen(server)}/`
    const origins = [nginx(1, { check, checkFailures: 1 })]
    const trusted = await open({ origins, tls: { ca: certificate.cert } })
    await settled(trusted.clock)
    expect(await trusted.state()).toBe('healthy')
    const untrusted = await open({ origins })
    await settled(untrusted.clock)
    expect(await untrusted.state()).toBe('suspect')
  })

  it('an answer without end is a good one, and is cut', async () => {
    const { port } = await httpOrigin((_, response) => {
      const more = (): void => {
        if (response.writable) response.write(Buffer.alloc(16_384), more)
      }
      response.on('error', () => {})
      more()
    })
    const { clock, state } = await open({ origins: [nginx(1, { check: `http://127.0.0.1:${port}/` })] })
    await settled(clock)
    expect(await state()).toBe('healthy')
  })

  it('one that is not checked is announced all the same', async () => {
    const { clock, nextRound, state } = await open({ origins: [nginx(1, { check: false })] })
    await settled(clock)
    for (let round = 0; round < 9; round++) await nextRound()
    expect(await state()).toBe('healthy')
  })

  it('where the table of origins is full, it says so and goes on trying', async () => {
    const clock = new ManualClock()
    const store = new MemoryBalancerStore({ clock, maxOrigins: 1 })
    const { lines } = await open({
      balancer: store,
      clock,
      origins: [nginx(1, { check: false }), nginx(2, { name: 'second', check: false })],
    })
    await settled(clock, 2)
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'origin not announced', code: 'BALANCER_TOO_MANY_ORIGINS' }),
    )
    await store.remove((await store.list())[0]?.id ?? ('' as never))
    clock.advance(INTERVAL_MS)
    await settled(clock, 2)
    expect(await store.list()).toHaveLength(1)
  })

  it('closing leaves no timer and no check, also when called in the middle of one', async () => {
    const { port, seen } = await httpOrigin(() => {})
    const { clock, service } = await open({ origins: [nginx(1, { check: `http://127.0.0.1:${port}/` })] })
    await eventually(() => expect(seen).toHaveLength(1))
    await service.close()
    await service.close()
    await eventually(() => expect(clock.pending).toBe(0))
    await service.start()
    await eventually(() => expect(seen).toHaveLength(2))
  })

  it('two of one name, and one at fault, are refused', async () => {
    await expect(open({ origins: [nginx(1), nginx(2)] })).rejects.toMatchObject({
      code: 'ORIGINS_NAME_TAKEN',
    })
    await expect(open({ origins: [nginx(0)] })).rejects.toMatchObject({ code: 'ORIGINS_BAD_URL' })
  })
})

describe('other static origins', () => {
  it('the difference is applied: added, changed and removed, the rest untouched', async () => {
    const same = await httpOrigin((_, response) => response.end())
    const kept = nginx(1, { name: 'kept', check: `http://127.0.0.1:${same.port}/` })
    const { clock, store, service, lines } = await open({
      origins: [
        kept,
        nginx(2, { name: 'changed', check: false }),
        nginx(3, { name: 'removed', check: false }),
      ],
    })
    await settled(clock, 3)
    const key = streamKeyOf('', 'live', 's')
    await store.pin(key, (await store.list())[2]?.id ?? ('' as never))
    await (await store.pick(key, 'rtmp', { role: 'publish' })).keep()
    await service.prepareUpdate([
      kept,
      nginx(2, { name: 'changed', check: false, weight: 5 }),
      nginx(4, { name: 'added', check: false }),
    ])()
    await settled(clock, 3)
    expect((await store.list()).map(({ server, weight }) => [server, weight])).toEqual([
      ['kept', undefined],
      ['changed', 5],
      ['added', undefined],
    ])
    expect(await store.streams()).toEqual([])
    expect(same.seen).toHaveLength(1)
    expect(
      lines.flatMap(({ msg, origin }) =>
        String(msg).startsWith('static') ? [`${String(origin)} ${String(msg)}`] : [],
      ),
    ).toEqual([
      'removed-static-0 static origin removed',
      'changed-static-0 static origin changed',
      'added-static-0 static origin added',
    ])
  })

  it('with one at fault nothing changes', async () => {
    const { clock, store, service } = await open({ origins: [nginx(1, { check: false })] })
    await settled(clock)
    expect(() => service.prepareUpdate([nginx(0)])).toThrow(
      expect.objectContaining({ code: 'ORIGINS_BAD_URL' }),
    )
    expect(await store.list()).toHaveLength(1)
    expect(clock.pending).toBe(1)
  })
})

/** What an SRS lists. */
function srsStreams(...names: readonly string[]): object {
  return {
    code: 0,
    server: 'vid-1',
    streams: [
      ...names.map((name) => ({
        id: `vid-${name}`,
        name,
        vhost: 'vid-0',
        app: 'live',
        url: `/live/${name}`,
        clients: 1,
        publish: { active: true, cid: 'x' },
      })),
      { name: 'idle', vhost: 'vid-0', app: 'live', url: '/live/idle', publish: { active: false } },
      { name: 'own', vhost: 'vid-2', app: 'live', url: 'cdn.example/live/own', publish: { active: true } },
      { name: '..', vhost: 'vid-0', app: 'live', publish: { active: true } },
    ],
  }
}

const FOLLOW: Partial<StaticOrigin> = { check: false, followIntervalMs: INTERVAL_MS }
const followed = async (store: MemoryBalancerStore): Promise<readonly string[]> =>
  (await store.streams()).flatMap(({ key, isFollowed }) => (isFollowed ? [key] : [])).sort()

describe('streams that are published past the gateways', () => {
  it('are followed at an SRS that announced itself, and no more once it does not list them', async () => {
    let names = ['a', 'b']
    const { port, seen } = await httpOrigin((_, response) =>
      response.end(JSON.stringify(srsStreams(...names))),
    )
    const { clock, store, metric, nextRound } = await open({ followIntervalMs: INTERVAL_MS })
    await settled(clock)
    const lists = { rtmp: [1], http: [], srt: [], rtc: [], api: [port] }
    await store.announce({ ip: '127.0.0.1', server: 'srs', service: 's', pid: '1', ...lists })
    await nextRound()
    expect(await followed(store)).toEqual([
      '__defaultVhost__/live/a',
      '__defaultVhost__/live/b',
      'cdn.example/live/own',
    ])
    expect(seen[0]?.url).toBe('/api/v1/streams?start=0&count=1000')
    names = ['b', 'c']
    await nextRound()
    expect(await followed(store)).toEqual([
      '__defaultVhost__/live/b',
      '__defaultVhost__/live/c',
      'cdn.example/live/own',
    ])
    await store.clearPick(streamKeyOf('', 'live', 'c'))
    await nextRound()
    expect(await followed(store)).toContain('__defaultVhost__/live/c')
    expect(await metric('sluice_origin_polls_total', 'ok')).toBe(3)
    await store.remove((await store.list())[0]?.id ?? ('' as never))
    await nextRound()
    expect(seen).toHaveLength(3)
  })

  it('are asked for by the gateway whose turn it is', async () => {
    const { port, seen } = await httpOrigin((_, response) => response.end(JSON.stringify(srsStreams('a'))))
    let isAsker = false
    const { clock, store, nextRound } = await open({
      followIntervalMs: INTERVAL_MS,
      isAsker: () => isAsker,
    })
    await settled(clock)
    const lists = { rtmp: [1], http: [], srt: [], rtc: [], api: [port] }
    await store.announce({ ip: '127.0.0.1', server: 'srs', service: 's', pid: '1', ...lists })
    await nextRound()
    expect(seen).toHaveLength(0)
    isAsker = true
    await nextRound()
    expect(await followed(store)).toContain('__defaultVhost__/live/a')
  })

  it('of many streams every page is asked for', async () => {
    const all = [
      ...Array.from({ length: 1498 }, (_, at) => ({ name: `app/${at}`, ready: true, source: {} })),
      { name: 'app/newer', ready: true, available: true, online: true },
      { name: 'app/placeholder', ready: true, available: true, online: false },
    ]
    const { port, seen } = await httpOrigin((request, response) => {
      const page = Number(new URL(request.url ?? '', 'http://h').searchParams.get('page'))
      response.end(
        JSON.stringify({ itemCount: 1500, pageCount: 2, items: all.slice(page * 1000, page * 1000 + 1000) }),
      )
    })
    const api = `http://me:secret@127.0.0.1:${port}`
    const { clock, store } = await open({
      origins: [{ name: 'm', kind: 'mediamtx', host: '127.0.0.1', api, ...FOLLOW }],
    })
    await settled(clock, 2)
    expect(await followed(store)).toHaveLength(1499)
    expect(await followed(store)).toContain('__defaultVhost__/app/newer')
    expect(seen.map(({ url, headers }) => [url, headers.authorization])).toEqual(
      [0, 1].map((page) => [
        `/v3/paths/list?itemsPerPage=1000&page=${page}`,
        `Basic ${Buffer.from('me:secret').toString('base64')}`,
      ]),
    )
  })

  it.each<[string, RequestListener]>([
    ['no JSON', (_, response) => response.end('<html>')],
    ['another object', (_, response) => response.end('{"streams":{}}')],
    ['a refusal', (_, response) => response.writeHead(401).end('{}')],
    ['an answer too large', (_, response) => response.end(`"${'x'.repeat(17 * 1024 * 1024)}"`)],
    ['an end', (request) => request.socket.destroy()],
  ])('%s changes nothing, and is logged once', async (_what, bad) => {
    let answer: RequestListener = (_, response) => response.end(JSON.stringify(srsStreams('a')))
    const { port } = await httpOrigin((request, response) => answer(request, response))
    const { clock, store, lines, metric, nextRound } = await open({
      origins: [{ name: 's', kind: 'srs', host: '127.0.0.1', ports: { api: port }, ...FOLLOW }],
    })
    await settled(clock, 2)
    const before = await followed(store)
    expect(before).toContain('__defaultVhost__/live/a')
    answer = bad
    await nextRound(2)
    await nextRound(2)
    expect(await followed(store)).toEqual(before)
    expect(await metric('sluice_origin_polls_total', 'failed')).toBe(2)
    expect(lines.filter(({ msg }) => msg === 'origin does not list its streams')).toHaveLength(1)
  })

  it('an origin that does not answer is asked once at a time, until its time is over', async () => {
    const { port, seen } = await httpOrigin(() => {})
    const { clock, lines } = await open({
      origins: [{ name: 's', kind: 'srs', host: '127.0.0.1', ports: { api: port }, ...FOLLOW }],
    })
    await eventually(() => expect(seen).toHaveLength(1))
    clock.advance(TIMEOUT_MS)
    await eventually(() =>
      expect(lines.at(-1)).toMatchObject({
        msg: 'origin does not list its streams',
        code: 'ORIGINS_TIMEOUT',
      }),
    )
    expect(seen).toHaveLength(1)
    await eventually(() => expect(clock.pending).toBe(2))
    clock.advance(INTERVAL_MS)
    await eventually(() => expect(seen).toHaveLength(2))
  })

  it('players go where a stream was published directly', async () => {
    const { port } = await httpOrigin((_, response) => response.end(JSON.stringify(srsStreams('a'))))
    const { clock, store } = await open({
      origins: [
        { name: 'other', kind: 'srs', host: '127.0.0.2', check: false },
        { name: 's', kind: 'srs', host: '127.0.0.1', ports: { api: port }, ...FOLLOW },
      ],
    })
    await settled(clock, 3)
    for (let time = 0; time < 10; time++) {
      const claim = await store.pick(streamKeyOf('', 'live', 'a'), 'flv', { role: 'play' })
      expect(claim.origin.server).toBe('s')
      await claim.release()
    }
  })
})
