import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach } from 'vitest'
import { readToEnd } from '../../../mechanisms/net/sockets.testkit.ts'
import { FrpClient, type FrpClientOptions } from './frp-client.testkit.ts'
import { type Served, type ServedOptions, startServer } from './tunnel-server.testkit.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Called at the end of the test, the last first. */
export function atEnd(close: () => unknown): void {
  closers.push(close)
}

/** A server until the end of the test. */
export async function start(options: ServedOptions = {}): Promise<Served> {
  const served = await startServer(options)
  atEnd(() => served[Symbol.asyncDispose]())
  return served
}

/** A client that is logged in, until the end of the test. */
export async function login(served: Served, options: FrpClientOptions = {}): Promise<FrpClient> {
  const client = await FrpClient.login(served.port, options)
  atEnd(() => client.close())
  return client
}

/** One who has connected to a port. */
export async function user(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => undefined)
  atEnd(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

export function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** Says something, ends its side, and hears the answer to its end. */
export async function say(port: number, text: string): Promise<string> {
  const socket = await user(port)
  socket.end(text)
  return (await readToEnd(socket)).toString()
}
