import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import type { YamuxCarrier } from './carrier.ts'
import { Flag, FrameType, headerBytes, writeHeader } from './frame.ts'
import { FrameReader } from './frame-reader.ts'
import type { YamuxLimits } from './options.ts'
import { YamuxSession, type YamuxSessionParts } from './session.ts'
import type { YamuxStream } from './stream.ts'

/** One direction of a carrier: keeps memory when it is full, overwrites what it gives back, cuts at will. */
export class TestPipe implements YamuxCarrier {
  readonly #capacity: number
  readonly #queue: Uint8Array[] = []
  #bytes = 0
  #owesDrain = false
  /** All bytes that ever went in, when asked for. */
  writes = 0

  constructor(capacity: number = Number.POSITIVE_INFINITY) {
    this.#capacity = capacity
  }

  get length(): number {
    return this.#bytes
  }

  write(bytes: Uint8Array): boolean {
    this.writes++
    this.#bytes += bytes.length
    if (this.#owesDrain || this.#bytes > this.#capacity) {
      // By reference: whoever changes it before the drain is found out.
      this.#queue.push(bytes)
      this.#owesDrain = true
      return false
    }
    this.#queue.push(Uint8Array.from(bytes))
    return true
  }

  /** Takes at most so many bytes out, as memory of their own. */
  read(most: number = Number.POSITIVE_INFINITY): Uint8Array {
    const parts: Uint8Array[] = []
    let left = most
    while (left > 0) {
      const first = this.#queue.shift()
      if (first === undefined) break
      if (first.length > left) this.#queue.unshift(first.subarray(left))
      parts.push(first.subarray(0, left))
      left -= Math.min(left, first.length)
    }
    const bytes = new Uint8Array(Buffer.concat(parts))
    this.#bytes -= bytes.length
    return bytes
  }

  /** Whether the writer is to be told now that its memory is free. */
  takeDrain(): boolean {
    if (!this.#owesDrain || this.#queue.length > 0) return false
    this.#owesDrain = false
    return true
  }
}

/** One session whose other side is the test: frames go in, frames come out. */
export class LoneSession {
  readonly session: YamuxSession
  readonly pipe: TestPipe
  readonly accepted: { readonly stream: YamuxStream; readonly end: TestEnd }[] = []
  openable = 0
  error: Error | undefined
  nowMs = 0
  #isTurnDue = false

  constructor(
    role: 'client' | 'server',
    options: {
      readonly limits?: Partial<YamuxLimits>
      readonly pipe?: TestPipe
      readonly onStream?: YamuxSessionParts['onStream'] | null
    } = {},
  ) {
    this.pipe = options.pipe ?? new TestPipe()
    const onStream =
      options.onStream ?? ((stream: YamuxStream) => this.accepted.push({ stream, end: new TestEnd(stream) }))
    this.session = new YamuxSession({
      role,
      carrier: this.pipe,
      schedule: () => {
        if (this.#isTurnDue) throw new Error('asked for a turn twice')
        this.#isTurnDue = true
      },
      ...(options.onStream === null ? {} : { onStream }),
      onOpenable: () => this.openable++,
      onOver: (error) => {
        if (this.error !== undefined) throw new Error('over twice')
        this.error = error
      },
      limits: options.limits ?? {},
      nowMs: 0,
    })
  }

  get isTurnDue(): boolean {
    return this.#isTurnDue
  }

  /** Opens a stream with a sink; throws when it would have to wait. */
  open(): TestEnd {
    const stream = this.session.open(this.nowMs)
    if (stream === undefined) throw new Error('has to wait')
    return new TestEnd(stream)
  }

  /** Bytes from the other side; they are overwritten when the session gives them back. */
  receive(bytes: Uint8Array): boolean {
    const isFree = this.session.receive(bytes, this.nowMs)
    if (isFree) bytes.fill(0xee)
    return isFree
  }

  turn(): void {
    if (!this.#isTurnDue) return
    this.#isTurnDue = false
    this.session.turn(this.nowMs)
  }

  tick(atMs: number): void {
    this.nowMs = atMs
    this.session.tick(atMs)
    this.turn()
  }

  /** What the session has to say, frame by frame. */
  frames(): string[] {
    for (let round = 0; round < 3; round++) {
      this.turn()
      if (this.pipe.takeDrain()) this.session.drained(this.nowMs)
    }
    return describeFrames(this.pipe.read())
  }

  /** The stream that the other side opened last. */
  get last(): TestEnd {
    const last = this.accepted.at(-1)
    if (last === undefined) throw new Error('none was opened')
    return last.end
  }
}

/** Who uses a stream: notes what it is told. */
export class TestEnd implements ByteSink {
  readonly stream: ByteStream
  readonly events: string[] = []
  received = 0
  readonly chunks: Uint8Array[] = []
  /** What `onBytes` answers. */
  isTaken = true
  error: Error | undefined

  constructor(stream: ByteStream) {
    this.stream = stream
    stream.attach(this)
    stream.resume()
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }

  onBytes(bytes: Uint8Array): boolean {
    if (this.events.includes('end')) throw new Error('bytes after the end')
    this.received += bytes.length
    if (this.received < 1_000_000) this.chunks.push(Uint8Array.from(bytes))
    return this.isTaken
  }

  onEnd(): void {
    this.events.push('end')
  }

  onDrain(): void {
    this.events.push('drain')
  }

  onClose(error?: Error): void {
    if (this.events.some((event) => event.startsWith('close'))) throw new Error('closed twice')
    this.error = error
    const code = error !== undefined && 'code' in error ? String(error.code) : error?.message
    this.events.push(code === undefined ? 'close' : `close ${code}`)
  }
}

/** One frame as the wire has it. */
export function frame(
  type: FrameType,
  flags: number,
  streamId: number,
  payload: number | string | Uint8Array,
): Uint8Array {
  const bytes = typeof payload === 'number' ? new Uint8Array(0) : Buffer.from(payload)
  const out = new Uint8Array(headerBytes + bytes.length)
  writeHeader(out, 0, type, flags, streamId, typeof payload === 'number' ? payload : bytes.length)
  out.set(bytes, headerBytes)
  return out
}

/** A server with the stream 1 that the peer opened, its acknowledgement read. */
export function serverWithStream(limits: Partial<YamuxLimits> = {}): LoneSession {
  const server = new LoneSession('server', { limits })
  server.receive(frame(FrameType.windowUpdate, Flag.syn, 1, 0))
  server.frames()
  return server
}

/** So many bytes as data frames. */
export function dataFrames(id: number, bytes: number): string[] {
  const whole = Array.from({ length: Math.floor(bytes / 65_536) }, () => `data ${id} 65536 bytes`)
  return bytes % 65_536 === 0 ? whole : [...whole, `data ${id} ${bytes % 65_536} bytes`]
}

const typeNames = ['data', 'window', 'ping', 'goaway'] as const

/** `window SYN 1 +0`, `data 1 5 bytes`. Throws on bytes that are no whole frames. */
export function describeFrames(bytes: Uint8Array): string[] {
  const lines: string[] = []
  let left = 0
  const reader = new FrameReader({
    onFrame(type, flags, streamId, length) {
      const names = Object.entries(Flag).flatMap(([name, bit]) =>
        (flags & bit) === 0 ? [] : [name.toUpperCase()],
      )
      const amount =
        type === FrameType.data
          ? `${length} bytes`
          : type === FrameType.windowUpdate
            ? `+${length}`
            : `${length}`
      lines.push([typeNames[type], ...names, streamId, amount].join(' '))
      left = type === FrameType.data ? length : 0
    },
    onPayload(bytes) {
      left -= bytes.length
      return true
    },
    onPayloadEnd: () => undefined,
    onFault(reason) {
      throw new Error(reason)
    },
  })
  reader.read(bytes)
  if (left !== 0) throw new Error(`${left} bytes of a payload are missing`)
  return lines
}

/** A repeatable chooser of whole numbers below `below`. */
export function chooser(seed: number): (below: number) => number {
  let state = (seed ^ 0x9e37_79b9) >>> 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}
