import { afterEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { frpcConfig, plainTransport, portProxy } from './client-config.testkit.ts'
import { bodiesOf } from './fake-server.testkit.ts'
import { fail, FakeClients, reading, settle, startWork } from './tunnel-client.testkit.ts'

const clients = new FakeClients()
afterEach(() => clients.closeAll())

const oneTcp = frpcConfig({ proxies: [portProxy('tcp', 'web', { localPort: 8080, remotePort: 6000 })] })

describe('a work connection', () => {
  it.each(['v1', 'v2'] as const)('over %s leads to the local service and back', async (wireProtocol) => {
    const { server, locals } = await clients.running(frpcConfig({ ...oneTcp, wire: { wireProtocol } }))
    const user = await startWork(server, 'web', Buffer.from('early '))
    expect(bodiesOf(user.connection, 'NewWorkConn')).toMatchObject([{ run_id: 'run-1', privilege_key: '' }])
    await eventually(() => expect(locals).toMatchObject([{ host: '127.0.0.1', port: 8080 }]))
    const service = locals[0]?.stream ?? fail()
    const asked = reading(service)
    user.stream.write(Buffer.from('question'))
    await eventually(() => expect(asked.text()).toBe('early question'))
    const answer = reading(user.stream)
    service.write(Buffer.from('answer'))
    service.end()
    await eventually(() => expect(answer).toMatchObject({ isEnded: true }))
    expect(answer.text()).toBe('answer')
  })

  it('with a server that keeps half-closed connections lets a service answer after the question has ended', async () => {
    const { server, locals, clock } = await clients.running(oneTcp, {
      answer: () => ({ run_id: 'run-1', half_close: true }),
    })
    const user = await startWork(server, 'web')
    await eventually(() => expect(locals).toHaveLength(1))
    const service = locals[0]?.stream ?? fail()
    const asked = reading(service)
    user.stream.end()
    await eventually(() => expect(asked.isEnded).toBe(true))
    clock.advance(3_600_000)
    const answer = reading(user.stream)
    service.write(Buffer.from('at last'))
    service.end()
    await eventually(() => expect(answer.isEnded).toBe(true))
    expect(answer.text()).toBe('at last')
  })

  it('tells the service the user by the PROXY protocol', async () => {
    const proxy = portProxy('tcp', 'web', { transport: { ...plainTransport, proxyProtocolVersion: 'v1' } })
    const { server, locals } = await clients.running(frpcConfig({ proxies: [proxy] }))
    await startWork(server, 'web')
    await eventually(() => expect(locals).toHaveLength(1))
    const service = reading(locals[0]?.stream ?? fail())
    await eventually(() => expect(service.text()).toBe('PROXY TCP4 9.8.7.6 127.0.0.1 1000 6000\r\n'))
  })

  it('without a local service ends with a reason, and the log is told once a second', async () => {
    const { server, local, lines } = await clients.running(oneTcp)
    local.failure = new Error('connect ECONNREFUSED')
    for (let i = 0; i < 3; i++) {
      const user = reading((await startWork(server, 'web')).stream)
      await eventually(() => expect(user.isClosed).toBe(true))
      expect(user.error).toBeDefined()
    }
    const told = lines.filter(({ msg }) => msg === 'connect to local service error')
    expect(told).toMatchObject([{ proxy: 'web', service: '127.0.0.1:8080', error: 'connect ECONNREFUSED' }])
  })

  it('for a proxy that there is not is closed', async () => {
    const { server, locals } = await clients.running(oneTcp)
    const user = reading((await startWork(server, 'other')).stream)
    await eventually(() => expect(user.isClosed).toBe(true))
    expect(user.error).toBeDefined()
    expect(locals).toEqual([])
  })

  it('that the server does not want is closed, and a thousand of them make one line', async () => {
    const { server, lines } = await clients.running(oneTcp)
    for (let i = 0; i < 1000; i++) server.control.channel.send('ReqWorkConn', {})
    await eventually(() => expect(server.works).toHaveLength(1000))
    for (const { channel } of server.works) channel.send('StartWorkConn', { error: 'pool is full' })
    await eventually(() => expect(server.works.every(({ isClosed }) => isClosed)).toBe(true))
    const told = lines.filter(({ msg }) => msg === 'StartWorkConn contains error')
    expect(told).toMatchObject([{ level: 'debug', error: 'pool is full' }])
  })

  it('of a flood of requests is opened up to a bound', async () => {
    const { server } = await clients.running(oneTcp)
    for (let i = 0; i < 5000; i++) server.control.channel.send('ReqWorkConn', {})
    await eventually(() => expect(server.works).toHaveLength(1024))
    await settle()
    expect(server.works).toHaveLength(1024)
    server.works[0]?.channel.send('StartWorkConn', { error: 'no' })
    await eventually(() => expect(server.works).toHaveLength(1025))
  })

  it('shows the proof that the scope wants', async () => {
    const proof = { privilege_key: 'work', timestamp: 9 }
    const { client, server } = clients.make(oneTcp, {}, { newWorkConn: async () => proof })
    await client.start()
    server.control.channel.send('ReqWorkConn', {})
    await eventually(() => expect(server.works).toHaveLength(1))
    expect(bodiesOf(server.works[0] ?? fail(), 'NewWorkConn')).toMatchObject([proof])
  })
})
