import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from '../../src/foundation/free-port.testkit.ts'

export interface ToxicLinkOptions {
  /** Where it leads, on 127.0.0.1. */
  readonly toPort: number
  /** @defaultValue a free one */
  readonly port?: number
}

/** Of what waits here a source is not read further, in bytes. */
const MAX_WAITING = 1024 * 1024

/**
 * A TCP relay between a client and a Redis that can make it look slow, hung or away. Bytes arrive in order and whole, or the
 * connection is gone.
 */
export class ToxicLink implements AsyncDisposable {
  readonly port: number
  readonly #toPort: number
  readonly #passages = new Set<Passage>()
  /** Both ends of each connection. */
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #latencyMs = 0
  #stalled: 'nothing' | 'replies' | 'both' = 'nothing'
  #accepted = 0

  static async start({ toPort, port }: ToxicLinkOptions): Promise<ToxicLink> {
    const link = new ToxicLink(port ?? (await freePort()), toPort)
    await link.accept()
    return link
  }

  private constructor(port: number, toPort: number) {
    this.port = port
    this.#toPort = toPort
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size / 2
  }

  /** Connections so far. */
  get accepted(): number {
    return this.#accepted
  }

  /** By how much bytes come later, in each direction, in milliseconds; holds for those that are not on their way yet. */
  set latencyMs(latencyMs: number) {
    this.#latencyMs = latencyMs
  }

  /** Passes nothing on until `flow`. With `replies`, commands still reach Redis and are done. */
  stall(what: 'replies' | 'both' = 'both'): void {
    this.#stalled = what
    this.#setPassages()
  }

  /** Passes on what was held back, and what comes. */
  flow(): void {
    this.#stalled = 'nothing'
    this.#setPassages()
  }

  /** Resets all connections; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Resets all connections and refuses new ones until `accept`. Does nothing where it does so already. */
  async refuse(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    this.cut()
    await closed
  }

  /** Takes connections again. */
  async accept(): Promise<void> {
    if (this.#server !== undefined) return
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#onConnection(client))
    this.#server.listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse()
  }

  #onConnection(client: Socket): void {
    this.#accepted++
    const redis = connect({ port: this.#toPort, host: '127.0.0.1', allowHalfOpen: true })
    const latency = (): number => this.#latencyMs
    const passages = [new Passage(client, redis, latency), new Passage(redis, client, latency, 'replies')]
    for (const passage of passages) this.#passages.add(passage)
    for (const socket of [client, redis]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', (hadError) => {
        this.#sockets.delete(socket)
        // One that ended in order has had all that there was, and so will the other.
        if (hadError) for (const other of [client, redis]) other.destroy()
        if (this.#sockets.has(client) || this.#sockets.has(redis)) return
        for (const passage of passages) {
          passage.close()
          this.#passages.delete(passage)
        }
      })
    }
    this.#setPassages()
  }

  #setPassages(): void {
    for (const passage of this.#passages)
      passage.isStalled = this.#stalled === 'both' || this.#stalled === passage.kind
  }
}

/** One direction of one connection. */
class Passage {
  readonly kind: 'commands' | 'replies'
  readonly #source: Socket
  readonly #target: Socket
  readonly #latencyMs: () => number
  readonly #waiting: { readonly bytes: Buffer; readonly dueMs: number }[] = []
  #waitingBytes = 0
  #timer: NodeJS.Timeout | undefined
  #isStalled = false
  #hasEnded = false

  constructor(
    source: Socket,
    target: Socket,
    latencyMs: () => number,
    kind: 'commands' | 'replies' = 'commands',
  ) {
    this.kind = kind
    this.#source = source
    this.#target = target
    this.#latencyMs = latencyMs
    source.on('data', (bytes) => this.#take(bytes))
    source.on('end', () => {
      this.#hasEnded = true
      this.#pass()
    })
    target.on('drain', () => this.#pass())
  }

  set isStalled(isStalled: boolean) {
    this.#isStalled = isStalled
    this.#pass()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#waiting.length = 0
  }

  #take(bytes: Buffer): void {
    const dueMs = performance.now() + this.#latencyMs()
    // Nothing overtakes.
    this.#waiting.push({ bytes, dueMs: Math.max(dueMs, this.#waiting.at(-1)?.dueMs ?? 0) })
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes > MAX_WAITING) this.#source.pause()
    this.#pass()
  }

  #pass(): void {
    clearTimeout(this.#timer)
    if (this.#isStalled) return
    for (;;) {
      const [next] = this.#waiting
      if (next === undefined || this.#target.writableNeedDrain) break
      const leftMs = next.dueMs - performance.now()
      if (leftMs > 0) {
        this.#timer = setTimeout(() => this.#pass(), leftMs)
        break
      }
      this.#waiting.shift()
      this.#waitingBytes -= next.bytes.length
      this.#target.write(next.bytes)
    }
    if (this.#waitingBytes <= MAX_WAITING) this.#source.resume()
    if (this.#hasEnded && this.#waiting.length === 0) this.#target.end()
  }
}
