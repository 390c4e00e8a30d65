import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from '../foundation/free-port.testkit.ts'
import { systemClock } from '../foundation/clock.ts'
import { configSchema } from '../mechanisms/config/schema.ts'
import type { TunnelConfig } from '../mechanisms/config/index.ts'
import { NodeDatapath } from '../mechanisms/datapath/index.ts'
import { createRegistry, silentLogger } from '../mechanisms/telemetry/index.ts'
import { TunnelRole } from './tunnel-role.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

function section(raw: unknown): TunnelConfig {
  return configSchema.parse({ tunnel: raw }).tunnel
}

async function echoServer(): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  return portOf(server)
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

async function startRole(config: TunnelConfig): Promise<TunnelRole> {
  const datapath = new NodeDatapath({ clock: systemClock })
  await datapath.start()
  const role = new TunnelRole(config, {
    datapath,
    logger: silentLogger(),
    registry: createRegistry('1.2.3'),
    clock: systemClock,
  })
  closers.push(
    () => datapath.close(),
    () => role.close(),
  )
  await role.start()
  return role
}

async function echoed(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  closers.push(() => socket.destroy())
  socket.write('hello')
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return chunk.toString()
}

async function refused(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return once(socket, 'connect').then(
    () => {
      socket.destroy()
      return false
    },
    () => true,
  )
}

describe('the tunnel role', () => {
  const server = (bindPort: number) => ({
    bindAddr: '127.0.0.1',
    bindPort,
    auth: { tokens: [{ name: 'home', token: 'sesame' }] },
  })
  const client = (serverPort: number, proxies: unknown[], token = 'sesame') => ({
    serverAddr: '127.0.0.1',
    serverPort,
    auth: { token },
    proxies,
  })

  it('is nothing without a section', async () => {
    const role = await startRole(section(undefined))
    expect(role.port).toBeUndefined()
  })

  it('serves with server and client in one gateway, and follows its section', async () => {
    const [bind, first, second] = [await freePort(), await freePort(), await freePort()]
    const localPort = await echoServer()
    const proxy = (name: string, remotePort: number) => ({ name, type: 'tcp', localPort, remotePort })
    const role = await startRole(section({ server: server(bind), client: client(bind, [proxy('a', first)]) }))
    expect(role.port).toBe(bind)
    await expect.poll(() => echoed(first), { timeout: 10_000 }).toBe('hello')

    const next = section({
      server: { ...server(bind), vhostHTTPPort: 8080 },
      client: client(bind, [proxy('b', second)]),
    })
    const restarts = (await role.prepareReload(next))()
    expect(restarts).toEqual(['tunnel.server.vhostHTTPPort'])
    await expect.poll(() => echoed(second), { timeout: 10_000 }).toBe('hello')
    await expect.poll(() => refused(first), { timeout: 10_000 }).toBe(true)
  })

  it('a token that is taken away takes its client along', async () => {
    const [bind, remotePort] = [await freePort(), await freePort()]
    const proxies = [{ name: 'a', type: 'tcp', localPort: await echoServer(), remotePort }]
    const role = await startRole(section({ server: server(bind), client: client(bind, proxies) }))
    await expect.poll(() => echoed(remotePort), { timeout: 10_000 }).toBe('hello')
    const without = section({
      server: { ...server(bind), auth: { tokens: [{ name: 'other', token: 'simsim' }] } },
      client: client(bind, proxies),
    })
    expect((await role.prepareReload(without))()).toEqual([])
    await expect.poll(() => refused(remotePort), { timeout: 10_000 }).toBe(true)
  })

  it('a client without its server does not keep the gateway from starting', async () => {
    const role = await startRole(section({ client: client(await freePort(), []) }))
    expect(role.port).toBeUndefined()
  })

  it('does not take a secret from a program', () => {
    const exec = { type: 'exec', exec: { command: 'cat' } }
    expect(() => section({ server: { auth: { tokenSource: exec } } })).toThrow('exec is not allowed here')
  })
})
