import { expect, it } from 'vitest'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'

/** Two streams, each the peer of the other. */
export interface StreamPair extends AsyncDisposable {
  readonly first: ByteStream
  readonly second: ByteStream
}

export interface StreamFeatures {
  /** One side may end while the other goes on. @defaultValue true */
  readonly halfClose?: boolean
  /** `destroy` with an error is an error at the peer. @defaultValue true */
  readonly reset?: boolean
}

/** What every `ByteStream` does, told of pairs of connected ones. */
export function streamConformance(
  open: () => StreamPair | Promise<StreamPair>,
  { halfClose = true, reset = true }: StreamFeatures = {},
): void {
  it('bytes of all sizes arrive whole and in order, both ways at once', async () => {
    await using pair = await open()
    const sides = [pair.first, pair.second].map((stream) => new Reader(stream))
    const sent = [1, 2].map((seed) => pieces(seed, 3_000_000))
    const [toSecond, toFirst] = sent
    const [first, second] = sides
    if (first === undefined || second === undefined || toSecond === undefined || toFirst === undefined) return
    first.resume()
    second.resume()
    first.send(toSecond)
    second.send(toFirst)
    if (halfClose) {
      await Promise.all([first.ended, second.ended])
    } else {
      await Promise.all([first.has(3_000_000), second.has(3_000_000)])
    }
    expect(second.bytes.equals(Buffer.concat(toSecond))).toBe(true)
    expect(first.bytes.equals(Buffer.concat(toFirst))).toBe(true)
  })

  it('begins paused: nothing is given before `resume`, and nothing is lost', async () => {
    await using pair = await open()
    pair.first.write(Buffer.from('early'))
    await turns()
    const reader = new Reader(pair.second)
    await turns()
    expect(reader.bytes.length).toBe(0)
    reader.resume()
    await reader.has(5)
    expect(reader.bytes.toString()).toBe('early')
  })

  it('gives nothing while it is paused, and the rest after', async () => {
    await using pair = await open()
    const reader = new Reader(pair.second)
    reader.onNext = () => pair.second.pause()
    reader.resume()
    pair.first.write(Buffer.alloc(1000, 1))
    await reader.has(1)
    pair.first.write(Buffer.alloc(1000, 2))
    await turns()
    const before = reader.bytes.length
    expect(before).toBeLessThanOrEqual(1000)
    pair.second.resume()
    await reader.has(before + 1)
    reader.onNext = () => undefined
    pair.second.resume()
    await reader.has(2000)
    expect(reader.bytes.equals(Buffer.concat([Buffer.alloc(1000, 1), Buffer.alloc(1000, 2)]))).toBe(true)
  })

  it('what was put back is read again first, by the next sink', async () => {
    await using pair = await open()
    const seen: Buffer[] = []
    const { second } = pair
    const taken = new Promise<void>((resolve) => {
      second.attach({
        ...silentSink,
        onBytes: (bytes) => {
          const all = Buffer.from(bytes)
          seen.push(all.subarray(0, 3))
          second.pause()
          second.unread(bytes.subarray(3))
          resolve()
          return true
        },
      })
    })
    second.resume()
    pair.first.write(Buffer.from('helloworld'))
    await taken
    const reader = new Reader(second)
    await turns()
    expect(reader.bytes.length).toBe(0)
    reader.resume()
    pair.first.write(Buffer.from('!'))
    await reader.has(8)
    expect(Buffer.concat([...seen, reader.bytes]).toString()).toBe('helloworld!')
  })

  it('a reader that stops makes `write` say false, and drained says when all has gone', async () => {
    await using pair = await open()
    const writer = new Reader(pair.first)
    const reader = new Reader(pair.second)
    const sent = await writer.fill(400_000_000)
    expect(sent).toBeLessThan(400_000_000)
    await turns(8)
    expect(reader.length).toBe(0)
    const drains = writer.drains
    reader.resume()
    await writer.drained()
    expect(writer.drains).toBe(drains + 1)
    await reader.has(sent)
    expect(reader.length).toBe(sent)
  })

  it('says that all has gone also when the side has been ended since', async () => {
    await using pair = await open()
    const writer = new Reader(pair.first)
    const reader = new Reader(pair.second)
    const sent = await writer.fill(400_000_000)
    pair.first.end()
    reader.resume()
    await writer.drained()
    await reader.ended
    expect(reader.length).toBe(sent)
  })

  it('memory that a sink keeps is not written to: until it resumes, or for good when it did not pause', async () => {
    await using pair = await open()
    const { first, second } = pair
    const kept: { view: Uint8Array; copy: Buffer }[] = []
    let total = 0
    let isPausing = false
    let onFull: () => void = () => undefined
    const full = new Promise<void>((resolve) => {
      onFull = resolve
    })
    second.attach({
      ...silentSink,
      onBytes: (bytes) => {
        kept.push({ view: bytes, copy: Buffer.from(bytes) })
        total += bytes.length
        isPausing = !isPausing
        if (total >= 2_000_000) onFull()
        if (!isPausing) return false
        second.pause()
        queueMicrotask(() => {
          const last = kept.at(-1)
          expect(last?.copy.equals(last.view)).toBe(true)
          // From here on it is the stream's again.
          if (last !== undefined) kept.pop()
          second.resume()
        })
        return false
      },
    })
    second.resume()
    new Reader(first).send(pieces(3, 2_000_000), false)
    await full
    expect(kept.length).toBeGreaterThan(0)
    for (const { view, copy } of kept) expect(copy.equals(view)).toBe(true)
  })

  if (halfClose) {
    it('each side ends its own direction, after all that it wrote, and goes on in the other', async () => {
      await using pair = await open()
      const [first, second] = [new Reader(pair.first), new Reader(pair.second)]
      first.resume()
      second.resume()
      pair.first.write(Buffer.from('question'))
      pair.first.end()
      await second.ended
      expect(second.bytes.toString()).toBe('question')
      expect(pair.first.write(Buffer.from('dropped'))).toBe(true)
      pair.second.write(Buffer.alloc(200_000, 5))
      await first.has(200_000)
      expect(first.hasEnded).toBe(false)
      pair.second.end()
      await Promise.all([first.ended, first.closed, second.closed])
      expect([first.error, second.error]).toEqual([undefined, undefined])
      expect(first.bytes.length).toBe(200_000)
      expect(second.bytes.length).toBe(8)
    })
  }

  it('the end is not given while it is paused', async () => {
    await using pair = await open()
    const reader = new Reader(pair.second)
    pair.first.write(Buffer.from('last'))
    pair.first.end()
    await turns(8)
    expect([reader.hasEnded, reader.bytes.length]).toEqual([false, 0])
    reader.resume()
    await reader.ended
    expect(reader.bytes.toString()).toBe('last')
  })

  it('`destroy` without an error closes both sides, and is told after the call', async () => {
    await using pair = await open()
    const [first, second] = [new Reader(pair.first), new Reader(pair.second)]
    first.resume()
    second.resume()
    pair.first.destroy()
    expect(first.isClosed).toBe(false)
    await first.closed
    expect(first.error).toBeUndefined()
    await Promise.race([second.ended, second.closed])
    pair.second.destroy()
    await second.closed
    expect(pair.first.write(Buffer.from('nobody'))).toBe(true)
    pair.first.end()
    pair.first.pause()
    pair.first.resume()
    expect(first.closes).toBe(1)
  })

  it('tells a sink that is attached after the end that it has closed', async () => {
    await using pair = await open()
    const first = new Reader(pair.first)
    pair.first.destroy()
    await first.closed
    const late = new Reader(pair.first)
    expect(late.isClosed).toBe(false)
    await late.closed
    expect([first.closes, late.closes]).toEqual([1, 1])
  })

  if (reset) {
    it('`destroy` with an error gives it to the own sink, and the peer another one', async () => {
      await using pair = await open()
      const [first, second] = [new Reader(pair.first), new Reader(pair.second)]
      first.resume()
      second.resume()
      pair.first.write(Buffer.from('x'))
      await second.has(1)
      const error = new Error('enough')
      pair.first.destroy(error)
      await Promise.all([first.closed, second.closed])
      expect(first.error).toBe(error)
      expect(second.error).toBeInstanceOf(Error)
      expect(second.hasEnded).toBe(false)
    })

    it('a reset reaches the peer also while much waits to be written, and after the end of the side', async () => {
      await using pair = await open()
      const [first, second] = [new Reader(pair.first), new Reader(pair.second)]
      await first.fill(400_000_000)
      pair.first.end()
      pair.first.destroy(new Error('enough'))
      second.resume()
      await Promise.all([first.closed, second.closed])
      expect(second.error).toBeInstanceOf(Error)
      expect(second.hasEnded).toBe(false)
    })
  }
}

const silentSink: ByteSink = {
  onBytes: () => true,
  onEnd: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
}

/** Reads and writes a stream, and keeps what happened. */
export class Reader implements ByteSink {
  readonly #stream: ByteStream
  readonly #parts: Buffer[] = []
  #bytes = 0
  #waiting: { atLeast: number; resolve: () => void }[] = []
  #waitingForDrain: (() => void)[] = []
  #settleEnded: () => void = () => undefined
  #settleClosed: () => void = () => undefined
  hasEnded = false
  isClosed = false
  closes = 0
  drains = 0
  error: Error | undefined
  readonly ended: Promise<void>
  readonly closed: Promise<void>
  onNext: () => void = () => undefined

  constructor(stream: ByteStream) {
    this.#stream = stream
    this.ended = new Promise((resolve) => {
      this.#settleEnded = resolve
    })
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve
    })
    stream.attach(this)
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  get length(): number {
    return this.#bytes
  }

  resume(): void {
    this.#stream.resume()
  }

  /** Writes pieces one after the other, each when the one before has been taken, then ends. */
  send(all: readonly Buffer[], ends = true): void {
    const left = [...all]
    const go = (): void => {
      for (let piece = left.shift(); piece !== undefined; piece = left.shift()) {
        if (this.#stream.write(piece)) continue
        this.#waitingForDrain.push(go)
        return
      }
      if (ends) this.#stream.end()
    }
    go()
  }

  /** Writes until the peer takes no more, or so much was written; says how much. */
  async fill(most: number): Promise<number> {
    const piece = Buffer.alloc(60_000, 7)
    let sent = 0
    while (sent < most) {
      const drains = this.drains
      sent += piece.length
      if (this.#stream.write(piece)) continue
      for (let turn = 0; turn < 20 && this.drains === drains; turn++) await turns(1)
      if (this.drains === drains) break
    }
    return sent
  }

  /** Resolves once so many bytes were read. */
  async has(atLeast: number): Promise<void> {
    if (this.#bytes >= atLeast) return
    await new Promise<void>((resolve) => this.#waiting.push({ atLeast, resolve }))
  }

  async drained(): Promise<void> {
    await new Promise<void>((resolve) => this.#waitingForDrain.push(resolve))
  }

  onBytes(bytes: Uint8Array): boolean {
    if (this.hasEnded || this.isClosed) throw new Error('bytes after the end')
    this.#parts.push(Buffer.from(bytes))
    this.#bytes += bytes.length
    this.onNext()
    const due = this.#waiting.filter(({ atLeast }) => this.#bytes >= atLeast)
    this.#waiting = this.#waiting.filter(({ atLeast }) => this.#bytes < atLeast)
    for (const { resolve } of due) resolve()
    return true
  }

  onEnd(): void {
    if (this.hasEnded) throw new Error('a second end')
    this.hasEnded = true
    this.#settleEnded()
  }

  onDrain(): void {
    this.drains++
    const waiting = this.#waitingForDrain
    this.#waitingForDrain = []
    for (const go of waiting) go()
  }

  onClose(error?: Error): void {
    this.closes++
    this.isClosed = true
    this.error = error
    this.#settleClosed()
  }
}

/** Pieces of many lengths, together so many bytes. */
export function pieces(seed: number, bytes: number): Buffer[] {
  const all: Buffer[] = []
  let state = seed
  for (let left = bytes; left > 0; ) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    const length = Math.min(left, state % 3 === 0 ? 1 + (state % 200_000) : 1 + (state % 700))
    const piece = Buffer.alloc(length, state >> 8)
    all.push(piece)
    left -= length
  }
  return all
}

/** Some turns of the event loop, in which what can happen does. */
export async function turns(count = 4): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
