import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { GoProxy, type GoProxyOptions, type SrsRegistration } from './go-proxy.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import type { RespClient } from './resp-client.ts'

let server: RedisProcess
let redis: RespClient

beforeAll(async () => {
  server = await startRedis()
  redis = await server.connect()
})

beforeEach(async () => {
  await redis.command('FLUSHALL')
})

afterAll(async () => {
  redis.close()
  await server.stop()
})

const NOW = '2026-11-21T08:41:59.76217798Z'
const URL_KEY = '__defaultVhost__/live/livestream'

/** What an SRS 7 posts. */
const post: SrsRegistration = {
  device_id: 'origin1',
  ip: '127.0.0.1',
  server: 'vid-13772xk',
  service: '3114493m',
  pid: '28955',
  rtmp: ['19351'],
  http: ['8081'],
  api: ['19851'],
  srt: ['udp://0.0.0.0:10081'],
  rtc: ['udp://0.0.0.0:8001'],
}
const postKey = 'srs-proxy-server:vid-13772xk-3114493m-28955'

describe('registration', () => {
  test('writes the origin and the list, byte for byte', async () => {
    await proxy().announce(post)
    expect(await everything()).toEqual({
      'srs-proxy-all-servers': `["${postKey}"]`,
      [postKey]: `{"ip":"127.0.0.1","device_id":"origin1","server_id":"vid-13772xk","service_id":"3114493m","pid":"28955","rtmp":["19351"],"http":["8081"],"api":["19851"],"srt":["udp://0.0.0.0:10081"],"rtc":["udp://0.0.0.0:8001"],"update_at":"${NOW}"}`,
    })
    expect(await ttl(postKey)).toBe(300)
    expect(await ttl('srs-proxy-all-servers')).toBe(-1)
  })

  test('leaves out what is empty', async () => {
    const { ip, server: id, service, pid, rtmp } = post
    await proxy().announce({ ip, server: id, service, pid, rtmp, http: [], device_id: '' })
    expect(await redis.command('GET', postKey)).toBe(
      `{"ip":"127.0.0.1","server_id":"vid-13772xk","service_id":"3114493m","pid":"28955","rtmp":["19351"],"update_at":"${NOW}"}`,
    )
  })

  test('renews what is there, and drops from the list what is gone', async () => {
    await proxy().announce(post)
    await proxy().announce({ ...post, pid: '2' })
    await redis.command('EXPIRE', postKey, 10)
    await proxy().announce(post)
    expect(await ttl(postKey)).toBe(300)
    expect(await list()).toEqual([postKey, 'srs-proxy-server:vid-13772xk-3114493m-2'])
    await redis.command('DEL', postKey)
    await proxy().announce({ ...post, pid: '3' })
    expect(await list()).toEqual([
      'srs-proxy-server:vid-13772xk-3114493m-2',
      'srs-proxy-server:vid-13772xk-3114493m-3',
    ])
  })

  test('of generation 8 puts the prefix before keys, also inside values, and takes another TTL', async () => {
    await proxy({ generation: 8, prefix: 'P', originTtlSeconds: 30 }).announce(post)
    expect(await redis.command('GET', 'P:srs-proxy-all-servers')).toBe(`["P:${postKey}"]`)
    expect(await ttl(`P:${postKey}`)).toBe(30)
    await proxy({ generation: 8, prefix: 'P' }).pick(URL_KEY)
    expect(await redis.command('GET', `P:srs-proxy-url:${URL_KEY}`)).toBe(`P:${postKey}`)
    expect(() => proxy({ prefix: 'P' })).toThrow('no prefix')
  })
})

describe('pick', () => {
  test('writes the key of the server for ever, and keeps to it while that is there', async () => {
    await proxy().announce(post)
    await proxy().announce({ ...post, pid: '2' })
    expect(await proxy({ draw: () => 0 }).pick(URL_KEY)).toMatchObject({
      pid: '28955',
      server_id: post.server,
    })
    expect(await redis.command('GET', `srs-proxy-url:${URL_KEY}`)).toBe(postKey)
    expect(await ttl(`srs-proxy-url:${URL_KEY}`)).toBe(-1)
    expect(await proxy({ draw: () => 1 }).pick(URL_KEY)).toMatchObject({ pid: '28955' })
    await redis.command('DEL', postKey)
    expect(await proxy({ draw: () => 1 }).pick(URL_KEY)).toMatchObject({ pid: '2' })
    expect(await redis.command('GET', `srs-proxy-url:${URL_KEY}`)).toBe(`${postKey.slice(0, -5)}2`)
  })

  test('draws three times at most', async () => {
    await expect(proxy().pick(URL_KEY)).rejects.toThrow(
      'no server available for __defaultVhost__/live/livestream',
    )
    await proxy().announce(post)
    await proxy().announce({ ...post, pid: '2' })
    await redis.command('DEL', postKey)
    const drawing = (...draws: readonly number[]): GoProxy => {
      const left = [...draws]
      return proxy({ draw: () => left.shift() ?? 1 })
    }
    await expect(drawing(0, 0, 0).pick(URL_KEY)).rejects.toThrow('no server available')
    expect(await drawing(0, 0, 1).pick(URL_KEY)).toMatchObject({ pid: '2' })
  })

  test('takes fields that it does not know, and no types that it does not expect', async () => {
    await redis.command('SET', 'srs-proxy-all-servers', '["a","b"]')
    await redis.command('SET', 'a', `{"ip":"1.2.3.4","sluice":{"weight":2},"update_at":"${NOW}"}`)
    await redis.command('SET', 'b', `{"ip":"1.2.3.4","rtmp":[1935],"update_at":"${NOW}"}`)
    expect(await proxy({ draw: () => 0 }).pick('v/a')).toMatchObject({ ip: '1.2.3.4', rtmp: [] })
    await expect(proxy({ draw: () => 1 }).pick('v/b')).rejects.toThrow('rtmp is no list of texts')
  })
})

describe('HLS', () => {
  const value =
    '{"spbhid":"8e44b3c","stream_url":"__defaultVhost__/live/livestream","full_url":"http://127.0.0.1/live/livestream.m3u8"}'
  const fullUrl = 'http://127.0.0.1/live/livestream.m3u8'

  test('lies under its stream and its id, byte for byte, for 120 s', async () => {
    await proxy().storeHls(URL_KEY, fullUrl, '8e44b3c')
    const [byUrl, byId] = [`srs-proxy-hls:${URL_KEY}`, 'srs-proxy-spbhid:8e44b3c']
    expect(await everything()).toEqual({ [byUrl]: value, [byId]: value })
    expect([await ttl(byUrl), await ttl(byId)]).toEqual([120, 120])
  })

  test('gets another id with each playlist; older ones stay', async () => {
    const first = await proxy().storeHls(URL_KEY, fullUrl)
    const second = await proxy().storeHls(URL_KEY, fullUrl)
    expect(first).toMatch(/^[0-9a-f]{7}$/)
    expect((await proxy().loadHlsById(first)).stream_url).toBe(URL_KEY)
    expect(await proxy().loadHlsByUrl(URL_KEY)).toEqual({
      spbhid: second,
      stream_url: URL_KEY,
      full_url: fullUrl,
    })
    await expect(proxy().loadHlsById('0000000')).rejects.toThrow('not there')
  })

  test('is not read by generation 8', async () => {
    const id = await proxy({ generation: 8 }).storeHls(URL_KEY, fullUrl)
    await expect(proxy({ generation: 8 }).loadHlsById(id)).rejects.toThrow('generation 8')
    await expect(proxy({ generation: 8 }).loadHlsByUrl(URL_KEY)).rejects.toThrow('generation 8')
    expect((await proxy().loadHlsById(id)).full_url).toBe(fullUrl)
  })
})

describe('WebRTC', () => {
  test('lies under its stream and its USERNAME, byte for byte, for 120 s', async () => {
    await proxy().storeRtc(URL_KEY, 'n5d8:qW3k')
    const value = '{"stream_url":"__defaultVhost__/live/livestream","ufrag":"n5d8:qW3k"}'
    const [byUrl, byUfrag] = [`srs-proxy-rtc:${URL_KEY}`, 'srs-proxy-ufrag:n5d8:qW3k']
    expect(await everything()).toEqual({ [byUrl]: value, [byUfrag]: value })
    expect([await ttl(byUrl), await ttl(byUfrag)]).toEqual([120, 120])
    expect(await proxy().loadRtcByUfrag('n5d8:qW3k')).toEqual({ stream_url: URL_KEY, ufrag: 'n5d8:qW3k' })
    await expect(proxy({ generation: 8 }).loadRtcByUfrag('n5d8:qW3k')).rejects.toThrow('generation 8')
  })
})

test('what it connects to is the registered address with the first port', async () => {
  await proxy().announce({ ...post, ip: '192.0.2.1', rtc: ['udp://0.0.0.0:8001', 'tcp://0.0.0.0:8002'] })
  const picked = await proxy().pick(URL_KEY)
  expect(proxy().dial(picked, 'rtc')).toEqual({ host: '192.0.2.1', port: 8001 })
  expect(proxy().dial({ ...picked, srt: ['10080'] }, 'srt').port).toBe(10080)
  expect(proxy().dial(picked, 'rtmp')).toEqual({ host: '192.0.2.1', port: 19351 })
  expect(() => proxy().dial({ ...picked, rtmp: ['tcp://0.0.0.0:1935'] }, 'rtmp')).toThrow('rtmp of')
  expect(() => proxy().dial({ ...picked, srt: [] }, 'srt')).toThrow('missing')
  for (const endpoint of ['udp://8001', 'udp:0.0.0.0:8001', 'udp://[::]:8001']) {
    expect(() => proxy().dial({ ...picked, rtc: [endpoint] }, 'rtc')).toThrow(endpoint)
    expect(proxy({ generation: 8 }).dial({ ...picked, rtc: [endpoint] }, 'rtc').port).toBe(8001)
  }
  const named = { ...picked, ip: 'origin.example.com' }
  expect(proxy().dial(named, 'rtmp').host).toBe('127.0.0.1')
  expect(proxy().dial(named, 'http').host).toBe('origin.example.com')
  expect(proxy({ generation: 8 }).dial(named, 'rtmp').host).toBe('origin.example.com')
})

test('characters of HTML are escaped as Go does it', async () => {
  await proxy().storeHls('v/a&b', 'http://h/a&b<c>.m3u8', '1234567')
  expect(await redis.command('GET', 'srs-proxy-hls:v/a&b')).toBe(
    String.raw`{"spbhid":"1234567","stream_url":"v/a\u0026b","full_url":"http://h/a\u0026b\u003cc\u003e.m3u8"}`,
  )
  expect((await proxy().loadHlsById('1234567')).stream_url).toBe('v/a&b')
})

function proxy(options: Partial<GoProxyOptions> = {}): GoProxy {
  return new GoProxy({ redis, generation: 7, now: () => NOW, ...options })
}

async function everything(): Promise<Record<string, string>> {
  const keys = (await redis.command('KEYS', '*')) as readonly string[]
  const entries = keys.map(async (key) => [key, String(await redis.command('GET', key))] as const)
  return Object.fromEntries(await Promise.all(entries))
}

async function list(): Promise<unknown> {
  return JSON.parse(String(await redis.command('GET', 'srs-proxy-all-servers')))
}

/** In seconds, rounded up: a slow machine has used some already. */
async function ttl(key: string): Promise<number> {
  const left = Number(await redis.command('TTL', key))
  return left < 0 ? left : Math.ceil(left / 10) * 10
}
