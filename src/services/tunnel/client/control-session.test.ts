import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { frpcConfig, portProxy } from './client-config.testkit.ts'
import { clientOfFake, FakeClients, settle } from './tunnel-client.testkit.ts'

const clients = new FakeClients()
afterEach(() => clients.closeAll())

const oneTcp = frpcConfig({ proxies: [portProxy('tcp', 'web', { localPort: 8080, remotePort: 6000 })] })

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
    const { client, server } = await clients.running(oneTcp)
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
    await eventually(() => expect(client.isLoggedIn).toBe(false))
  })

  it('answers a work connection with something else: it is closed', async () => {
    const { server } = await clients.running(oneTcp)
    server.control.channel.send('ReqWorkConn', {})
    await eventually(() => expect(server.works).toHaveLength(1))
    server.works[0]?.channel.send('Pong', {})
    await eventually(() => expect(server.works[0]?.isClosed).toBe(true))
  })
})

describe('heartbeats', () => {
  const beating = frpcConfig({ ...oneTcp, wire: { heartbeatInterval: 30, heartbeatTimeout: 90 } })

  it('go out at once and every interval, and the session lives while they are answered', async () => {
    const { client, server, clock, lines } = await clients.running(beating)
    for (let i = 1; i <= 8; i++) {
      await eventually(() => expect(server.said('Ping')).toHaveLength(i))
      server.control.channel.send('Pong', {})
      await settle()
      clock.advance(30_000)
      await settle()
    }
    expect(client.isLoggedIn).toBe(true)
    expect(lines.filter(({ msg }) => msg === 'send heartbeat to server')).toHaveLength(9)
  })

  it('that are not answered for the timeout end the session', async () => {
    const { client, clock, lines } = await clients.running(beating)
    clock.advance(89_999)
    await settle()
    expect(client.isLoggedIn).toBe(true)
    clock.advance(1)
    expect(client.isLoggedIn).toBe(false)
    expect(lines).toContainEqual(expect.objectContaining({ msg: 'heartbeat timeout' }))
  })

  it('that the server finds fault with end the session', async () => {
    const { client, server } = await clients.running(beating)
    server.control.channel.send('Pong', { error: 'token in heartbeat does not match' })
    await eventually(() => expect(client.isLoggedIn).toBe(false))
  })

  it('are off by default', async () => {
    const { server, clock } = await clients.running(oneTcp)
    expect(clock.pending).toBe(0)
    expect(server.said('Ping')).toEqual([])
  })
})
