import * as fc from 'fast-check'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { SluiceError } from '../../../foundation/errors.ts'
import { MemoryBalancerStore, parseOriginEndpoint, streamKeyOf } from '../../../mechanisms/balancer/index.ts'
import { ask, sendRaw } from '../../../mechanisms/http-api/raw-http.testkit.ts'
import { parseAnnouncement } from './announcement.ts'
import { RegistrationService, type RegistrationServiceOptions } from './registration-service.ts'

const PATH = '/api/v1/srs/register'
/** As an SRS 7 origin posts it (reference: registration request). */
const SRS_BODY =
  '{"device_id":"origin1","ip":"127.0.0.1","server":"vid-13772xk","service":"3114493m","pid":"28955","rtmp":["19351"],"http":["8081"],"api":["19851"],"srt":["udp://0.0.0.0:10081"],"rtc":["udp://0.0.0.0:8001"]}'
const LEAST = { ip: '127.0.0.1', server: 's', service: 'v', pid: '1', rtmp: ['1935'] }

/** As an SRS posts it when a publisher comes or goes. */
const HOOK = {
  server_id: 's',
  service_id: 'v',
  client_id: '9o7g1330',
  ip: '127.0.0.1',
  vhost: '__defaultVhost__',
  app: 'live',
  tcUrl: 'rtmp://127.0.0.1/live',
  stream: 'cam',
  param: '?token=x',
  stream_url: '/live/cam',
  stream_id: 'vid-124q9y3',
}

const opened: RegistrationService[] = []
afterEach(async () => {
  for (const service of opened.splice(0)) await service.close()
})

async function open(options: Partial<RegistrationServiceOptions> = {}) {
  const clock = new ManualClock(Date.UTC(2026, 10, 21))
  const store = new MemoryBalancerStore({ clock })
  const lines: Record<string, unknown>[] = []
  const service = new RegistrationService({
    origins: store,
    logger: pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    registry: new Registry(),
    version: '1.2.3',
    streamKeyOf: ({ vhost, app, stream }) => streamKeyOf(vhost, app, stream),
    listen: { host: '127.0.0.1', port: 0 },
    clock,
    ...options,
  })
  opened.push(service)
  await service.start()
  lines.length = 0
  const postTo = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    ask(service.address, 'POST', path, {
      headers,
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
  const post = (body: unknown, headers?: Record<string, string>) => postTo(PATH, body, headers)
  const hook = (action: string, given: object = {}) =>
    postTo('/api/v1/srs/hooks', { ...HOOK, action, ...given })
  return { service, store, clock, lines, post, postTo, hook }
}

describe('registration', () => {
  it('answers what an SRS origin posts as the SRS proxy does', async () => {
    const { service, store, lines } = await open()
    const request = [
      `POST ${PATH} HTTP/1.1`,
      'Connection: close',
      `Content-Length: ${SRS_BODY.length}`,
      'Content-Type: application/json',
      `Host: 127.0.0.1:${service.address?.port}`,
      'User-Agent: SRS/7.0.18(Kai)',
      '',
      SRS_BODY,
    ].join('\r\n')
    const reply = await sendRaw(service.address, request)
    expect(reply.body).toBe(`{"code":0,"pid":"${process.pid}"}`)
    expect(reply.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(reply.head).toContain('\r\nContent-Type: application/json\r\n')
    expect(reply.head).toContain('\r\nServer: Sluice/1.2.3\r\n')
    expect(await store.list()).toMatchObject([
      {
        id: 'vid-13772xk-3114493m-28955',
        deviceId: 'origin1',
        ip: '127.0.0.1',
        rtmp: [19_351],
        http: [8081],
        api: [19_851],
        srt: [10_081],
        rtc: [8001],
      },
    ])
    expect(lines).toMatchObject([{ msg: 'origin registered', origin: 'vid-13772xk-3114493m-28955' }])
  })

  // Reference 2.3: URLs and addresses were promised in all lists, and bare numbers alone taken in most.
  it('listen texts of newer origins, RTC over TCP and summaries are taken', async () => {
    const { post, store } = await open()
    const body = {
      ...LEAST,
      rtmp: ['0.0.0.0:1935', '[::]:1936', 'tcp://127.0.0.1:1937', 'udp://:1'],
      http: [':8080', 'http://:8081', 'tcp:0.0.0.0:8082'],
      api: ['tcp://1985'],
      srt: ['10080', 'tcp://:1', 'udp://[::]:10081'],
      rtc: ['tcp://0.0.0.0:8000', 'udp://0.0.0.0:8001', 'udp:0.0.0.0:8002', 'udp://:0'],
      device_id: null,
      summaries: { data: Array.from({ length: 10_000 }, (_, at) => ({ at, text: 'a large object' })) },
    }
    expect((await post(body)).json).toEqual({ code: 0, pid: `${process.pid}` })
    expect(await store.list()).toMatchObject([
      {
        rtmp: [1935, 1936, 1937],
        http: [8080, 8081, 8082],
        api: [1985],
        srt: [10_080, 10_081],
        rtc: [8001, 8002, 0],
      },
    ])
  })

  it('an IPv6 address is taken with and without brackets', async () => {
    const { post, store } = await open()
    for (const ip of ['2001:db8::5', '[2001:db8::5]']) {
      expect((await post({ ...LEAST, ip })).status).toBe(200)
      expect(await store.list()).toMatchObject([{ ip: '2001:db8::5' }])
    }
  })

  it('method and content type do not matter, PUT is as good', async () => {
    const { service, post, store } = await open()
    await post(LEAST, { 'Content-Type': 'text/plain' })
    const put = await ask(service.address, 'PUT', PATH, {
      body: JSON.stringify({ ...LEAST, rtmp: ['1936'] }),
    })
    expect(put.status).toBe(200)
    expect(await store.list()).toMatchObject([{ rtmp: [1936] }])
  })

  it.each([
    ['no body', '', 'REGISTRATION_BAD_FIELD', 'ip'],
    ['no JSON', '{', 'REGISTRATION_BAD_BODY', ''],
    ['a list', '[]', 'REGISTRATION_BAD_BODY', ''],
    ['null', 'null', 'REGISTRATION_BAD_BODY', ''],
    ['no ip', { ...LEAST, ip: undefined }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['an ip with a path', { ...LEAST, ip: '127.0.0.1/x' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['an ip with a user', { ...LEAST, ip: 'a@b' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['the unspecified ip', { ...LEAST, ip: '0.0.0.0' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['the unspecified IPv6', { ...LEAST, ip: '::' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['a multicast ip', { ...LEAST, ip: '224.0.0.1' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['an unspecified IPv6 in brackets', { ...LEAST, ip: '[::]' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['a link-local IPv6', { ...LEAST, ip: 'fe80::1%eth0' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['half an ip', { ...LEAST, ip: '127.1' }, 'REGISTRATION_BAD_FIELD', 'ip'],
    ['an empty server', { ...LEAST, server: '' }, 'REGISTRATION_BAD_FIELD', 'server'],
    ['a number for pid', { ...LEAST, pid: 5 }, 'REGISTRATION_BAD_FIELD', 'pid'],
    ['a line end in service', { ...LEAST, service: 'a\nb' }, 'REGISTRATION_BAD_FIELD', 'service'],
    ['a long service', { ...LEAST, service: 'x'.repeat(256) }, 'REGISTRATION_BAD_FIELD', 'service'],
    ['a text for rtmp', { ...LEAST, rtmp: '1935' }, 'REGISTRATION_BAD_FIELD', 'rtmp'],
    ['numbers in rtmp', { ...LEAST, rtmp: [1935] }, 'REGISTRATION_BAD_FIELD', 'rtmp.0'],
    ['many endpoints', { ...LEAST, http: Array(65).fill('80') }, 'REGISTRATION_BAD_FIELD', 'http'],
    ['no endpoint text', { ...LEAST, api: ['x'] }, 'REGISTRATION_BAD_ENDPOINT', 'api'],
    ['port 0', { ...LEAST, rtmp: ['0'] }, 'REGISTRATION_BAD_ENDPOINT', 'rtmp'],
    ['a negative weight', { ...LEAST, weight: -1 }, 'REGISTRATION_BAD_FIELD', 'weight'],
    ['a weight that is text', { ...LEAST, weight: '2' }, 'REGISTRATION_BAD_FIELD', 'weight'],
    ['a zone with a line end', { ...LEAST, zone: 'a\nb' }, 'REGISTRATION_BAD_FIELD', 'zone'],
    ['no endpoints', { ...LEAST, rtmp: [] }, 'REGISTRATION_NO_ENDPOINT', 'empty rtmp'],
  ])('refuses %s with one JSON body', async (_what, body, code, message) => {
    const { post, store } = await open()
    const reply = await post(body)
    expect(reply.status).toBe(400)
    expect(reply.json).toEqual({
      code: 400,
      pid: `${process.pid}`,
      error: { code, message: expect.stringContaining(message) },
    })
    expect(await store.list()).toEqual([])
  })

  it('refuses a body over 1 MiB', async () => {
    const { post } = await open()
    expect((await post({ ...LEAST, summaries: 'x'.repeat(1024 * 1024) })).status).toBe(413)
    expect((await post({ ...LEAST, summaries: 'x'.repeat(1024 * 1000) })).status).toBe(200)
  })

  // Reference 9, number 38: anybody could register.
  it('asks for the token, and tells versions to everybody', async () => {
    const { service, post, store } = await open({ token: 'correct' })
    expect((await post(LEAST)).json).toMatchObject({ code: 401, error: { code: 'API_UNAUTHORIZED' } })
    expect((await post(LEAST, { Authorization: 'Bearer wrong' })).status).toBe(401)
    expect(await store.list()).toEqual([])
    expect((await ask(service.address, 'GET', '/api/v1/origins')).status).toBe(401)
    expect((await post(LEAST, { Authorization: 'Bearer correct' })).status).toBe(200)
    const versions = await ask(service.address, 'GET', '/api/v1/versions')
    expect(versions.body).toBe('{"signature":"Sluice","version":"1.2.3"}')
  })

  // Reference 9, number 38: SRS can send no header.
  it('takes the token as the last part of the path, for heartbeats and callbacks', async () => {
    const { store, postTo } = await open({ token: 'correct' })
    expect((await postTo(`${PATH}/wrong`, LEAST)).json).toMatchObject({
      code: 401,
      error: { code: 'REGISTRATION_UNAUTHORIZED' },
    })
    expect(await store.list()).toEqual([])
    expect((await postTo(`${PATH}/correct`, LEAST)).status).toBe(200)
    const hook = { ...HOOK, action: 'on_publish' }
    expect((await postTo('/api/v1/srs/hooks', hook)).status).toBe(401)
    expect((await postTo('/api/v1/srs/hooks/wrong', hook)).status).toBe(401)
    expect(await store.streams()).toEqual([])
    expect((await postTo('/api/v1/srs/hooks/correct', hook)).status).toBe(200)
    expect(await store.streams()).toHaveLength(1)
  })

  it('without a token none is taken in the path', async () => {
    const { postTo } = await open()
    expect((await postTo(`${PATH}/x`, LEAST)).status).toBe(404)
  })

  it('weight, zone, backup and the load of an SRS are listed', async () => {
    const { service, post } = await open()
    const summaries = {
      code: 0,
      data: { ok: true, self: { cpu_percent: 0.1234 }, system: { cpu_percent: 0.05, cpus: 4, load_1m: 0.5 } },
    }
    await post({ ...LEAST, ip: '2001:db8::5', weight: 2.5, zone: 'east', backup: true, summaries })
    const { json } = await ask(service.address, 'GET', '/api/v1/origins')
    expect(json).toMatchObject({
      origins: [{ ip: '2001:db8::5', weight: 2.5, zone: 'east', isBackup: true, load: 0.123 }],
    })
  })

  it.each([
    [{ data: { self: { cpu_percent: 1.8 }, system: { cpu_percent: 0.2 } } }, 1],
    [{ data: { self: {}, system: { cpu_percent: 0.2 } } }, 0.2],
    [{ data: { self: { cpu_percent: '9' }, system: { cpu_percent: -1 } } }, undefined],
    [{ data: {} }, undefined],
    [{ data: { self: 5 } }, undefined],
    ['text', undefined],
    [null, undefined],
  ])('summaries %j say a load of %s, and refuse nothing', async (summaries, load) => {
    const { store, post } = await open()
    expect((await post({ ...LEAST, summaries })).status).toBe(200)
    expect((await store.list())[0]?.load).toBe(load)
  })

  it('turns addresses away that are not allowed', async () => {
    const { post } = await open({ allow: ['10.0.0.0/8'] })
    expect((await post(LEAST)).json).toMatchObject({ code: 403, error: { code: 'API_FORBIDDEN' } })
  })

  // Reference 9, number 43: no list of origins.
  it('lists origins with state and heartbeat', async () => {
    const { service, post, clock } = await open()
    await post(LEAST)
    clock.advance(12_345)
    const { json } = await ask(service.address, 'GET', '/api/v1/origins')
    expect(json).toEqual({
      code: 0,
      pid: `${process.pid}`,
      origins: [
        {
          id: 's-v-1',
          ip: '127.0.0.1',
          server: 's',
          service: 'v',
          pid: '1',
          rtmp: [1935],
          http: [],
          api: [],
          srt: [],
          rtc: [],
          state: 'healthy',
          draining: false,
          streams: 0,
          lastHeartbeat: '2026-11-21T00:00:00.000Z',
          lastHeartbeatAgeSeconds: 12,
        },
      ],
    })
  })

  it('everything else is 404', async () => {
    const { service } = await open()
    for (const [method, path] of [
      ['GET', PATH],
      ['GET', '/'],
      ['DELETE', '/api/v1/origins'],
    ] as const) {
      const { status, json } = await ask(service.address, method, path)
      expect([status, json]).toMatchObject([404, { code: 404, error: { code: 'API_NOT_FOUND' } }])
    }
  })

  it('logs an origin that appears, comes back or is refused, not its heartbeats', async () => {
    const { post, clock, lines } = await open()
    for (let beat = 0; beat < 5; beat++) await post(LEAST)
    clock.advance(300_000)
    for (let beat = 0; beat < 5; beat++) await post(LEAST)
    for (let time = 0; time < 5; time++) await post('{')
    clock.advance(60_000)
    await post('{')
    expect(lines.map(({ msg }) => msg)).toEqual([
      'origin registered',
      'origin is healthy again',
      'registration refused',
      'registration refused',
    ])
    expect(lines[2]).toMatchObject({ from: '127.0.0.1', code: 'REGISTRATION_BAD_BODY' })
  })

  it('an origin over the bound is told so', async () => {
    const store = new MemoryBalancerStore({ maxOrigins: 1 })
    const { post } = await open({ origins: store })
    await post(LEAST)
    expect((await post({ ...LEAST, server: 't' })).json).toMatchObject({
      code: 503,
      error: { code: 'BALANCER_TOO_MANY_ORIGINS' },
    })
  })
})

describe('callbacks of SRS', () => {
  const key = streamKeyOf('', 'live', 'cam')

  it('a stream that is published to an origin directly is followed there until it ends', async () => {
    const { store, post, hook } = await open()
    await post({ ...LEAST, server: 'other', rtmp: ['1936'] })
    await post(LEAST)
    const reply = await hook('on_publish')
    expect([reply.status, reply.body]).toEqual([200, '{"code":0}'])
    expect(await store.streams()).toMatchObject([{ key, originId: 's-v-1', isFollowed: true }])
    expect((await store.pick(key, 'rtmp', { role: 'play' })).origin.server).toBe('s')
    await hook('on_unpublish')
    expect(await store.streams()).toMatchObject([{ key, isFollowed: false }])
  })

  it('what an origin says ahead of its first heartbeat counts from then on', async () => {
    const { store, post, hook } = await open()
    await hook('on_publish', { stream: 'gone' })
    await hook('on_publish')
    await hook('on_unpublish', { stream: 'gone' })
    expect(await store.streams()).toEqual([])
    await post(LEAST)
    expect(await store.streams()).toMatchObject([{ key, originId: 's-v-1', isFollowed: true }])
  })

  it('of an earlier run nothing is followed', async () => {
    const { store, post, hook } = await open()
    await post(LEAST)
    await hook('on_publish', { service_id: 'earlier' })
    await post(LEAST)
    expect(await store.streams()).toEqual([])
  })

  it('is answered with success, or SRS would end its publisher: other actions, bad names, live elsewhere', async () => {
    const { store, post, hook } = await open()
    await post(LEAST)
    await post({ ...LEAST, server: 'other', rtmp: ['1936'] })
    const claim = await store.pick(key, 'rtmp', { role: 'publish' })
    await claim.keep()
    const elsewhere = claim.origin.server === 's' ? 'other' : 's'
    for (const reply of [
      await hook('on_play'),
      await hook('on_connect', { stream: undefined }),
      await hook('on_publish', { stream: '..' }),
      await hook('on_publish', { app: '' }),
      await hook('on_publish', { server_id: elsewhere }),
      await hook('on_unpublish', { stream: 'never' }),
    ]) {
      expect([reply.status, reply.body]).toEqual([200, '{"code":0}'])
    }
    expect(await store.streams()).toMatchObject([{ key, originId: claim.origin.id, publishers: 1 }])
  })

  it.each([
    ['no JSON', '{', 'REGISTRATION_BAD_BODY'],
    ['no action', {}, 'REGISTRATION_BAD_FIELD'],
    ['no server', { ...HOOK, action: 'on_publish', server_id: undefined }, 'REGISTRATION_BAD_FIELD'],
    ['a long stream', { ...HOOK, action: 'on_publish', stream: 'x'.repeat(2000) }, 'REGISTRATION_BAD_FIELD'],
  ])('%s is refused', async (_what, body, code) => {
    const { store, postTo } = await open()
    const reply = await postTo('/api/v1/srs/hooks', body)
    expect(reply.json).toMatchObject({ code: 400, error: { code } })
    expect(await store.streams()).toEqual([])
  })

  it('more streams than fit are not followed, and are no error of the origin', async () => {
    const store = new MemoryBalancerStore({ maxPicks: 1 })
    const { post, hook } = await open({ origins: store })
    await post(LEAST)
    await hook('on_publish', { stream: '1' })
    expect((await hook('on_publish', { stream: '2' })).status).toBe(200)
    expect(store.stats().followed).toBe(1)
  })
})

describe('endpoint texts', () => {
  it.each([
    ['1935', undefined, 1935],
    ['0.0.0.0:1935', undefined, 1935],
    [':1935', undefined, 1935],
    ['[::]:1935', undefined, 1935],
    ['localhost:1935', undefined, 1935],
    ['tcp://127.0.0.1:1935', 'tcp', 1935],
    ['udp://:8000', 'udp', 8000],
    ['UDP://0.0.0.0:8000', 'udp', 8000],
    ['udp://[::]:8000', 'udp', 8000],
    ['udp://8000', 'udp', 8000],
    ['tcp:10.0.0.1:8000', 'tcp', 8000],
    ['udp:8000', 'udp', 8000],
    ['http://:8080', 'http', 8080],
  ])('%s', (text, protocol, port) => {
    expect(parseOriginEndpoint(text)).toEqual(protocol === undefined ? { port } : { protocol, port })
  })

  it.each([
    '',
    'x',
    '65536',
    '-1',
    '1.5',
    '::1:80',
    'udp://',
    'udp://h',
    'http://h:80/',
    ' 80',
    '80 ',
    'a:b:80',
  ])('"%s" is none', (text) => {
    expect(parseOriginEndpoint(text)).toBeUndefined()
  })
})

describe('any body', () => {
  it('is an announcement or a REGISTRATION error', () => {
    const field = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('1935', 'udp://:8000', '127.0.0.1'),
      fc.array(fc.string()),
    )
    const body = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .record(
          { ip: field, server: field, service: field, pid: field, rtmp: field, rtc: field, srt: field },
          { requiredKeys: [] },
        )
        .map((fields) => Buffer.from(JSON.stringify({ ...LEAST, ...fields }))),
    )
    fc.assert(
      fc.property(body, (bytes) => {
        try {
          const { rtmp, rtc, srt, http, api } = parseAnnouncement(bytes)
          for (const port of [...rtmp, ...rtc, ...srt, ...http, ...api])
            expect(port).toBeLessThanOrEqual(65_535)
        } catch (error) {
          if (!(error instanceof SluiceError)) throw error
          expect(error.code).toMatch(/^REGISTRATION_/)
        }
      }),
    )
  })
})
