import { once } from 'node:events'
import { expect, describe, it } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { joinStreams } from './join.ts'
import { memoryStreamPair } from './memory-stream.testkit.ts'
import { socketStream } from './socket-stream.ts'
import { openTlsConnection } from './tls-connection.testkit.ts'

/** What a stream tells, which is paused at its first bytes. */
class Told implements ByteSink {
  readonly told: unknown[] = []
  readonly #stream: ByteStream

  constructor(stream: ByteStream) {
    this.#stream = stream
    stream.attach(this)
    stream.resume()
  }

  onBytes(bytes: Uint8Array): boolean {
    if (this.told.length === 0) this.#stream.pause()
    return this.told.push(Buffer.from(bytes).toString()) > 0
  }

  onEnd(): void {
    this.told.push('end')
  }

  onDrain(): void {
    // Nothing is written.
  }

  onClose(error?: Error): void {
    this.told.push(error ?? 'closed')
  }
}

// TLS decrypts all that has come, and so sees its peer's end, whether it is read on or not.
describe('a TLS socket that closes in order while nobody reads', () => {
  /** Its stream, which has been told of the first bytes only. */
  async function openClosed() {
    const connection = await openTlsConnection()
    const { dialled, accepted } = connection
    const stream = socketStream(accepted)
    const { told } = new Told(stream)
    const closed = once(accepted, 'close')
    stream.end()
    dialled.resume()
    dialled.write('first')
    dialled.end('last')
    await closed
    return { connection, stream, told }
  }

  it('keeps its last bytes, its end and its close for who reads again', async () => {
    const { connection, stream, told } = await openClosed()
    await using _ = connection
    expect(told).toHaveLength(1)
    stream.resume()
    await eventually(() => expect(told.at(-1)).toBe('closed'))
    expect([told.slice(0, -2).join(''), told.at(-2)]).toEqual(['firstlast', 'end'])
  })

  it('tells who destroys it that it has closed, once, after the call', async () => {
    const { connection, stream, told } = await openClosed()
    await using _ = connection
    stream.destroy()
    stream.destroy()
    expect(told).toHaveLength(1)
    await eventually(() => expect(told.slice(1)).toEqual(['closed']))
    await new Promise((resolve) => setImmediate(resolve))
    expect(told.slice(1)).toEqual(['closed'])
  })

  it('lets a join end whose other side takes nothing', async () => {
    await using connection = await openTlsConnection()
    const { dialled, accepted } = connection
    const [near, far] = memoryStreamPair({ windowBytes: 4 })
    const join = joinStreams(socketStream(accepted), near)
    const closed = once(accepted, 'close')
    dialled.resume()
    dialled.end('more than the other side takes')
    far.end()
    await closed
    join.destroy()
    expect(await join.done).toEqual({ reason: 'destroyed' })
  })
})
