import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import type { Redis as Client, RedisOptions as ClientOptions } from 'ioredis'
import type { Clock, Timer } from '../../foundation/clock.ts'
import { ChannelTalk } from './channel-talk.ts'
import type { RedisArgument } from './contract.ts'
import { RedisError, refusal } from './errors.ts'
import { type ServerAddress, serverAddressText } from './server-address.ts'

/** How a connection is opened and kept. */
export interface RedisConnectionOptions {
  readonly login: RedisLogin
  /** 0 where there is only one: at a Sentinel, in a Cluster. */
  readonly database: number
  /** Undefined: plain TCP. */
  readonly tls: ConnectionOptions | undefined
  /** Lookup, TCP, TLS and login together. */
  readonly connectMs: number
  /** A server that answers nothing for so long while it was asked something is given up. */
  readonly silenceMs: number
  readonly clock: Clock
}

/** Who we are to a server; without a password nobody in particular. */
export interface RedisLogin {
  readonly user?: string | undefined
  readonly password?: string | undefined
}

/** Most bytes that wait because the server does not read. */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024

/** Which `ioredis` to use; loaded only where a Redis is configured. */
export type ClientConstructor = new (options: ClientOptions) => Client

/** One connection to one server, from its login to its end; it never comes back. */
export class Connection {
  readonly address: ServerAddress
  readonly #client: Client
  readonly #options: RedisConnectionOptions
  #inFlight = 0
  #isCorked = false
  /** Since when an answer is owed, without any having come. */
  #owedSinceMs = 0
  #timer: Timer | undefined
  #end: { readonly reason: string } | undefined
  #onEnd: ((reason: string) => void) | undefined
  /** Once it hears channels. */
  #talk: ChannelTalk | undefined

  private constructor(address: ServerAddress, client: Client, options: RedisConnectionOptions) {
    this.address = address
    this.#client = client
    this.#options = options
    this.#owedSinceMs = options.clock.nowMs()
    // After any error what comes next cannot be told from what belongs to something else.
    client.on('error', (error: Error) => this.destroy(wordsOf(error)))
    client.on('end', () => this.destroy('the other side closed the connection'))
  }

  /**
   * Connects and logs in.
   * @throws REDIS_AWAY when that takes too long or breaks, or the server serves nobody; REDIS_REFUSED when it wants another login
   */
  static async open(
    address: ServerAddress,
    Client: ClientConstructor,
    options: RedisConnectionOptions,
    signal: AbortSignal,
  ): Promise<Connection> {
    const connection = new Connection(address, new Client(clientOptions(address, options)), options)
    const place = serverAddressText(address)
    const abort = (): void => connection.destroy('closed')
    const timer = options.clock.after(options.connectMs, () =>
      connection.destroy('it did not answer in time'),
    )
    signal.addEventListener('abort', abort, { once: true })
    try {
      // A client that was ended before it has begun would begin all the same.
      if (signal.aborted) throw new RedisError('REDIS_AWAY', 'closed')
      await connection.#client.connect()
      connection.#refuseUnasked()
      await connection.#logIn(options)
    } catch (error) {
      const reason = connection.#end?.reason
      connection.destroy('not opened')
      if (!(error instanceof RedisError) || error.reply === undefined) {
        throw new RedisError('REDIS_AWAY', `${place}: ${reason ?? 'not opened'}`)
      }
      throw new RedisError(error.code, `${place}: ${error.message}`, error.reply, error.words)
    } finally {
      timer.cancel()
      signal.removeEventListener('abort', abort)
    }
    if (connection.#end !== undefined)
      throw new RedisError('REDIS_AWAY', `${place}: ${connection.#end.reason}`)
    connection.#watch()
    return connection
  }

  get isOpen(): boolean {
    return this.#end === undefined
  }

  /** Called once, when the connection has ended, with what happened. */
  onEnd(listener: (reason: string) => void): void {
    if (this.#end === undefined) this.#onEnd = listener
    else listener(`${serverAddressText(this.address)}: ${this.#end.reason}`)
  }

  /**
   * From now on it is one that hears channels: it takes SUBSCRIBE and UNSUBSCRIBE of one channel, and `listener` is called for
   * what is published there.
   */
  onMessage(listener: (channel: string, message: string) => void): void {
    const { stream } = this.#client
    if (this.#end !== undefined || this.#talk !== undefined || stream === undefined) return
    this.#talk = new ChannelTalk(stream, {
      onMessage: (channel, message) => {
        if (this.#end === undefined) listener(channel, message)
      },
      onNonsense: (reason) => this.destroy(reason),
    })
  }

  /** Sends a command; those of one tick go out in one write. Fails at once when it cannot be written. */
  send(name: string, args: readonly RedisArgument[]): Promise<unknown> {
    if (this.#end !== undefined) return Promise.reject(new RedisError('REDIS_AWAY', `${name}: Redis is away`))
    if ((this.#client.stream?.writableLength ?? 0) > MAX_UNSENT_BYTES) {
      return Promise.reject(new RedisError('REDIS_AWAY', `${name}: too much waits to be sent to Redis`))
    }
    return this.#send(name, args)
  }

  /** Ends it now; what waits for an answer fails. */
  destroy(reason: string): void {
    if (this.#end !== undefined) return
    this.#end = { reason }
    this.#timer?.cancel()
    this.#client.disconnect()
    // Its own way says goodbye and waits for the other side's.
    this.#client.stream?.destroy()
    this.#onEnd?.(`${serverAddressText(this.address)}: ${reason}`)
    this.#onEnd = undefined
    this.#talk?.end()
  }

  #send(name: string, args: readonly RedisArgument[]): Promise<unknown> {
    const { clock } = this.#options
    if (this.#inFlight++ === 0) this.#owedSinceMs = clock.nowMs()
    this.#cork()
    // In capitals, as ioredis then hands out answers as they came.
    const sent = this.#talk?.send(name, args) ?? this.#client.call(name, ...args)
    return sent.then(
      (answer) => {
        this.#answered()
        return answer
      },
      (error: unknown) => {
        // Only what the server said has this name; everything else is the end of the connection.
        const isReply = error instanceof Error && error.name === 'ReplyError'
        if (isReply) this.#answered()
        else this.#inFlight--
        throw isReply
          ? refusal(name, error.message)
          : new RedisError('REDIS_SLOW', `${name}: the connection to Redis ended before its answer`)
      },
    )
  }

  /** ioredis throws where nobody can catch it, which would end the process, when a null comes that was not asked for. */
  #refuseUnasked(): void {
    const { stream } = this.#client
    const readers = stream.listeners('data')
    stream.removeAllListeners('data')
    stream.on('data', (piece: Buffer) => {
      if (this.#inFlight === 0) this.destroy('it answered what was not asked')
      else for (const read of readers) read.call(stream, piece)
    })
  }

  #answered(): void {
    this.#inFlight--
    this.#owedSinceMs = this.#options.clock.nowMs()
  }

  #cork(): void {
    const { stream } = this.#client
    if (this.#isCorked || stream === undefined) return
    this.#isCorked = true
    stream.cork()
    process.nextTick(() => {
      this.#isCorked = false
      stream.uncork()
    })
  }

  async #logIn({ login: { user, password }, database }: RedisConnectionOptions): Promise<void> {
    const answers: Promise<unknown>[] = []
    if (password !== undefined) {
      answers.push(
        this.#send('AUTH', user === undefined ? [password] : [user, password]).catch(allowNoPassword),
      )
    }
    if (database !== 0) answers.push(this.#send('SELECT', [database]))
    answers.push(this.#send('PING', []))
    const results = await Promise.allSettled(answers)
    // The first one that failed explains those behind it.
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  /** Asks when nothing was answered for a while, and gives up a server that owes answers for too long. */
  #watch(): void {
    const { clock, silenceMs } = this.#options
    const askMs = silenceMs / 3
    const dueMs = clock.nowMs() + askMs / 2
    this.#timer = clock.after(askMs / 2, () => {
      // It was this process that stood still; what was answered meanwhile is yet to be read.
      if (clock.nowMs() - dueMs > askMs) this.#owedSinceMs = clock.nowMs()
      const quietMs = clock.nowMs() - this.#owedSinceMs
      if (this.#inFlight > 0 && quietMs >= silenceMs) {
        this.destroy(`no answer for ${Math.round(quietMs)} ms`)
        return
      }
      if (this.#inFlight === 0 && quietMs >= askMs) this.#send('PING', []).catch(() => undefined)
      this.#watch()
    })
  }
}

function clientOptions({ host, port }: ServerAddress, { tls }: RedisConnectionOptions): ClientOptions {
  return {
    host,
    port,
    // An address has no name to show; a name is shown, which TLS of Node does not do by itself.
    ...(tls !== undefined && { tls: isIP(host) === 0 ? { servername: host, ...tls } : tls }),
    // Reconnects, login, deadlines and questions of readiness are ours: they go by our clock and write no lines of their own.
    lazyConnect: true,
    retryStrategy: null,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    disableClientInfo: true,
    protocol: 2,
    connectTimeout: 0,
    disconnectTimeout: 1,
    keepAlive: 10_000,
  }
}

function allowNoPassword(error: unknown): void {
  // A password where none is wanted harms nobody, as while an operator introduces one.
  if (!(error instanceof RedisError) || !error.message.includes('without any password configured'))
    throw error
}

/** What broke a connection, without anything of what was sent or answered. */
function wordsOf({ message }: Error): string {
  if (message.startsWith('Unknown RESP type')) return 'what answers there is no Redis'
  if (message.startsWith('Command queue state error')) return 'it answered what was not asked'
  return message.slice(0, 300)
}
