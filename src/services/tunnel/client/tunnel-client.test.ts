import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { FrpcConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Login } from '../../../protocols/frp/index.ts'
import { frpcConfig, plainTransport, portProxy, proxyBase, secretProxy } from './client-config.testkit.ts'
import { bodiesOf, type FakeServerOptions } from './fake-server.testkit.ts'
import type { TunnelClient } from './tunnel-client.ts'
import { clientOfFake, reading, settle } from './tunnel-client.testkit.ts'

const clients: TunnelClient[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close()
})

function make(config: FrpcConfig, options?: FakeServerOptions, auth?: Parameters<typeof clientOfFake>[2]) {
  const made = clientOfFake(config, options, auth)
  clients.push(made.client)
  return made
}

/** A client that has logged in, whose proxies the server has accepted. */
async function running(config: FrpcConfig, options?: FakeServerOptions) {
  const made = make(config, options)
  await made.client.start()
  made.server.acceptProxies()
  await settle()
  return made
}

const oneTcp = frpcConfig({ proxies: [portProxy('tcp', 'web', { localPort: 8080, remotePort: 6000 })] })

describe('a login', () => {
  it.each([
    ['v1', 65_536],
    ['v1', 1],
    ['v2', 65_536],
    ['v2', 1],
  ] as const)(
    'over %s, in pieces of %i bytes, says who the client is and registers its proxies',
    async (wireProtocol, chunkBytes) => {
      const config = frpcConfig({
        user: 'me',
        clientID: 'c-1',
        metadatas: { site: 'a' },
        wire: { wireProtocol, poolCount: 3 },
        proxies: [portProxy('tcp', 'web', { remotePort: 6000 }), secretProxy('stcp', 'hidden')],
      })
      const { client, server, lines } = await running(config, { chunkBytes })
      expect(server.logins).toMatchObject([
        {
          version: '0.70.1',
          os: 'linux',
          user: 'me',
          client_id: 'c-1',
          metas: { site: 'a' },
          run_id: '',
          pool_count: 3,
          half_close: true,
          privilege_key: 'proof',
          timestamp: 1,
        },
      ])
      await vi.waitFor(() => expect(server.said('NewProxy')).toHaveLength(2))
      expect(server.said('NewProxy')).toMatchObject([
        { proxy_name: 'me.web', proxy_type: 'tcp', remote_port: 6000 },
        { proxy_name: 'me.hidden', proxy_type: 'stcp', sk: 'key' },
      ])
      await vi.waitFor(() =>
        expect(client.status()).toMatchObject([
          { name: 'web', type: 'tcp', phase: 'running', remoteAddr: ':1', error: '' },
          { name: 'hidden', type: 'stcp', phase: 'running' },
        ]),
      )
      expect(client.isLoggedIn).toBe(true)
      expect(client.runId).toBe('run-1')
      expect(lines).toContainEqual(
        expect.objectContaining({ msg: 'login to server success, get run id [run-1]', runId: 'run-1' }),
      )
      expect(lines).toContainEqual(
        expect.objectContaining({ msg: 'start proxy success', runId: 'run-1', proxy: 'web' }),
      )
    },
  )

  it('that is refused fails the start with the words of the server, and leaves nothing open', async () => {
    const { client, server, clock } = make(oneTcp, { answer: () => ({ error: 'wrong token' }) })
    await expect(client.start()).rejects.toMatchObject({
      code: 'TUNNEL_LOGIN_REFUSED',
      message: 'wrong token',
    })
    expect(server.closedLinks).toBe(1)
    expect(clock.pending).toBe(0)
  })

  it('that has no answer within 10 s fails the start', async () => {
    const { client, clock } = make(oneTcp, { answer: () => undefined })
    const started = client.start()
    started.catch(() => undefined)
    await settle()
    clock.advance(10_000)
    await expect(started).rejects.toMatchObject({
      code: 'TUNNEL_UNREACHABLE',
      cause: { code: 'TUNNEL_TIMEOUT' },
    })
    expect(clock.pending).toBe(0)
  })

  it('to a server with another token ends as soon as it speaks', async () => {
    const { client, clock } = make(frpcConfig({ ...oneTcp, wire: { wireProtocol: 'v2' } }), {
      token: 'other',
    })
    await client.start()
    clients.pop()
    await settle()
    expect(client.isLoggedIn).toBe(false)
    await client.close()
    expect(clock.pending).toBe(0)
  })

  it('is tried again and again without loginFailExit, at growing distances', async () => {
    const { client, server, clock } = make(frpcConfig({ ...oneTcp, loginFailExit: false }))
    server.unreachable = new Error('nobody there')
    await client.start()
    expect(client.isLoggedIn).toBe(false)
    expect(client.status()).toMatchObject([{ phase: 'new' }])
    for (const delayMs of [1000, 2000, 4000, 8000, 8000]) {
      clock.advance(delayMs - 1)
      expect(clock.pending).toBe(1)
      clock.advance(1)
      expect(clock.pending).toBe(0)
      await settle()
    }
    server.unreachable = undefined
    clock.advance(8000)
    await vi.waitFor(() => expect(client.isLoggedIn).toBe(true))
    server.acceptProxies()
    await vi.waitFor(() => expect(client.status()).toMatchObject([{ phase: 'running' }]))
  })

  it('is given up when the start is aborted', async () => {
    const { client, server, clock } = make(oneTcp, { answer: () => undefined })
    const abort = new AbortController()
    const started = client.start({ signal: abort.signal })
    started.catch(() => undefined)
    await settle()
    abort.abort(new Error('not wanted'))
    await expect(started).rejects.toThrow('not wanted')
    expect(server.closedLinks).toBe(1)
    expect(clock.pending).toBe(0)
  })
})

describe('a server that is lost', () => {
  it('is returned to at once under the old run id, and the proxies are registered anew', async () => {
    const { client, server, clock } = await running(oneTcp)
    expect(client.status()).toMatchObject([{ phase: 'running' }])
    server.control.channel.destroy()
    await vi.waitFor(() => expect(client.isLoggedIn).toBe(false))
    expect(client.status()).toMatchObject([{ phase: 'new' }])
    clock.advance(200)
    await vi.waitFor(() => expect(client.isLoggedIn).toBe(true))
    expect(server.logins.map(({ run_id }: Login) => run_id)).toEqual(['', 'run-1'])
    server.acceptProxies()
    await vi.waitFor(() => expect(client.status()).toMatchObject([{ phase: 'running' }]))
    expect(server.closedLinks).toBe(1)
  })

  it('is returned to more slowly when it is lost again and again', async () => {
    const { client, server, clock } = await running(oneTcp)
    for (const delayMs of [200, 200, 200, 1000, 2000]) {
      server.control.channel.destroy()
      await vi.waitFor(() => expect(client.isLoggedIn).toBe(false))
      clock.advance(delayMs - 1)
      await settle()
      expect(client.isLoggedIn).toBe(false)
      clock.advance(1)
      await vi.waitFor(() => expect(client.isLoggedIn).toBe(true))
    }
  })

  it('without tcpMux keeps the user connections that run', async () => {
    const { client, server, locals } = await running(oneTcp, { isMux: false })
    const user = await startWork(server, 'web')
    await vi.waitFor(() => expect(locals).toHaveLength(1))
    server.control.channel.destroy()
    await vi.waitFor(() => expect(client.isLoggedIn).toBe(false))
    user.stream.write(Buffer.from('still here'))
    const service = reading(locals[0]?.stream ?? fail())
    await vi.waitFor(() => expect(service.text()).toBe('still here'))
  })
})

describe('a server that talks nonsense', () => {
  it.each(['v1', 'v2'] as const)(
    'over %s is left with a reason, whatever it answers to a login',
    async (wireProtocol) => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
          const { client, server, clock } = clientOfFake(frpcConfig({ ...oneTcp, wire: { wireProtocol } }), {
            answer: () => undefined,
          })
          const started = client.start()
          started.catch(() => undefined)
          await settle()
          server.talk(bytes)
          await settle()
          clock.advance(10_000)
          await expect(started).rejects.toMatchObject({ code: 'TUNNEL_UNREACHABLE' })
          expect(clock.pending).toBe(0)
        }),
        { numRuns: 30 },
      )
    },
  )

  it('says what a client does not expect without harm', async () => {
    const { client, server } = await running(oneTcp)
    const { channel } = server.control
    channel.send('NewProxyResp', { proxy_name: 'unknown', error: 'no' })
    channel.send('NewProxyResp', { proxy_name: 'web', error: 'again' })
    channel.send('Login', {})
    channel.send('NatHoleResp', {})
    channel.send('StartWorkConn', { proxy_name: 'web' })
    channel.send('Pong', {})
    await settle()
    expect(client.status()).toMatchObject([{ phase: 'running', error: '' }])
    server.control.channel.sendRaw(Buffer.alloc(1000, 0xff))
    await vi.waitFor(() => expect(client.isLoggedIn).toBe(false))
  })

  it('answers a work connection with something else: it is closed', async () => {
    const { server } = await running(oneTcp)
    server.control.channel.send('ReqWorkConn', {})
    await vi.waitFor(() => expect(server.works).toHaveLength(1))
    server.works[0]?.channel.send('Pong', {})
    await vi.waitFor(() => expect(server.works[0]?.isClosed).toBe(true))
  })
})

describe('heartbeats', () => {
  const beating = frpcConfig({ ...oneTcp, wire: { heartbeatInterval: 30, heartbeatTimeout: 90 } })

  it('go out at once and every interval, and the session lives while they are answered', async () => {
    const { client, server, clock, lines } = await running(beating)
    for (let i = 1; i <= 8; i++) {
      await vi.waitFor(() => expect(server.said('Ping')).toHaveLength(i))
      server.control.channel.send('Pong', {})
      await settle()
      clock.advance(30_000)
      await settle()
    }
    expect(client.isLoggedIn).toBe(true)
    expect(lines.filter(({ msg }) => msg === 'send heartbeat to server')).toHaveLength(9)
  })

  it('that are not answered for the timeout end the session', async () => {
    const { client, clock, lines } = await running(beating)
    clock.advance(89_999)
    await settle()
    expect(client.isLoggedIn).toBe(true)
    clock.advance(1)
    expect(client.isLoggedIn).toBe(false)
    expect(lines).toContainEqual(expect.objectContaining({ msg: 'heartbeat timeout' }))
  })

  it('that the server finds fault with end the session', async () => {
    const { client, server } = await running(beating)
    server.control.channel.send('Pong', { error: 'token in heartbeat does not match' })
    await vi.waitFor(() => expect(client.isLoggedIn).toBe(false))
  })

  it('are off by default', async () => {
    const { server, clock } = await running(oneTcp)
    expect(clock.pending).toBe(0)
    expect(server.said('Ping')).toEqual([])
  })
})

describe('a proxy', () => {
  it('that is refused says why, and is registered again after 30 s', async () => {
    const { client, server, clock, lines } = make(oneTcp)
    await client.start()
    await vi.waitFor(() => expect(server.said('NewProxy')).toHaveLength(1))
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', error: 'port already used' })
    await vi.waitFor(() =>
      expect(client.status()).toMatchObject([{ phase: 'start error', error: 'port already used' }]),
    )
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'start error', proxy: 'web', error: 'port already used' }),
    )
    clock.advance(29_999)
    await settle()
    expect(server.said('NewProxy')).toHaveLength(1)
    clock.advance(1)
    await vi.waitFor(() => expect(server.said('NewProxy')).toHaveLength(2))
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', remote_addr: ':6000' })
    await vi.waitFor(() =>
      expect(client.status()).toMatchObject([{ phase: 'running', error: '', remoteAddr: ':6000' }]),
    )
    expect(clock.pending).toBe(0)
  })

  it('that is not answered is registered again after 20 s', async () => {
    const { client, server, clock } = make(oneTcp)
    await client.start()
    await vi.waitFor(() => expect(server.said('NewProxy')).toHaveLength(1))
    expect(client.status()).toMatchObject([{ phase: 'wait start' }])
    clock.advance(20_000)
    await vi.waitFor(() => expect(server.said('NewProxy')).toHaveLength(2))
  })

  it('that fits no message says so', async () => {
    const huge = portProxy('tcp', 'web', { annotations: { text: 'x'.repeat(11_000) } })
    const { client } = make(frpcConfig({ proxies: [huge] }))
    await client.start()
    await vi.waitFor(() => expect(client.status()).toMatchObject([{ phase: 'start error' }]))
  })

  it('of thousands is registered at the pace of the server', async () => {
    const proxies = Array.from({ length: 3000 }, (_, i) =>
      portProxy('tcp', `p${i}`, { annotations: { text: 'x'.repeat(500) } }),
    )
    const { client, server } = make(frpcConfig({ proxies }))
    await client.start()
    await vi.waitFor(() => expect(server.said('NewProxy')).toHaveLength(3000))
    expect(client.isLoggedIn).toBe(true)
  })
})

describe('a hot reload', () => {
  it('leaves equal proxies alone, closes those that are gone and starts those that are new', async () => {
    const [kept, changed, gone] = ['kept', 'changed', 'gone'].map((name) => portProxy('tcp', name)) as [
      ReturnType<typeof portProxy>,
      ReturnType<typeof portProxy>,
      ReturnType<typeof portProxy>,
    ]
    const { client, server, locals } = await running(frpcConfig({ proxies: [kept, changed, gone] }))
    const user = await startWork(server, 'gone')
    await vi.waitFor(() => expect(locals).toHaveLength(1))

    client.update({
      proxies: [structuredClone(kept), { ...changed, remotePort: 7 }, portProxy('udp', 'added')],
      visitors: [],
    })
    await settle()
    expect(server.said('CloseProxy').map(({ proxy_name }) => proxy_name)).toEqual(['changed', 'gone'])
    const names = server.said('NewProxy').map(({ proxy_name }) => proxy_name)
    expect(names).toEqual(['kept', 'changed', 'gone', 'changed', 'added'])
    expect(client.status().map(({ name, phase }) => [name, phase])).toEqual([
      ['kept', 'running'],
      ['changed', 'running'],
      ['added', 'running'],
    ])
    // Who is served goes on.
    user.stream.write(Buffer.from('more'))
    const service = reading(locals[0]?.stream ?? fail())
    await vi.waitFor(() => expect(service.text()).toBe('more'))
  })

  it('within the login takes the place of what was configured', async () => {
    let answer: (() => void) | undefined
    const { client, server } = make(
      oneTcp,
      {},
      {
        login: () =>
          new Promise((resolve) => {
            answer = () => resolve({ privilege_key: '', timestamp: 0 })
          }),
      },
    )
    const started = client.start()
    await settle()
    client.update({ proxies: [portProxy('tcp', 'other')], visitors: [] })
    answer?.()
    await started
    await vi.waitFor(() => expect(server.said('NewProxy')).toMatchObject([{ proxy_name: 'other' }]))
  })

  it('does not take the answer to the old proxy for one to the new', async () => {
    const { client, server } = make(oneTcp)
    await client.start()
    await vi.waitFor(() => expect(server.said('NewProxy')).toHaveLength(1))
    client.update({ proxies: [portProxy('tcp', 'web', { remotePort: 1 })], visitors: [] })
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', remote_addr: ':old' })
    await settle()
    expect(client.status()).toMatchObject([{ phase: 'wait start' }])
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', remote_addr: ':new' })
    await vi.waitFor(() => expect(client.status()).toMatchObject([{ phase: 'running', remoteAddr: ':new' }]))
  })
})

describe('a work connection', () => {
  it.each(['v1', 'v2'] as const)('over %s leads to the local service and back', async (wireProtocol) => {
    const { server, locals } = await running(frpcConfig({ ...oneTcp, wire: { wireProtocol } }))
    const user = await startWork(server, 'web', Buffer.from('early '))
    expect(bodiesOf(user.connection, 'NewWorkConn')).toMatchObject([{ run_id: 'run-1', privilege_key: '' }])
    await vi.waitFor(() => expect(locals).toMatchObject([{ host: '127.0.0.1', port: 8080 }]))
    const service = locals[0]?.stream ?? fail()
    const asked = reading(service)
    user.stream.write(Buffer.from('question'))
    await vi.waitFor(() => expect(asked.text()).toBe('early question'))
    const answer = reading(user.stream)
    service.write(Buffer.from('answer'))
    service.end()
    await vi.waitFor(() => expect(answer).toMatchObject({ isEnded: true }))
    expect(answer.text()).toBe('answer')
  })

  it('with a server that keeps half-closed connections lets a service answer after the question has ended', async () => {
    const { server, locals, clock } = await running(oneTcp, {
      answer: () => ({ run_id: 'run-1', half_close: true }),
    })
    const user = await startWork(server, 'web')
    await vi.waitFor(() => expect(locals).toHaveLength(1))
    const service = locals[0]?.stream ?? fail()
    const asked = reading(service)
    user.stream.end()
    await vi.waitFor(() => expect(asked.isEnded).toBe(true))
    clock.advance(3_600_000)
    const answer = reading(user.stream)
    service.write(Buffer.from('at last'))
    service.end()
    await vi.waitFor(() => expect(answer.isEnded).toBe(true))
    expect(answer.text()).toBe('at last')
  })

  it('tells the service the user by the PROXY protocol', async () => {
    const proxy = portProxy('tcp', 'web', { transport: { ...plainTransport, proxyProtocolVersion: 'v1' } })
    const { server, locals } = await running(frpcConfig({ proxies: [proxy] }))
    await startWork(server, 'web')
    await vi.waitFor(() => expect(locals).toHaveLength(1))
    const service = reading(locals[0]?.stream ?? fail())
    await vi.waitFor(() => expect(service.text()).toBe('PROXY TCP4 9.8.7.6 127.0.0.1 1000 6000\r\n'))
  })

  it('without a local service ends with a reason, and the log is told once a second', async () => {
    const { server, local, lines } = await running(oneTcp)
    local.failure = new Error('connect ECONNREFUSED')
    for (let i = 0; i < 3; i++) {
      const user = reading((await startWork(server, 'web')).stream)
      await vi.waitFor(() => expect(user.isClosed).toBe(true))
      expect(user.error).toBeDefined()
    }
    const told = lines.filter(({ msg }) => msg === 'connect to local service error')
    expect(told).toMatchObject([{ proxy: 'web', service: '127.0.0.1:8080', error: 'connect ECONNREFUSED' }])
  })

  it('for a proxy that there is not is closed', async () => {
    const { server, locals } = await running(oneTcp)
    const user = reading((await startWork(server, 'other')).stream)
    await vi.waitFor(() => expect(user.isClosed).toBe(true))
    expect(user.error).toBeDefined()
    expect(locals).toEqual([])
  })

  it('that the server does not want is closed, and a thousand of them make one line', async () => {
    const { server, lines } = await running(oneTcp)
    for (let i = 0; i < 1000; i++) server.control.channel.send('ReqWorkConn', {})
    await vi.waitFor(() => expect(server.works).toHaveLength(1000))
    for (const { channel } of server.works) channel.send('StartWorkConn', { error: 'pool is full' })
    await vi.waitFor(() => expect(server.works.every(({ isClosed }) => isClosed)).toBe(true))
    const told = lines.filter(({ msg }) => msg === 'StartWorkConn contains error')
    expect(told).toMatchObject([{ level: 'debug', error: 'pool is full' }])
  })

  it('of a flood of requests is opened up to a bound', async () => {
    const { server } = await running(oneTcp)
    for (let i = 0; i < 5000; i++) server.control.channel.send('ReqWorkConn', {})
    await vi.waitFor(() => expect(server.works).toHaveLength(1024))
    await settle()
    expect(server.works).toHaveLength(1024)
    server.works[0]?.channel.send('StartWorkConn', { error: 'no' })
    await vi.waitFor(() => expect(server.works).toHaveLength(1025))
  })

  it('shows the proof that the scope wants', async () => {
    const proof = { privilege_key: 'work', timestamp: 9 }
    const { client, server } = make(oneTcp, {}, { newWorkConn: async () => proof })
    await client.start()
    server.control.channel.send('ReqWorkConn', {})
    await vi.waitFor(() => expect(server.works).toHaveLength(1))
    expect(bodiesOf(server.works[0] ?? fail(), 'NewWorkConn')).toMatchObject([proof])
  })
})

describe('a health check', () => {
  /** A client with a proxy of a service that comes and goes. */
  async function checking() {
    const service = createServer((socket) => socket.destroy())
    service.listen(0, '127.0.0.1')
    await once(service, 'listening')
    const { port: localPort } = service.address() as AddressInfo
    const healthCheck = {
      type: 'tcp',
      timeoutSeconds: 3,
      maxFailed: 1,
      intervalSeconds: 10,
      path: '',
      httpHeaders: [],
    } as const
    const proxy = { ...proxyBase('web', { localPort, healthCheck }), type: 'tcp', remotePort: 0 } as const
    const made = make(frpcConfig({ proxies: [proxy] }))
    const check = async (phase: string): Promise<void> => {
      made.clock.advance(10_000)
      await vi.waitFor(() => expect(made.client.status()).toMatchObject([{ phase }]))
    }
    await made.client.start()
    return {
      ...made,
      goAway: async () => {
        await new Promise((resolve) => service.close(resolve))
        await check('check failed')
      },
      comeBack: async (phase: string) => {
        service.listen(localPort, '127.0.0.1')
        await once(service, 'listening')
        await check(phase)
      },
      end: () => void service.close(),
    }
  }

  it('registers a proxy only once its service is there, and takes it back when it is gone', async () => {
    const { client, server, clock, lines, goAway, comeBack, end } = await checking()
    expect(client.status()).toMatchObject([{ phase: 'new' }])
    server.acceptProxies()
    await vi.waitFor(() => expect(client.status()).toMatchObject([{ phase: 'running' }]))
    await goAway()
    await vi.waitFor(() => expect(server.said('CloseProxy')).toMatchObject([{ proxy_name: 'web' }]))
    await comeBack('running')
    expect(server.said('NewProxy')).toHaveLength(2)
    const health = lines.filter(({ msg }) => msg.startsWith('health check')).map(({ msg }) => msg)
    expect(health).toEqual(['health check success', 'health check failed', 'health check success'])
    await client.close()
    expect(clock.pending).toBe(0)
    end()
  })

  it('does not take the answer to what was withdrawn for one to what came after it', async () => {
    const { client, server, goAway, comeBack, end } = await checking()
    await vi.waitFor(() => expect(client.status()).toMatchObject([{ phase: 'wait start' }]))
    await goAway()
    await comeBack('wait start')
    server.control.channel.send('NewProxyResp', { proxy_name: 'web' })
    await settle()
    expect(client.status()).toMatchObject([{ phase: 'wait start' }])
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', error: 'port already used' })
    await vi.waitFor(() => expect(client.status()).toMatchObject([{ phase: 'start error' }]))
    end()
  })
})

describe('close', () => {
  it('takes the proxies back, waits for who is served, and leaves no timer', async () => {
    const { client, server, clock, locals } = await running(
      frpcConfig({ ...oneTcp, wire: { heartbeatInterval: 30, heartbeatTimeout: 90 } }),
    )
    const user = await startWork(server, 'web')
    await vi.waitFor(() => expect(locals).toHaveLength(1))
    const closed = client.close({ graceMs: 5000 })
    await vi.waitFor(() => expect(server.said('CloseProxy')).toMatchObject([{ proxy_name: 'web' }]))
    expect(client.status()).toMatchObject([{ phase: 'closed' }])
    server.control.channel.send('ReqWorkConn', {})
    await settle()
    expect(server.works).toHaveLength(1)
    const answer = reading(user.stream)
    const service = locals[0]?.stream ?? fail()
    service.write(Buffer.from('last words'))
    service.end()
    await vi.waitFor(() => expect(answer.isEnded).toBe(true))
    user.stream.end()
    reading(service)
    await closed
    expect(answer.text()).toBe('last words')
    expect(server.control.isClosed).toBe(true)
    expect(server.closedLinks).toBe(1)
    expect(clock.pending).toBe(0)
    await client.close()
  })

  it('cuts those who are served when the time is over', async () => {
    const { client, server, clock, locals } = await running(oneTcp)
    const user = await startWork(server, 'web')
    await vi.waitFor(() => expect(locals).toHaveLength(1))
    const told = reading(user.stream)
    const closed = client.close({ graceMs: 5000 })
    await settle()
    expect(told.isClosed).toBe(false)
    clock.advance(5000)
    await closed
    expect(told.isClosed).toBe(true)
    expect(clock.pending).toBe(0)
  })

  it('does not wait for a server that does not answer', async () => {
    const { client, server, clock } = await running(oneTcp)
    server.control.channel.pause()
    const closed = client.close()
    await settle()
    clock.advance(1000)
    await closed
    expect(server.closedLinks).toBe(1)
    expect(clock.pending).toBe(0)
  })

  it('ends the wait for the next attempt', async () => {
    const { client, server, clock } = await running(oneTcp)
    server.control.channel.destroy()
    await vi.waitFor(() => expect(client.isLoggedIn).toBe(false))
    await client.close()
    expect(clock.pending).toBe(0)
    expect(server.links).toBe(1)
  })
})

/** Has the client open a work connection, and gives it to a proxy; the stream is the user's end. */
async function startWork(server: ReturnType<typeof make>['server'], proxyName: string, behind?: Buffer) {
  const before = server.works.length
  server.control.channel.send('ReqWorkConn', {})
  await vi.waitFor(() => expect(server.works).toHaveLength(before + 1))
  const connection = server.works[before] ?? fail()
  connection.channel.send('StartWorkConn', {
    proxy_name: proxyName,
    src_addr: '9.8.7.6',
    src_port: 1000,
    dst_port: 6000,
  })
  if (behind !== undefined) connection.channel.sendRaw(behind)
  return { connection, stream: connection.channel.detach() }
}

function fail(): never {
  throw new Error('not expected')
}
