import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { openConnection } from '../../../mechanisms/net/sockets.testkit.ts'
import { socketStream, StreamDuplex } from '../../../mechanisms/streams/index.ts'
import { type MemoryStream, memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { MessageDecoder, type StartWorkConn } from '../../../protocols/frp/index.ts'
import type { TrafficCounter } from '../statistics/contract.ts'
import { ProxyBackend } from './proxy-backend.ts'
import { Quota } from './quota.ts'
import { WorkPool } from './work-pool.ts'

const address = { remoteAddress: '192.0.2.1', remotePort: 5000, localAddress: '192.0.2.9', localPort: 80 }

function make({ limit = 0, halfClose = true } = {}) {
  const clock = new ManualClock()
  const pool = new WorkPool({ size: 0, waitMs: () => 10_000, clock, request: () => undefined })
  const quota = new Quota('users', limit)
  const counters: TrafficCounter[] = []
  const log = { refused: [] as string[], closed: 0, idle: 0 }
  const backend = new ProxyBackend({
    proxyName: 'p',
    wireVersion: 'v1',
    pool,
    layers: (work) => work,
    halfClose,
    quotas: [quota],
    traffic: {
      open: (counter) => {
        counters.push(counter)
        return () => log.closed++
      },
      addIn: () => undefined,
      addOut: () => undefined,
    },
    metrics: { userRefused: (reason) => log.refused.push(reason), waited: () => undefined },
    clock,
    logger: silentLogger(),
    joiner: undefined,
  })
  backend.onIdle = () => log.idle++
  /** A work connection that the client gives; its end of it. */
  const offer = (): MemoryStream => {
    const [near, far] = memoryStreamPair()
    pool.offer(near)
    return far
  }
  return { backend, pool, quota, clock, counters, log, offer }
}

/** What the client reads first, and the rest as a stream of Node's. */
async function started(
  far: ByteStream,
): Promise<{ readonly start: StartWorkConn; readonly duplex: StreamDuplex }> {
  const decoder = new MessageDecoder('v1')
  return new Promise((resolve) => {
    far.attach({
      onBytes(bytes) {
        decoder.push(bytes)
        const message = decoder.next()
        if (message?.name !== 'StartWorkConn') return true
        far.pause()
        far.unread(decoder.rest())
        resolve({ start: message.body, duplex: new StreamDuplex(far) })
        return true
      },
      onEnd: nothing,
      onDrain: nothing,
      onClose: nothing,
    })
    far.resume()
  })
}

describe('a user of a proxy', () => {
  test('is joined with a work connection that knows where it comes from, and counted while it lasts', async () => {
    const { backend, offer, quota, counters, log } = make()
    const [user, near] = memoryStreamPair()
    const far = offer()
    backend.serve(near, address)
    const { start, duplex } = await started(far)
    expect(start).toMatchObject({
      proxy_name: 'p',
      src_addr: '192.0.2.1',
      src_port: 5000,
      dst_addr: '192.0.2.9',
      dst_port: 80,
    })
    const socket = new StreamDuplex(user)
    socket.write('four')
    const [bytes] = (await once(duplex, 'data')) as [Buffer]
    expect(bytes.toString()).toBe('four')
    duplex.write('sixsix')
    await once(socket, 'data')
    expect([counters[0]?.bytesIn, counters[0]?.bytesOut]).toEqual([4, 6])
    expect([quota.used, backend.carried]).toEqual([1, 1])
    socket.end()
    duplex.end()
    await eventually(() => expect(quota.used).toBe(0))
    expect([log.closed, log.idle, backend.carried]).toEqual([1, 1, 0])
  })

  test('who leaves while waiting gives its place back, and the next work connection is not his', async () => {
    const { backend, pool, quota, offer } = make()
    const [user, near] = memoryStreamPair()
    backend.serve(near, address)
    expect(quota.used).toBe(1)
    user.destroy(new Error('gone'))
    await eventually(() => expect(quota.used).toBe(0))
    expect(pool.waiting).toBe(0)
    offer()
    expect(pool.idle).toBe(1)
  })

  test('for whom no work connection comes is reset after `userConnTimeout`', async () => {
    const { backend, clock, quota, log } = make()
    const [user, near] = memoryStreamPair()
    backend.serve(near, address)
    clock.advance(10_000)
    expect(user.isClosed).toBe(true)
    expect(user.error).toMatchObject({ code: 'ECONNRESET' })
    expect([quota.used, log.refused]).toEqual([0, ['no-work-connection']])
    expect(clock.pending).toBe(0)
  })

  test('beyond a limit is refused without a work connection', () => {
    const { backend, pool, quota, log } = make({ limit: 1 })
    backend.serve(memoryStreamPair()[1], address)
    const [user, near] = memoryStreamPair()
    backend.serve(near, address)
    expect([user.isClosed, pool.waiting, quota.used, log.refused]).toEqual([true, 1, 1, ['limit']])
  })

  test('whose work connection breaks between being taken and being joined is reset', async () => {
    const { backend, offer, quota } = make()
    const [user, near] = memoryStreamPair()
    backend.serve(near, address)
    const far = offer()
    far.destroy(new Error('broke'))
    await eventually(() => expect(user.isClosed).toBe(true))
    await eventually(() => expect(quota.used).toBe(0))
  })

  test.each([
    [true, true, false],
    [true, false, true],
    [false, true, true],
  ])(
    'client keeps half-open: %s, user: %s: is cut ten seconds after one side has ended: %s',
    async (client, asUser, isCut) => {
      const { backend, offer, clock, quota } = make({ halfClose: client })
      const [user, near] = memoryStreamPair()
      const far = offer()
      backend.serve(near, address, asUser)
      const { duplex } = await started(far)
      duplex.resume()
      user.end()
      await once(duplex, 'end')
      clock.advance(9999)
      expect(quota.used).toBe(1)
      clock.advance(1)
      await Promise.resolve()
      await eventually(() => expect(near.isClosed).toBe(isCut))
      duplex.destroy()
    },
  )

  test('all are cut by `destroy`: those who wait, are joined, or were connected', async () => {
    const { backend, offer, quota, log } = make()
    const [joined, nearJoined] = memoryStreamPair()
    offer()
    backend.serve(nearJoined, address)
    offer()
    const connected = await backend.connect(address)
    const [waits, nearWaits] = memoryStreamPair()
    backend.serve(nearWaits, address)
    const connecting = backend.connect(address)
    connecting.catch(nothing)
    expect(backend.carried).toBe(4)
    backend.destroy()
    await expect(connecting).rejects.toThrow('the server closes')
    await eventually(() => expect(backend.carried).toBe(0))
    joined.resume()
    waits.resume()
    await eventually(() => expect([nearJoined.isClosed, nearWaits.isClosed]).toEqual([true, true]))
    expect([quota.used, log.closed, log.idle]).toEqual([0, 2, 1])
    expect(connected.write(Buffer.from('x'))).toBe(true)
  })

  test('a socket that had ended both ways while its bytes waited for a service that breaks leaves nothing behind', async () => {
    await using connection = await openConnection()
    const { backend, offer, quota } = make()
    const far = offer()
    backend.serve(socketStream(connection.accepted), address)
    // The service ends its side, so that the socket is closed as soon as the user's end has come.
    far.end()
    const { dialled } = connection
    // More than fits: the socket is paused while the end of it is in the system already.
    dialled.end(Buffer.alloc(200_000))
    dialled.resume()
    await once(dialled, 'end')
    far.destroy(new Error('broke'))
    await eventually(() => expect(quota.used).toBe(0))
  })
})

describe('a connection to the service', () => {
  test('is counted until it closes, also when nobody ever reads it', async () => {
    const { backend, offer, quota, log } = make()
    const far = offer()
    const service = await backend.connect(address)
    expect(quota.used).toBe(1)
    far.destroy(new Error('broke'))
    await eventually(() => expect([quota.used, log.closed]).toEqual([0, 1]))
    service.destroy()
  })

  test('cannot be had in time, or beyond a limit', async () => {
    const { backend, clock, quota } = make({ limit: 1 })
    const waiting = backend.connect(address)
    await expect(backend.connect(address)).rejects.toMatchObject({ code: 'TUNNEL_FORBIDDEN' })
    clock.advance(10_000)
    await expect(waiting).rejects.toMatchObject({ code: 'TUNNEL_TIMEOUT' })
    expect(quota.used).toBe(0)
  })
})

function nothing(): void {}
