import { bench, describe } from 'vitest'
import type { ByteSink } from '../../foundation/byte-stream.ts'
import { YamuxSession } from './session.ts'
import type { YamuxStream } from './stream.ts'

let received = 0

const sink: ByteSink = {
  onBytes(bytes) {
    received += bytes.length
    return true
  },
  onEnd: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
}

/** A client and a server that hand each other's writes over at once, and their turns when asked. */
function pair(onStream: (stream: YamuxStream) => void): { client: YamuxSession; run: () => void } {
  const due: (() => void)[] = []
  const onOver = (error: Error): never => {
    throw error
  }
  const other = (own: () => YamuxSession) => ({ write: (bytes: Uint8Array) => own().receive(bytes, 1) })
  const client: YamuxSession = new YamuxSession({
    role: 'client',
    carrier: other(() => server),
    schedule: () => due.push(() => client.turn(1)),
    onOver,
    nowMs: 0,
  })
  const server: YamuxSession = new YamuxSession({
    role: 'server',
    carrier: other(() => client),
    schedule: () => due.push(() => server.turn(1)),
    onStream,
    onOver,
    nowMs: 0,
  })
  const run = (): void => {
    for (let next = due.shift(); next !== undefined; next = due.shift()) next()
  }
  return { client, run }
}

describe('both sides', () => {
  for (const bytes of [65_536, 16_384, 1024]) {
    const { client, run } = pair((stream) => {
      stream.attach(sink)
      stream.resume()
    })
    const stream = client.open(0)
    const payload = Buffer.alloc(bytes)
    bench(`a write of ${bytes} bytes`, () => {
      stream?.write(payload)
      run()
    })
  }

  const short = pair((stream) => {
    stream.attach({ ...sink, onEnd: () => stream.end() })
    stream.resume()
  })
  const body = Buffer.alloc(1000)
  bench('a stream: open, 1000 bytes, end, end', () => {
    const stream = short.client.open(0)
    stream?.attach(sink)
    stream?.resume()
    stream?.write(body)
    stream?.end()
    short.run()
  })
})
