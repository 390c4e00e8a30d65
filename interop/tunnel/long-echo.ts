import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { until } from '../harness/until.ts'

const blockBytes = 65_536
/** Blocks under way at a time. */
const window = 4

/** A connection to an echo that is never silent, and sees a byte that is lost, doubled or changed. */
export class LongEcho implements Disposable {
  /** Blocks that have come back as they went. */
  blocks = 0
  /** What went wrong. */
  error: Error | undefined
  readonly #socket: Socket
  #held = Buffer.alloc(0)
  #sent = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes) => this.#receive(bytes))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection is closed')))
    for (let block = 0; block < window; block++) this.#send()
  }

  static async start(port: number): Promise<LongEcho> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new LongEcho(socket)
  }

  /** Waits until so many more blocks have come back. @throws what went wrong */
  async goesOn(blocks = 50): Promise<void> {
    const target = this.blocks + blocks
    await until(`${blocks} more blocks`, () => this.error !== undefined || this.blocks >= target)
    if (this.error !== undefined) throw this.error
  }

  [Symbol.dispose](): void {
    this.error ??= new Error('over')
    this.#socket.destroy()
  }

  #send(): void {
    this.#socket.write(blockOf(this.#sent++))
  }

  #receive(bytes: Buffer): void {
    this.#held = Buffer.concat([this.#held, bytes])
    while (this.#held.length >= blockBytes && this.error === undefined) {
      if (!this.#held.subarray(0, blockBytes).equals(blockOf(this.blocks))) {
        this.#fail(new Error(`block ${this.blocks} came back as another`))
        return
      }
      this.#held = this.#held.subarray(blockBytes)
      this.blocks++
      this.#send()
    }
  }

  #fail(error: Error): void {
    this.error ??= error
    this.#socket.destroy()
  }
}

function blockOf(index: number): Buffer {
  const block = Buffer.alloc(blockBytes, index & 0xff)
  block.writeUInt32BE(index)
  return block
}
