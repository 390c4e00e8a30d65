import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { FrpsConfig, TokenGrant } from '../../../mechanisms/frp-config/index.ts'
import type { Login } from '../../../protocols/frp/index.ts'
import { clientTokenAuth } from './client-token-auth.ts'
import type { Identity, ServerAuth } from './contract.ts'
import { tokenAuth } from './token-auth.ts'

const clock = new ManualClock(1_700_000_000_000)

describe('token authentication', () => {
  it('takes what was made with the token, whenever it was made', async () => {
    const { token, grant } = await serverWith({}).verifyLogin(login('12345678', 1_700_000_000))
    expect([token, grant]).toEqual(['12345678', undefined])
    expect((await serverWith({}).verifyLogin(login('12345678', 1))).token).toBe('12345678')
  })

  it('knows the key that frp makes', async () => {
    const proof = { privilege_key: '3d8aac6cc09d79da303be74c311e5808', timestamp: 1_700_000_000 }
    await expect(serverWith({}).verifyLogin({ ...login('', 0), ...proof })).resolves.toMatchObject({
      token: '12345678',
    })
    expect(await clientTokenAuth({ token: '12345678', additionalScopes: [] }, { clock }).login()).toEqual(
      proof,
    )
  })

  it.each([
    ['another token', login('12345679')],
    ['no key', { ...login('12345678'), privilege_key: '' }],
    ['another time', { ...login('12345678'), timestamp: 1 }],
    ['a longer key', { ...login('12345678'), privilege_key: `${login('12345678').privilege_key}0` }],
    ['upper case', { ...login('12345678'), privilege_key: login('12345678').privilege_key.toUpperCase() }],
  ])('refuses %s', async (_, message) => {
    await expect(serverWith({}).verifyLogin(message)).rejects.toMatchObject({
      code: 'TUNNEL_UNAUTHORIZED',
      message: "token in login doesn't match token from configuration",
    })
  })

  it('an empty token is one, unless there are others', async () => {
    expect((await serverWith({ token: '' }).verifyLogin(login(''))).token).toBe('')
    const server = serverWith({ token: '', tokens: [grant('a', {})] })
    await expect(server.verifyLogin(login(''))).rejects.toThrow("doesn't match")
  })

  it('of several tokens the one that made the key counts, the first of equal ones', async () => {
    const first = grant('one', { name: 'first' })
    const server = serverWith({ token: 'master', tokens: [first, grant('two', {}), grant('one', {})] })
    expect(await server.verifyLogin(login('one'))).toMatchObject({ token: 'one', grant: first })
    expect(await server.verifyLogin(login('two'))).toMatchObject({ token: 'two', grant: { name: 'two' } })
    expect(await server.verifyLogin(login('master'))).toMatchObject({ token: 'master', grant: undefined })
  })

  it('a token may be for some users only', async () => {
    const server = serverWith({ tokens: [grant('one', { users: ['ann', 'bob'] })] })
    expect((await server.verifyLogin(login('one', undefined, 'bob'))).token).toBe('one')
    await expect(server.verifyLogin(login('one', undefined, 'eve'))).rejects.toMatchObject({
      code: 'TUNNEL_UNAUTHORIZED',
      message: 'user [eve] is not allowed with this token',
    })
  })

  it.each([-61, 61])('with a window a time %s s off is refused', async (offset) => {
    const server = serverWith({ timestampWindow: 60 })
    const near = 1_700_000_000 + offset - Math.sign(offset)
    await server.verifyLogin(login('12345678', near))
    await expect(server.verifyLogin(login('12345678', 1_700_000_000 + offset))).rejects.toThrow(
      'timestamp in login is off by 61 s, at most 60 s are allowed',
    )
  })

  it('messages after the login need a proof only in the scopes that say so', async () => {
    const none = { privilege_key: '', timestamp: 0 }
    const lax = await serverWith({}).verifyLogin(login('12345678'))
    await lax.verifyPing(none)
    await lax.verifyNewWorkConn({ run_id: 'r', ...none })

    const strict = await serverWith({ additionalScopes: ['HeartBeats', 'NewWorkConns'] }).verifyLogin(
      login('12345678'),
    )
    await expect(strict.verifyPing(none)).rejects.toThrow(
      "token in heartbeat doesn't match token from configuration",
    )
    await expect(strict.verifyNewWorkConn({ run_id: 'r', ...none })).rejects.toThrow(
      "token in NewWorkConn doesn't match token from configuration",
    )
  })

  it('later proofs are of the token of the login', async () => {
    const scopes = { additionalScopes: ['HeartBeats', 'NewWorkConns'] } as const
    const server = serverWith({ ...scopes, token: '', tokens: [grant('one', {}), grant('two', {})] })
    const identity = await server.verifyLogin(login('one'))
    const one = clientTokenAuth({ token: 'one', ...scopes }, { clock })
    const two = clientTokenAuth({ token: 'two', ...scopes }, { clock })
    await identity.verifyPing(await one.ping())
    await identity.verifyNewWorkConn({ run_id: 'r', ...(await one.newWorkConn()) })
    await expect(identity.verifyPing(await two.ping())).rejects.toThrow("doesn't match")
  })

  it('a client proves only what the scopes ask for', async () => {
    const client = clientTokenAuth({ token: 't', additionalScopes: ['HeartBeats'] }, { clock })
    expect(await client.newWorkConn()).toEqual({ privilege_key: '', timestamp: 0 })
    expect(await client.ping()).toMatchObject({ timestamp: 1_700_000_000 })
  })
})

describe('a client of another configuration holds', () => {
  const one = grant('one', { name: 'a', users: ['u', 'v'] })
  const identities = async (): Promise<readonly [Identity, Identity]> => {
    const server = serverWith({ tokens: [one] })
    return [
      await server.verifyLogin(login('one', 1_700_000_000, 'u')),
      await server.verifyLogin(login('12345678')),
    ]
  }

  it('as long as its token is there under its name, and open to its user, whatever else it may do', async () => {
    const [granted, plain] = await identities()
    const same = serverWith({ tokens: [grant('x', {}), { ...one, users: undefined, maxProxies: 1 }] })
    expect([same.holds(granted, 'u'), same.holds(granted, 'w'), same.holds(plain, 'w')]).toEqual([
      true,
      true,
      true,
    ])
  })

  it.each([
    ['it is taken away', []],
    ['it is another one', [{ ...one, token: 'two' }]],
    ['it is named otherwise', [{ ...one, name: 'b' }]],
    ['its user is taken out', [{ ...one, users: ['v'] }]],
  ])('not when %s', async (_, tokens) => {
    const [granted, plain] = await identities()
    const server = serverWith({ tokens })
    expect([server.holds(granted, 'u'), server.holds(plain, '')]).toEqual([false, true])
  })

  it('the plain token counts as the one that opens everything, not as one of those with names', async () => {
    const [granted, plain] = await identities()
    expect(serverWith({ token: 'one' }).holds(granted, 'u')).toBe(false)
    expect(serverWith({ token: '', tokens: [grant('12345678', {})] }).holds(plain, '')).toBe(false)
    expect(serverWith({ token: '87654321' }).holds(plain, '')).toBe(false)
  })

  it('an empty token does no longer when there are others', async () => {
    const open = await serverWith({ token: '' }).verifyLogin(login(''))
    expect(serverWith({ token: '' }).holds(open, '')).toBe(true)
    expect(serverWith({ token: '', tokens: [one] }).holds(open, '')).toBe(false)
  })

  it('never with OIDC before', async () => {
    const [, plain] = await identities()
    expect(serverWith({}).holds({ ...plain, method: 'oidc' }, '')).toBe(false)
  })
})

function serverWith(auth: Partial<FrpsConfig['auth']>): ServerAuth {
  const defaults = { token: '12345678', tokens: [], additionalScopes: [], timestampWindow: 0 }
  return tokenAuth({ ...defaults, ...auth }, { clock })
}

function grant(token: string, rights: Partial<TokenGrant>): TokenGrant {
  return {
    name: token,
    token,
    users: undefined,
    allowPorts: undefined,
    allowProxyTypes: undefined,
    allowDomains: undefined,
    maxPorts: 0,
    maxProxies: 0,
    maxClients: 0,
    maxConnections: 0,
    bandwidthLimit: 0,
    ...rights,
  }
}

function login(token: string, timestamp = 1_700_000_000, user = ''): Login {
  return {
    version: '0.70.1',
    hostname: 'h',
    os: 'linux',
    arch: 'amd64',
    user,
    privilege_key: md5(`${token}${timestamp}`),
    timestamp,
    run_id: '',
    client_id: '',
    metas: {},
    pool_count: 1,
    half_close: false,
  }
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex')
}
