import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { describe } from 'vitest'
import { makeCertificate } from '../net/certificate.testkit.ts'
import { type Connection, openConnection } from '../net/sockets.testkit.ts'
import { type StreamPair, streamConformance } from './conformance.testkit.ts'
import { duplexStream } from './duplex-stream.ts'
import { memoryStreamPair } from './memory-stream.testkit.ts'
import { socketStream } from './socket-stream.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { openTlsConnection, type TlsConnection } from './tls-connection.testkit.ts'

describe('memory streams', () => streamConformance(() => memory(10_000)))

describe('TCP sockets', () => streamConformance(async () => sockets(await openConnection())))
describe('TCP sockets, accepted first', () =>
  streamConformance(async () => swapped(sockets(await openConnection()))))

describe('TCP sockets of a Node with another inside', () =>
  streamConformance(async () => {
    const connection = await openConnection()
    for (const socket of [connection.dialled, connection.accepted]) {
      Object.assign(Reflect.get(socket, '_handle') as object, { useUserBuffer: undefined })
    }
    return sockets(connection)
  }))

describe('TLS sockets', () => streamConformance(async () => sockets(await openTlsConnection())))
describe('TLS sockets, accepted first', () =>
  streamConformance(async () => swapped(sockets(await openTlsConnection()))))

describe('TLS sockets upon memory streams', () =>
  streamConformance(
    async () => {
      const { cert, key } = await makeCertificate()
      const [first, second] = memoryStreamPair()
      const accepted = new TLSSocket(new StreamDuplex(second), { isServer: true, cert, key })
      const secure = once(accepted, 'secure')
      const dialled = connectTls({ socket: new StreamDuplex(first), ca: cert, servername: 'localhost' })
      await Promise.all([secure, once(dialled, 'secureConnect')])
      return sockets({ dialled, accepted, [Symbol.asyncDispose]: async () => Promise.resolve() })
    },
    { reset: false },
  ))

describe('Unix sockets', () => streamConformance(async () => sockets(await openUnix()), { reset: false }))

describe('sockets as any of the streams of Node', () =>
  streamConformance(
    async () => {
      const connection = await openConnection()
      return {
        first: duplexStream(connection.dialled),
        second: duplexStream(connection.accepted),
        [Symbol.asyncDispose]: async () => connection[Symbol.asyncDispose](),
      }
    },
    { reset: false },
  ))

describe('memory streams as streams of Node, and back', () =>
  streamConformance(() => {
    const pair = memory()
    return {
      ...pair,
      first: duplexStream(new StreamDuplex(pair.first)),
      second: duplexStream(new StreamDuplex(pair.second)),
    }
  }))

function memory(chunkBytes?: number): StreamPair {
  const [first, second] = memoryStreamPair(chunkBytes === undefined ? {} : { chunkBytes })
  return { first, second, [Symbol.asyncDispose]: async () => Promise.resolve() }
}

function sockets(
  connection: Pick<Connection | TlsConnection, 'dialled' | 'accepted'> & AsyncDisposable,
): StreamPair {
  return {
    first: socketStream(connection.dialled),
    second: socketStream(connection.accepted),
    [Symbol.asyncDispose]: async () => connection[Symbol.asyncDispose](),
  }
}

function swapped(pair: StreamPair): StreamPair {
  return { ...pair, first: pair.second, second: pair.first }
}

async function openUnix(): Promise<Pick<Connection, 'dialled' | 'accepted'> & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-streams-'))
  const server = createServer()
  server.listen(join(folder, 'socket'))
  await once(server, 'listening')
  const accepting = once(server, 'connection')
  const dialled = connect(join(folder, 'socket'))
  const [accepted] = (await accepting) as [Socket]
  for (const socket of [dialled, accepted]) socket.on('error', () => undefined)
  return {
    dialled,
    accepted,
    async [Symbol.asyncDispose]() {
      dialled.destroy()
      accepted.destroy()
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true })
    },
  }
}
