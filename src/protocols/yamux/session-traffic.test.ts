import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import { chooser, LoneSession, TestPipe } from './session-pair.testkit.ts'

/** Sends a given number of bytes that say where they belong, and checks what it gets; with moods. */
class Talker implements ByteSink {
  readonly stream: ByteStream
  readonly #choose: (below: number) => number
  readonly #mark: number
  readonly #otherMark: number
  readonly #total: number
  #sent = 0
  #lent: Uint8Array[] = []
  #isEnding = false
  isPaused = false
  received = 0
  readonly #kept: { readonly bytes: Uint8Array; readonly copy: Uint8Array }[] = []
  readonly events: string[] = []

  constructor(
    stream: ByteStream,
    mark: number,
    otherMark: number,
    total: number,
    choose: (below: number) => number,
  ) {
    this.stream = stream
    this.#mark = mark
    this.#otherMark = otherMark
    this.#total = total
    this.#choose = choose
    stream.attach(this)
    stream.resume()
  }

  step(): void {
    if (this.#choose(4) === 0) this.#toggle()
    // Now and then against the advice.
    if (this.#isEnding || (this.#lent.length > 0 && this.#choose(12) > 0)) return
    if (this.#sent === this.#total) {
      this.#isEnding = true
      this.stream.end()
      return
    }
    const most = this.#choose(3) === 0 ? 100 : 120_000
    const length = Math.min(1 + this.#choose(most), this.#total - this.#sent)
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i++) bytes[i] = byteAt(this.#mark, this.#sent + i)
    this.#sent += length
    if (this.stream.write(bytes)) bytes.fill(0xdd)
    else this.#lent.push(bytes)
  }

  /** What it had said to keep is still what it was. */
  checkKept(): void {
    for (const { bytes, copy } of this.#kept) expect(Buffer.compare(bytes, copy)).toBe(0)
  }

  get isOver(): boolean {
    return this.events.at(-1)?.startsWith('close') === true
  }

  onBytes(bytes: Uint8Array): boolean {
    expect(this.isPaused).toBe(false)
    const putBack = this.#choose(20) === 0 ? this.#choose(bytes.length + 1) : 0
    if (putBack > 0) {
      this.#toggle()
      this.stream.unread(bytes.subarray(bytes.length - putBack))
    }
    for (let i = 0; i < bytes.length - putBack; i++) {
      if (bytes[i] !== byteAt(this.#otherMark, this.received + i)) {
        throw new Error(`byte ${this.received + i} of ${this.#otherMark} is ${bytes[i]}`)
      }
    }
    this.received += bytes.length - putBack
    if (this.#choose(10) === 0 && !this.isPaused) this.#toggle()
    if (this.#choose(2) === 0) return true
    this.#kept.push({ bytes, copy: Uint8Array.from(bytes) })
    return false
  }

  onEnd(): void {
    expect(this.isPaused).toBe(false)
    this.events.push('end')
  }

  onDrain(): void {
    for (const bytes of this.#lent) bytes.fill(0xdd)
    this.#lent = []
  }

  onClose(error?: Error): void {
    this.events.push(error === undefined ? 'close' : `close ${error.message}`)
  }

  #toggle(): void {
    this.isPaused = !this.isPaused
    if (this.isPaused) this.stream.pause()
    else this.stream.resume()
  }
}

function byteAt(mark: number, at: number): number {
  return (mark * 31 + at * 7 + (at >>> 8)) & 0xff
}

describe('two sessions', () => {
  it('carry identical bytes however they are cut, held up and interleaved', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 12 }), (seed, streams) => {
        const choose = chooser(seed)
        const capacity = pick([1, 5000, 70_000, 1_000_000], choose)
        const limits = { sessionWindowBytes: pick([0, 1_000_000], choose) }
        const talkers: Talker[] = []
        const talk = (stream: ByteStream, mark: number, otherMark: number): void => {
          talkers.push(new Talker(stream, mark, otherMark, choose(pick([1, 3000, 700_000], choose)), choose))
        }
        const client = new LoneSession('client', { pipe: new TestPipe(capacity), limits })
        const server = new LoneSession('server', {
          pipe: new TestPipe(capacity),
          limits,
          onStream: (stream) => talk(stream, stream.id + 100, stream.id),
        })

        let opened = 0
        const isDone = (): boolean =>
          talkers.length === streams * 2 && talkers.every((talker) => talker.isOver)
        for (let step = 0; step < 2_000_000 && !(step % 64 === 0 && isDone()); step++) {
          const [side, other] = choose(2) === 0 ? [client, server] : [server, client]
          const action = choose(8)
          if (action < 3) other.receive(side.pipe.read(1 + choose(pick([30, 80_000], choose))))
          else if (action === 3) side.turn()
          else if (action === 4 && opened < streams) {
            const stream = client.session.open(client.nowMs)
            if (stream === undefined) continue
            opened++
            talk(stream, stream.id, stream.id + 100)
          } else if (talkers.length > 0) talkers[choose(talkers.length)]?.step()
          if (side.pipe.takeDrain()) side.session.drained(side.nowMs)
          side.nowMs += choose(3)
        }

        expect(client.error ?? server.error).toBeUndefined()
        for (const talker of talkers) {
          expect(talker.events).toEqual(['end', 'close'])
          talker.checkKept()
        }
        expect(talkers.length).toBe(streams * 2)
        expect(client.session.streamCount + server.session.streamCount).toBe(0)
        expect(client.session.keptBytes + server.session.keptBytes).toBe(0)
      }),
      { numRuns: 40 },
    )
  }, 60_000)
})

function pick(values: readonly number[], choose: (below: number) => number): number {
  return values[choose(values.length)] ?? 0
}
