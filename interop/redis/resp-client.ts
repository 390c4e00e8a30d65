import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** What Redis answers; an error inside an array stays one of its members. */
export type RespReply = string | number | null | Error | readonly RespReply[]

export interface RespAddress {
  readonly port: number
  readonly user?: string | undefined
  readonly password?: string | undefined
  /** The authority of a server that speaks TLS, PEM. */
  readonly ca?: string | undefined
}

/** How long any answer may take. */
const DEADLINE_MS = 10_000

/**
 * A connection to a Redis on loopback that owes nothing to the library which the gateway uses: RESP 2, text only, commands
 * in flight together. Never reconnects.
 */
export class RespClient implements Disposable {
  readonly #socket: Socket
  readonly #waiting: { resolve(reply: RespReply): void; reject(error: Error): void }[] = []
  #received: Buffer = Buffer.alloc(0)
  #failure: Error | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setTimeout(DEADLINE_MS, () => {
      if (this.#waiting.length > 0) socket.destroy(new Error(`no answer within ${DEADLINE_MS} ms`))
    })
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection to Redis has closed')))
  }

  /** @throws Error when it is refused */
  static async open({ port, user, password, ca }: RespAddress): Promise<RespClient> {
    const socket =
      ca === undefined ? connectTcp(port, '127.0.0.1') : connectTls({ port, host: '127.0.0.1', ca: [ca] })
    const client = new RespClient(socket)
    try {
      await once(socket, ca === undefined ? 'connect' : 'secureConnect', {
        signal: AbortSignal.timeout(DEADLINE_MS),
      })
      if (password !== undefined)
        await client.command('AUTH', ...(user === undefined ? [] : [user]), password)
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  /** @throws Error with the text of Redis when it refuses the command, or when the connection is gone */
  command(...words: readonly (string | number)[]): Promise<RespReply> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      this.#waiting.push({ resolve, reject })
      const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`)
      this.#socket.write(`*${words.length}\r\n${parts.join('')}`)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #onData(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    let at = 0
    for (;;) {
      const found = readReply(this.#received, at)
      if (found === undefined) break
      at = found.end
      const waiting = this.#waiting.shift()
      if (found.reply instanceof Error) waiting?.reject(found.reply)
      else waiting?.resolve(found.reply)
    }
    this.#received = this.#received.subarray(at)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure)
  }
}

/** The reply that begins there and where it ends; undefined while it is not whole. */
function readReply(bytes: Buffer, start: number): { reply: RespReply; end: number } | undefined {
  const lineEnd = bytes.indexOf('\r\n', start)
  if (lineEnd < 0) return undefined
  const kind = bytes.toString('latin1', start, start + 1)
  const line = bytes.toString('utf8', start + 1, lineEnd)
  const after = lineEnd + 2
  if (kind === '+') return { reply: line, end: after }
  if (kind === '-') return { reply: new Error(line), end: after }
  if (kind === ':') return { reply: Number(line), end: after }
  const length = Number(line)
  if (length < 0) return { reply: null, end: after }
  if (kind === '$') {
    const end = after + length
    return end + 2 > bytes.length ? undefined : { reply: bytes.toString('utf8', after, end), end: end + 2 }
  }
  if (kind !== '*') throw new Error(`Redis answered with what is no RESP 2: ${kind}`)
  const replies: RespReply[] = []
  let end = after
  while (replies.length < length) {
    const found = readReply(bytes, end)
    if (found === undefined) return undefined
    replies.push(found.reply)
    end = found.end
  }
  return { reply: replies, end }
}
