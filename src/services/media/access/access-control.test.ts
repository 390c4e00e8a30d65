import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { makeToken, openControl, outcome, request, rules } from './access.testkit.ts'

const secret = 'correct-horse-battery-staple-0123'
const keyed = { publish: { keys: ['open-sesame', 'second-key'] } }

const wrong = 'ACCESS_CREDENTIALS_WRONG 403'
const missing = 'ACCESS_CREDENTIALS_MISSING 401'
const tooMany = 'ACCESS_TOO_MANY 429'
const denied = 'ACCESS_DENIED 403'

/** What becomes of requests under rules. */
function asker(...some: readonly object[]) {
  const kit = openControl(some)
  const ask = (about: Parameters<typeof request>[0] = {}): Promise<string> =>
    outcome(kit.control.admit(request(about)))
  return { ...kit, ask }
}

function tokenFor(expSeconds: number, claims: object = {}): string {
  return makeToken({ alg: 'HS256' }, { stream: 's', action: 'publish', exp: expSeconds, ...claims }, secret)
}

describe('rules', () => {
  it('let everybody in when there are none', async () => {
    const { ask, control } = asker()
    expect(await ask()).toBe('allowed')
    expect((await control.admit(request())).limits).toEqual([])
  })

  it('refuse what none of them is for', async () => {
    const { ask } = asker({ app: 'live' })
    expect(await ask()).toBe('allowed')
    expect(await ask({ key: '__defaultVhost__/vod/s' })).toBe(denied)
  })

  it('hold in their order, by vhost, app and stream', async () => {
    const closed = { publish: { policy: 'deny' } }
    const { ask } = asker(
      { vhost: 'Example.com', app: 'live' },
      { app: 'live/*', ...closed },
      { stream: 'secret-*', ...closed },
      { app: 'live' },
      { ...closed },
    )
    expect(await ask({ key: 'example.com/live/secret-1' })).toBe('allowed')
    expect(await ask({ key: 'EXAMPLE.COM/live/secret-1' })).toBe('allowed')
    expect(await ask({ key: '__defaultVhost__/live/secret-1' })).toBe(denied)
    expect(await ask({ key: '__defaultVhost__/live/s' })).toBe('allowed')
    expect(await ask({ key: '__defaultVhost__/live/room/s' })).toBe(denied)
    expect(await ask({ key: 'example.com/vod/s' })).toBe(denied)
  })

  it('tell publishing from playing', async () => {
    const { ask } = asker({ publish: { policy: 'deny' } })
    expect(await ask({ role: 'publish' })).toBe(denied)
    expect(await ask({ role: 'play' })).toBe('allowed')
  })

  it('that cannot be used change nothing', async () => {
    const { ask, control } = asker(keyed)
    const [rule] = rules({ publish: { jwt: { secrets: [secret] } } })
    if (rule?.publish.jwt === undefined) throw new Error('no jwt')
    const bad = { ...rule, publish: { ...rule.publish, jwt: { ...rule.publish.jwt, publicKeys: ['x'] } } }
    expect(() => {
      control.prepareReload([rule, bad])()
    }).toThrow(/^media\.access\[1\] cannot be used: /)
    expect(await ask({ query: 'key=open-sesame' })).toBe('allowed')
  })
})

describe('addresses', () => {
  it('are looked at before anything else', async () => {
    const { ask } = asker({
      publish: { ...keyed.publish, allowFrom: ['192.0.2.0/24', '2001:db8::/32'], denyFrom: ['192.0.2.9'] },
    })
    const query = 'key=open-sesame'
    expect(await ask({ query, address: '192.0.2.1' })).toBe('allowed')
    expect(await ask({ query, address: '2001:db8::1' })).toBe('allowed')
    for (const address of ['192.0.2.9', '198.51.100.1', '::1', '', 'x'])
      expect(await ask({ query, address })).toBe('ACCESS_ADDRESS_DENIED 403')
  })
})

describe('keys', () => {
  it.for([
    ['in the query', { query: 'a=b&key=open-sesame' }],
    ['escaped', { query: 'key=open%2Dsesame' }],
    ['any of them', { query: 'key=second-key' }],
    ['as a bearer', { bearer: 'open-sesame' }],
    ['behind one of the URL of the connection', { query: 'key=other&key=open-sesame' }],
    ['as a bearer beside a query of no use', { query: 'key=', bearer: 'open-sesame' }],
  ] as const)('open %s', async ([, about]) => {
    expect(await asker(keyed).ask(about)).toBe('allowed')
  })

  it.for([
    ['', missing],
    ['key', missing],
    ['key=', missing],
    ['Key=open-sesame', missing],
    ['token=open-sesame', missing],
    ['key=open-sesam', wrong],
    ['key=open-sesame%00', wrong],
    ['key=%', wrong],
    ['key=%ff%fe', wrong],
    ['key=OPEN-SESAME', wrong],
    ['?key=open-sesame', 'allowed'],
    ['key[]=open-sesame', missing],
    [`key=${'x'.repeat(10_000)}`, missing],
    ['key=a&key=b&key=c&key=d&key=open-sesame', wrong],
    ['&&&===&=key', missing],
    ['__proto__=1&constructor=2', missing],
  ] as const)('query %j: %s', async ([query, expected]) => {
    expect(await asker(keyed).ask({ query })).toBe(expected)
  })

  it('are not found in what strangers make up', async () => {
    const { control } = asker({
      publish: { keys: ['open-sesame'], jwt: { secrets: [secret] }, wrongPerMinute: 0 },
    })
    const piece = fc.oneof(
      fc.constantFrom(
        'key=',
        'token=',
        '&',
        '=',
        '%',
        '.',
        'e30',
        'eyJhbGciOiJIUzI1NiJ9',
        'open-sesame',
        ';',
        '?',
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
    )
    const text = fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join(''))
    await fc.assert(
      fc.asyncProperty(text, fc.option(text, { nil: undefined }), async (query, bearer) => {
        const isRight =
          bearer === 'open-sesame' || new URLSearchParams(query).getAll('key').includes('open-sesame')
        const said = await outcome(control.admit(request({ query, ...(bearer !== undefined && { bearer }) })))
        expect(isRight ? ['allowed', wrong] : [missing, wrong]).toContain(said)
      }),
    )
  })

  it('may come in a parameter of another name', async () => {
    const { ask } = asker({ publish: { keys: ['a'], keyParameter: 'secret' } })
    expect(await ask({ query: 'secret=a' })).toBe('allowed')
    expect(await ask({ query: 'key=a' })).toBe(missing)
  })

  it('and tokens open the same rule', async () => {
    const { ask, clock } = asker({ publish: { keys: ['a'], jwt: { secrets: [secret] } } })
    const token = tokenFor(clock.wallMs() / 1000 + 60)
    expect(await ask({ query: 'key=a' })).toBe('allowed')
    expect(await ask({ query: `token=${token}` })).toBe('allowed')
    expect(await ask({ bearer: token })).toBe('allowed')
    expect(await ask({ bearer: 'a' })).toBe('allowed')
    expect(await ask({ query: `key=b&token=${token}` })).toBe('allowed')
    expect(await ask({ query: `key=${token}` })).toBe(wrong)
    expect(await ask({ query: 'key=b&token=c' })).toBe(wrong)
    expect(await ask({ bearer: token, key: '__defaultVhost__/live/t' })).toBe(wrong)
  })
})

describe('guessing', () => {
  const rule = { publish: { keys: ['open-sesame'], jwt: { secrets: [secret] }, wrongPerMinute: 3 } }

  it('is bounded for each source, whatever the guess is then', async () => {
    const { ask, clock } = asker(rule)
    for (let i = 0; i < 3; i++) expect(await ask({ query: `key=guess-${i}` })).toBe(wrong)
    expect(await ask({ query: 'key=open-sesame' })).toBe(tooMany)
    expect(await ask({ query: 'key=open-sesame', address: '192.0.2.2' })).toBe('allowed')
    clock.advance(60_000)
    expect(await ask({ query: 'key=open-sesame' })).toBe('allowed')
  })

  it('is bounded for an IPv6 network, whose addresses cost nothing', async () => {
    const { ask } = asker(rule)
    for (let i = 0; i < 3; i++) await ask({ bearer: 'x', address: `2001:db8::${i}` })
    expect(await ask({ bearer: 'x', address: '2001:db8::abcd' })).toBe(tooMany)
  })

  it('does not shut out who shares the address and was right before', async () => {
    const { ask, clock } = asker(rule)
    const token = tokenFor(clock.wallMs() / 1000 + 600)
    expect(await ask({ query: `token=${token}` })).toBe('allowed')
    for (let i = 0; i < 10; i++) await ask({ query: 'token=x' })
    expect(await ask({ query: `token=${token}` })).toBe('allowed')
    expect(await ask({ query: 'key=open-sesame' })).toBe(tooMany)
  })

  it('is not what a token does that has expired or is for another stream', async () => {
    const { ask, clock } = asker(rule)
    const nowSeconds = clock.wallMs() / 1000
    for (let i = 0; i < 5; i++) {
      expect(await ask({ bearer: tokenFor(nowSeconds - 60) })).toBe('ACCESS_EXPIRED 403')
      expect(await ask({ bearer: tokenFor(nowSeconds + 60, { stream: 't' }) })).toBe(wrong)
    }
    expect(await ask({ query: 'key=open-sesame' })).toBe('allowed')
  })

  it('is not what sending nothing is', async () => {
    const { ask } = asker(rule)
    for (let i = 0; i < 5; i++) expect(await ask()).toBe(missing)
    expect(await ask({ query: 'key=open-sesame' })).toBe('allowed')
  })
})

describe('limits', () => {
  it('bound sessions of a stream, an app and an address', async () => {
    const { ask } = asker({ play: { limits: { maxPerStream: 1, maxPerApp: 2, maxPerAddress: 3 } } })
    const play = (key: string, address: string): Promise<string> => ask({ role: 'play', key, address })
    expect(await play('v/live/a', '192.0.2.1')).toBe('allowed')
    expect(await play('v/live/a', '192.0.2.2')).toBe(tooMany)
    expect(await play('v/live/b', '192.0.2.1')).toBe('allowed')
    expect(await play('v/live/c', '192.0.2.2')).toBe(tooMany)
    expect(await play('v/vod/a', '192.0.2.1')).toBe('allowed')
    expect(await play('v/vod/b', '192.0.2.1')).toBe(tooMany)
    // Others, and publishers, are counted apart.
    expect(await play('v/vod/b', '192.0.2.2')).toBe('allowed')
    expect(await ask({ key: 'v/live/a', address: '192.0.2.1' })).toBe('allowed')
  })

  it('take an IPv6 network for one address', async () => {
    const { ask } = asker({ publish: { limits: { maxPerAddress: 1 } } })
    expect(await ask({ address: '2001:db8::1' })).toBe('allowed')
    expect(await ask({ address: '2001:db8::2' })).toBe(tooMany)
    expect(await ask({ address: '2001:db8:0:1::1' })).toBe('allowed')
  })

  it('give room back when a session ends, once', async () => {
    const { control, ask, metric } = asker({ publish: { limits: { maxPerApp: 2 } } })
    const first = await control.admit(request())
    await control.admit(request())
    expect(await ask()).toBe(tooMany)
    expect(await metric('sluice_access_sessions', { role: 'publish' })).toBe(2)
    first.end()
    first.end()
    first.end()
    expect(await metric('sluice_access_sessions', { role: 'publish' })).toBe(1)
    expect(await ask()).toBe('allowed')
    expect(await ask()).toBe(tooMany)
  })

  it('of a reload count who was in before', async () => {
    const { control, ask } = asker()
    const first = await control.admit(request())
    control.prepareReload(rules({ publish: { limits: { maxPerStream: 1 } } }))()
    expect(await ask()).toBe(tooMany)
    first.end()
    expect(await ask()).toBe('allowed')
  })

  it('of bandwidth are shared by those they are for', async () => {
    const limits = {
      streamBytesPerSecond: 100_000,
      appBytesPerSecond: 200_000,
      addressBytesPerSecond: 300_000,
    }
    const { control, clock } = asker({ play: { limits: { ...limits, burstSeconds: 2 } } })
    const play = async (key: string, address: string) =>
      (await control.admit(request({ role: 'play', key, address }))).limits
    const one = await play('v/live/a', '192.0.2.1')
    const same = await play('v/live/a', '192.0.2.2')
    const other = await play('v/live/b', '192.0.2.1')
    expect(one.map(({ bytesPerSecond, burstBytes }) => [bytesPerSecond, burstBytes])).toEqual([
      [100_000, 200_000],
      [200_000, 400_000],
      [300_000, 600_000],
    ])
    const ids = [one, same, other].map((limits) => limits.map(({ id }) => id))
    expect([0, 1, 2].map((at) => ids[0]?.[at] === ids[1]?.[at])).toEqual([true, true, false])
    expect([0, 1, 2].map((at) => ids[0]?.[at] === ids[2]?.[at])).toEqual([false, true, true])
    expect(one[0]?.charge(200_000)).toBe(0)
    expect(same[0]?.charge(100_000)).toBe(1000)
    clock.advance(1000)
    expect(one[0]?.charge(0)).toBe(0)
    // Publishing has no limit here.
    expect((await control.admit(request({ key: 'v/live/a' }))).limits).toEqual([])
  })

  it('of bandwidth are kept while one session is left', async () => {
    const { control, clock } = asker({ publish: { limits: { streamBytesPerSecond: 100_000 } } })
    const [one, other] = [await control.admit(request()), await control.admit(request())]
    one.end()
    one.end()
    const [limit] = other.limits
    expect((await control.admit(request())).limits[0]).toBe(limit)
    limit?.charge(50_000)
    await control.close()
    expect(clock.pending).toBe(0)
  })

  it('of bandwidth begin anew after that', async () => {
    const { control } = asker({ publish: { limits: { streamBytesPerSecond: 100_000 } } })
    const first = await control.admit(request())
    first.end()
    const second = await control.admit(request())
    expect(second.limits[0]?.id).toBe(first.limits[0]?.id)
    expect(second.limits[0]).not.toBe(first.limits[0])
  })
})

describe('sessions', () => {
  const rule = { publish: { jwt: { secrets: [secret], clockToleranceSeconds: 5 } } }

  it('end when their token expires', async () => {
    const { control, clock, metric } = asker(rule)
    const admission = await control.admit(request({ bearer: tokenFor(clock.wallMs() / 1000 + 7200) }))
    clock.advance(7_204_999)
    expect(admission.signal.aborted).toBe(false)
    clock.advance(1)
    expect(admission.signal.aborted).toBe(true)
    expect(admission.signal.reason).toMatchObject({
      code: 'ACCESS_EXPIRED',
      message: 'the token has expired',
      status: 403,
    })
    expect(await metric('sluice_access_sessions_ended_total', { reason: 'expired' })).toBe(1)
    admission.end()
    expect(clock.pending).toBe(0)
  })

  it('leave no timer behind, and are not ended after they are over', async () => {
    const { control, clock } = asker(rule)
    const admission = await control.admit(request({ bearer: tokenFor(clock.wallMs() / 1000 + 1e9) }))
    // Timers of the machine are no longer than 24 days.
    expect(clock.dueInMs).toBeLessThan(86_400_000)
    clock.advance(86_400_000 * 30)
    expect(admission.signal.aborted).toBe(false)
    admission.end()
    expect(clock.pending).toBe(0)
    clock.advance(1e13)
    expect(admission.signal.aborted).toBe(false)
  })

  it('outlive their token when told so', async () => {
    const { control, clock } = asker({ publish: { jwt: { secrets: [secret], endWithToken: false } } })
    const { signal } = await control.admit(request({ bearer: tokenFor(clock.wallMs() / 1000 + 60) }))
    clock.advance(1e9)
    expect(signal.aborted).toBe(false)
  })

  it('go on after a reload, unless the key that let them in is gone', async () => {
    const { control, clock, metric } = asker(
      { app: 'live', publish: { keys: ['a', 'b'], jwt: { secrets: [secret] } } },
      {},
    )
    const admit = async (about: Parameters<typeof request>[0]) => (await control.admit(request(about))).signal
    const byA = await admit({ query: 'key=a' })
    const byB = await admit({ query: 'key=b' })
    const byToken = await admit({ bearer: tokenFor(clock.wallMs() / 1000 + 60) })
    const player = await admit({ role: 'play' })
    const open = await admit({ key: 'v/vod/s' })
    const states = (): readonly boolean[] => [byA, byB, byToken, player, open].map(({ aborted }) => aborted)

    control.prepareReload(
      rules({ publish: { keys: ['a', 'c'], jwt: { secrets: ['x'.repeat(32), secret] } } }),
    )()
    expect(states()).toEqual([false, true, false, false, false])
    expect(byB.reason).toMatchObject({ code: 'ACCESS_REVOKED', message: 'the key was taken away' })
    control.prepareReload(rules({ publish: { keys: ['a'] }, play: { policy: 'deny' } }))()
    expect(states()).toEqual([false, true, true, false, false])
    control.prepareReload(rules({ publish: { policy: 'open' } }))()
    expect(states()).toEqual([false, true, true, false, false])
    control.prepareReload(rules({ app: 'other' }))()
    expect(states()).toEqual([true, true, true, false, false])
    expect(await metric('sluice_access_sessions_ended_total', { reason: 'revoked' })).toBe(3)
  })
})

describe('what is told of it', () => {
  it('is a count by result', async () => {
    const { ask, metric } = asker(keyed)
    await ask({ query: 'key=open-sesame' })
    await ask({ protocol: 'srt' })
    await ask({ query: 'key=x' })
    const labels = { protocol: 'rtmp', role: 'publish' }
    const name = 'sluice_access_decisions_total'
    expect(await metric(name, { ...labels, result: 'allowed' })).toBe(1)
    expect(await metric(name, { ...labels, result: 'credentials_wrong' })).toBe(1)
    expect(await metric(name, { protocol: 'srt', result: 'credentials_missing' })).toBe(1)
  })

  it('is one line a minute for each source, without what it sent', async () => {
    const { ask, clock, lines, texts } = asker(keyed)
    for (let i = 0; i < 50; i++) await ask({ query: `key=guess-${i}`, bearer: 'hush' })
    await ask({ query: 'key=guess', address: '192.0.2.2' })
    expect(lines).toMatchObject([
      {
        component: 'access',
        source: '192.0.2.1',
        protocol: 'rtmp',
        role: 'publish',
        stream: '__defaultVhost__/live/s',
        code: 'ACCESS_CREDENTIALS_WRONG',
        msg: 'refused',
      },
      { source: '192.0.2.2' },
    ])
    clock.advance(60_000)
    await ask({ query: 'key=guess' })
    expect(lines).toHaveLength(3)
    expect(lines[2]).toMatchObject({ source: '192.0.2.1', untold: 49 })
    for (const hidden of ['guess', 'hush', 'sesame']) expect(texts.join('')).not.toContain(hidden)
  })

  it('is nothing that helps to guess', async () => {
    const { control } = asker({ publish: { keys: ['a'], jwt: { secrets: [secret] } } })
    const messages = await Promise.all(
      ['key=x', 'token=x', `token=${makeToken({ alg: 'HS256' }, {}, 'y'.repeat(32))}`].map((query) =>
        control.admit(request({ query })).catch((error: Error) => error.message),
      ),
    )
    expect(new Set(messages)).toEqual(new Set(['the key or token is wrong']))
  })
})

describe('a caller that is gone', () => {
  it('gets the reason of its signal', async () => {
    const { control, metric } = asker({ publish: { limits: { maxPerApp: 1 } } })
    const reason = new Error('gone')
    await expect(control.admit(request({ signal: AbortSignal.abort(reason) }))).rejects.toBe(reason)
    expect(await metric('sluice_access_decisions_total', { result: 'aborted' })).toBe(1)
  })
})

describe('closing', () => {
  it('may be done twice, and lets nobody in after', async () => {
    const { control, ask } = asker()
    const admission = await control.admit(request())
    await control.close()
    await control.close()
    expect(await ask()).toBe('ACCESS_CLOSED 503')
    admission.end()
  })
})
