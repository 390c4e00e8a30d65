import { describe, expect, it } from 'vitest'
import { key } from '../conformance-kit.testkit.ts'
import { TestGateways } from './gateways.testkit.ts'
import { SharedHls, type SharedHlsOptions } from './shared-hls.ts'

const TTL_MS = 120_000
const URL = 'http://127.0.0.1/live/s.m3u8'
const OF_STREAM = 'p:srs-proxy-hls:__defaultVhost__/live/s'

describe('HLS sessions that gateways share', () => {
  it('are one for a stream, whichever gateway is asked first', async () => {
    const { a, b, gateways } = await open()
    const opened = await a.hls.openHls(key('s'), URL)
    expect(opened).toEqual({ id: expect.stringMatching(/^[0-9a-f]{7}$/), streamKey: key('s'), fullUrl: URL })
    await gateways.settle()
    expect(await b.hls.openHls(key('s'), 'http://other/live/s.m3u8')).toEqual(opened)
    await gateways.settle()
    expect(gateways.server.keys).toEqual([OF_STREAM, `p:srs-proxy-spbhid:${opened.id}`])
  })

  it('stand in Redis as the SRS proxy has them', async () => {
    const { a, gateways } = await open()
    const { id } = await a.hls.openHls(key('s'), URL)
    await gateways.settle()
    const text = `{"spbhid":"${id}","stream_url":"__defaultVhost__/live/s","full_url":"${URL}"}`
    for (const name of [OF_STREAM, `p:srs-proxy-spbhid:${id}`]) {
      expect(gateways.server.get(name)).toBe(text)
      expect(gateways.server.ttlMs(name)).toBe(TTL_MS)
    }
  })

  it('an id is known to the others before anybody is told of it', async () => {
    const { a, b } = await open()
    const opened = await a.hls.openHls(key('s'), URL)
    expect(await b.hls.findHls(opened.id)).toEqual(opened)
  })

  it('every id of a Go proxy is found, though it makes a new one at each playlist', async () => {
    const { a, b, gateways } = await open()
    const ofGo = (id: string) => {
      const text = `{"spbhid":"${id}","stream_url":"__defaultVhost__/live/s","full_url":"${URL}"}`
      gateways.server.set(OF_STREAM, text, TTL_MS)
      gateways.server.set(`p:srs-proxy-spbhid:${id}`, text, TTL_MS)
      return { id, streamKey: key('s'), fullUrl: URL }
    }
    const first = ofGo('0000001')
    const second = ofGo('0000002')
    expect(await a.hls.findHls('0000001')).toEqual(first)
    expect(await b.hls.openHls(key('s'), 'http://x/')).toEqual(second)
    const third = ofGo('0000003')
    expect(await b.hls.findHls('0000003')).toEqual(third)
    expect(await b.hls.openHls(key('s'), 'http://x/')).toEqual(second)
    expect(await a.hls.findHls('0000002')).toEqual(second)
    await gateways.settle()
    expect(gateways.server.keys.filter((name) => name.includes('spbhid'))).toEqual(
      ['1', '2', '3'].map((digit) => `p:srs-proxy-spbhid:000000${digit}`),
    )
    expect(gateways.server.get(OF_STREAM)).toContain('0000003')
  })

  it('no two streams get one id', async () => {
    // Both gateways draw the same numbers.
    const { a, b, gateways } = await open(
      { random: drawing(0.5, 0.5, 0.25) },
      { random: drawing(0.5, 0.5, 0.75) },
    )
    const atA = await a.hls.openHls(key('s'), URL)
    const atB = await b.hls.openHls(key('other'), URL)
    expect([atA.id, atB.id]).toEqual(['8000000', 'c000000'])
    expect(await b.hls.findHls(atA.id)).toEqual(atA)
    await gateways.settle()
    expect(gateways.server.keys).toHaveLength(4)
  })

  it('one that many ask for at once is opened once', async () => {
    const { a, b, gateways } = await open()
    const all = await Promise.all(Array.from({ length: 10 }, () => a.hls.openHls(key('s'), URL)))
    expect(new Set(all).size).toBe(1)
    await gateways.settle()
    expect(gateways.server.keys).toHaveLength(2)
    expect(await b.hls.findHls(all[0]?.id ?? '')).toEqual(all[0])
  })

  it.each([
    ['no JSON', '{'],
    ['without an id', `{"stream_url":"__defaultVhost__/live/s","full_url":"${URL}"}`],
    [
      'with an id of another form',
      `{"spbhid":"ABCDEF0","stream_url":"__defaultVhost__/live/s","full_url":"${URL}"}`,
    ],
    ['of another stream', `{"spbhid":"0000001","stream_url":"__defaultVhost__/live/t","full_url":"${URL}"}`],
    ['of no stream', `{"spbhid":"0000001","stream_url":"","full_url":"${URL}"}`],
    ['with no URL', '{"spbhid":"0000001","stream_url":"__defaultVhost__/live/s","full_url":"file:///etc"}'],
    [
      'too long',
      `{"spbhid":"0000001","stream_url":"__defaultVhost__/live/s","full_url":"${URL}${'x'.repeat(9000)}"}`,
    ],
  ])('a value of no use is none: %s', async (_, text) => {
    const { a, gateways } = await open()
    gateways.server.set(OF_STREAM, text)
    gateways.server.set('p:srs-proxy-spbhid:000000a', text)
    expect((await a.hls.openHls(key('s'), URL)).id).not.toBe('0000001')
    expect(await a.hls.findHls('000000a')).toBeUndefined()
  })
})

describe('the keys of an HLS session', () => {
  it('are renewed for hours while it is in use, with no command for each segment', async () => {
    const { a, b, gateways } = await open()
    const { server } = gateways
    const { id } = await a.hls.openHls(key('s'), URL)
    await gateways.settle()
    const before = server.log.length
    for (let time = 0; time < 360; time++) {
      server.clock.advance(10_000)
      await a.hls.openHls(key('s'), URL)
      for (let use = 0; use < 5; use++) await a.hls.findHls(id)
      await gateways.settle()
      expect(server.keys).toHaveLength(2)
    }
    // Both keys once in 80 s.
    expect(server.log.slice(before)).toEqual(Array.from({ length: 90 }, () => 'PEXPIRE'))
    expect(await b.hls.findHls(id)).toBeDefined()
    server.clock.advance(TTL_MS)
    expect(await a.hls.findHls(id)).toBeUndefined()
    expect(await b.hls.findHls(id)).toBeUndefined()
  })

  it('are renewed by whoever uses it', async () => {
    const { a, b, gateways } = await open()
    const { id } = await a.hls.openHls(key('s'), URL)
    gateways.server.clock.advance(119_000)
    expect(await b.hls.findHls(id)).toBeDefined()
    await gateways.settle()
    gateways.server.clock.advance(119_000)
    expect(await a.hls.findHls(id)).toBeDefined()
  })

  it('are written again when Redis has lost them', async () => {
    const { a, b, gateways } = await open()
    const one = await a.hls.openHls(key('s'), URL)
    const two = await a.hls.openHls(key('t'), URL)
    await gateways.settle()
    const all = gateways.server.keys
    gateways.server.flush()
    a.fleet.return()
    await gateways.settle()
    expect(gateways.server.keys).toEqual(all)
    expect(await b.hls.findHls(one.id)).toEqual(one)
    expect(await b.hls.openHls(key('t'), URL)).toEqual(two)
    gateways.server.flush()
    gateways.server.clock.advance(80_000)
    await a.hls.findHls(one.id)
    await gateways.settle()
    expect(gateways.server.keys).toHaveLength(2)
    a.hls.close()
    b.hls.close()
    expect(a.fleet.listening + b.fleet.listening).toBe(0)
  })
})

it('an id that nobody knows is asked for once in five seconds, and one of another form never', async () => {
  const { a, b, gateways } = await open({ random: drawing(0.5) })
  const { server } = gateways
  for (let time = 0; time < 5; time++) {
    expect(await b.hls.findHls('8000000')).toBeUndefined()
    for (const id of ['', 'ABCDEF0', '12345678', '../../x']) expect(await b.hls.findHls(id)).toBeUndefined()
  }
  expect(server.log).toEqual(['GET'])
  await a.hls.openHls(key('s'), URL)
  expect(await b.hls.findHls('8000000')).toBeUndefined()
  server.clock.advance(5000)
  expect(await b.hls.findHls('8000000')).toBeDefined()
})

describe('while Redis is away', () => {
  it('sessions are of this gateway, and the others know them once it is back', async () => {
    const { a, b, gateways } = await open()
    const before = await a.hls.openHls(key('before'), URL)
    await gateways.settle()
    a.redis.setUp(false)
    const during = await a.hls.openHls(key('s'), URL)
    for (let time = 0; time < 5; time++) {
      gateways.server.clock.advance(60_000)
      expect(await a.hls.openHls(key('s'), URL)).toBe(during)
      expect(await a.hls.findHls(before.id)).toBe(before)
    }
    await expect(a.hls.findHls('0000000')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    expect(await b.hls.findHls(during.id)).toBeUndefined()
    a.redis.setUp(true)
    gateways.server.clock.advance(5000)
    await a.hls.openHls(key('s'), URL)
    await gateways.settle()
    expect(await b.hls.findHls(during.id)).toEqual(during)
  })

  it('one that answers too late keeps nobody from playing', async () => {
    const { a, gateways } = await open()
    a.redis.isSlow = true
    const opened = await a.hls.openHls(key('s'), URL)
    expect(await a.hls.findHls(opened.id)).toBe(opened)
    await gateways.settle()
    a.redis.isSlow = false
    await a.hls.findHls(opened.id)
    await gateways.settle()
    expect(gateways.server.get(OF_STREAM)).toContain(opened.id)
  })
})

it('at the bound the one unused for longest is dropped here, and found again in Redis', async () => {
  const { a } = await open({ maxHlsSessions: 2 })
  const one = await a.hls.openHls(key('1'), URL)
  const two = await a.hls.openHls(key('2'), URL)
  await a.hls.openHls(key('3'), URL)
  expect(a.hls.size).toBe(2)
  expect(await a.hls.findHls(two.id)).toBe(two)
  expect(await a.hls.findHls(one.id)).toEqual(one)
  expect(a.hls.size).toBe(2)
})

type Given = Partial<Pick<SharedHlsOptions, 'random' | 'maxHlsSessions'>>

async function open(given: Given = {}, other: Given = {}) {
  const gateways = new TestGateways()
  const start = (name: string, changes: Given) => {
    const gateway = gateways.open(name)
    const hls = new SharedHls({
      ...gateway,
      random: Math.random,
      hlsTtlMs: TTL_MS,
      maxHlsSessions: 1000,
      ...changes,
    })
    hls.start()
    return { ...gateway, hls }
  }
  return { gateways, a: start('a', given), b: start('b', other) }
}

/** Gives these numbers, the last one again and again. */
function drawing(...numbers: number[]): () => number {
  return () => (numbers.length > 1 ? numbers.shift() : numbers[0]) ?? 0
}
