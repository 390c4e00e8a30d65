import { describe, expect, it } from 'vitest'
import {
  agree,
  type Call,
  makeToken,
  openControl,
  openServer,
  outcome,
  request,
  rules,
  until,
} from './access.testkit.ts'

const denied = 'ACCESS_HOOK_DENIED 403'
const away = 'ACCESS_HOOK_AWAY 503'

const allHooks = (url: string) => ({
  onPublish: [`${url}/publish`],
  onUnpublish: [`${url}/unpublish`],
  onPlay: [`${url}/play`],
  onStop: [`${url}/stop`],
})

/** Access that asks one server, which answers as told. */
async function open(answer: (call: Call) => void = agree, hooks: object = {}, options: object = {}) {
  let answerNow = answer
  const server = await openServer((call) => answerNow(call))
  const kit = openControl([{ hooks: { ...allHooks(server.url), ...hooks } }], options)
  return {
    ...kit,
    server,
    admit: (about: Parameters<typeof request>[0] = {}) => kit.control.admit(request(about)),
    answerWith: (next: (call: Call) => void) => {
      answerNow = next
    },
  }
}

describe('hooks', () => {
  it('are what SRS sends', async () => {
    const { admit, server } = await open()
    const admission = await admit({
      role: 'play',
      key: 'example.com/live/s',
      address: '2001:db8::1',
      query: 'token=abc&x=%20y',
      tcUrl: 'rtmp://example.com/live',
      pageUrl: 'https://example.com/watch',
      sessionId: 'abc-1',
    })
    admission.end()
    await until(() => server.calls.length === 2)
    const [play, stop] = server.calls
    expect(play?.path).toBe('/play')
    expect(play?.headers).toMatchObject({ 'content-type': 'application/json' })
    const { service_id: serviceId, stream_id: streamId } = play?.body ?? {}
    expect(play?.body).toEqual({
      server_id: 'vid-0000000',
      service_id: expect.stringMatching(/^[0-9a-f]{8}$/),
      action: 'on_play',
      client_id: 'abc-1',
      ip: '2001:db8::1',
      vhost: 'example.com',
      app: 'live',
      tcUrl: 'rtmp://example.com/live',
      stream: 's',
      param: '?token=abc&x=%20y',
      stream_url: 'example.com/live/s',
      stream_id: expect.stringMatching(/^vid-[0-9a-f]{7}$/),
      pageUrl: 'https://example.com/watch',
    })
    expect(stop?.path).toBe('/stop')
    const { pageUrl: _, ...rest } = play?.body ?? {}
    expect(stop?.body).toEqual({ ...rest, action: 'on_stop', service_id: serviceId, stream_id: streamId })
  })

  it('tell of publishing, in the default vhost', async () => {
    const { admit, server } = await open()
    ;(await admit()).end()
    await until(() => server.calls.length === 2)
    expect(
      server.calls.map(({ path, body }) => [path, body['action'], body['stream_url'], body['param']]),
    ).toEqual([
      ['/publish', 'on_publish', '/live/s', ''],
      ['/unpublish', 'on_unpublish', '/live/s', ''],
    ])
  })

  it('see a bearer token where they see all others', async () => {
    const { admit, server } = await open()
    await admit({ bearer: 'a b' })
    await admit({ bearer: 'a', query: 'x=1' })
    await admit({ bearer: 'a', query: 'token=b' })
    // As callers of SRT send it.
    await admit({ bearer: 'a', query: 'key=a' })
    expect(server.calls.map(({ body }) => body['param'])).toEqual([
      '?token=a%20b',
      '?x=1&token=a',
      '?token=b',
      '?key=a',
    ])
  })

  it.for([
    ['0', 'allowed'],
    [' 0\r\n', 'allowed'],
    ['{"code":0}', 'allowed'],
    ['{"code":0,"data":null,"msg":"x"}', 'allowed'],
    ['1', denied],
    ['{"code":1}', denied],
    ['{"code":"0"}', denied],
    ['{"code":null}', denied],
    ['{}', denied],
    ['[0]', denied],
    ['"0"', denied],
    ['null', denied],
    ['', denied],
    ['OK', denied],
    ['<html>', denied],
    ['00', denied],
    ['{"code":0', denied],
  ] as const)('that answer %j: %s', async ([text, expected]) => {
    const { admit } = await open(({ response }) => response.end(text))
    expect(await outcome(admit())).toBe(expected)
  })

  it.for([201, 204, 301, 302, 307, 400, 401, 403, 404, 500])(
    'that answer with status %i deny',
    async (status) => {
      const { admit, server } = await open(({ response }) =>
        response.writeHead(status, { location: '/elsewhere' }).end(status === 204 ? undefined : '0'),
      )
      expect(await outcome(admit())).toBe(denied)
      expect(server.calls.map(({ path }) => path)).toEqual(['/publish'])
    },
  )

  it('that answer with more than is read deny', async () => {
    const { admit } = await open(({ response }) => response.end(`0${' '.repeat(70_000)}`))
    expect(await outcome(admit())).toBe(denied)
  })

  it('must all agree, and are asked in order', async () => {
    const server = await openServer(({ path, response }) => response.end(path === '/b' ? '1' : '0'))
    const onPublish = ['a', 'b', 'c'].map((name) => `${server.url}/${name}`)
    const { control } = openControl([{ hooks: { onPublish, onUnpublish: [`${server.url}/end`] } }])
    expect(await outcome(control.admit(request()))).toBe(denied)
    // The one that had agreed is told that nothing came of it.
    await until(() => server.calls.length === 3)
    expect(server.calls.map(({ path }) => path)).toEqual(['/a', '/b', '/end'])
  })

  it('are not told of the end of what they refused', async () => {
    const { admit, server, control } = await open(
      ({ response }) => response.end('1'),
      {},
      { lastWordsMs: 5000 },
    )
    expect(await outcome(admit())).toBe(denied)
    await control.close()
    expect(server.actions()).toEqual(['on_publish'])
  })

  it('are asked after the rest, and not about who fails that', async () => {
    const server = await openServer(agree)
    const { control } = openControl([
      { publish: { keys: ['a'], limits: { maxPerApp: 1 } }, hooks: allHooks(server.url) },
    ])
    expect(await outcome(control.admit(request({ query: 'key=b' })))).toBe('ACCESS_CREDENTIALS_WRONG 403')
    expect(await outcome(control.admit(request({ query: 'key=a' })))).toBe('allowed')
    expect(await outcome(control.admit(request({ query: 'key=a' })))).toBe('ACCESS_TOO_MANY 429')
    expect(server.calls).toHaveLength(1)
  })

  it('give room back when they refuse', async () => {
    let text = '1'
    const server = await openServer(({ response }) => response.end(text))
    const { control } = openControl([{ publish: { limits: { maxPerApp: 1 } }, hooks: allHooks(server.url) }])
    expect(await outcome(control.admit(request()))).toBe(denied)
    text = '0'
    expect(await outcome(control.admit(request()))).toBe('allowed')
  })

  it('are told of each end once', async () => {
    const { admit, server, control } = await open(agree, {}, { lastWordsMs: 5000 })
    const admission = await admit()
    admission.end()
    admission.end()
    await control.close()
    expect(server.actions()).toEqual(['on_publish', 'on_unpublish'])
  })
})

describe('hooks that are away', () => {
  it.for<[string, (call: Call) => void]>([
    ['status 502', ({ response }) => response.writeHead(502).end()],
    ['status 503', ({ response }) => response.writeHead(503).end('0')],
    ['status 504', ({ response }) => response.writeHead(504).end()],
    ['a cut connection', ({ response }) => response.destroy()],
    [
      'a cut answer',
      ({ response }) =>
        void response.writeHead(200, { 'content-length': 5 }).write('0', () => response.destroy()),
    ],
  ])('let nobody in, unless told so: %s', async ([, answer]) => {
    const strict = await open(answer)
    expect(await outcome(strict.admit())).toBe(away)
    const lenient = await open(answer, { whenAway: 'allow' })
    expect(await outcome(lenient.admit())).toBe('allowed')
  })

  it('let nobody in when nobody listens', async () => {
    const { admit, server, lines, metric, texts } = await open(agree, { onPublish: [] })
    await server.close()
    const { control } = openControl([{ hooks: { onPublish: [`${server.url}/publish?secret=hush`] } }])
    expect(await outcome(control.admit(request()))).toBe(away)
    expect(await outcome(admit({ role: 'play' }))).toBe(away)
    expect(await outcome(admit({ role: 'play', address: '192.0.2.7' }))).toBe(away)
    expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([
      { msg: 'a hook is not answered', url: `${server.url}/play`, result: 'away', reason: 'ECONNREFUSED' },
    ])
    expect(texts.join('')).not.toContain('hush')
    expect(await metric('sluice_access_hook_seconds', { event: 'on_play', result: 'away', le: '30' })).toBe(2)
  })

  it('are waited for no longer than said', async () => {
    const { admit, server, clock } = await open(() => {}, { timeoutSeconds: 3 })
    const answer = outcome(admit())
    await until(() => server.calls.length === 1)
    clock.advance(2999)
    expect(clock.dueInMs).toBe(1)
    clock.advance(1)
    expect(await answer).toBe(away)
    // It may have taken the session for begun.
    await until(() => server.calls.length === 2)
    expect(server.actions()).toEqual(['on_publish', 'on_unpublish'])
  })

  it('are waited for no longer when the answer only drips', async () => {
    const { admit, server, clock } = await open(({ response }) => void response.writeHead(200).write(' '))
    const answer = outcome(admit())
    await until(() => server.calls.length === 1)
    clock.advance(5000)
    expect(await answer).toBe(away)
  })

  it('are asked again on another connection when the one that was kept is closed', async () => {
    const { admit, server, answerWith } = await open()
    await admit()
    let isFirst = true
    answerWith((call) => {
      if (isFirst) call.response.destroy()
      else agree(call)
      isFirst = false
    })
    expect(await outcome(admit())).toBe('allowed')
    expect(server.calls).toHaveLength(3)
  })

  it('do not wait for a caller that is gone', async () => {
    const { admit, server, metric } = await open(({ body, response }) => {
      if (body['action'] !== 'on_publish') response.end('0')
    })
    const caller = new AbortController()
    const answer = admit({ signal: caller.signal })
    await until(() => server.calls.length === 1)
    const reason = new Error('gone')
    caller.abort(reason)
    await expect(answer).rejects.toBe(reason)
    await until(() => server.calls.length === 2)
    expect(server.actions()).toEqual(['on_publish', 'on_unpublish'])
    expect(await metric('sluice_access_decisions_total', { result: 'aborted' })).toBe(1)
  })

  it('hold up only so many, and only those of their own', async () => {
    const { admit, server, clock, metric, answerWith } = await open(
      ({ path, response }) => void (path === '/play' && response.end('0')),
      {},
      { maxHooksInFlight: 2, maxHooksWaiting: 3 },
    )
    const answers = Array.from({ length: 6 }, () => outcome(admit()))
    // The sixth is over at once; who waits for another URL is served.
    expect(await Promise.race(answers)).toBe(away)
    expect(await outcome(admit({ role: 'play' }))).toBe('allowed')
    await until(() => server.calls.length === 3)
    clock.advance(5000)
    expect(await Promise.all(answers)).toEqual(Array(6).fill(away))
    // Those that gave up while they waited hold no place.
    answerWith(agree)
    expect(await outcome(admit())).toBe('allowed')
    expect(
      await metric('sluice_access_hook_seconds', { event: 'on_publish', result: 'busy', le: '30' }),
    ).toBe(1)
    expect(
      await metric('sluice_access_hook_seconds', { event: 'on_publish', result: 'late', le: '30' }),
    ).toBe(5)
  })

  it('serve who waits as places become free', async () => {
    const held: Call[] = []
    const { admit, server } = await open((call) => void held.push(call), {}, { maxHooksInFlight: 1 })
    const answers = Array.from({ length: 4 }, () => outcome(admit()))
    for (let i = 0; i < 4; i++) {
      await until(() => held.length === i + 1)
      held[i]?.response.end('0')
    }
    expect(await Promise.all(answers)).toEqual(Array(4).fill('allowed'))
    expect(server.calls).toHaveLength(4)
  })
})

describe('ends that are told', () => {
  it('are tried again, later each time, and given up at last', async () => {
    const { admit, control, server, clock, answerWith, metric, lines } = await open()
    const admission = await admit()
    answerWith(({ response }) => response.writeHead(503).end())
    admission.end()
    for (const [index, delayMs] of [1000, 2000, 4000, 8000, 16_000].entries()) {
      await until(() => server.calls.length === index + 2 && clock.dueInMs === delayMs)
      clock.advance(delayMs)
    }
    await until(() => server.calls.length === 7 && clock.dueInMs === 16_000)
    expect(await metric('sluice_access_hook_notices_dropped_total')).toBe(1)
    expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([
      { msg: 'hooks cannot be told', url: `${server.url}/unpublish`, reason: 'status 503' },
      { msg: 'hooks are not told and dropped', url: `${server.url}/unpublish`, dropped: 1 },
    ])
    await control.close()
    expect(clock.pending).toBe(0)
  })

  it('keep their order over an outage, and do not all go at once then', async () => {
    const { admit, server, clock, answerWith } = await open()
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    const some = []
    for (const sessionId of names) some.push(await admit({ sessionId }))
    answerWith(({ response }) => response.writeHead(502).end())
    for (const admission of some) admission.end()
    // Four were on their way.
    await until(() => server.calls.length === 11 && clock.pending === 1 && clock.dueInMs === 1000)
    const held: Call[] = []
    answerWith((call) => void held.push(call))
    clock.advance(1000)
    await until(() => held.length === 1)
    expect(held[0]?.body['client_id']).toBe('a')
    answerWith(agree)
    held[0]?.response.end('0')
    await until(() => server.calls.length === 18)
    // On several connections they may overtake each other.
    expect(new Set(server.calls.slice(11).map(({ body }) => body['client_id']))).toEqual(new Set(names))
  })

  it('begin with short pauses in each outage', async () => {
    const { admit, clock, answerWith, server, lines } = await open()
    const some = [await admit(), await admit()]
    for (const admission of some) {
      const before = server.calls.length
      answerWith(({ response }) => response.writeHead(502).end())
      admission.end()
      await until(() => clock.dueInMs === 1000)
      clock.advance(1000)
      await until(() => clock.dueInMs === 2000)
      answerWith(agree)
      clock.advance(2000)
      await until(() => server.calls.length === before + 3 && clock.pending === 0)
    }
    expect(lines.map(({ msg }) => msg)).toEqual([
      'hooks cannot be told',
      'hooks are told again',
      'hooks cannot be told',
      'hooks are told again',
    ])
  })

  it('are not told again for an answer, whatever that says', async () => {
    const { admit, server, control, answerWith } = await open(agree, {}, { lastWordsMs: 5000 })
    const admission = await admit()
    answerWith(({ response }) => response.writeHead(500).end('no'))
    admission.end()
    await control.close()
    expect(server.calls).toHaveLength(2)
  })

  it('are dropped, the oldest first, when too many wait', async () => {
    const { admit, server, clock, answerWith, metric, lines } = await open(agree, {}, { maxHooksWaiting: 2 })
    const some = []
    for (const sessionId of ['a', 'b', 'c', 'd']) some.push(await admit({ sessionId }))
    answerWith(({ response }) => response.writeHead(502).end())
    some[0]?.end()
    await until(() => clock.dueInMs === 1000)
    for (const admission of some.slice(1)) admission.end()
    expect(await metric('sluice_access_hook_notices_dropped_total')).toBe(2)
    expect(lines.filter(({ msg }) => msg === 'hooks are not told and dropped')).toHaveLength(1)
    answerWith(agree)
    clock.advance(1000)
    await until(() => server.calls.length === 7)
    expect(server.calls.slice(5).map(({ body }) => body['client_id'])).toEqual(['c', 'd'])
  })

  it('are sent before access is closed, but not waited for in vain', async () => {
    const { admit, clock, control, answerWith, metric, server } = await open(agree, {}, { lastWordsMs: 1000 })
    const some = await Promise.all(Array.from({ length: 10 }, () => admit()))
    answerWith(() => {})
    for (const admission of some) admission.end()
    const closed = control.close()
    await until(() => server.calls.length === 14)
    clock.advance(1000)
    await closed
    await until(() => clock.pending === 0)
    expect(await metric('sluice_access_hook_notices_dropped_total')).toBe(10)
  })

  it('are dropped and counted when they come after that', async () => {
    const { admit, control, metric } = await open()
    const admission = await admit()
    await control.close()
    admission.end()
    expect(await metric('sluice_access_hook_notices_dropped_total')).toBe(1)
  })
})

describe('a reload', () => {
  it('lets go of servers that are in no rule, once they know what waits', async () => {
    const { admit, server, control } = await open()
    const [first, second] = [await admit(), await admit()]
    first?.end()
    control.prepareReload(rules({}))()
    await until(() => server.calls.length === 3)
    // Their connections are not kept.
    await until(() => server.sockets.size === 0)
    // Who came in by a hook goes out by it.
    second?.end()
    await until(() => server.calls.length === 4)
    expect(server.actions()).toEqual(['on_publish', 'on_publish', 'on_unpublish', 'on_unpublish'])
  })

  it('keeps the connections of servers that stay', async () => {
    const { admit, server, control } = await open()
    await admit()
    const [before] = server.sockets
    control.prepareReload(rules({ app: 'other' }, { hooks: { onPublish: [`${server.url}/publish`] } }))()
    await admit()
    expect(server.calls).toHaveLength(2)
    expect(server.sockets).toContain(before)
  })

  it('lets servers answer that are in no rule any more', async () => {
    const held: Call[] = []
    const { admit, control } = await open((call) => void held.push(call), {}, { maxHooksInFlight: 1 })
    const answers = [outcome(admit()), outcome(admit())]
    await until(() => held.length === 1)
    control.prepareReload(rules({}))()
    held[0]?.response.end('0')
    await until(() => held.length === 2)
    held[1]?.response.end('0')
    expect(await Promise.all(answers)).toEqual(['allowed', 'allowed'])
  })

  it('does not put off the end when such a server does not answer', async () => {
    const { admit, control, server, clock, answerWith } = await open()
    const admission = await admit()
    answerWith(() => {})
    const answer = outcome(admit())
    await until(() => server.calls.length === 2)
    admission.end()
    await until(() => server.calls.length === 3)
    control.prepareReload(rules({}))()
    await control.close()
    expect(await answer).toBe(away)
    expect(clock.pending).toBe(0)
  })

  it('while a hook is asked ends what would have begun with a key that is gone', async () => {
    const held: Call[] = []
    const server = await openServer((call) => void held.push(call))
    const hooks = allHooks(server.url)
    const { control } = openControl([{ publish: { keys: ['a'], limits: { maxPerApp: 1 } }, hooks }])
    const answer = outcome(control.admit(request({ query: 'key=a' })))
    await until(() => held.length === 1)
    control.prepareReload(rules({ publish: { keys: ['b'], limits: { maxPerApp: 1 } }, hooks }))()
    held[0]?.response.end('0')
    expect(await answer).toBe('ACCESS_REVOKED 403')
    await until(() => held.length === 2)
    expect(held[1]?.body['action']).toBe('on_unpublish')
    const next = outcome(control.admit(request({ query: 'key=b' })))
    await until(() => held.length === 3)
    held[2]?.response.end('0')
    expect(await next).toBe('allowed')
  })
})

describe('what hooks are told', () => {
  it('is in no log', async () => {
    const { admit, texts, server, clock, answerWith } = await open(({ response }) =>
      response.writeHead(503).end(),
    )
    const token = makeToken({ alg: 'HS256' }, { stream: 's' }, 'k'.repeat(32))
    await outcome(
      admit({ query: `token=${token}&key=hush`, bearer: 'quiet', tcUrl: 'rtmp://h/live?key=still' }),
    )
    answerWith(agree)
    const admission = await admit({ query: 'key=hush' })
    answerWith(({ response }) => response.writeHead(503).end())
    admission.end()
    await until(() => server.calls.length === 3 && clock.dueInMs === 1000)
    for (const hidden of [token, 'hush', 'quiet', 'still']) expect(texts.join('')).not.toContain(hidden)
    expect(texts.length).toBeGreaterThan(1)
  })
})
