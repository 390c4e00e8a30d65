import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { ConnectionCap } from './connection-cap.ts'
import { readByOnread } from './onread-socket.ts'
import { TcpListener } from './tcp-listener.ts'
import type { TcpListenerOptions } from './tcp-listener.ts'

const opened: TcpListener[] = []

afterEach(async () => {
  for (const listener of opened.splice(0)) await listener.close()
})

function listenerOf(options: Partial<TcpListenerOptions> = {}): TcpListener {
  const listener = new TcpListener({
    listen: { host: '127.0.0.1', port: 0 },
    onConnection: () => undefined,
    ...options,
  })
  opened.push(listener)
  return listener
}

async function dial(listener: TcpListener, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port: listener.port ?? 0, host })
  socket.on('error', () => undefined)
  socket.resume()
  await once(socket, 'connect')
  return socket
}

describe('TcpListener', () => {
  it('accepts connections until it is closed; starting and closing twice changes nothing', async () => {
    const accepted: Socket[] = []
    const listener = listenerOf({ onConnection: (socket) => accepted.push(socket) })
    await listener.start()
    await listener.start()
    const socket = await dial(listener)
    await expect.poll(() => accepted.length).toBe(1)
    expect(listener.connections).toBe(1)
    const cut = once(socket, 'close')
    await Promise.all([listener.close(), listener.close()])
    await cut
    expect(listener.connections).toBe(0)
    expect(listener.port).toBeUndefined()
  })

  it('listens on IPv6, and on every address when it is given a port alone', async () => {
    const six = listenerOf({ listen: { host: '::1', port: 0 } })
    const all = listenerOf({ listen: { port: 0 } })
    await six.start()
    await all.start()
    for (const socket of [await dial(six, '::1'), await dial(all, '127.0.0.1'), await dial(all, '::1')])
      socket.destroy()
  })

  it('a port that is taken is an error that names it', async () => {
    const first = listenerOf()
    await first.start()
    const second = listenerOf({ listen: { host: '127.0.0.1', port: first.port ?? 0 } })
    await expect(second.start()).rejects.toMatchObject({
      code: 'NET_PORT_TAKEN',
      message: expect.stringContaining(`127.0.0.1:${first.port}`),
      side: 'self',
    })
    await first.close()
  })

  it('an address that the machine does not have is an error that says so', async () => {
    await expect(listenerOf({ listen: { host: '192.0.2.1', port: 0 } }).start()).rejects.toMatchObject({
      code: 'NET_ADDRESS_UNAVAILABLE',
    })
  })

  it('an aborted start rejects and leaves no port open', async () => {
    const listener = listenerOf()
    const controller = new AbortController()
    const starting = listener.start({ signal: controller.signal })
    controller.abort(new Error('changed my mind'))
    await expect(starting).rejects.toThrow('changed my mind')
    expect(listener.port).toBeUndefined()
    await expect(listener.start({ signal: controller.signal })).rejects.toThrow('changed my mind')
  })

  it('closes connections above the cap of an address or in total, and lets others in again later', async () => {
    const cap = new ConnectionCap({ maxConnections: 2, maxConnectionsPerAddress: 1 })
    const listener = listenerOf({
      listen: { port: 0 },
      cap,
      onConnection: (socket) => socket.resume().once('end', () => socket.end()),
    })
    await listener.start()
    const first = await dial(listener, '127.0.0.1')
    await once(await dial(listener, '127.0.0.1'), 'close')
    expect(cap.refused).toBe(1)
    await dial(listener, '::1')
    await once(await dial(listener, '127.0.0.2'), 'close')
    expect(cap.refused).toBe(2)
    first.end()
    await expect.poll(() => listener.connections).toBe(1)
    await dial(listener, '127.0.0.1')
    await expect.poll(() => listener.connections).toBe(2)
    expect(cap.refused).toBe(2)
  })

  it('listeners that share a cap count an address once, whichever of them it comes to', async () => {
    const cap = new ConnectionCap({ maxConnectionsPerAddress: 1 })
    const [four, both] = [listenerOf({ cap }), listenerOf({ cap, listen: { port: 0 } })]
    await four.start()
    await both.start()
    await dial(four, '127.0.0.1')
    await once(await dial(both, '127.0.0.1'), 'close')
    expect(cap.refused).toBe(1)
    await dial(both, '::1')
    await expect.poll(() => four.connections + both.connections).toBe(2)
  })

  it('close waits for connections up to graceMs, also those that are read into a buffer', async () => {
    const clock = new ManualClock()
    const accepted: Socket[] = []
    const listener = listenerOf({ clock, onConnection: (socket) => accepted.push(socket) })
    await listener.start()
    const [plain, buffered] = [await dial(listener), await dial(listener)]
    await expect.poll(() => accepted.length).toBe(2)
    const second = accepted[1]
    if (second === undefined) throw new Error('nothing accepted')
    readByOnread(second, 1024, () => undefined).socket.resume()

    let isClosed = false
    const closing = listener.close({ graceMs: 1000 }).then(() => (isClosed = true))
    await expect(dial(listener)).rejects.toThrow()
    clock.advance(999)
    expect(isClosed).toBe(false)
    expect([plain.destroyed, buffered.destroyed]).toEqual([false, false])
    clock.advance(1)
    await closing
    expect(clock.pending).toBe(0)
  })

  it('close resolves as soon as the last connection has gone', async () => {
    const clock = new ManualClock()
    const listener = listenerOf({
      clock,
      onConnection: (socket) => socket.resume().once('end', () => socket.end()),
    })
    await listener.start()
    const socket = await dial(listener)
    await expect.poll(() => listener.connections).toBe(1)
    const closing = listener.close({ graceMs: 60_000 })
    socket.end()
    await closing
    expect(clock.pending).toBe(0)
  })

  it('errors of connections reach nobody who does not listen', async () => {
    const accepted: Socket[] = []
    const listener = listenerOf({ onConnection: (socket) => accepted.push(socket) })
    await listener.start()
    const socket = await dial(listener)
    await expect.poll(() => accepted.length).toBe(1)
    accepted[0]?.resume()
    socket.resetAndDestroy()
    await expect.poll(() => listener.connections).toBe(0)
  })
})
