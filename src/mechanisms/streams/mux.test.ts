import { afterEach, describe, expect, it, vi } from 'vitest'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { ManualClock } from '../../foundation/clock.ts'
import { YamuxErrorCode } from '../../protocols/yamux/index.ts'
import { openConnection } from '../net/sockets.testkit.ts'
import { type StreamPair, streamConformance, turns } from './conformance.testkit.ts'
import { type MemoryStream, memoryStreamPair } from './memory-stream.testkit.ts'
import { Mux, type MuxOptions } from './mux.ts'
import { socketStream } from './socket-stream.ts'

interface Pair {
  readonly clock: ManualClock
  readonly client: Mux
  readonly server: Mux
  readonly carriers: readonly [MemoryStream, MemoryStream]
  readonly accepted: Reader[]
}

const made: Pair[] = []

/** Waits until nothing in it throws. */
function until(check: () => void): Promise<void> {
  return vi.waitFor(check, { interval: 2, timeout: 15_000 })
}

function muxPair(options: Partial<MuxOptions> = {}): Pair {
  const clock = new ManualClock()
  const carriers = memoryStreamPair()
  const accepted: Reader[] = []
  const client = new Mux(carriers[0], { role: 'client', clock, ...options })
  const onStream = (stream: ByteStream): void => void accepted.push(new Reader(stream))
  const server = new Mux(carriers[1], { role: 'server', clock, onStream, ...options })
  const pair = { clock, client, server, carriers, accepted }
  made.push(pair)
  return pair
}

/** Notes what a stream says. */
class Reader implements ByteSink {
  readonly stream: ByteStream
  text = ''
  received = 0
  readonly events: string[] = []
  onDrain = (): void => undefined

  constructor(stream: ByteStream) {
    this.stream = stream
    stream.attach(this)
    stream.resume()
  }

  onBytes(bytes: Uint8Array): boolean {
    this.received += bytes.length
    if (this.received < 1000) this.text += Buffer.from(bytes).toString()
    return true
  }

  onEnd(): void {
    this.events.push('end')
  }

  onClose(error?: Error): void {
    this.events.push(error === undefined ? 'close' : `close ${error.message}`)
  }
}

afterEach(() => {
  for (const { client, server, clock } of made.splice(0)) {
    client.destroy()
    server.destroy()
    expect(clock.pending).toBe(0)
  }
})

function streamsOf([near, far]: readonly [ByteStream, ByteStream]): Promise<StreamPair> {
  const clock = new ManualClock()
  const client = new Mux(near, { role: 'client', clock })
  return new Promise((resolve, reject) => {
    const onStream = async (second: ByteStream): Promise<void> => {
      const first = await opening
      const closed = Promise.all(
        [client, server].map((mux) => new Promise<void>((done) => mux.onClose(() => done()))),
      )
      const close = async (): Promise<void> => {
        client.destroy()
        server.destroy()
        await closed
      }
      resolve({ first, second, [Symbol.asyncDispose]: close })
    }
    const server = new Mux(far, {
      role: 'server',
      clock,
      onStream: (stream) => void onStream(stream).catch(reject),
    })
    const opening = client.open()
  })
}

function swapped({ first, second, ...pair }: StreamPair): StreamPair {
  return { ...pair, first: second, second: first }
}

describe('streams of a mux in memory', () => streamConformance(() => streamsOf(memoryStreamPair())))
describe('streams of a mux, accepted first', () =>
  streamConformance(async () => swapped(await streamsOf(memoryStreamPair()))))
describe('streams of a mux over TCP', () =>
  streamConformance(async () => {
    const { dialled, accepted, ...connection } = await openConnection()
    const pair = await streamsOf([socketStream(dialled), socketStream(accepted)])
    const close = async (): Promise<void> => {
      await pair[Symbol.asyncDispose]()
      await connection[Symbol.asyncDispose]()
    }
    return { first: pair.first, second: pair.second, [Symbol.asyncDispose]: close }
  }))

describe('Mux', () => {
  it('carries a question and its answer over half-closed streams', async () => {
    const { client, server, accepted } = muxPair()
    const asking = new Reader(await client.open())
    asking.stream.write(Buffer.from('question'))
    asking.stream.end()
    await until(() => expect(accepted[0]?.events).toEqual(['end']))
    const answering = accepted[0]
    expect(answering?.text).toBe('question')
    answering?.stream.write(Buffer.from('answer'))
    answering?.stream.end()
    await until(() => expect(asking.events).toEqual(['end', 'close']))
    expect(asking.text).toBe('answer')
    await until(() => expect(answering?.events).toEqual(['end', 'close']))
    expect([client.streamCount, server.streamCount]).toEqual([0, 0])
  })

  it('stops the writer while the reader stands still, and goes on with it', async () => {
    const { client, accepted } = muxPair()
    const writer = new Reader(await client.open())
    await until(() => expect(accepted).toHaveLength(1))
    accepted[0]?.stream.pause()
    let written = 0
    writer.onDrain = () => {
      while (written < 5_000_000) {
        written += 50_000
        if (!writer.stream.write(Buffer.alloc(50_000))) return
      }
      writer.stream.end()
    }
    writer.onDrain()
    await until(() => expect(written).toBe(300_000))
    await turns()
    expect([written, accepted[0]?.received]).toEqual([300_000, 0])
    accepted[0]?.stream.resume()
    await until(() => expect(accepted[0]?.received).toBe(5_000_000))
    await until(() => expect(accepted[0]?.events).toEqual(['end']))
  })

  it('opens without waiting for the peer, up to 256 streams, and the rest as they are acknowledged', async () => {
    const [near, far] = memoryStreamPair()
    const client = new Mux(near, { role: 'client', clock: new ManualClock() })
    let opened = 0
    const opening = Array.from({ length: 257 }, async () => {
      await client.open()
      opened++
    })
    await until(() => expect(opened).toBe(256))
    const server = new Mux(far, {
      role: 'server',
      clock: new ManualClock(),
      onStream: (stream) => new Reader(stream),
    })
    await Promise.all(opening)
    expect(client.streamCount).toBe(257)
    client.destroy()
    server.destroy()
  })

  it('ends its streams, waiting opens and the other side when it is destroyed', async () => {
    const { client, server, accepted } = muxPair({ maxUnacknowledged: 1 })
    const closes: unknown[] = []
    client.onClose((error) => closes.push('client', error))
    server.onClose((error) => closes.push('server', error))
    const reader = new Reader(await client.open())
    const waiting = client.open()
    client.destroy()
    await expect(waiting).rejects.toMatchObject({ code: YamuxErrorCode.closed })
    await expect(client.open()).rejects.toMatchObject({ code: YamuxErrorCode.closed })
    await until(() => expect(reader.events).toEqual(['close the session is over']))
    await until(() => expect(closes).toHaveLength(4))
    expect(closes.slice(0, 2)).toEqual(['client', undefined])
    expect(accepted.every(({ events }) => events[0]?.startsWith('close') === true)).toBe(true)
    const late: unknown[] = []
    client.onClose((error) => late.push(error))
    await until(() => expect(late).toEqual([undefined]))
  })

  it('gives the reason of a carrier that fails, to onClose as it is and to streams as the cause', async () => {
    const { client, carriers } = muxPair()
    const reasons: unknown[] = []
    client.onClose((error) => reasons.push(error))
    const reader = new Reader(await client.open())
    const reason = new Error('cable cut')
    carriers[0].destroy(reason)
    await until(() => expect(reasons).toEqual([reason]))
    await until(() => expect(reader.events).toEqual(['close the session is over: cable cut']))
  })

  it('tells a peer that breaks the rules why, then ends, and cuts when that takes too long', async () => {
    const clock = new ManualClock()
    const [near, far] = memoryStreamPair()
    const heard = new Reader(far)
    const mux = new Mux(near, { role: 'server', clock })
    const reasons: unknown[] = []
    mux.onClose((error) => reasons.push(error))
    far.write(Buffer.from('GET / HTTP/1.1\r\n'))
    await until(() => expect(heard.events).toEqual(['end']))
    expect(Buffer.from(heard.text).toString('hex')).toBe('000300000000000000000001')
    expect(reasons).toEqual([expect.objectContaining({ code: YamuxErrorCode.protocol })])
    clock.advance(1000)
    expect(near.error).toMatchObject({ code: YamuxErrorCode.protocol })
    expect(clock.pending).toBe(0)
  })

  it('pings a silent peer and gives it up', async () => {
    const clock = new ManualClock()
    const [near, far] = memoryStreamPair()
    const heard = new Reader(far)
    const mux = new Mux(near, { role: 'client', clock, keepaliveMs: 2000 })
    const reasons: unknown[] = []
    mux.onClose((error) => reasons.push(error))
    clock.advance(2000)
    await until(() => expect(heard.received).toBe(12))
    clock.advance(9999)
    await Promise.resolve()
    expect(reasons).toEqual([])
    clock.advance(1)
    await until(() => expect(reasons).toEqual([expect.objectContaining({ code: YamuxErrorCode.timeout })]))
    mux.destroy()
    expect(clock.pending).toBe(0)
  })

  it('lives as long as the peer answers', async () => {
    const { clock, client, server } = muxPair({ keepaliveMs: 2000 })
    const closed: unknown[] = []
    client.onClose((error) => closed.push(error))
    for (let n = 0; n < 5; n++) {
      clock.advance(2000)
      const reader = new Reader(await client.open())
      reader.stream.end()
      await until(() => expect(server.streamCount).toBe(n + 1))
    }
    clock.advance(9000)
    await until(() => expect(closed).toEqual([]))
  })
})
