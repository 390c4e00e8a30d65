import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import { ConnectionCap, hostOf, TcpListener } from '../../../mechanisms/net/index.ts'
import { socketStream } from '../../../mechanisms/streams/index.ts'
import { QuietLog } from './quiet-log.ts'
import type { Visitor, VisitorParts } from './visitor.ts'
import { admissionMs, openVisitorConnection, type VisitedServer } from './visitor-connection.ts'

/** All users are often one local program. */
const maxConnections = 10_000
/** Visitors that may have had a user's connection before: a circle of fallbacks ends. */
const maxDepth = 8
const maxGraceMs = 24 * 3600 * 1000

/** Listens on a local port and leads each connection to a stcp proxy. With a port below 0 it only takes what others hand it. */
export class StcpVisitor implements Visitor {
  readonly config: VisitorConfig
  readonly #parts: VisitorParts
  readonly #failures: QuietLog
  #listener: TcpListener | undefined

  constructor(config: VisitorConfig, parts: VisitorParts) {
    this.config = config
    this.#parts = parts
    this.#failures = new QuietLog(parts.clock, (fields, message) => parts.log.warn(fields, message))
  }

  /** @throws NetError: `NET_PORT_TAKEN`, `NET_PORT_FORBIDDEN`, `NET_ADDRESS_UNAVAILABLE`, `NET_LISTEN_FAILED` */
  async start(): Promise<void> {
    const { bindAddr, bindPort } = this.config
    if (bindPort <= 0) return
    const listener = new TcpListener({
      listen: { ...hostOf(bindAddr), port: bindPort },
      cap: new ConnectionCap({ maxConnections, maxConnectionsPerAddress: maxConnections }),
      clock: this.#parts.clock,
      onConnection: (socket) => this.accept(socketStream(socket), 0),
      onAcceptError: (error) =>
        this.#failures.note({ error: errorMessage(error) }, 'a connection was not accepted'),
    })
    this.#listener = listener
    await listener.start()
  }

  accept(user: ByteStream, depth: number): boolean {
    if (depth >= maxDepth) return false
    void this.#lead(user, depth)
    return true
  }

  async close(): Promise<void> {
    // Whoever closes the client cuts what is joined, long before this.
    await this.#listener?.close({ graceMs: maxGraceMs })
  }

  /** Never rejects. */
  async #lead(user: ByteStream, depth: number): Promise<void> {
    const { joins, server: current } = this.#parts
    const server = current()
    const release = joins.hold()
    let isGone = false
    user.attach({
      onBytes: () => true,
      onEnd: ignore,
      onDrain: ignore,
      onClose: () => {
        isGone = true
      },
    })
    try {
      if (server === undefined) throw new Error('the client is not logged in')
      const remote = await this.#open(server)
      if (isGone) remote.destroy()
      else joins.add(user, remote, server.halfClose)
    } catch (error) {
      this.#failures.note({ error: errorMessage(error) }, 'no connection for a visitor')
      if (isGone || this.#fallBack(user, depth)) return
      user.destroy(error instanceof Error ? error : new Error(String(error)))
    } finally {
      release()
    }
  }

  #open(server: VisitedServer): Promise<ByteStream> {
    const { fallbackTo, fallbackTimeoutMs } = this.config
    const timeoutMs =
      fallbackTo === '' || fallbackTimeoutMs <= 0 ? admissionMs : Math.min(fallbackTimeoutMs, admissionMs)
    return openVisitorConnection(this.config, this.#parts.user, server, this.#parts.clock, timeoutMs)
  }

  #fallBack(user: ByteStream, depth: number): boolean {
    const { fallbackTo } = this.config
    if (fallbackTo === '') return false
    return this.#parts.visitor(fallbackTo)?.accept(user, depth + 1) ?? false
  }
}

function ignore(): void {}
