import { describe, expect, it } from 'vitest'
import { Reader, type StreamPair, streamConformance, turns } from './conformance.testkit.ts'
import { webSocketOptions, webSocketStream } from './web-socket-stream.ts'
import { openWebSocketConnection } from './web-socket-stream.testkit.ts'

async function webSockets(): Promise<StreamPair> {
  const { dialled, accepted, ...connection } = await openWebSocketConnection()
  return {
    first: webSocketStream(dialled),
    second: webSocketStream(accepted),
    [Symbol.asyncDispose]: connection[Symbol.asyncDispose],
  }
}

describe('WebSockets', () => streamConformance(webSockets, { halfClose: false }))
describe('WebSockets, accepted first', () =>
  streamConformance(
    async () => {
      const pair = await webSockets()
      return { ...pair, first: pair.second, second: pair.first }
    },
    { halfClose: false },
  ))

describe('webSocketStream', () => {
  it('reads text as well, whatever bytes it has, and writes binary', async () => {
    await using connection = await openWebSocketConnection()
    const reader = new Reader(webSocketStream(connection.accepted))
    reader.resume()
    const bytes = Buffer.from([0, 0xff, 0xfe, 0xc0, 0x80])
    const kinds: boolean[] = []
    connection.dialled.on('message', (_data, isBinary) => kinds.push(isBinary))
    connection.dialled.send(bytes, { binary: false })
    await reader.has(5)
    expect(reader.bytes.equals(bytes)).toBe(true)

    webSocketStream(connection.accepted).write(bytes)
    await expect.poll(() => kinds, { timeout: 10_000 }).toEqual([true])
  })

  it('a message above the bound ends the stream with an error', async () => {
    await using connection = await openWebSocketConnection()
    const reader = new Reader(webSocketStream(connection.accepted))
    reader.resume()
    connection.dialled.send(Buffer.alloc(webSocketOptions.maxPayload + 1))
    await reader.closed
    expect(reader.error?.message).toContain('Max payload size exceeded')
    expect(reader.length).toBe(0)
  })

  it('sends what is longer than that in several messages', async () => {
    await using connection = await openWebSocketConnection()
    const reader = new Reader(webSocketStream(connection.accepted))
    reader.resume()
    const bytes = Buffer.alloc(2_000_001, 'sluice')
    webSocketStream(connection.dialled).write(bytes)
    await reader.has(bytes.length)
    expect(reader.bytes.equals(bytes)).toBe(true)
  })

  it('`end` closes both sides in order, after all that was written', async () => {
    await using connection = await openWebSocketConnection()
    const [first, second] = [webSocketStream(connection.dialled), webSocketStream(connection.accepted)]
    const [firstReader, secondReader] = [new Reader(first), new Reader(second)]
    firstReader.resume()
    secondReader.resume()
    for (let piece = 0; piece < 100; piece++) first.write(Buffer.alloc(10_000))
    first.end()
    await Promise.all([firstReader.closed, secondReader.closed])
    expect(secondReader.length).toBe(1_000_000)
    expect([firstReader.hasEnded, secondReader.hasEnded]).toEqual([true, true])
    expect([firstReader.error, secondReader.error]).toEqual([undefined, undefined])
  })

  it('what came before an orderly end is kept for a reader that pauses', async () => {
    await using connection = await openWebSocketConnection()
    const stream = webSocketStream(connection.accepted)
    const reader = new Reader(stream)
    reader.onNext = () => stream.pause()
    reader.resume()
    for (let piece = 0; piece < 3; piece++) connection.dialled.send(Buffer.alloc(10))
    connection.dialled.close(1000)
    await reader.has(10)
    await turns(8)
    expect([reader.length, reader.hasEnded, reader.isClosed]).toEqual([10, false, false])
    reader.resume()
    await reader.has(20)
    reader.resume()
    await reader.has(30)
    reader.resume()
    await Promise.all([reader.ended, reader.closed])
    expect(reader.error).toBeUndefined()
  })

  it('a connection that ends without a close is an error, also while nobody reads', async () => {
    await using connection = await openWebSocketConnection()
    const reader = new Reader(webSocketStream(connection.accepted))
    reader.resume()
    connection.dialled.terminate()
    await reader.closed
    expect(reader.error?.message).toBe('the WebSocket ended without a close')
    expect(reader.hasEnded).toBe(false)
  })

  it('is destroyed in one call when its peer left it waiting with an unread end', async () => {
    await using connection = await openWebSocketConnection()
    const stream = webSocketStream(connection.accepted)
    const reader = new Reader(stream)
    reader.onNext = () => stream.pause()
    reader.resume()
    connection.dialled.send(Buffer.alloc(10))
    connection.dialled.send(Buffer.alloc(10))
    connection.dialled.close(1000)
    await reader.has(10)
    await turns(8)
    stream.destroy()
    await reader.closed
    expect([reader.closes, reader.length]).toEqual([1, 10])
  })
})
