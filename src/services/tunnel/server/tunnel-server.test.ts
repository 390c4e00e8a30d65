import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock, systemClock } from '../../../foundation/clock.ts'
import { readToEnd } from '../../../mechanisms/net/sockets.testkit.ts'
import { StreamDuplex } from '../../../mechanisms/streams/index.ts'
import { cfbKey, privilegeKey } from '../../../protocols/frp/index.ts'
import type { ServerAuth } from '../auth/contract.ts'
import { tokenAuth } from '../auth/token-auth.ts'
import { TunnelError } from '../errors.ts'
import { payloadLayers } from '../payload-layers.ts'
import { echo } from './frp-client.testkit.ts'
import { closeOf, login, say, start, user } from './loopback.testkit.ts'
import { freePort } from '../../../foundation/free-port.testkit.ts'

const plainAuth = tokenAuth(
  { token: 'secret', tokens: [], additionalScopes: [], timestampWindow: 0 },
  { clock: systemClock },
)

describe('a client', () => {
  test.each([
    ['v1', true],
    ['v1', false],
    ['v2', true],
    ['v2', false],
  ] as const)('of wire version %s, mux %s, is logged in and serves users', async (version, mux) => {
    const served = await start()
    const client = await login(served, { version, mux, login: { hostname: 'h', user: 'u' } })
    expect(client.runId).toMatch(/^[\da-f]{16}$/)
    client.serve((stream) => echo(stream))
    const port = await client.register({ proxy_name: 'u.p' })
    expect(await say(port, 'hello')).toBe('hello')
    expect(served.server.clients()).toMatchObject([
      { runId: client.runId, hostname: 'h', wireVersion: version },
    ])
    expect(served.server.proxies()).toMatchObject([{ name: 'u.p', type: 'tcp', remoteAddr: `:${port}` }])
    expect(await served.metric('sluice_tunnel_logins_total')).toBe(1)
  })

  test.each([
    [true, false],
    [false, true],
    [true, true],
  ])('encrypts: %s, compresses: %s', async (use_encryption, use_compression) => {
    const served = await start()
    const client = await login(served)
    const key = use_encryption ? cfbKey('secret') : undefined
    client.serve((stream) => echo(payloadLayers(stream, { key, isCompressed: use_compression })))
    const port = await client.register({ proxy_name: 'p', use_encryption, use_compression })
    expect(await say(port, 'hello'.repeat(1000))).toBe('hello'.repeat(1000))
  })

  test('that ends its side keeps the other one open, when it says that it does', async () => {
    const served = await start()
    const client = await login(served, { login: { half_close: true } })
    client.serve((stream) => {
      const duplex = new StreamDuplex(stream)
      duplex.resume()
      duplex.on('end', () => duplex.end(Buffer.alloc(100_000, 1)))
    })
    const port = await client.register({ proxy_name: 'p' })
    expect((await say(port, 'question')).length).toBe(100_000)
  })
})

describe('a work connection', () => {
  test('of an unknown client is refused', async () => {
    const served = await start()
    const client = await login(served)
    const work = await client.work('0123')
    expect((await work.next('StartWorkConn')).error).toBe('no client control found for run id [0123]')
    await work.closed
    expect(await served.metric('sluice_tunnel_work_connections_refused_total')).toBe(1)
  })

  test('beyond what the pool holds is refused, however many come', async () => {
    const served = await start()
    const client = await login(served)
    const works = await Promise.all(Array.from({ length: 40 }, () => client.work()))
    await eventually(async () =>
      expect(await served.metric('sluice_tunnel_work_connections_refused_total')).toBe(30),
    )
    expect(await served.metric('sluice_tunnel_work_connections_idle')).toBe(10)
    const told = (): unknown[] =>
      works.flatMap(({ heard }) => heard.map(({ body }) => Reflect.get(body, 'error')))
    await eventually(() => expect(told()).toHaveLength(30))
    expect(new Set(told())).toEqual(new Set(['work connection pool is full, discarding']))
  })

  test('is asked for ahead as often as the client and the server want', async () => {
    const served = await start({ raw: { transport: { maxPoolCount: 3 } } })
    const client = await login(served, { login: { pool_count: 50 } })
    await client.register({ proxy_name: 'p' })
    expect(client.control.count('ReqWorkConn')).toBe(3)
  })

  test('that breaks while it is checked is given to nobody', async () => {
    const waiting: (() => void)[] = []
    const auth: ServerAuth = {
      holds: () => true,
      verifyLogin: async (message) => ({
        ...(await plainAuth.verifyLogin(message)),
        verifyNewWorkConn: () => new Promise<void>((resolve) => waiting.push(resolve)),
      }),
    }
    const served = await start({ auth })
    const client = await login(served)
    const port = await client.register({ proxy_name: 'p' })
    const socket = await user(port)
    const broken = await client.work()
    await eventually(() => expect(waiting).toHaveLength(1))
    broken.channel.destroy(new Error('reset'))
    await broken.closed
    // What is answered now was said behind the reset, on the same connection.
    await client.ask({})
    waiting[0]?.()
    const good = client.startedWork()
    await eventually(() => expect(waiting).toHaveLength(2))
    waiting[1]?.()
    echo((await good).stream)
    socket.end('hello')
    expect((await readToEnd(socket)).toString()).toBe('hello')
  })

  test('says who the user is', async () => {
    const served = await start()
    const client = await login(served)
    const port = await client.register({ proxy_name: 'p' })
    const socket = await user(port)
    const { start: started } = await client.startedWork()
    expect(started).toMatchObject({
      proxy_name: 'p',
      src_addr: '127.0.0.1',
      src_port: socket.localPort,
      dst_addr: '127.0.0.1',
      dst_port: port,
    })
  })
})

describe('an operator', () => {
  test('kicks a client with all that it has', async () => {
    const served = await start()
    const client = await login(served)
    const port = await client.register({ proxy_name: 'p' })
    expect(served.server.kick('nobody')).toBe(false)
    expect(served.server.kick(client.runId)).toBe(true)
    await client.control.closed
    await eventually(() => expect(served.server.clients()).toEqual([]))
    await expect(user(port)).rejects.toThrow('ECONNREFUSED')
  })

  test.each([true, false])('kicks a client with the users that it carries (mux %s)', async (mux) => {
    const served = await start()
    const client = await login(served, { mux })
    client.serve((stream) => echo(stream))
    const sockets: Socket[] = []
    for (const proxy_name of ['p', 'q']) {
      const socket = await user(await client.register({ proxy_name }))
      socket.write('1')
      await once(socket, 'data')
      sockets.push(socket)
    }
    // Its user goes on, for now.
    client.control.channel.send('CloseProxy', { proxy_name: 'q' })
    const other = await login(served, { mux })
    await eventually(() => expect(served.server.proxies()).toHaveLength(1))
    const over = sockets.map((socket) => closeOf(socket))
    served.server.kick(client.runId)
    await Promise.all(over)
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(0))
    expect((await other.ask({ proxy_name: 'p' })).error).toBe('')
  })

  test('closes a proxy; the connections that it carries go on', async () => {
    const served = await start()
    const client = await login(served)
    client.serve((stream) => echo(stream))
    const port = await client.register({ proxy_name: 'p' })
    const socket = await user(port)
    socket.write('1')
    await once(socket, 'data')
    expect([served.server.closeProxy('p'), served.server.closeProxy('p')]).toEqual([true, false])
    expect(served.server.proxies()).toEqual([])
    await expect(user(port)).rejects.toThrow('ECONNREFUSED')
    socket.end('2')
    expect((await readToEnd(socket)).toString()).toBe('2')
    expect(await client.register({ proxy_name: 'p', remote_port: port })).toBe(port)
  })
})

describe('a server', () => {
  test('whose port is taken does not start, also not a second time', async () => {
    const first = await start()
    await expect(start({ raw: { bindPort: first.port } })).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    await first.server.close()
    await expect(first.server.start()).rejects.toThrow('does not start again')
  })
})

describe('a server that closes', () => {
  test('lets users go on, takes no proxies meanwhile, and is done as soon as they are', async () => {
    const served = await start()
    const client = await login(served)
    client.serve((stream) => echo(stream))
    const port = await client.register({ proxy_name: 'p' })
    const socket = await user(port)
    socket.write('1')
    await once(socket, 'data')
    const closed = served.server.close({ graceMs: 60_000 })
    await expect(user(port)).rejects.toThrow('ECONNREFUSED')
    expect((await client.ask({ proxy_name: 'q' })).error).toBe('proxies are not opened any more')
    socket.end('2')
    expect((await readToEnd(socket)).toString()).toBe('2')
    await closed
    await client.control.closed
    expect(served.recorder.events.at(-1)).toBe(`-client ${client.runId}`)
  })

  test('cuts who is left after that, also who only waits', async () => {
    const served = await start()
    const client = await login(served, { mux: false })
    const port = await client.register({ proxy_name: 'p' })
    const waits = await user(port)
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(1))
    const over = closeOf(waits)
    const closing = [served.server.close({ graceMs: 50 }), served.server.close()]
    waits.resume()
    await over
    await Promise.all(closing)
    expect(await served.metric('sluice_tunnel_user_connections')).toBe(0)
  })
})

describe('a secret proxy', () => {
  test.each(['v1', 'v2'] as const)(
    'is visited (%s), with layers of its own on either hop',
    async (version) => {
      const served = await start()
      const client = await login(served)
      client.serve((stream) => echo(payloadLayers(stream, { key: cfbKey('secret'), isCompressed: true })))
      await client.register({
        proxy_name: 's',
        proxy_type: 'stcp',
        sk: 'key',
        use_encryption: true,
        use_compression: true,
      })
      const visitor = await login(served, { version })
      const stream = await visitor.visit('s', 'key', { use_encryption: true })
      if (typeof stream === 'string') throw new Error(stream)
      const duplex = new StreamDuplex(payloadLayers(stream, { key: cfbKey('key'), isCompressed: false }))
      duplex.end('hello')
      const [bytes] = (await once(duplex, 'data')) as [Buffer]
      expect(bytes.toString()).toBe('hello')
    },
  )

  test('is not visited without it, its key, or its leave', async () => {
    const served = await start()
    const owner = await login(served, { login: { user: 'a' } })
    await owner.register({ proxy_name: 'a.s', proxy_type: 'stcp', sk: 'key' })
    await owner.register({ proxy_name: 'a.all', proxy_type: 'stcp', sk: 'key', allow_users: ['*'] })
    const other = await login(served, { login: { user: 'b' } })
    expect(await other.visit('a.none', 'key')).toBe("custom listener for [a.none] doesn't exist")
    expect(await owner.visit('a.s', 'wrong')).toBe('visitor connection of [a.s] auth failed')
    expect(await other.visit('a.s', 'key')).toBe('visitor connection of [a.s] user [b] not allowed')
    expect(await other.visit('a.all', 'key', { run_id: 'x' })).toBe('no client control found for run id [x]')
    expect(typeof (await other.visit('a.all', 'key', { run_id: '' }))).toBe('object')
    expect(typeof (await owner.visit('a.s', 'key', { sign_key: privilegeKey('key', 7), timestamp: 7 }))).toBe(
      'object',
    )
  })
})

describe('one of several tokens', () => {
  const tokens = [
    {
      name: 'small',
      token: 'small',
      users: ['s'],
      allowPorts: [{ single: 1 }],
      allowProxyTypes: ['tcp', 'stcp'],
      maxProxies: 1,
      maxClients: 1,
    },
    { name: 'big', token: 'big', maxConnections: 1 },
  ]

  test('lets its holders do what it says, and no more', async () => {
    const served = await start({ raw: { auth: { tokens } } })
    await expect(login(served, { token: 'small', login: { user: 'x' } })).rejects.toThrow(
      'user [x] is not allowed with this token',
    )
    const small = await login(served, { token: 'small', login: { user: 's' } })
    await expect(login(served, { token: 'small', login: { user: 's' } })).rejects.toThrow(
      'exceed the limit of 1 clients of the token [small]',
    )
    const errors: string[] = []
    for (const request of [
      { proxy_name: 's.p', remote_port: 2 },
      { proxy_name: 's.p', proxy_type: 'udp' },
      { proxy_name: 'p', proxy_type: 'stcp' },
      { proxy_name: 's.p', proxy_type: 'stcp' },
      { proxy_name: 's.q', proxy_type: 'stcp' },
    ]) {
      errors.push((await small.ask(request)).error)
    }
    expect(errors).toEqual([
      'port not allowed',
      'proxy type [udp] is not allowed, allowed are tcp, stcp',
      'proxy name [p] must begin with [s.]',
      '',
      'exceed the limit of 1 proxies of the token [small]',
    ])
  })

  test('bounds the users of all its clients together', async () => {
    const served = await start({ raw: { auth: { tokens } } })
    const [first, second] = [await login(served, { token: 'big' }), await login(served, { token: 'big' })]
    const ports = [await first.register({ proxy_name: 'p' }), await second.register({ proxy_name: 'q' })]
    await user(ports[0] ?? 0)
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(1))
    const refused = connect(ports[1] ?? 0, '127.0.0.1').on('error', () => undefined)
    await closeOf(refused)
    expect(await served.metric('sluice_tunnel_user_connections_refused_total', { reason: 'limit' })).toBe(1)
  })

  test('is no way into a group on a port that it may not use', async () => {
    const served = await start({ raw: { auth: { tokens } } })
    const founder = await login(served, { token: 'big' })
    const group = { group: 'g', group_key: 'k', remote_port: await freePort() }
    await founder.register({ proxy_name: 'p', ...group })
    const small = await login(served, { token: 'small', login: { user: 's' } })
    expect((await small.ask({ proxy_name: 's.p', ...group })).error).toBe('port not allowed')
    expect((await small.ask({ proxy_name: 's.p', proxy_type: 'stcp' })).error).toBe('')
  })

  test('that a reload takes away cuts its clients, and leaves those of the others', async () => {
    const served = await start({ raw: { auth: { token: 'secret', tokens } } })
    const [small, big, plain] = [
      await login(served, { token: 'small', login: { user: 's' } }),
      await login(served, { token: 'big' }),
      await login(served),
    ]
    const auth = { ...served.config.auth, tokens: served.config.auth.tokens.slice(1), token: '' }
    const config = { ...served.config, auth }
    expect(served.server.reload(config, tokenAuth(auth, { clock: systemClock }))).toEqual([])
    await Promise.all([small.control.closed, plain.control.closed])
    expect(served.server.clients()).toMatchObject([{ runId: big.runId }])
  })
})

describe('an http proxy', () => {
  test('whose client closes the work connection at once answers 502', async () => {
    const port = await freePort()
    const served = await start({ raw: { vhostHTTPPort: port } })
    const client = await login(served)
    // As frpc does when the local service is down.
    client.serve((stream) => stream.destroy())
    await client.register({ proxy_name: 'web', proxy_type: 'http', custom_domains: ['a.example'] })
    const socket = await user(port)
    socket.write('GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
    const answer = await readToEnd(socket)
    expect(answer.toString()).toMatch(/^HTTP\/1.1 502 /)
    expect(await served.metric('sluice_tunnel_http_failures_total', { reason: 'bad-gateway' })).toBe(1)
    expect(await served.metric('sluice_tunnel_vhost_routes', { vhost: 'http' })).toBe(1)
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(0))
    expect(served.recorder.open.get('web')).toBe(0)
  })

  test('closes idle connections of users when the server closes, without waiting for them', async () => {
    const port = await freePort()
    const served = await start({ raw: { vhostHTTPPort: port } })
    const client = await login(served)
    client.serve((stream) => {
      const duplex = new StreamDuplex(stream)
      duplex.on('data', () => duplex.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
      duplex.on('error', () => undefined)
    })
    await client.register({ proxy_name: 'web', proxy_type: 'http', custom_domains: ['a.example'] })
    const socket = await user(port)
    socket.write('GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
    await once(socket, 'data')
    expect(await served.metric('sluice_tunnel_user_connections')).toBe(1)
    await served.server.close({ graceMs: 60_000 })
  })

  test('is refused when its domains and locations are too many', async () => {
    const port = await freePort()
    const served = await start({ raw: { vhostHTTPPort: port } })
    const client = await login(served, { version: 'v2' })
    const many = Array.from({ length: 40 }, (_, index) => `${index}.example`)
    const request = { proxy_name: 'web', proxy_type: 'http', custom_domains: many, locations: many }
    expect((await client.ask(request)).error).toBe('more than 1000 routes: 40 domains, 40 locations')
  })
})

describe('time', () => {
  // Pings of yamux would not be answered while the clock jumps.
  const heartbeats = { transport: { heartbeatTimeout: 90, tcpMuxKeepaliveInterval: 1000 } }

  test('a client that stops pinging is dropped, mux or not, where heartbeats are expected', async () => {
    const clock = new ManualClock()
    const served = await start({ clock, raw: heartbeats })
    const client = await login(served)
    clock.advance(89_000)
    client.control.channel.send('Ping', {})
    expect((await client.control.next('Pong')).error).toBe('')
    clock.advance(89_000)
    expect(served.server.clients()).toHaveLength(1)
    clock.advance(1000)
    await client.control.closed
    expect(served.server.clients()).toEqual([])
  })

  test('a client without mux is expected to ping also where the others have mux', async () => {
    const clock = new ManualClock()
    const served = await start({ clock })
    const alone = await login(served, { mux: false })
    clock.advance(90_000)
    await alone.control.closed
  })

  test('one with mux at a server without need not ping, but once it has it must go on', async () => {
    const clock = new ManualClock()
    const raw = { transport: { ...heartbeats.transport, tcpMux: false } }
    const served = await start({ clock, raw })
    const [silent, pings, alone] = [
      await login(served),
      await login(served),
      await login(served, { mux: false }),
    ]
    clock.advance(80_000)
    pings.control.channel.send('Ping', {})
    await pings.control.next('Pong')
    clock.advance(10_000)
    await alone.control.closed
    clock.advance(79_999)
    expect(served.server.clients()).toHaveLength(2)
    clock.advance(1)
    await pings.control.closed
    clock.advance(1_000_000)
    expect(served.server.clients()).toMatchObject([{ runId: silent.runId }])
  })

  test('a connection that says nothing is cut', async () => {
    const clock = new ManualClock()
    const served = await start({ clock })
    const client = await login(served)
    const talk = await client.talk()
    talk.channel.sendRaw(Buffer.of(0x6f))
    await client.register({ proxy_name: 'p' })
    clock.advance(10_000)
    expect(await talk.closed).toBeUndefined()
  })

  test('wrong pings are told so, and do not count', async () => {
    const auth: ServerAuth = {
      holds: () => true,
      verifyLogin: async (message) => ({
        ...(await plainAuth.verifyLogin(message)),
        verifyPing: () => Promise.reject(new TunnelError('TUNNEL_UNAUTHORIZED', 'no', { side: 'client' })),
      }),
    }
    const clock = new ManualClock()
    const served = await start({ clock, auth, raw: heartbeats })
    const client = await login(served)
    clock.advance(89_000)
    client.control.channel.send('Ping', {})
    expect((await client.control.next('Pong')).error).toBe('no')
    clock.advance(1000)
    await client.control.closed
  })
})
