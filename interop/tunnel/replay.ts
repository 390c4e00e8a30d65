import { connect, createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { until } from '../harness/until.ts'
import { Conversation, type Side } from './conversation.ts'
import { type Action, hear, recordedToken, type Recording } from './recording.ts'
import { closeAll, listenLocally, portOf } from './server-port.ts'

export interface ReplayOptions {
  readonly recording: Recording
  /** What the user does in the replay; undefined: nothing, it was done at the real side. */
  readonly act: (action: Action, live: Conversation) => Promise<void> | undefined
}

/** How long the other side may take for what it said at once when it was recorded, in milliseconds. */
const deadlineMs = 10_000

/** Says what the real side of a recording said, each time as soon as the other side has said what it had said by then. */
export class Replay implements AsyncDisposable {
  /** With what our side says now. */
  readonly live: Conversation
  readonly #options: ReplayOptions
  readonly #expected: Conversation
  readonly #connections: Socket[] = []
  #server: Server | undefined

  constructor(options: ReplayOptions) {
    this.#options = options
    this.live = new Conversation({ ...options.recording, token: recordedToken })
    this.#expected = new Conversation({ ...options.recording, token: recordedToken })
  }

  /** A port for our client, where the real server's side is replayed. */
  async listen(): Promise<number> {
    this.#server = createServer((socket) => this.#adopt(socket))
    await listenLocally(this.#server)
    return portOf(this.#server)
  }

  /** Plays to its end; the real client's connections go to our server's port. */
  async play(serverPort?: number): Promise<void> {
    const { recording, act } = this.#options
    const { real, events } = recording
    let action: Promise<void> | undefined
    for (const [index, event] of events.entries()) {
      if ('action' in event) {
        await action
        await this.#caughtUp(`before action ${event.action}`)
        action = act(event.action, this.live)
        // Told when it is awaited.
        action?.catch(() => undefined)
        continue
      }
      if (event.from === real) {
        await this.#caughtUp(`before event ${index}`)
        const socket = await this.#connection(event.connection, serverPort)
        if ('end' in event) {
          socket.end()
        } else {
          const bytes = Buffer.from(event.bytes, 'base64')
          this.live.push(event.connection, real, bytes)
          socket.write(bytes)
        }
      }
      hear(this.#expected, event)
    }
    await action
    await this.#caughtUp('at the end')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#connections) socket.destroy()
    if (this.#server !== undefined) await closeAll([this.#server])
  }

  async #caughtUp(when: string): Promise<void> {
    const { real } = this.#options.recording
    const ours: Side = real === 'client' ? 'server' : 'client'
    const missing = (): string[] => missingOf(this.#expected, this.live, ours)
    try {
      await until('caught up', () => missing().length === 0, { deadlineMs, everyMs: 5 })
    } catch {
      throw new Error(`${when} our side had not said: ${missing().join(', ')}`)
    }
  }

  async #connection(index: number, serverPort: number | undefined): Promise<Socket> {
    if (serverPort !== undefined && this.#connections.length === index) {
      const socket = connect(serverPort, '127.0.0.1')
      this.#adopt(socket)
      await once(socket, 'connect')
    }
    return until(`connection ${index}`, () => this.#connections[index], { deadlineMs, everyMs: 5 })
  }

  #adopt(socket: Socket): void {
    const ours: Side = this.#options.recording.real === 'client' ? 'server' : 'client'
    const index = this.#connections.push(socket) - 1
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => this.live.push(index, ours, bytes))
  }
}

/** Where our side says it in bytes of its own: other headers, other snappy blocks. */
const otherBytes = new Set(['http', 'layers'])

/** What a side had said by now in one conversation and has not in the other. */
function missingOf(expected: Conversation, live: Conversation, side: Side): string[] {
  const wanted = tally(expected, side)
  const got = tally(live, side)
  return [...wanted]
    .filter(([what, count]) => (got.get(what) ?? 0) < count)
    .map(([what, count]) => `${what} (${count})`)
}

function tally(conversation: Conversation, side: Side): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { channel, from, message } of conversation.said) {
    // The real server asks for more connections than it needs.
    if (from !== side || message.name === 'ReqWorkConn') continue
    const what = `${message.name} on ${channel}`
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  for (const { channel, proxy, [side]: payload } of conversation.payloads()) {
    if (payload.length > 0) {
      counts.set(`bytes of ${proxy} on ${channel}`, otherBytes.has(proxy) ? 1 : payload.length)
    }
  }
  return counts
}
