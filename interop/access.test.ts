import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { makeSample, publishByRtmp } from './harness/ffmpeg.ts'
import { type Attempt, type Outcome, type Way, waysOf } from './harness/five-protocols.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { type HookListener, startHookListener } from './harness/hook-listener.ts'
import { total } from './harness/metrics.ts'
import { Program } from './harness/program.ts'
import { tapRtmp } from './harness/taps.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { publishByWhip, receivedBy, playByWhep } from './harness/webrtc-page.ts'
import { startFirehose } from './harness/firehose.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'
import { startWholeOrigin, type WholeOrigin } from './harness/whole-origin.ts'

/** In the configuration, and of whoever signs. */
const secret = '0123456789abcdef0123456789abcdef'
const otherSecret = 'fedcba9876543210fedcba9876543210'
const staticKey = 'a-static-key'
/** Bytes per second of what the bandwidth test plays; the least that can be configured. */
const slowRate = 65_536

const folder = temporaryFolder()
const samples = { flv: join(folder.path, 'sample.flv'), ts: join(folder.path, 'sample.ts') }
const ways = waysOf(samples)
const opened: AsyncDisposable[] = []
let gateway: Gateway
let origin: WholeOrigin
let hooks: HookListener
/** Killed by a test. */
let dyingHooks: HookListener
let browser: Browser
let privateKey: CryptoKey

beforeAll(async () => {
  await makeSample(samples.flv, 10)
  await makeSample(samples.ts, 10)
  const keys = await generateKeyPair('ES256')
  privateKey = keys.privateKey
  const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'first', alg: 'ES256', use: 'sig' }
  const jwksUrl = await serveJson({ keys: [jwk] })
  origin = keep(await startWholeOrigin())
  const firehose = keep(await startFirehose())
  hooks = keep(await startHookListener())
  dyingHooks = keep(await startHookListener())
  const jwt = { secrets: [secret], jwksUrl, clockToleranceSeconds: 0 }
  const guarded = { jwt, wrongPerMinute: 0 }
  const [nobodysPort = 0] = await freePorts(1)
  const keysAway = { jwksUrl: `http://127.0.0.1:${nobodysPort}/keys` }
  const keyed = { keys: [staticKey], wrongPerMinute: 0 }
  const hooksAt = (url: string): object => ({
    ...{ onPublish: [url], onUnpublish: [url], onPlay: [url], onStop: [url] },
  })
  gateway = keep(
    await startGateway({
      config: {
        origins: [origin.config, firehose.config],
        balancer: {
          apps: [
            { app: 'slow', origins: ['firehose'] },
            { app: '*', origins: ['whole'] },
          ],
        },
        media: {
          access: [
            { app: 'jwt', publish: guarded, play: guarded },
            { app: 'keys-away', publish: { jwt: keysAway }, play: { jwt: keysAway } },
            { app: 'hooked', publish: keyed, play: keyed, hooks: hooksAt(hooks.url) },
            { app: 'away-deny', hooks: { ...hooksAt(dyingHooks.url), whenAway: 'deny' } },
            { app: 'away-allow', hooks: { ...hooksAt(dyingHooks.url), whenAway: 'allow' } },
            { app: 'limited', play: { limits: { maxPerStream: 2 } } },
            { app: 'slow', play: { limits: { streamBytesPerSecond: slowRate } } },
            { app: 'closed', publish: { policy: 'deny' }, play: { policy: 'deny' } },
          ],
          webrtc: { idleSeconds: 600 },
        },
      },
    }),
  )
  browser = await startBrowser()
}, 120_000)

afterAll(async () => {
  await browser.close()
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

describe('tokens', () => {
  beforeAll(async () => {
    await publishEverything('jwt')
  }, 60_000)

  test.each(ways)(
    'of both kinds of key let $name in, wherever they are',
    async (way) => {
      const path = pathFor('jwt', way)
      for (const sign of [hmacToken, ecToken]) {
        const token = await sign(claimsFor(path, way))
        for (const sent of [{ query: `token=${token}` }, { bearer: token }]) {
          await using outcome = await way.begin(gateway, { path, ...sent })
          expect([outcome.verdict, outcome.verdict === 'allowed' ? '' : outcome.output]).toEqual([
            'allowed',
            '',
          ])
        }
      }
    },
    60_000,
  )

  test.each(ways)(
    'that are not there, or not good, keep $name out in its own words',
    async (way) => {
      const path = pathFor('jwt', way)
      const claims = claimsFor(path, way)
      const inPast = Math.floor(Date.now() / 1000) - 60
      const tokens = {
        none: undefined,
        expired: await hmacToken({ ...claims, exp: inPast }),
        'another stream': await ecToken({ ...claims, stream: 'another' }),
        'another app': await ecToken({ ...claims, app: 'another' }),
        'another action': await hmacToken({ ...claims, action: way.role === 'play' ? 'publish' : 'play' }),
        'another key': await hmacToken(claims, otherSecret),
        'no token at all': 'abc',
      }
      const verdicts: Record<string, string> = {}
      for (const [name, bearer] of Object.entries(tokens)) {
        await using outcome = await way.begin(gateway, { path, bearer })
        verdicts[name] = outcome.verdict
      }
      const [missing, wrong] = [wordsOf(way, 401), wordsOf(way, 403)]
      const expected = Object.keys(tokens).map((name) => [name, name === 'none' ? missing : wrong])
      expect(verdicts).toEqual(Object.fromEntries(expected))
    },
    60_000,
  )

  test.each(ways)('keep $name out while their keys cannot be fetched', async (way) => {
    const path = 'keys-away/s'
    const bearer = await ecToken(claimsFor(path, way))
    await using outcome = await way.begin(gateway, { path, bearer })
    expect(outcome.verdict).toBe(wordsOf(way, 503))
  })

  test('behind the app of an RTMP URL count too', async () => {
    const path = 'jwt/behind-the-app'
    const token = await hmacToken(claimsFor(path, { role: 'publish' }))
    for (const [query, words] of [
      [`token=${token}`, 'NetStream.Publish.Start'],
      ['token=abc', 'NetStream.Publish.Denied'],
    ] as const) {
      await using tap = await tapRtmp(gateway.ports.rtmp)
      await using _publisher = new Program('ffmpeg', [
        ...['-nostdin', '-loglevel', 'error', '-re', '-i', samples.flv, '-c', 'copy', '-f', 'flv'],
        ...['-rtmp_app', `jwt?${query}`, '-rtmp_playpath', 'behind-the-app'],
        `rtmp://127.0.0.1:${tap.port}`,
      ])
      expect(await until('an answer', () => tap.said || undefined)).toBe(words)
    }
  })

  test('let a browser publish and play, and keep it out', async () => {
    await using publisher = await openBlankPage(browser)
    await using player = await openBlankPage(browser)
    const path = 'jwt/browser'
    const url = async (role: Way['role'], as = role): Promise<string> => {
      const token = await ecToken(claimsFor(path, { role: as }))
      return `${gateway.url}/rtc/v1/${role === 'publish' ? 'whip' : 'whep'}/?app=jwt&stream=browser&token=${token}`
    }
    expect((await publishByWhip(publisher.page, await url('publish', 'play'))).status).toBe(403)
    expect((await publishByWhip(publisher.page, await url('publish'))).status).toBe(201)
    expect((await playByWhep(player.page, await url('play', 'publish'))).status).toBe(403)
    expect((await playByWhep(player.page, await url('play'))).status).toBe(201)
    await until('decoded frames', async () => (await receivedBy(player.page)).framesDecoded > 10, {
      deadlineMs: 30_000,
    })
  }, 60_000)

  test('open the segments of a playlist to who has it, as long as they last', async () => {
    const path = 'jwt/segments'
    const exp = Math.floor(Date.now() / 1000) + 8
    const token = await hmacToken({ ...claimsFor(path, { role: 'play' }), exp })
    const playlist = await fetch(`${gateway.url}/${path}.m3u8?token=${token}`)
    const segment = /^one\.ts.*$/m.exec(await playlist.text())?.[0] ?? ''
    const url = new URL(segment, playlist.url)
    expect(url.searchParams.get('spbhid')).toMatch(/^[0-9a-f]{7}$/)
    const statusFrom = async (localAddress: string): Promise<number> =>
      await new Promise((resolve, reject) => {
        get(url, { localAddress, agent: false }, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        }).on('error', reject)
      })
    expect(await statusFrom('127.0.0.1')).toBe(200)
    expect(await statusFrom('127.0.0.9')).toBe(401)
    expect(Date.now()).toBeLessThan(exp * 1000)
    await until('the end of the token', async () => (await statusFrom('127.0.0.1')) !== 200, {
      deadlineMs: 30_000,
    })
    expect(await statusFrom('127.0.0.1')).toBe(401)
    expect((await fetch(`${gateway.url}/${path}.m3u8?token=${token}`)).status).toBe(403)
  }, 60_000)

  test('that run out end what they let in, in every protocol', async () => {
    const before = total(await gateway.metrics(), 'sluice_access_sessions_ended_total')
    const exp = Math.floor(Date.now() / 1000) + 20
    const outcomes = await Promise.all(
      ways.map(async (way) => {
        const path = way.role === 'publish' ? `jwt/expiring-${slugOf(way.name)}` : pathFor('jwt', way)
        const token = await hmacToken({ ...claimsFor(path, way), exp })
        return await way.begin(gateway, { path, query: `token=${token}` })
      }),
    )
    try {
      expect(outcomes.map(({ verdict }) => verdict)).toEqual(ways.map(() => 'allowed'))
      expect(Date.now()).toBeLessThan(exp * 1000)
      await Promise.all(outcomes.map((outcome) => outcome.ended()))
      // Timers and this clock may differ by a moment.
      expect(Date.now()).toBeGreaterThan(exp * 1000 - 100)
      const ended = total(await gateway.metrics(), 'sluice_access_sessions_ended_total') - before
      expect(ended).toBe(ways.length)
    } finally {
      for (const outcome of outcomes) await outcome[Symbol.asyncDispose]()
    }
  }, 120_000)
})

describe('static keys', () => {
  beforeAll(async () => {
    await publishEverything('hooked')
  }, 60_000)

  test.each(ways)(
    'let $name in, and wrong ones do not',
    async (way) => {
      const path = pathFor('hooked', way)
      const verdictOf = async (attempt: Omit<Attempt, 'path'>): Promise<string> => {
        await using outcome = await way.begin(gateway, { path, ...attempt })
        return outcome.verdict
      }
      expect(await verdictOf({ query: `key=${staticKey}` })).toBe('allowed')
      expect(await verdictOf({ query: 'key=another' })).toBe(wordsOf(way, 403))
      expect(await verdictOf({})).toBe(wordsOf(way, 401))
    },
    60_000,
  )

  test.each(ways)(
    'go to hook servers with all else that is known of $name',
    async (way) => {
      const path = pathFor('hooked', way)
      const [app = '', stream = ''] = path.split('/')
      const [began, ended] = way.role === 'publish' ? ['on_publish', 'on_unpublish'] : ['on_play', 'on_stop']
      const shop = slugOf(way.name)
      {
        await using outcome = await way.begin(gateway, { path, query: `key=${staticKey}&shop=${shop}` })
        expect(outcome.verdict).toBe('allowed')
      }
      const calls = await until('both hooks', () => {
        const ofShop = hooks.calls.filter((call) => String(call['param']).endsWith(`shop=${shop}`))
        return ofShop.length >= 2 ? ofShop : undefined
      })
      const scheme = way.protocol === 'hls' ? 'http' : way.protocol
      expect(calls).toEqual(
        [began, ended].map((action) =>
          expect.objectContaining({
            ...{ action, app, stream, vhost: '__defaultVhost__', ip: '127.0.0.1' },
            param: `?key=${staticKey}&shop=${shop}`,
            stream_url: `/${path}`,
            client_id: calls[0]?.['client_id'],
            // A caller of SRT names a host in its stream id, if at all.
            tcUrl: expect.stringMatching(
              new RegExp(`^${scheme}://(?:127\\.0\\.0\\.1(?::\\d+)?|__defaultVhost__)/${app}$`),
            ),
          }),
        ),
      )
      expect(String(calls[0]?.['client_id'])).not.toBe('')
    },
    60_000,
  )

  test.each(ways)(
    'are not enough for $name when the hook server says no',
    async (way) => {
      const path = pathFor('hooked', way)
      await using outcome = await way.begin(gateway, { path, query: `key=${staticKey}&refuse=1` })
      expect(outcome.verdict).toBe(wordsOf(way, 403))
    },
    60_000,
  )
})

describe('a hook server that is killed', () => {
  beforeAll(async () => {
    await publishEverything('away-deny')
    await publishEverything('away-allow')
    expect(dyingHooks.calls.length).toBeGreaterThan(0)
    await dyingHooks[Symbol.asyncDispose]()
  }, 60_000)

  test.each(ways)(
    'keeps $name out where that is the policy',
    async (way) => {
      await using outcome = await way.begin(gateway, { path: pathFor('away-deny', way) })
      expect(outcome.verdict).toBe(wordsOf(way, 503))
    },
    60_000,
  )

  test.each(ways)(
    'lets $name in where that is the policy',
    async (way) => {
      await using outcome = await way.begin(gateway, { path: pathFor('away-allow', way) })
      expect(outcome.verdict).toBe('allowed')
    },
    60_000,
  )
})

describe('limits', () => {
  test('of viewers hold over all protocols, and places are given back', async () => {
    await publishEverything('limited')
    const path = 'limited/s'
    const players = ways.filter(({ role }) => role === 'play')
    const [rtmp, flv] = ['RTMP play', 'HTTP-FLV'].map((name) => ways.find((way) => way.name === name))
    if (rtmp === undefined || flv === undefined) throw new Error('no such ways')
    await using _first = await allowed(rtmp, path)
    const second = await allowed(flv, path)
    for (const way of players) {
      await using outcome = await way.begin(gateway, { path })
      expect([way.name, outcome.verdict]).toEqual([way.name, wordsOf(way, 429)])
    }
    await second[Symbol.asyncDispose]()
    await until(
      'a place',
      async () => {
        await using outcome = await flv.begin(gateway, { path })
        return outcome.verdict === 'allowed'
      },
      { deadlineMs: 30_000 },
    )
  }, 60_000)

  test('of bandwidth are shared by the viewers of a stream', async () => {
    const abort = new AbortController()
    const startMs = performance.now()
    let bytes = 0
    const wanted = 5 * slowRate
    await Promise.all(
      ['one', 'other'].map(async () => {
        const response = await fetch(`${gateway.url}/slow/s.flv`, { signal: abort.signal })
        expect(response.status).toBe(200)
        const reader = response.body?.getReader()
        while (bytes < wanted) bytes += (await reader?.read())?.value?.length ?? 0
        abort.abort()
      }),
    ).catch((error: unknown) => {
      if (!abort.signal.aborted) throw error
    })
    const seconds = (performance.now() - startMs) / 1000
    // A second's worth goes at once.
    expect(seconds).toBeGreaterThan(3)
    expect(seconds).toBeLessThan(12)
  }, 60_000)
})

test.each(ways)('$name is refused where nobody may, and where no rule is', async (way) => {
  for (const app of ['closed', 'unheard-of']) {
    await using outcome = await way.begin(gateway, { path: `${app}/s`, query: `key=${staticKey}` })
    expect(outcome.verdict).toBe(wordsOf(way, 403))
  }
})

test('no key and no token is in the log', () => {
  const log = gateway.program.output
  expect(log).toContain('"msg":"refused"')
  for (const text of [staticKey, secret, 'eyJ']) expect(log).not.toContain(text)
})

function keep<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

async function allowed(way: Way, path: string): Promise<Outcome> {
  const outcome = await way.begin(gateway, { path })
  expect(outcome.verdict).toBe('allowed')
  return outcome
}

/** The streams `{app}/s` for players of RTMP and HTTP-FLV, and `{app}/rtc` for those of WebRTC, which the origin does not join. */
async function publishEverything(app: string): Promise<void> {
  const queryFor = async (path: string): Promise<string> =>
    app === 'jwt' ? `token=${await hmacToken(claimsFor(path, { role: 'publish' }))}` : `key=${staticKey}`
  keep(publishByRtmp(samples.flv, `${gateway.rtmpUrl}/${app}/s?${await queryFor(`${app}/s`)}`))
  const { page } = keep(await openBlankPage(browser))
  const { status } = await publishByWhip(
    page,
    `${gateway.url}/${app}/rtc/whip?${await queryFor(`${app}/rtc`)}`,
  )
  expect(status).toBe(201)
  await until('the stream at the origin', async () => (await origin.streams()).includes(`${app}/s`), {
    deadlineMs: 30_000,
  })
}

/** A stream that a player finds, and no publisher does. */
function pathFor(app: string, { name, protocol, role }: Way): string {
  if (role === 'publish') return `${app}/${slugOf(name)}`
  return protocol === 'webrtc' ? `${app}/rtc` : `${app}/s`
}

function slugOf(name: string): string {
  return name.replace(' ', '-')
}

interface Claims {
  readonly app: string
  readonly stream: string
  readonly action: string
  readonly exp?: number
}

function claimsFor(path: string, { role }: Pick<Way, 'role'>): Claims {
  const [app = '', stream = ''] = path.split('/')
  return { app, stream, action: role }
}

async function hmacToken(claims: Claims, key = secret): Promise<string> {
  return await tokenOf(claims).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(key))
}

async function ecToken(claims: Claims): Promise<string> {
  return await tokenOf(claims).setProtectedHeader({ alg: 'ES256', kid: 'first' }).sign(privateKey)
}

function tokenOf({ exp = Math.floor(Date.now() / 1000) + 3600, ...claims }: Claims): SignJWT {
  return new SignJWT(claims).setExpirationTime(exp)
}

/** What a protocol says for a status of HTTP. */
function wordsOf({ protocol, role }: Way, status: 401 | 403 | 429 | 503): string {
  if (protocol === 'srt') return String({ 401: 1401, 403: 1403, 429: 1402, 503: 1503 }[status])
  if (protocol === 'rtmp') return role === 'publish' ? 'NetStream.Publish.Denied' : 'NetStream.Play.Failed'
  return String(status)
}

async function serveJson(value: unknown): Promise<string> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push({
    [Symbol.asyncDispose]: () => {
      server.close()
      server.closeAllConnections()
      return Promise.resolve()
    },
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
}
