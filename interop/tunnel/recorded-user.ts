import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { clientHelloFor } from './client-hello.ts'
import { askHttp, connectThrough } from './probes.ts'
import type { Action } from './recording.ts'

/** Where the user of a recording finds what it asks for. */
export type UserPorts = Readonly<Record<Exclude<Action, 'close'>, () => number>>

/** Datagrams come from where they came from when they were recorded: the answers name it. */
const datagramAddress = { address: '127.70.0.1', port: 17_070 }
const deadlineMs = 10_000

/** Does what the user of a recording did. @throws Error unless it is answered as then */
export async function act(action: Exclude<Action, 'close'>, ports: UserPorts): Promise<void> {
  const port = ports[action]()
  switch (action) {
    case 'tcp':
    case 'layers':
    case 'stcp':
      await echo(connect(port, '127.0.0.1'), Buffer.from(`hello ${action}`))
      return
    case 'connect':
      await echo(await connectThrough(port, 'mux.test:80'), Buffer.from('hello tcpmux'))
      return
    case 'https':
      await echo(connect(port, '127.0.0.1'), clientHelloFor('secure.test'))
      return
    case 'http': {
      const { status, seen } = await askHttp(port, 'web.test', { path: '/recorded' })
      if (status !== 200 || seen.url !== '/recorded') throw new Error(`answered ${status}`)
      return
    }
    case 'udp':
    case 'sudp':
      await echoDatagram(port, Buffer.from(`hello ${action}`))
      return
  }
}

async function echo(socket: Socket, sent: Buffer): Promise<void> {
  const signal = AbortSignal.timeout(deadlineMs)
  let received = Buffer.alloc(0)
  socket.resume()
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes])
    if (received.length >= sent.length) socket.end()
  })
  socket.write(sent)
  await once(socket, 'close', { signal })
  if (!received.equals(sent)) throw new Error(`${received.toString()} came back for ${sent.toString()}`)
}

async function echoDatagram(port: number, sent: Buffer): Promise<void> {
  const socket = createSocket('udp4')
  try {
    socket.bind(datagramAddress.port, datagramAddress.address)
    await once(socket, 'listening')
    socket.send(sent, port, '127.0.0.1')
    const [received] = (await once(socket, 'message', { signal: AbortSignal.timeout(deadlineMs) })) as [
      Buffer,
    ]
    if (!received.equals(sent)) throw new Error(`${received.toString()} came back`)
  } finally {
    socket.close()
  }
}
