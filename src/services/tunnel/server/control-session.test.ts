import { once } from 'node:events'
import { Server } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { DatapathError } from '../../../mechanisms/datapath/index.ts'
import { readToEnd } from '../../../mechanisms/net/sockets.testkit.ts'
import { StreamDuplex } from '../../../mechanisms/streams/index.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import { echo } from './frp-client.testkit.ts'
import { closeOf, login, start, user } from './loopback.testkit.ts'
import { freePort } from '../../../foundation/free-port.testkit.ts'

describe('a client asks for a proxy', () => {
  test('and is refused in words of frp', async () => {
    const taken = await freePort()
    const served = await start({
      raw: { maxPortsPerClient: 2, subDomainHost: 'frp.example', allowPorts: [{ single: taken }] },
    })
    const other = await login(served)
    await other.register({ proxy_name: 'other', remote_port: taken })
    const client = await login(served)
    const errorOf = async (request: Parameters<typeof client.ask>[0]): Promise<string> =>
      (await client.ask({ proxy_name: 'p', ...request })).error
    expect(await errorOf({ proxy_name: '' })).toBe('proxy name is empty')
    expect(await errorOf({ proxy_name: 'other' })).toBe('proxy [other] already exists')
    expect(await errorOf({ proxy_type: 'magic' })).toBe('unknown proxy type: magic')
    expect(await errorOf({ remote_port: taken })).toBe('port already used')
    expect(await errorOf({ remote_port: taken === 1024 ? 1025 : 1024 })).toBe('port not allowed')
    expect(await errorOf({ remote_port: 70_000 })).toBe('port not allowed')
    expect(await errorOf({ remote_port: -1 })).toBe('port not allowed')
    expect(await errorOf({})).toBe('no available port')
    expect(await errorOf({ bandwidth_limit: '5XB', bandwidth_limit_mode: 'server' })).toBe(
      'bandwidth limit [5XB]: unit not support',
    )
    expect(await errorOf({ proxy_type: 'http', custom_domains: ['a.b'] })).toBe(
      'type [http] not supported when vhost http port is not set',
    )
    expect(await errorOf({ proxy_type: 'https', custom_domains: ['a.b'] })).toBe(
      'type [https] not supported when vhost https port is not set',
    )
    expect(await errorOf({ proxy_type: 'tcpmux', multiplexer: 'x', subdomain: 'a' })).toBe(
      'unknown multiplexer [x]',
    )
    expect(await errorOf({ proxy_type: 'xtcp' })).toBe('proxy type xtcp is not supported by this server')
    // Nothing is left of them: neither names, nor quotas, nor entries in the books.
    expect(served.server.proxies()).toHaveLength(1)
    expect(served.recorder.events.filter((event) => event.includes('p'))).toEqual([])
    expect(await client.register({ proxy_name: 'p', proxy_type: 'stcp' })).toBe(0)
  })

  test('and is told first what can never be had, then what is too much', async () => {
    const served = await start({
      raw: {
        maxPortsPerClient: 1,
        limits: { maxProxiesPerClient: 1 },
        allowPorts: [{ start: 20_000, end: 30_000 }],
      },
    })
    const client = await login(served)
    await client.register({ proxy_name: 'a' })
    const errorOf = async (request: Parameters<typeof client.ask>[0]): Promise<string> =>
      (await client.ask({ proxy_name: 'a', ...request })).error
    expect(await errorOf({ proxy_type: 'magic' })).toBe('unknown proxy type: magic')
    expect(await errorOf({ proxy_type: 'xtcp' })).toBe('proxy type xtcp is not supported by this server')
    expect(await errorOf({ remote_port: 1024 })).toBe('port not allowed')
    expect(await errorOf({ proxy_type: 'udp', remote_port: 1024 })).toBe('port not allowed')
    expect(await errorOf({ proxy_type: 'http', custom_domains: ['a.b'] })).toBe(
      'type [http] not supported when vhost http port is not set',
    )
    expect(await errorOf({ proxy_type: 'tcpmux', subdomain: 'a' })).toBe('unknown multiplexer []')
    expect(await errorOf({})).toBe('proxy [a] already exists')
    expect(await errorOf({ proxy_name: 'b' })).toBe('exceed the limit of 1 proxies per client')
    expect(served.server.proxies()).toHaveLength(1)
  })

  test('with a port that the user of the server may not have', async () => {
    let refuse: () => void = () => undefined
    const served = await start({ onUdpPort: () => refuse() })
    const client = await login(served)
    const remote_port = await freePort()
    const errorOf = async (request: Parameters<typeof client.ask>[0]): Promise<string> =>
      (await client.ask({ proxy_name: 'p', remote_port, ...request })).error
    vi.spyOn(Server.prototype, 'listen').mockImplementationOnce(function (this: Server) {
      const error = Object.assign(new Error('listen EACCES'), { code: 'EACCES' })
      queueMicrotask(() => this.emit('error', error))
      return this
    })
    expect(await errorOf({})).toBe('port unavailable')
    refuse = () => {
      throw new DatapathError('DATAPATH_PORT_FORBIDDEN', 'not for this user')
    }
    expect(await errorOf({ proxy_type: 'udp' })).toBe('port unavailable')
    refuse = () => undefined
    expect(await errorOf({})).toBe('')
  })

  test('in a group that has no meaning for its type, which is told to the operator only', async () => {
    const warnings: unknown[] = []
    const logger = createLogger({
      level: 'warn',
      stream: { write: (line) => void warnings.push(JSON.parse(line)) },
    })
    const served = await start({ logger })
    const client = await login(served)
    const group = { group: 'g', group_key: 'k' }
    await client.register({ proxy_name: 't', ...group })
    expect(warnings).toEqual([])
    for (const proxy_type of ['udp', 'stcp'])
      await client.register({ proxy_name: proxy_type, proxy_type, ...group })
    const msg = 'a group has no meaning for a proxy of this type'
    expect(warnings).toMatchObject([
      { msg, proxy: 'udp', type: 'udp', runId: client.runId },
      { msg, proxy: 'stcp', type: 'stcp' },
    ])
  })

  test('of which there may be so many, until one is closed', async () => {
    const served = await start({ raw: { maxPortsPerClient: 1, limits: { maxProxiesPerClient: 2 } } })
    const client = await login(served)
    await client.register({ proxy_name: 'a' })
    expect((await client.ask({ proxy_name: 'b' })).error).toBe('exceed the max_ports_per_client')
    expect((await client.ask({ proxy_name: 'b', proxy_type: 'udp' })).error).toBe(
      'exceed the max_ports_per_client',
    )
    await client.register({ proxy_name: 'c', proxy_type: 'stcp' })
    expect((await client.ask({ proxy_name: 'd', proxy_type: 'stcp' })).error).toBe(
      'exceed the limit of 2 proxies per client',
    )
    client.control.channel.send('CloseProxy', { proxy_name: 'a' })
    await client.register({ proxy_name: 'b', proxy_type: 'udp' })
  })

  test('without a port, and is given the one that the name had', async () => {
    const served = await start()
    const first = await login(served)
    const port = await first.register({ proxy_name: 'p' })
    await first.close()
    await eventually(() => expect(served.server.clients()).toEqual([]))
    const second = await login(served)
    expect(await second.register({ proxy_name: 'q' })).not.toBe(port)
    expect(await second.register({ proxy_name: 'p' })).toBe(port)
  })

  test('and goes at once: nothing of it stays open', async () => {
    const served = await start()
    const remote_port = await freePort()
    for (let round = 0; round < 5; round++) {
      const client = await login(served)
      client.control.channel.send('NewProxy', { proxy_name: 'p', remote_port })
      client.control.channel.send('NewProxy', { proxy_name: 'q', proxy_type: 'stcp' })
      client.control.channel.destroy()
      await eventually(() => expect(served.server.clients()).toEqual([]))
    }
    const client = await login(served)
    expect(await client.register({ proxy_name: 'p', remote_port })).toBe(remote_port)
    expect(served.recorder.events.filter((event) => event === '+p').length).toBe(
      served.recorder.events.filter((event) => event === '-p').length + 1,
    )
  })
})

describe('a proxy that is being opened', () => {
  test('when its client is kicked is closed again, and never was in the books', async () => {
    let kick: () => void = () => undefined
    const served = await start({ onUdpPort: () => kick() })
    const client = await login(served)
    kick = () => served.server.kick(client.runId)
    const remote_port = await freePort()
    const request = { proxy_name: 'p', proxy_type: 'udp', remote_port }
    client.control.channel.send('NewProxy', request)
    await client.control.closed
    await eventually(() => expect(served.server.clients()).toEqual([]))
    expect(served.recorder.events).toEqual([`+client ${client.runId}`, `-client ${client.runId}`])
    kick = () => undefined
    expect(await (await login(served)).register(request)).toBe(remote_port)
  })
})

describe('a control channel', () => {
  test('is answered that hole punching is not there', async () => {
    const served = await start()
    const client = await login(served)
    client.control.channel.send('NatHoleVisitor', { transaction_id: 't1', pre_check: true })
    expect(await client.control.next('NatHoleResp')).toMatchObject({
      transaction_id: 't1',
      error: 'xtcp is not supported by this server',
    })
  })

  test('with messages that mean nothing there goes on', async () => {
    const served = await start()
    const client = await login(served)
    client.control.channel.send('ReqWorkConn', {})
    client.control.channel.send('CloseProxy', { proxy_name: 'none' })
    client.control.channel.send('Ping', {})
    expect((await client.control.next('Pong')).error).toBe('')
  })

  test('is cut when it is no channel of frp any more, others are not', async () => {
    const served = await start()
    const [bad, good] = [await login(served), await login(served)]
    bad.control.channel.sendRaw(Buffer.alloc(100, 0xff))
    await bad.control.closed
    await good.register({ proxy_name: 'p' })
    await eventually(() => expect(served.server.clients()).toHaveLength(1))
  })

  test('that floods is read no faster than its messages are dealt with, and nobody else waits for it', async () => {
    let pings = 0
    let goOn: () => void = () => undefined
    const isHeld = new Promise<void>((resolve) => (goOn = resolve))
    const served = await start({
      auth: {
        holds: () => true,
        verifyLogin: async () => ({
          method: 'token' as const,
          token: 'secret',
          grant: undefined,
          verifyPing: async () => {
            pings++
            await isHeld
          },
          verifyNewWorkConn: async () => undefined,
        }),
      },
    })
    const [flood, other] = [await login(served), await login(served)]
    for (let count = 0; count < 5000; count++) flood.control.channel.send('Ping', {})
    await eventually(() => expect(pings).toBe(1))
    await other.register({ proxy_name: 'p' })
    expect(pings).toBe(1)
    goOn()
    await vi.waitFor(() => expect(flood.control.count('Pong')).toBe(5000), { timeout: 10_000 })
  })

  test('with a message that is never done with does not keep its client from being kicked', async () => {
    const served = await start({
      auth: {
        holds: () => true,
        verifyLogin: async () => ({
          method: 'token' as const,
          token: 'secret',
          grant: undefined,
          verifyPing: () => new Promise(() => undefined),
          verifyNewWorkConn: async () => undefined,
        }),
      },
    })
    const client = await login(served)
    for (let count = 0; count < 100; count++) client.control.channel.send('Ping', {})
    served.server.kick(client.runId)
    await client.control.closed
    await eventually(() => expect(served.server.clients()).toEqual([]))
  })

  test('that ends leaves user connections alone that have a connection of their own', async () => {
    const served = await start()
    const client = await login(served, { mux: false })
    client.serve((stream) => echo(stream))
    const port = await client.register({ proxy_name: 'p' })
    const socket = await user(port)
    socket.write('1')
    await once(socket, 'data')
    client.control.channel.destroy()
    await eventually(() => expect(served.server.clients()).toEqual([]))
    socket.end('2')
    expect((await readToEnd(socket)).toString()).toBe('2')
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(0))
  })

  test('that ends takes those with it that wait, and all that its session carries', async () => {
    const served = await start()
    const client = await login(served)
    const port = await client.register({ proxy_name: 'p' })
    const waits = await user(port)
    const carried = client.startedWork()
    await carried
    const second = await user(port)
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(2))
    const over = [closeOf(waits), closeOf(second)]
    for (const socket of [waits, second]) socket.resume()
    await client.close()
    await Promise.all(over)
    await eventually(async () => expect(await served.metric('sluice_tunnel_user_connections')).toBe(0))
  })
})

describe('the bandwidth of a proxy', () => {
  test('is kept by the server when it is told so, and its connections close all the same', async () => {
    const clock = new ManualClock()
    const served = await start({ clock, raw: { transport: { tcpMuxKeepaliveInterval: 1000 } } })
    const client = await login(served)
    const ends: Promise<unknown>[] = []
    client.serve((stream) => {
      const duplex = new StreamDuplex(stream)
      duplex.on('error', () => undefined)
      ends.push(new Promise((resolve) => duplex.once('close', resolve)))
      duplex.write(Buffer.alloc(50_000))
      duplex.resume()
      duplex.on('end', () => duplex.end())
    })
    const port = await client.register({
      proxy_name: 'p',
      bandwidth_limit: '10KB',
      bandwidth_limit_mode: 'server',
    })
    const socket = await user(port)
    let got = 0
    socket.on('data', (bytes: Buffer) => (got += bytes.length))
    // At first as much as passes in a second.
    await eventually(() => {
      clock.advance(0)
      expect(got).toBe(10_240)
    })
    clock.advance(2000)
    await eventually(() => expect(got).toBe(30_720))
    socket.destroy()
    await eventually(async () => {
      // Well within the ten seconds that one side may go on after the other.
      clock.advance(10)
      expect(await served.metric('sluice_tunnel_user_connections')).toBe(0)
    })
    await Promise.all(ends)
  })
})
