import { describe, expect, it } from 'vitest'
import { announcement, key } from '../conformance-kit.testkit.ts'
import type { RtcResource, RtcSession } from '../contract.ts'
import { originIdOf } from '../origin-id.ts'
import { TestGateways } from './gateways.testkit.ts'
import { SharedSessions, type SharedSessionsOptions } from './shared-sessions.ts'

const TTL_MS = 120_000
const ORIGIN = originIdOf(announcement('a'))

describe('sessions that gateways share', () => {
  it('are found by every gateway, as they were added', async () => {
    const { a, b } = await open()
    const added = session('a:b')
    await a.sessions.addSession(added)
    expect(await b.sessions.findSession('a:b')).toEqual({ ...added, isServed: true })
    expect(await b.sessions.findSessionOfToken('token of a:b')).toEqual({ ...added, isServed: true })
    expect(await a.sessions.findSession('a:b')).toEqual(added)
    expect(await b.sessions.findSession('b:a')).toBeUndefined()
    expect(await b.sessions.findSessionOfToken('another')).toBeUndefined()
    expect([a.sessions.size, b.sessions.size]).toEqual([1, 0])
  })

  it('stand in Redis as the SRS proxy has them, with what is ours beside and nothing secret in clear', async () => {
    const { a, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    await gateways.settle()
    const { server } = gateways
    expect(server.keys).toEqual([
      'p:sluice-session:token of a:b',
      'p:srs-proxy-rtc:__defaultVhost__/live/s',
      'p:srs-proxy-ufrag:a:b',
    ])
    expect(server.get('p:sluice-session:token of a:b')).toBe('a:b')
    expect(server.get('p:srs-proxy-rtc:__defaultVhost__/live/s')).toBe(
      '{"stream_url":"__defaultVhost__/live/s","ufrag":"a:b"}',
    )
    const text = server.get('p:srs-proxy-ufrag:a:b') ?? ''
    expect(text).toMatch(
      /^\{"stream_url":"__defaultVhost__\/live\/s","ufrag":"a:b","sluice":\{"gateway":"a",.*\}\}$/,
    )
    expect(text).not.toMatch(/secret|1985/)
    for (const name of server.keys) expect(server.ttlMs(name)).toBe(TTL_MS)
  })

  it('have no password and no URL for others where gateways share no secret', async () => {
    const { a, b, gateways } = await open({ secret: undefined })
    const added = session('a:b')
    await a.sessions.addSession(added)
    const { icePassword: _, resource, ...rest } = added
    const { originUrl: __, ...known } = resource ?? ({} as RtcResource)
    expect(await b.sessions.findSession('a:b')).toEqual({ ...rest, resource: known, isServed: true })
    expect(gateways.server.get('p:srs-proxy-ufrag:a:b')).not.toMatch(/sealed|secret|1985/)
    expect(await a.sessions.findSession('a:b')).toEqual(added)
  })

  it('sealed with another secret, or copied to another USERNAME, have no password', async () => {
    const { a, b, gateways } = await open({}, { secret: 'another' })
    await a.sessions.addSession(session('a:b'))
    const found = await b.sessions.findSession('a:b')
    expect(found).toMatchObject({ username: 'a:b', resource: { tokenHash: 'token of a:b' } })
    expect(found).not.toHaveProperty('icePassword')
    expect(b.lines).toMatchObject([{ msg: 'session in Redis is sealed with another secret' }])
    const text = gateways.server.get('p:srs-proxy-ufrag:a:b') ?? ''
    gateways.server.set('p:srs-proxy-ufrag:a:c', text.replace('"a:b"', '"a:c"'))
    const c = gateways.open('c')
    const reader = new SharedSessions({ ...OPTIONS, ...c })
    expect(await reader.findSession('a:b')).toHaveProperty('icePassword')
    expect(await reader.findSession('a:c')).not.toHaveProperty('icePassword')
  })

  it.each([
    ['another address', '"address":"127.0.0.1"', '"address":"127.0.0.9"'],
    ['another port', '"port":8000', '"port":8001'],
    ['another role', '"role":"publish"', '"role":"play"'],
    ['another token', '"token of a:b"', '"token of c:d"'],
    ['a later end', '"untilMs":1', '"untilMs":9'],
  ])('that somebody gave %s have no password', async (_, written, put) => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    const text = gateways.server.get('p:srs-proxy-ufrag:a:b') ?? ''
    expect(text).toContain(written)
    expect(await b.sessions.findSession('a:b')).toHaveProperty('icePassword')
    const other = new SharedSessions({ ...OPTIONS, ...gateways.open('c') })
    gateways.server.set('p:srs-proxy-ufrag:a:b', text.replace(written, put))
    const found = await other.findSession('a:b')
    expect(found).toMatchObject({ username: 'a:b' })
    expect(found).not.toHaveProperty('icePassword')
    expect(found?.resource).not.toHaveProperty('originUrl')
  })

  it('of a Go proxy have their media where the stream is, and no password', async () => {
    const { b, gateways } = await open()
    gateways.server.set(
      'p:srs-proxy-ufrag:l:r',
      '{"stream_url":"__defaultVhost__/live/s","ufrag":"l:r"}',
      TTL_MS,
    )
    const found = {
      streamKey: key('s'),
      username: 'l:r',
      role: 'play',
      originId: ORIGIN,
      originAddress: '10.0.0.5',
      originPort: 8000,
    }
    expect(await b.sessions.findSession('l:r')).toEqual(found)
    expect(await b.sessions.takeSession('l:r')).toBe(true)
    await gateways.settle()
    expect(gateways.server.get('p:srs-proxy-ufrag:l:r')).toMatch(
      /^\{"stream_url":"__defaultVhost__\/live\/s","ufrag":"l:r","sluice":\{"gateway":"b",/,
    )
    expect(await b.sessions.findSession('l:r')).toEqual(found)
    gateways.server.set('p:srs-proxy-ufrag:x:y', '{"stream_url":"nowhere","ufrag":"x:y"}', TTL_MS)
    expect(await b.sessions.findSession('x:y')).toBeUndefined()
  })

  it('a USERNAME of a live session of this gateway is refused, and one beyond the bound', async () => {
    const { a } = await open({ maxSessions: 2 })
    await a.sessions.addSession(session('a:b'))
    await expect(a.sessions.addSession(session('a:b'))).rejects.toMatchObject({
      code: 'BALANCER_SESSION_EXISTS',
    })
    await a.sessions.addSession(session('c:d'))
    await expect(a.sessions.addSession(session('e:f'))).rejects.toMatchObject({
      code: 'BALANCER_TOO_MANY_SESSIONS',
    })
  })

  it('a USERNAME used again belongs to the newest, and its former gateway hears of it', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b', { tokenHash: 'old' }))
    await b.sessions.addSession(session('a:b', { tokenHash: 'new' }))
    await gateways.settle()
    expect(a.lost).toEqual([['a:b', 'taken']])
    expect(await a.sessions.findSessionOfToken('old')).toBeUndefined()
    expect((await a.sessions.findSessionOfToken('new'))?.username).toBe('a:b')
  })

  it.each([
    ['no JSON', '{'],
    ['of another USERNAME', '{"stream_url":"v/live/s","ufrag":"x:y"}'],
    ['without a stream', '{"ufrag":"a:b"}'],
    ['of a stream with control characters', '{"stream_url":"v/\\n","ufrag":"a:b"}'],
    ['with media for no address', ours({ address: 'origin.example' })],
    ['with media for everybody', ours({ address: '255.255.255.255' })],
    ['with media for no port', ours({ port: 0 })],
    ['of no gateway', ours({ gateway: '' })],
    ['of no role', ours({ role: 'both' })],
    ['too long', ours({ sealed: 'x'.repeat(40_000) })],
  ])('a value of no use is none: %s', async (_, text) => {
    const { b, gateways } = await open()
    gateways.server.set('p:srs-proxy-ufrag:a:b', text)
    expect(await b.sessions.findSession('a:b')).toBeUndefined()
    expect(await b.sessions.takeSession('a:b')).toBe(false)
    expect(b.lines).toMatchObject([{ msg: 'session in Redis is of no use' }])
    gateways.server.set('p:srs-proxy-ufrag:a:b', ours({}))
    expect(await b.sessions.findSession('a:b')).toMatchObject({ role: 'play' })
  })
})

describe('a session that another gateway takes', () => {
  it('is served there at once, and lost where it was', async () => {
    const { a, b, gateways } = await open()
    const added = session('a:b')
    await a.sessions.addSession(added)
    await b.sessions.findSession('a:b')
    const asked = gateways.server.log.length
    expect(await b.sessions.takeSession('a:b')).toBe(true)
    await gateways.settle()
    expect(gateways.server.log.slice(asked)).toEqual(['take-session', 'PEXPIRE', 'PEXPIRE'])
    expect(a.lost).toEqual([['a:b', 'taken']])
    expect([a.sessions.size, b.sessions.size]).toEqual([0, 1])
    expect(await b.sessions.findSession('a:b')).toEqual(added)
    expect(await a.sessions.findSession('a:b')).toEqual({ ...added, isServed: true })
    // And back again.
    expect(await a.sessions.takeSession('a:b')).toBe(true)
    await gateways.settle()
    expect(b.lost).toEqual([['a:b', 'taken']])
    expect(a.lost).toHaveLength(1)
  })

  it('is looked up when it was not found before, and may be gone', async () => {
    const { a, b } = await open()
    await a.sessions.addSession(session('a:b'))
    expect(await b.sessions.takeSession('a:b')).toBe(true)
    expect(await b.sessions.takeSession('a:b')).toBe(true)
    expect(await b.sessions.takeSession('c:d')).toBe(false)
  })

  it('is noticed at the next renewal when the message was lost', async () => {
    const { a, b, gateways } = await open()
    gateways.deaf.add('a')
    await a.sessions.addSession(session('a:b'))
    await b.sessions.takeSession('a:b')
    await gateways.settle()
    expect(a.lost).toEqual([])
    gateways.server.clock.advance((TTL_MS * 2) / 3)
    await a.sessions.renewSession('a:b')
    await gateways.settle()
    expect(a.lost).toEqual([['a:b', 'taken']])
    expect(gateways.server.get('p:srs-proxy-ufrag:a:b')).toContain('"gateway":"b"')
  })

  it('is left to whoever has it by whoever had it', async () => {
    const { a, b, gateways } = await open()
    gateways.deaf.add('a')
    await a.sessions.addSession(session('a:b'))
    await b.sessions.takeSession('a:b')
    await gateways.settle()
    await a.sessions.removeSession('a:b')
    await gateways.settle()
    expect(gateways.server.keys).toHaveLength(3)
    expect(b.lost).toEqual([])
  })

  it('is taken as unserved only when no gateway that lives serves it', async () => {
    const { a, b, c, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    expect(await b.sessions.takeSession('a:b', 'unserved')).toBe(false)
    expect(b.sessions.size).toBe(0)
    gateways.gone.add('a')
    expect((await b.sessions.findSession('a:b'))?.isServed).toBeUndefined()
    // Both see that it is unserved; one gets it.
    const [atB, atC] = await Promise.all([
      b.sessions.takeSession('a:b', 'unserved'),
      c.sessions.takeSession('a:b', 'unserved'),
    ])
    expect(atB).not.toBe(atC)
    expect(b.sessions.size + c.sessions.size).toBe(1)
    expect(await a.sessions.takeSession('a:b', 'unserved')).toBe(true)
    expect(await b.sessions.takeSession('no:one', 'unserved')).toBe(false)
    gateways.server.flush()
    expect(gateways.server.keys).toEqual([])
  })

  it('cannot be taken beyond the bound', async () => {
    const { a, b, gateways } = await open({}, { maxSessions: 1 })
    await a.sessions.addSession(session('a:b'))
    await b.sessions.addSession(session('c:d'))
    await expect(b.sessions.takeSession('a:b')).rejects.toMatchObject({ code: 'BALANCER_TOO_MANY_SESSIONS' })
    await gateways.settle()
    expect(a.lost).toEqual([])
  })
})

describe('whether a gateway still serves a session', () => {
  it('is asked of Redis, and heard of by its listeners', async () => {
    const { a, b, gateways } = await open()
    gateways.deaf.add('a')
    await a.sessions.addSession(session('a:b'))
    expect(await a.sessions.servesSession('a:b')).toBe(true)
    await b.sessions.takeSession('a:b')
    expect(await b.sessions.servesSession('a:b')).toBe(true)
    expect(await a.sessions.servesSession('a:b')).toBe(false)
    expect(a.lost).toEqual([['a:b', 'taken']])
    expect(await a.sessions.servesSession('a:b')).toBe(false)
    expect(await a.sessions.servesSession('c:d')).toBe(true)
    a.redis.setUp(false)
    await expect(a.sessions.servesSession('a:b')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    expect(a.lost).toHaveLength(1)
  })
})

describe('a session that ends', () => {
  it('is gone at once, and its USERNAME free, though scripts take a second time to be sent', async () => {
    const { a, b, gateways } = await open()
    const { known } = gateways.server
    known.clear()
    await a.sessions.addSession(session('a:b', { tokenHash: 'one' }))
    await a.sessions.removeSession('a:b')
    expect(await a.sessions.findSession('a:b')).toBeUndefined()
    expect(await a.sessions.findSessionOfToken('one')).toBeUndefined()
    for (const tokenHash of ['two', 'three', 'four']) {
      known.clear()
      known.add('take-session')
      await a.sessions.addSession(session('a:b', { tokenHash }))
      await a.sessions.removeSession('a:b')
    }
    await a.sessions.addSession(session('a:b', { tokenHash: 'last' }))
    await gateways.settle()
    expect(await b.sessions.findSessionOfToken('last')).toMatchObject({ username: 'a:b' })
    expect(gateways.server.keys).toHaveLength(3)
  })

  it('through its gateway leaves nothing behind', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    await a.sessions.removeSession('a:b')
    await a.sessions.removeSession('a:b')
    await gateways.settle()
    expect(gateways.server.keys).toEqual([])
    expect(await b.sessions.findSession('a:b')).toBeUndefined()
    expect(a.fleet.sent).toEqual([])
  })

  it('through another gateway is told to the one that serves it', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    await b.sessions.findSessionOfToken('token of a:b')
    await b.sessions.removeSession('a:b')
    await gateways.settle()
    expect(a.lost).toEqual([['a:b', 'ended']])
    expect(a.sessions.size).toBe(0)
    expect(gateways.server.keys).toEqual([])
  })

  it('does not take one along that has its USERNAME, its token or its stream by now', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b', { tokenHash: 'one' }))
    await b.sessions.findSession('a:b')
    await a.sessions.removeSession('a:b')
    await a.sessions.addSession(session('a:b', { tokenHash: 'two' }))
    await b.sessions.removeSession('a:b')
    await gateways.settle()
    expect(a.lost).toEqual([])
    expect(await b.sessions.findSessionOfToken('two')).toBeDefined()
    // An ICE restart: the same token under a new USERNAME.
    await a.sessions.addSession(session('c:d', { tokenHash: 'two', previous: 'a:b' }))
    await a.sessions.removeSession('a:b')
    await gateways.settle()
    expect(await b.sessions.findSessionOfToken('two')).toMatchObject({
      username: 'c:d',
      resource: { previous: 'a:b' },
    })
    expect(gateways.server.get('p:srs-proxy-rtc:__defaultVhost__/live/s')).toContain('c:d')
  })
})

describe('the keys of a session', () => {
  it('are renewed for hours while it is in use, with no command for each use', async () => {
    const { a, b, gateways } = await open()
    const { server } = gateways
    await a.sessions.addSession(session('a:b'))
    await gateways.settle()
    const before = server.log.length
    for (let time = 0; time < 3 * 120; time++) {
      server.clock.advance(30_000)
      await a.sessions.renewSession('a:b')
      for (let use = 0; use < 5; use++) await a.sessions.findSession('a:b')
      await gateways.settle()
      expect(server.keys).toHaveLength(3)
    }
    const commands = server.log.slice(before)
    expect(new Set(commands)).toEqual(new Set(['keep-session', 'PEXPIRE']))
    // One of each key in 90 s.
    expect(commands).toHaveLength(3 * 120)
    expect(await b.sessions.findSession('a:b')).toBeDefined()
    server.clock.advance(TTL_MS)
    expect(await a.sessions.findSession('a:b')).toBeUndefined()
    expect(await b.sessions.findSession('a:b')).toBeUndefined()
    expect(server.keys).toEqual([])
  })

  it('of one stream are renewed once for all its sessions', async () => {
    const { a, gateways } = await open()
    const { server } = gateways
    for (let at = 0; at < 10; at++) await a.sessions.addSession(session(`a:${at}`))
    await gateways.settle()
    const before = server.log.length
    server.clock.advance(90_000)
    for (let at = 0; at < 10; at++) await a.sessions.renewSession(`a:${at}`)
    await gateways.settle()
    expect(server.log.length - before).toBe(21)
  })

  it('are written again when they are gone', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    await gateways.settle()
    gateways.server.flush()
    gateways.server.clock.advance(90_000)
    await a.sessions.renewSession('a:b')
    await gateways.settle()
    expect(gateways.server.keys).toHaveLength(3)
    expect(await b.sessions.findSession('a:b')).toMatchObject({ icePassword: 'secret-of-the-answer' })
  })

  it('are not written again for a session that has ended meanwhile', async () => {
    const { a, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    await gateways.settle()
    gateways.server.flush()
    gateways.server.clock.advance(90_000)
    await a.sessions.renewSession('a:b')
    await a.sessions.removeSession('a:b')
    await gateways.settle()
    expect(gateways.server.keys).toEqual([])
  })
})

describe('while Redis is away', () => {
  it('sessions of this gateway go on, others fail at once', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('before:x'))
    await gateways.settle()
    a.redis.setUp(false)
    await a.sessions.addSession(session('during:x'))
    await gateways.settle()
    const asked = gateways.server.log.length
    for (let time = 0; time < 10; time++) {
      gateways.server.clock.advance(60_000)
      await a.sessions.renewSession('before:x')
      expect(await a.sessions.findSession('during:x')).toBeDefined()
    }
    await expect(a.sessions.findSession('other:x')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    await expect(a.sessions.findSessionOfToken('other')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    await expect(a.sessions.takeSession('other:x')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    await a.sessions.removeSession('before:x')
    expect(gateways.server.log).toHaveLength(asked)
    expect(a.lines.filter(({ msg }) => msg === 'session not written to Redis')).toHaveLength(1)
    a.redis.setUp(true)
    a.fleet.return()
    await gateways.settle()
    expect(await b.sessions.findSession('during:x')).toBeDefined()
    expect(await b.sessions.findSession('before:x')).toBeUndefined()
  })

  it('a session that was added then is written when it is renewed', async () => {
    const { a, b, gateways } = await open()
    a.redis.setUp(false)
    await a.sessions.addSession(session('a:b'))
    await gateways.settle()
    a.redis.setUp(true)
    await a.sessions.renewSession('a:b')
    await gateways.settle()
    expect(await b.sessions.findSessionOfToken('token of a:b')).toBeDefined()
    expect(gateways.server.keys).toHaveLength(3)
  })

  it('a session that was taken then is taken in Redis later, and lost where it was', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    await b.sessions.findSession('a:b')
    b.redis.setUp(false)
    expect(await b.sessions.takeSession('a:b')).toBe(true)
    await gateways.settle()
    expect(gateways.server.get('p:srs-proxy-ufrag:a:b')).toContain('"gateway":"a"')
    b.redis.setUp(true)
    b.fleet.return()
    await gateways.settle()
    expect(a.lost).toEqual([['a:b', 'taken']])
    expect(b.lost).toEqual([])
    expect(b.sessions.size).toBe(1)
  })

  it('what another gateway took meanwhile is given up on return', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    await gateways.settle()
    gateways.deaf.add('a')
    a.redis.setUp(false)
    await b.sessions.takeSession('a:b')
    await gateways.settle()
    a.redis.setUp(true)
    a.fleet.return()
    await gateways.settle()
    expect(a.lost).toEqual([['a:b', 'taken']])
    expect(gateways.server.get('p:srs-proxy-ufrag:a:b')).toContain('"gateway":"b"')
  })

  it('an answer that comes too late leaves a session that is taken as unserved to others', async () => {
    const { a, b, gateways } = await open()
    await a.sessions.addSession(session('a:b'))
    gateways.gone.add('a')
    await b.sessions.findSession('a:b')
    b.redis.isSlow = true
    await expect(b.sessions.takeSession('a:b', 'unserved')).rejects.toMatchObject({ code: 'REDIS_SLOW' })
    expect(b.sessions.size).toBe(0)
    b.redis.isSlow = false
    expect(await b.sessions.takeSession('a:b', 'unserved')).toBe(true)
  })
})

describe('when Redis has lost what it had', () => {
  it('all sessions are said again, some at a time', async () => {
    const { a, b, gateways } = await open()
    for (let at = 0; at < 450; at++) await a.sessions.addSession(session(`a:${at}`))
    await gateways.settle()
    const all = gateways.server.keys
    gateways.server.flush()
    a.fleet.return()
    expect(gateways.server.keys.filter((name) => name.includes('ufrag')).length).toBeLessThanOrEqual(100)
    await gateways.settle()
    expect(gateways.server.keys).toEqual(all)
    expect(await b.sessions.findSessionOfToken('token of a:7')).toMatchObject({
      icePassword: 'secret-of-the-answer',
    })
  })

  it('no more is said once Redis is away again, or the gateway has closed', async () => {
    const { a, gateways } = await open()
    for (let at = 0; at < 450; at++) await a.sessions.addSession(session(`a:${at}`))
    await gateways.settle()
    for (const end of [() => a.redis.setUp(false), () => a.sessions.close()]) {
      a.redis.setUp(true)
      gateways.server.flush()
      a.fleet.return()
      end()
      await gateways.settle()
      expect(gateways.server.keys.filter((name) => name.includes('ufrag'))).toHaveLength(50)
    }
    expect(a.fleet.listening).toBe(0)
  })
})

describe('messages of other gateways', () => {
  it.each([
    [null],
    ['a:b'],
    [{ username: 'a:b' }],
    [{ username: 'a:b', how: 'eaten' }],
    [{ username: 7, how: 'taken' }],
    [{ username: 'c:d', how: 'taken' }],
  ])('that mean nothing do nothing: %j', async (data) => {
    const { a, b } = await open()
    await a.sessions.addSession(session('a:b'))
    b.fleet.send(a.fleet.id, 'session', data)
    expect(a.lost).toEqual([])
    expect(a.sessions.size).toBe(1)
  })
})

it('what became of sessions is counted', async () => {
  const { a, b, gateways } = await open()
  await a.sessions.addSession(session('a:b'))
  await b.sessions.findSession('x:y')
  await b.sessions.takeSession('a:b')
  await gateways.settle()
  const of = async (registry: typeof a.registry) =>
    (await registry.getSingleMetric('sluice_shared_sessions_total')?.get())?.values
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => [labels['event'], value])
  expect(await of(a.registry)).toEqual([['taken_away', 1]])
  expect(await of(b.registry)).toEqual([
    ['found', 1],
    ['unknown', 1],
    ['taken', 1],
  ])
})

const OPTIONS: Pick<SharedSessionsOptions, 'sessionTtlMs' | 'maxSessions' | 'originOf' | 'secret'> = {
  sessionTtlMs: TTL_MS,
  maxSessions: 1000,
  secret: 'the secret of the fleet',
  originOf: (streamKey) =>
    Promise.resolve(
      streamKey === key('s') ? { originId: ORIGIN, address: '10.0.0.5', rtcPort: 8000 } : undefined,
    ),
}

type Given = { [K in keyof typeof OPTIONS]?: (typeof OPTIONS)[K] | undefined }

/** Three gateways; what is given is for the first, or as `others` for the other two. */
async function open(given: Given = {}, others: Given = given) {
  const gateways = new TestGateways()
  const start = (name: string, changes: Given) => {
    const gateway = gateways.open(name)
    const options = Object.entries({ ...OPTIONS, ...changes }).filter(([, value]) => value !== undefined)
    const sessions = new SharedSessions({
      ...gateway,
      ...(Object.fromEntries(options) as unknown as typeof OPTIONS),
    })
    sessions.start()
    const lost: [string, string][] = []
    sessions.onSessionLost((username, how) => void lost.push([username, how]))
    return { ...gateway, sessions, lost }
  }
  return { gateways, a: start('a', given), b: start('b', others), c: start('c', others) }
}

function session(username: string, resource: Partial<RtcResource> = {}): RtcSession {
  return {
    streamKey: key('s'),
    role: 'publish',
    username,
    originId: ORIGIN,
    originAddress: '127.0.0.1',
    originPort: 8000,
    icePassword: 'secret-of-the-answer',
    resource: {
      id: username,
      tokenHash: `token of ${username}`,
      originUrl: 'http://127.0.0.1:1985/rtc/v1/whip/?action=delete&token=secret',
      etag: '"x"',
      clientAddress: '192.0.2.1',
      sinceMs: 1_700_000_000_000,
      hasTcp: false,
      untilMs: 1_800_000_000_000,
      ...resource,
    },
  }
}

/** A value of ours for `a:b`, with something changed in what is ours. */
function ours(changed: object): string {
  const sluice = { gateway: 'a', role: 'play', origin: ORIGIN, address: '10.0.0.5', port: 8000, ...changed }
  return JSON.stringify({ stream_url: 'v/live/s', ufrag: 'a:b', sluice })
}
