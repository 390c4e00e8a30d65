import { WebSocket } from 'ws'
import { type Clock, systemClock, type Timer } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import type { ConfigSource } from './config-source.ts'
import { StunnerdError } from './errors.ts'

export interface CdsClientOptions {
  /** Of the server: `http`, `https`, `ws` or `wss`; path and query do not matter. */
  readonly url: URL
  /** Whose configuration: `<namespace>/<name>`. */
  readonly id: string
  /** The Kubernetes node we run on, so that the server can fill in its address. @defaultValue none */
  readonly node?: string
  readonly logger: Logger
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
  /** From 0 to below 1, for the jitter of reconnecting. @defaultValue `Math.random` */
  readonly random?: () => number
}

/** A ping goes out so often; STUNner's server drops who is silent for 8 seconds. */
const PING_MS = 5000
/** Without a frame for so long the connection is dead. */
const SILENCE_MS = 8000
const CONNECT_MS = 10_000
/** Reconnecting waits so long, twice as long after each failure up to the most, and up to half of it less by chance. */
const RETRY_MS = 1000
const MOST_RETRY_MS = 10_000
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024

/** Client of a config discovery service: the control plane's way to hand a gateway its configuration. */
export class CdsClient implements ConfigSource {
  readonly name: string
  readonly #options: Required<Omit<CdsClientOptions, 'node'>> & Pick<CdsClientOptions, 'node'>
  readonly #log: Logger

  /** @throws STUNNERD_BAD_OPTION when the id is not of that form */
  constructor(options: CdsClientOptions) {
    const [namespace = '', name = '', ...rest] = options.id.split('/')
    if (namespace === '' || name === '' || rest.length > 0) {
      throw new StunnerdError(
        'STUNNERD_BAD_OPTION',
        `the id is "${options.id}" and must be <namespace>/<name> (--id, or STUNNER_NAMESPACE and STUNNER_NAME)`,
      )
    }
    this.#options = { clock: systemClock, random: Math.random, ...options }
    this.#log = options.logger.child({ component: 'cds-client' })
    this.name = this.#urlOf(isSecure(options.url) ? 'https:' : 'http:', false).href
  }

  async load(): Promise<string> {
    const unavailable = (reason: string, cause?: unknown) =>
      new StunnerdError('STUNNERD_CONFIG_UNAVAILABLE', `${this.name}: ${reason}`, cause)
    let response: Response
    try {
      response = await fetch(this.name, { redirect: 'error', signal: AbortSignal.timeout(CONNECT_MS) })
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined
      throw unavailable(errorMessage(cause ?? error), error)
    }
    const text = await boundedText(response).catch((error: unknown) => {
      throw unavailable(errorMessage(error), error)
    })
    if (text === undefined) throw unavailable(`the answer is over ${MAX_MESSAGE_BYTES} bytes long`)
    if (response.status === 200) return text
    throw unavailable(
      response.status === 404
        ? `the server has no configuration for "${this.#options.id}"`
        : `the server answers ${response.status}`,
    )
  }

  watch(deliver: (text: string) => void): () => void {
    const { clock, random, url } = this.#options
    const watch = new CdsWatch({
      url: this.#urlOf(isSecure(url) ? 'wss:' : 'ws:', true),
      log: this.#log,
      clock,
      random,
      deliver,
    })
    watch.connect()
    return () => watch.stop()
  }

  #urlOf(protocol: string, isWatch: boolean): URL {
    const { url, id, node } = this.#options
    const path = id.split('/').map(encodeURIComponent).join('/')
    // Assigning `protocol` does not lead from http to ws in every version of URL.
    const result = new URL(`${protocol}//${url.host}/api/v1/configs/${path}`)
    if (isWatch) result.searchParams.set('watch', 'true')
    if (node !== undefined && node !== '') result.searchParams.set('node', node)
    return result
  }
}

function isSecure({ protocol }: URL): boolean {
  return protocol === 'https:' || protocol === 'wss:'
}

/** Undefined when it is too long. */
async function boundedText({ body }: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = []
  let size = 0
  const stream: AsyncIterable<Uint8Array> | null = body
  if (stream === null) return ''
  for await (const chunk of stream) {
    size += chunk.length
    if (size > MAX_MESSAGE_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

interface CdsWatchOptions {
  readonly url: URL
  readonly log: Logger
  readonly clock: Clock
  readonly random: () => number
  readonly deliver: (text: string) => void
}

/** One watch, over as many connections as it takes, from `connect` to `stop`. */
class CdsWatch {
  readonly #options: CdsWatchOptions
  #socket: WebSocket | undefined
  #retry: Timer | undefined
  #failures = 0
  #isStopped = false

  constructor(options: CdsWatchOptions) {
    this.#options = options
  }

  connect(): void {
    const { url, log, clock, deliver } = this.#options
    const socket = new WebSocket(url, {
      // The server checks it as it does for browsers.
      origin: `http://${url.host}`,
      handshakeTimeout: CONNECT_MS,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    })
    this.#socket = socket
    let reason = ''
    let silence: Timer | undefined
    let ping: Timer | undefined
    const isHeard = (): void => {
      silence?.cancel()
      silence = clock.after(SILENCE_MS, () => {
        reason = `nothing heard for ${SILENCE_MS} ms`
        socket.terminate()
      })
    }
    const pingOnAndOn = (): void => {
      ping = clock.after(PING_MS, () => {
        socket.ping('keepalive')
        pingOnAndOn()
      })
    }
    socket.on('open', () => {
      log.info({ url: url.href }, 'connected to the config discovery server')
      isHeard()
      pingOnAndOn()
    })
    socket.on('ping', isHeard)
    socket.on('pong', isHeard)
    socket.on('message', (data, isBinary) => {
      isHeard()
      this.#failures = 0
      const text = isBinary ? '' : bufferOf(data).toString('utf8')
      if (text === '') log.warn({ isBinary }, 'a message without a configuration, passed over')
      else deliver(text)
    })
    socket.on('error', (error) => {
      reason ||= errorMessage(error)
    })
    socket.on('close', (code) => {
      silence?.cancel()
      ping?.cancel()
      if (this.#isStopped) return
      this.#reconnect(reason || `closed by the server with code ${code}`)
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#retry?.cancel()
    // Nothing is left to be said that a server would wait for.
    this.#socket?.terminate()
  }

  #reconnect(reason: string): void {
    const { log, clock, random, url } = this.#options
    const most = Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** this.#failures)
    const delayMs = Math.round(most * (1 - random() / 2))
    this.#failures = Math.min(this.#failures + 1, 10)
    log.warn({ url: url.href, reason, delayMs }, 'no connection to the config discovery server, trying again')
    this.#retry = clock.after(delayMs, () => this.connect())
  }
}

function bufferOf(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data)
  return data instanceof ArrayBuffer ? Buffer.from(data) : data
}
