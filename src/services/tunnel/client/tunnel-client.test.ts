import { afterEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import type { Login } from '../../../protocols/frp/index.ts'
import { frpcConfig, portProxy, secretProxy } from './client-config.testkit.ts'
import { fail, FakeClients, reading, settle, startWork } from './tunnel-client.testkit.ts'

const clients = new FakeClients()
afterEach(() => clients.closeAll())

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
      const { client, server, lines } = await clients.running(config, { chunkBytes })
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
      await eventually(() => expect(server.said('NewProxy')).toHaveLength(2))
      expect(server.said('NewProxy')).toMatchObject([
        { proxy_name: 'me.web', proxy_type: 'tcp', remote_port: 6000 },
        { proxy_name: 'me.hidden', proxy_type: 'stcp', sk: 'key' },
      ])
      await eventually(() =>
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
    const { client, server, clock } = clients.make(oneTcp, { answer: () => ({ error: 'wrong token' }) })
    await expect(client.start()).rejects.toMatchObject({
      code: 'TUNNEL_LOGIN_REFUSED',
      message: 'wrong token',
    })
    expect(server.closedLinks).toBe(1)
    expect(clock.pending).toBe(0)
  })

  it('that has no answer within 10 s fails the start', async () => {
    const { client, clock } = clients.make(oneTcp, { answer: () => undefined })
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
    const { client, clock } = clients.make(frpcConfig({ ...oneTcp, wire: { wireProtocol: 'v2' } }), {
      token: 'other',
    })
    await client.start()
    await settle()
    expect(client.isLoggedIn).toBe(false)
    await client.close()
    expect(clock.pending).toBe(0)
  })

  it('is tried again and again without loginFailExit, at growing distances', async () => {
    const { client, server, clock } = clients.make(frpcConfig({ ...oneTcp, loginFailExit: false }))
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
    await eventually(() => expect(client.isLoggedIn).toBe(true))
    server.acceptProxies()
    await eventually(() => expect(client.status()).toMatchObject([{ phase: 'running' }]))
  })

  it('is given up when the start is aborted', async () => {
    const { client, server, clock } = clients.make(oneTcp, { answer: () => undefined })
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
    const { client, server, clock } = await clients.running(oneTcp)
    expect(client.status()).toMatchObject([{ phase: 'running' }])
    server.control.channel.destroy()
    await eventually(() => expect(client.isLoggedIn).toBe(false))
    expect(client.status()).toMatchObject([{ phase: 'new' }])
    clock.advance(200)
    await eventually(() => expect(client.isLoggedIn).toBe(true))
    expect(server.logins.map(({ run_id }: Login) => run_id)).toEqual(['', 'run-1'])
    server.acceptProxies()
    await eventually(() => expect(client.status()).toMatchObject([{ phase: 'running' }]))
    expect(server.closedLinks).toBe(1)
  })

  it('is returned to more slowly when it is lost again and again', async () => {
    const { client, server, clock } = await clients.running(oneTcp)
    for (const delayMs of [200, 200, 200, 1000, 2000]) {
      server.control.channel.destroy()
      await eventually(() => expect(client.isLoggedIn).toBe(false))
      clock.advance(delayMs - 1)
      await settle()
      expect(client.isLoggedIn).toBe(false)
      clock.advance(1)
      await eventually(() => expect(client.isLoggedIn).toBe(true))
    }
  })

  it('without tcpMux keeps the user connections that run', async () => {
    const { client, server, locals } = await clients.running(oneTcp, { isMux: false })
    const user = await startWork(server, 'web')
    await eventually(() => expect(locals).toHaveLength(1))
    server.control.channel.destroy()
    await eventually(() => expect(client.isLoggedIn).toBe(false))
    user.stream.write(Buffer.from('still here'))
    const service = reading(locals[0]?.stream ?? fail())
    await eventually(() => expect(service.text()).toBe('still here'))
  })
})

describe('close', () => {
  it('takes the proxies back, waits for who is served, and leaves no timer', async () => {
    const { client, server, clock, locals } = await clients.running(
      frpcConfig({ ...oneTcp, wire: { heartbeatInterval: 30, heartbeatTimeout: 90 } }),
    )
    const user = await startWork(server, 'web')
    await eventually(() => expect(locals).toHaveLength(1))
    const closed = client.close({ graceMs: 5000 })
    await eventually(() => expect(server.said('CloseProxy')).toMatchObject([{ proxy_name: 'web' }]))
    expect(client.status()).toMatchObject([{ phase: 'closed' }])
    server.control.channel.send('ReqWorkConn', {})
    await settle()
    expect(server.works).toHaveLength(1)
    const answer = reading(user.stream)
    const service = locals[0]?.stream ?? fail()
    service.write(Buffer.from('last words'))
    service.end()
    await eventually(() => expect(answer.isEnded).toBe(true))
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
    const { client, server, clock, locals } = await clients.running(oneTcp)
    const user = await startWork(server, 'web')
    await eventually(() => expect(locals).toHaveLength(1))
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
    const { client, server, clock } = await clients.running(oneTcp)
    server.control.channel.pause()
    const closed = client.close()
    await settle()
    clock.advance(1000)
    await closed
    expect(server.closedLinks).toBe(1)
    expect(clock.pending).toBe(0)
  })

  it('ends the wait for the next attempt', async () => {
    const { client, server, clock } = await clients.running(oneTcp)
    server.control.channel.destroy()
    await eventually(() => expect(client.isLoggedIn).toBe(false))
    await client.close()
    expect(clock.pending).toBe(0)
    expect(server.links).toBe(1)
  })
})
