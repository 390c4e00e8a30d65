import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { HttpApi } from '../../../mechanisms/http-api/index.ts'
import { ask } from '../../../mechanisms/http-api/raw-http.testkit.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { credentialRoutes, type RouteIssuer } from './credential-routes.ts'
import { claimOf, foundBy, isProvedBy } from './credentials.testkit.ts'
import { TimeLimited } from './time-limited.ts'

const path = '/api/v1/turn/credentials'
const uris = ['turn:turn.example.com:3478']
const nowSeconds = 1_700_000_000

const opened: HttpApi[] = []
afterEach(async () => {
  for (const api of opened.splice(0)) await api.close()
})

async function open(issuer: Partial<RouteIssuer> = {}, token?: string) {
  const clock = new ManualClock(nowSeconds * 1000)
  const source = new TimeLimited({ secrets: ['north'], clock })
  const api = new HttpApi({
    listen: { host: '127.0.0.1', port: 0 },
    log: silentLogger(),
    serverHeader: 'Test',
    routes: credentialRoutes({ issuer: () => ({ secret: source.secret, uris, ...issuer }), clock }),
    ...(token !== undefined && { token }),
  })
  opened.push(api)
  await api.start()
  const get = (query: string, headers: Record<string, string> = {}) =>
    ask(api.address, 'GET', `${path}${query}`, { headers })
  return { api, clock, source, get }
}

describe('the route that hands credentials out', () => {
  it('answers as the REST draft says, with what the server takes', async () => {
    const { source, get } = await open()
    const { status, json, head } = await get('?service=turn&username=alice&ttl=60')
    expect(status).toBe(200)
    expect(head).toContain('Cache-Control: no-store')
    expect(json).toEqual({
      username: `${nowSeconds + 60}:alice`,
      password: expect.any(String),
      ttl: 60,
      uris,
    })
    const { username, password } = json as { username: string; password: string }
    const [found] = foundBy(source, claimOf(username))
    expect(found && isProvedBy(found, claimOf(username), password)).toBe(true)
  })

  it('answers as browsers want it', async () => {
    const { get } = await open()
    const { json } = await get('?shape=ice&iceTransportPolicy=relay&username=alice')
    expect(json).toEqual({
      iceServers: [{ urls: uris, username: `${nowSeconds + 86_400}:alice`, credential: expect.any(String) }],
      iceTransportPolicy: 'relay',
    })
    expect((await get('?shape=ice')).json).not.toHaveProperty('iceTransportPolicy')
  })

  it('takes nothing at all for nobody in particular', async () => {
    const { get } = await open({ ttlSeconds: 5 })
    for (const query of ['', '?', '?username=']) {
      expect((await get(query)).json).toMatchObject({ username: `${nowSeconds + 5}`, ttl: 5 })
    }
  })

  it('takes a POST with a query or a form', async () => {
    const { api } = await open()
    const post = (query: string, body: string) => ask(api.address, 'POST', `${path}${query}`, { body })
    expect((await post('?username=alice', '')).json).toMatchObject({
      username: expect.stringMatching(/:alice$/),
    })
    expect((await post('?service=turn', 'username=al%20ice&ttl=9')).json).toMatchObject({
      username: `${nowSeconds + 9}:al ice`,
    })
    expect((await post('?ttl=9', 'ttl=9')).status).toBe(400)
    expect((await post('', '{"ttl":9}')).status).toBe(400)
  })

  it('follows the secrets as they are replaced', async () => {
    const { source, get } = await open()
    const before = (await get('?username=a')).json
    source.replace(['south', 'north'])
    expect((await get('?username=a')).json).not.toEqual(before)
    source.replace([])
    const { status, json } = await get('?username=a')
    expect([status, json]).toMatchObject([503, { error: { code: 'TURN_CREDENTIAL_NO_SECRET' } }])
  })

  it.each([
    ['another service', '?service=sip', 'service'],
    ['another shape', '?shape=xml', 'shape'],
    ['a policy of none', '?shape=ice&iceTransportPolicy=none', 'iceTransportPolicy'],
    ['a policy without ICE', '?iceTransportPolicy=relay', 'shape=ice'],
    ['a ttl of 0', '?ttl=0', 'ttl'],
    ['a ttl below 0', '?ttl=-1', 'ttl'],
    ['a ttl over the bound', '?ttl=604801', '604800'],
    ['a ttl that is no number', '?ttl=1e3', 'ttl'],
    ['an empty ttl', '?ttl=', 'ttl'],
    ['a ttl twice', '?ttl=1&ttl=2', 'more than once'],
    ['a user with the separator', '?username=a%3Ab', 'user id'],
    ['a user with a control', '?username=a%0Ab', 'user id'],
    ['a parameter that is not known', '?key=K', 'key'],
    ['a long parameter', `?${'k'.repeat(3000)}=1`, '…'],
  ])('refuses %s with a clear 400', async (_, query, told) => {
    const { get } = await open()
    const { status, json, body } = await get(query)
    expect([status, json]).toMatchObject([
      400,
      { error: { code: 'TURN_CREDENTIAL_BAD_REQUEST', message: expect.stringContaining(told) } },
    ])
    expect(body.length).toBeLessThan(300)
  })

  it('keeps to the bound of its own', async () => {
    const { get } = await open({ ttlSeconds: 900, maxTtlSeconds: 600 })
    expect((await get('')).json).toMatchObject({ ttl: 600 })
    expect((await get('?ttl=600')).status).toBe(200)
    expect((await get('?ttl=601')).status).toBe(400)
  })

  it('says that there is no URI where one is needed', async () => {
    const { get } = await open({ uris: [] })
    expect((await get('')).json).toMatchObject({ uris: [] })
    const { status, json } = await get('?shape=ice')
    expect([status, json]).toMatchObject([503, { error: { code: 'TURN_CREDENTIAL_NO_URIS' } }])
  })

  it('wants the token of the API', async () => {
    const { get } = await open({}, 'admin-token')
    expect((await get('')).status).toBe(401)
    expect((await get('', { Authorization: 'Bearer admin-token' })).status).toBe(200)
  })
})
