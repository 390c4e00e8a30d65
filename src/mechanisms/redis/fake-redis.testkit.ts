import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

/** What a fake says: a text as a bulk string, an Error as an error; undefined: nothing, ever. */
export type FakeReply = string | number | null | Error | readonly FakeReply[] | undefined

/** Words of a command as they came, its name in capitals. */
export type FakeAnswer = (words: readonly string[], fake: FakeRedis) => FakeReply

/** A server that speaks RESP on 127.0.0.1 and answers as a test says. `await using` ends it. */
export class FakeRedis implements AsyncDisposable {
  /** What it was sent, over all connections. */
  readonly commands: (readonly string[])[] = []
  /** Commands in each piece that came. */
  readonly pieces: number[] = []
  /** Connections that were ever made. */
  connections = 0
  /** Asked first; undefined leaves the answer to what every server knows. */
  answer: FakeAnswer = () => undefined
  /** Whether it answers nothing. */
  isSilent = false
  readonly #server: Server
  #port = 0
  readonly #sockets = new Map<Socket, Set<string>>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => this.#serve(socket))
  }

  static async start(answer?: FakeAnswer): Promise<FakeRedis> {
    const fake = new FakeRedis(createServer())
    if (answer !== undefined) fake.answer = answer
    await fake.listen(0)
    return fake
  }

  /** Where it listens, or did until it was stopped. */
  get port(): number {
    return this.#port
  }

  get place(): string {
    return `127.0.0.1:${this.port}`
  }

  /** How often a command came. */
  count(name: string): number {
    return this.commands.filter(([first]) => first === name).length
  }

  async listen(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Ends all connections; new ones may come. */
  drop(): void {
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  /** Ends all connections and takes no new ones until `listen`. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.drop()
    await closed
  }

  /** Sends a message to those that hear a channel. */
  publish(channel: string, message: string): void {
    for (const [socket, channels] of this.#sockets) {
      if (channels.has(channel)) socket.write(encoded(['message', channel, message]))
    }
  }

  /** Sends bytes over all connections. */
  write(text: string): void {
    for (const socket of this.#sockets.keys()) socket.write(text)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #serve(socket: Socket): void {
    this.connections++
    const channels = new Set<string>()
    this.#sockets.set(socket, channels)
    let rest = ''
    socket.on('error', () => undefined)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.setEncoding('latin1').on('data', (piece: string) => {
      const { commands, left } = decoded(rest + piece)
      rest = left
      this.pieces.push(commands.length)
      for (const [name = '', ...args] of commands) {
        const words = [name.toUpperCase(), ...args]
        this.commands.push(words)
        if (this.isSilent) continue
        const special = this.answer(words, this)
        const reply = special === undefined ? usual(words, channels) : special
        if (reply !== undefined) socket.write(encoded(reply))
      }
    })
  }
}

/** What a server without surprises says; to what it does not know, nothing. */
function usual([name = '', first = '']: readonly string[], channels: Set<string>): FakeReply {
  switch (name) {
    case 'PING':
      return 'PONG'
    case 'AUTH':
    case 'SELECT':
    case 'SET':
      return 'OK'
    case 'ROLE':
      return ['master', 0, []]
    case 'PUBLISH':
      return 1
    case 'SUBSCRIBE':
      channels.add(first)
      return ['subscribe', first, channels.size]
    case 'UNSUBSCRIBE':
      channels.delete(first)
      return ['unsubscribe', first, channels.size]
    default:
      return undefined
  }
}

function encoded(reply: Exclude<FakeReply, undefined>): string {
  if (reply === null) return '$-1\r\n'
  if (typeof reply === 'number') return `:${reply}\r\n`
  if (typeof reply === 'string') return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`
  if (reply instanceof Error) return `-${reply.message}\r\n`
  return `*${reply.length}\r\n${reply.map((item) => (item === undefined ? '' : encoded(item))).join('')}`
}

/** Whole commands at the beginning, each an array of bulk strings. */
function decoded(text: string): { commands: string[][]; left: string } {
  const commands: string[][] = []
  let at = 0
  for (;;) {
    const head = /^\*(\d+)\r\n/.exec(text.slice(at, at + 20))
    if (head === null) return { commands, left: text.slice(at) }
    let next = at + head[0].length
    const words: string[] = []
    for (let index = 0; index < Number(head[1]); index++) {
      const size = /^\$(\d+)\r\n/.exec(text.slice(next, next + 20))
      const start = next + (size?.[0].length ?? 0)
      const end = start + Number(size?.[1])
      if (size === null || text.length < end + 2) return { commands, left: text.slice(at) }
      words.push(text.slice(start, end))
      next = end + 2
    }
    commands.push(words)
    at = next
  }
}
