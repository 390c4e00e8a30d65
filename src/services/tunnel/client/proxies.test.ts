import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { frpcConfig, portProxy, proxyBase } from './client-config.testkit.ts'
import { fail, FakeClients, reading, settle, startWork } from './tunnel-client.testkit.ts'

const clients = new FakeClients()
afterEach(() => clients.closeAll())

const oneTcp = frpcConfig({ proxies: [portProxy('tcp', 'web', { localPort: 8080, remotePort: 6000 })] })

describe('a proxy', () => {
  it('that is refused says why, and is registered again after 30 s', async () => {
    const { client, server, clock, lines } = clients.make(oneTcp)
    await client.start()
    await eventually(() => expect(server.said('NewProxy')).toHaveLength(1))
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', error: 'port already used' })
    await eventually(() =>
      expect(client.status()).toMatchObject([{ phase: 'start error', error: 'port already used' }]),
    )
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'start error', proxy: 'web', error: 'port already used' }),
    )
    clock.advance(29_999)
    await settle()
    expect(server.said('NewProxy')).toHaveLength(1)
    clock.advance(1)
    await eventually(() => expect(server.said('NewProxy')).toHaveLength(2))
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', remote_addr: ':6000' })
    await eventually(() =>
      expect(client.status()).toMatchObject([{ phase: 'running', error: '', remoteAddr: ':6000' }]),
    )
    expect(clock.pending).toBe(0)
  })

  it('that is not answered is registered again after 20 s', async () => {
    const { client, server, clock } = clients.make(oneTcp)
    await client.start()
    await eventually(() => expect(server.said('NewProxy')).toHaveLength(1))
    expect(client.status()).toMatchObject([{ phase: 'wait start' }])
    clock.advance(20_000)
    await eventually(() => expect(server.said('NewProxy')).toHaveLength(2))
  })

  it('that fits no message says so', async () => {
    const huge = portProxy('tcp', 'web', { annotations: { text: 'x'.repeat(11_000) } })
    const { client } = clients.make(frpcConfig({ proxies: [huge] }))
    await client.start()
    await eventually(() => expect(client.status()).toMatchObject([{ phase: 'start error' }]))
  })

  it('of thousands is registered at the pace of the server', async () => {
    const proxies = Array.from({ length: 3000 }, (_, i) =>
      portProxy('tcp', `p${i}`, { annotations: { text: 'x'.repeat(500) } }),
    )
    const { client, server } = clients.make(frpcConfig({ proxies }))
    await client.start()
    await eventually(() => expect(server.said('NewProxy')).toHaveLength(3000))
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
    const { client, server, locals } = await clients.running(frpcConfig({ proxies: [kept, changed, gone] }))
    const user = await startWork(server, 'gone')
    await eventually(() => expect(locals).toHaveLength(1))

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
    await eventually(() => expect(service.text()).toBe('more'))
  })

  it('within the login takes the place of what was configured', async () => {
    let answer: (() => void) | undefined
    const { client, server } = clients.make(
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
    await eventually(() => expect(server.said('NewProxy')).toMatchObject([{ proxy_name: 'other' }]))
  })

  it('does not take the answer to the old proxy for one to the new', async () => {
    const { client, server } = clients.make(oneTcp)
    await client.start()
    await eventually(() => expect(server.said('NewProxy')).toHaveLength(1))
    client.update({ proxies: [portProxy('tcp', 'web', { remotePort: 1 })], visitors: [] })
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', remote_addr: ':old' })
    await settle()
    expect(client.status()).toMatchObject([{ phase: 'wait start' }])
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', remote_addr: ':new' })
    await eventually(() => expect(client.status()).toMatchObject([{ phase: 'running', remoteAddr: ':new' }]))
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
    const made = clients.make(frpcConfig({ proxies: [proxy] }))
    const check = async (phase: string): Promise<void> => {
      made.clock.advance(10_000)
      await eventually(() => expect(made.client.status()).toMatchObject([{ phase }]))
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
    await eventually(() => expect(client.status()).toMatchObject([{ phase: 'running' }]))
    await goAway()
    await eventually(() => expect(server.said('CloseProxy')).toMatchObject([{ proxy_name: 'web' }]))
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
    await eventually(() => expect(client.status()).toMatchObject([{ phase: 'wait start' }]))
    await goAway()
    await comeBack('wait start')
    server.control.channel.send('NewProxyResp', { proxy_name: 'web' })
    await settle()
    expect(client.status()).toMatchObject([{ phase: 'wait start' }])
    server.control.channel.send('NewProxyResp', { proxy_name: 'web', error: 'port already used' })
    await eventually(() => expect(client.status()).toMatchObject([{ phase: 'start error' }]))
    end()
  })
})
