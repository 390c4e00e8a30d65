import { describe } from 'vitest'
import { openConnection } from '../net/sockets.testkit.ts'
import { type StreamPair, streamConformance } from './conformance.testkit.ts'
import { duplexStream } from './duplex-stream.ts'
import { memoryStreamPair } from './memory-stream.testkit.ts'
import { socketStream } from './socket-stream.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { openTlsConnection } from './tls-connection.testkit.ts'

function memory(): StreamPair {
  const [first, second] = memoryStreamPair({ chunkBytes: 10_000 })
  return { first, second, [Symbol.asyncDispose]: async () => Promise.resolve() }
}

async function sockets(): Promise<StreamPair> {
  const { dialled, accepted, ...connection } = await openConnection()
  return {
    first: socketStream(dialled),
    second: socketStream(accepted),
    [Symbol.asyncDispose]: connection[Symbol.asyncDispose],
  }
}

describe('memory streams', () => streamConformance(memory))
describe('TCP sockets', () => streamConformance(sockets))
describe('TCP sockets, accepted first', () =>
  streamConformance(async () => {
    const pair = await sockets()
    return { ...pair, first: pair.second, second: pair.first }
  }))
describe('TLS sockets', () =>
  streamConformance(async () => {
    const { dialled, accepted, ...connection } = await openTlsConnection()
    return {
      first: socketStream(dialled),
      second: socketStream(accepted),
      [Symbol.asyncDispose]: connection[Symbol.asyncDispose],
    }
  }))
describe('TLS sockets, accepted first', () =>
  streamConformance(async () => {
    const { dialled, accepted, ...connection } = await openTlsConnection()
    return {
      first: socketStream(accepted),
      second: socketStream(dialled),
      [Symbol.asyncDispose]: connection[Symbol.asyncDispose],
    }
  }))
describe('sockets as any of the streams of Node', () =>
  streamConformance(
    async () => {
      const { dialled, accepted, ...connection } = await openConnection()
      return {
        first: duplexStream(dialled),
        second: duplexStream(accepted),
        [Symbol.asyncDispose]: connection[Symbol.asyncDispose],
      }
    },
    { reset: false },
  ))
describe('memory streams as streams of Node, and back', () =>
  streamConformance(() => {
    const [first, second] = memoryStreamPair()
    return {
      first: duplexStream(new StreamDuplex(first)),
      second: duplexStream(new StreamDuplex(second)),
      [Symbol.asyncDispose]: async () => Promise.resolve(),
    }
  }))
