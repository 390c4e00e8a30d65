import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock, systemClock } from '../../../foundation/clock.ts'
import { readToEnd } from '../../../mechanisms/net/sockets.testkit.ts'
import type { ServerAuth } from '../auth/contract.ts'
import { tokenAuth } from '../auth/token-auth.ts'
import { echo, type FrpClient } from './frp-client.testkit.ts'
import { closeOf, login, start, user } from './loopback.testkit.ts'
import { freePort } from '../../../foundation/free-port.testkit.ts'
import { type Served, serverConfig } from './tunnel-server.testkit.ts'

const alice = { name: 'alice', token: 'sesame', users: ['a', 'b'] }
const before = { auth: { token: 'secret', tokens: [alice] } }

/** A user of a proxy of the client, who has been answered. */
async function carried(client: FrpClient, name: string): Promise<Socket> {
  const socket = await user(await client.register({ proxy_name: name }))
  socket.write('1')
  await once(socket, 'data')
  return socket
}

function reload(served: Served, auth: unknown): readonly string[] {
  const config = { ...served.config, auth: serverConfig({ auth }).auth }
  return served.server.reload(config, tokenAuth(config.auth, { clock: systemClock }))
}

describe('a reload asks for every client whether it may still be here', () => {
  const changes: readonly (readonly [string, object])[] = [
    ['its token is taken away', { token: 'secret' }],
    ['its token is another one', { tokens: [{ ...alice, token: 'simsim' }] }],
    ['its token is named otherwise', { tokens: [{ ...alice, name: 'bob' }] }],
    ['its user is taken out', { tokens: [{ ...alice, users: ['b'] }] }],
  ]
  test.each(changes)('and cuts it with its users, also without mux, when %s', async (_, auth) => {
    const served = await start({ raw: before })
    const client = await login(served, { token: 'sesame', mux: false, login: { user: 'a' } })
    client.serve((stream) => echo(stream))
    const socket = await carried(client, 'a.p')
    // This one is no proxy of the client any more, and was of the same token.
    const late = await carried(client, 'a.q')
    served.server.closeProxy('a.q')
    const over = [closeOf(socket), closeOf(late)]
    expect(reload(served, auth)).toEqual([])
    await Promise.all([client.control.closed, ...over])
    expect(served.server.clients()).toEqual([])
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(0))
  })

  test('and leaves it alone, with its users, when its token has other rights only', async () => {
    const served = await start({ raw: before })
    const client = await login(served, { token: 'sesame', login: { user: 'a' } })
    client.serve((stream) => echo(stream))
    const socket = await carried(client, 'a.p')
    expect(reload(served, { tokens: [{ ...alice, users: ['a'], maxProxies: 1 }] })).toEqual([])
    socket.end('2')
    expect((await readToEnd(socket)).toString()).toBe('2')
    expect((await client.ask({ proxy_name: 'a.q' })).error).toBe(
      'exceed the limit of 1 proxies of the token [alice]',
    )
  })

  test('and cuts those of the plain token when that is another one, whatever file it comes from', async () => {
    const served = await start({ raw: before })
    const [plain, granted] = [
      await login(served),
      await login(served, { token: 'sesame', login: { user: 'a' } }),
    ]
    reload(served, { token: 'other', tokens: [alice] })
    await plain.control.closed
    expect(served.server.clients()).toMatchObject([{ runId: granted.runId }])
  })

  test('and cuts all when clients are known by other means', async () => {
    const served = await start()
    const client = await login(served)
    const asked: unknown[] = []
    const other: ServerAuth = {
      holds: (identity, name) => {
        asked.push([identity.method, identity.token, name])
        return identity.method === 'oidc'
      },
      verifyLogin: () => Promise.reject(new Error('not asked')),
    }
    served.server.reload(served.config, other)
    await client.control.closed
    expect(asked).toEqual([['token', 'secret', '']])
  })
})

describe('a reload', () => {
  test('names what wants a restart, against what the server started with, and nothing else', async () => {
    const served = await start({ raw: { limits: { maxConnections: 10, maxUnauthenticated: 100 } } })
    const { config } = served
    const auth = tokenAuth(config.auth, { clock: systemClock })
    const named = (changes: object): readonly string[] =>
      served.server.reload({ ...config, ...changes }, auth)
    const limits = (changes: object): object => ({ limits: { ...config.limits, ...changes } })
    expect(named({})).toEqual([])
    expect(named({ vhostHTTPPort: 8080, proxyBindAddr: '0.0.0.0' }).toSorted()).toEqual([
      'proxyBindAddr',
      'vhostHTTPPort',
    ])
    expect(named(limits({ maxUnauthenticated: 99, maxUnauthenticatedPerAddress: 9 }))).toEqual([
      'limits.maxUnauthenticated',
      'limits.maxUnauthenticatedPerAddress',
    ])
    expect(named(limits({ maxUnauthenticated: 99, maxUnauthenticatedPerAddress: 9 }))).toHaveLength(2)
    expect(named(limits({ maxConnections: 11 }))).toEqual(['limits.maxConnections'])
    expect(named(limits({ maxConnections: 9 }))).toEqual([])
    expect(named(limits({ maxConnections: 10 }))).toEqual([])
    const reloaded = {
      allowPorts: [{ from: 1, to: 2 }],
      maxPortsPerClient: 1,
      userConnTimeout: 1,
      detailedErrorsToClient: false,
      subDomainHost: 'frp.example',
    }
    expect(
      named({ ...reloaded, ...limits({ maxClients: 1, loginsPerMinute: 1, maxProxiesPerClient: 1 }) }),
    ).toEqual([])
  })

  test('bounds the users of all from now on', async () => {
    const served = await start()
    const client = await login(served)
    client.serve((stream) => echo(stream))
    const first = await carried(client, 'p')
    const { config } = served
    const limits = { ...config.limits, maxConnections: 1 }
    served.server.reload({ ...config, limits }, tokenAuth(config.auth, { clock: systemClock }))
    const [proxy] = served.server.proxies()
    const second = connect(Number(proxy?.remoteAddr.slice(1)), '127.0.0.1').on('error', () => undefined)
    await closeOf(second)
    expect(await served.metric('sluice_tunnel_user_connections_refused_total', { reason: 'limit' })).toBe(1)
    first.end('2')
    expect((await readToEnd(first)).toString()).toBe('2')
  })

  test('applies to clients that are here: what they may open', async () => {
    const allowed = await freePort()
    const served = await start()
    const client = await login(served)
    await client.register({ proxy_name: 'a' })
    await client.register({ proxy_name: 's', proxy_type: 'stcp' })
    const { config } = served
    const auth = tokenAuth(config.auth, { clock: systemClock })
    const errorOf = async (request: Parameters<typeof client.ask>[0]): Promise<string> =>
      (await client.ask({ proxy_name: 'b', ...request })).error
    served.server.reload({ ...config, maxPortsPerClient: 1 }, auth)
    expect(await errorOf({})).toBe('exceed the max_ports_per_client')
    served.server.reload({ ...config, limits: { ...config.limits, maxProxiesPerClient: 2 } }, auth)
    expect(await errorOf({ proxy_type: 'stcp' })).toBe('exceed the limit of 2 proxies per client')
    served.server.reload({ ...config, allowPorts: [{ from: allowed, to: allowed }] }, auth)
    expect(await errorOf({ remote_port: allowed === 1024 ? 1025 : 1024 })).toBe('port not allowed')
    expect(await client.register({ proxy_name: 'b' })).toBe(allowed)
    expect(served.server.proxies().map(({ name }) => name)).toEqual(['a', 's', 'b'])
  })

  test('applies to clients that are here: how long a user waits for them', async () => {
    const clock = new ManualClock()
    const served = await start({ clock, raw: { transport: { tcpMuxKeepaliveInterval: 1000 } } })
    const client = await login(served)
    const port = await client.register({ proxy_name: 'p' })
    const { config } = served
    served.server.reload({ ...config, userConnTimeout: 2 }, tokenAuth(config.auth, { clock }))
    const waits = await user(port)
    const over = closeOf(waits)
    waits.resume()
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(1))
    clock.advance(1999)
    expect(await served.metric('sluice_tunnel_user_connections')).toBe(1)
    clock.advance(1)
    await over
    expect(await served.metric('sluice_tunnel_user_connections')).toBe(0)
  })
})
