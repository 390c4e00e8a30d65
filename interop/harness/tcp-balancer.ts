import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export interface TcpBalancerOptions {
  /** Ports on 127.0.0.1 that connections may be led to, asked for each connection. */
  readonly targets: () => readonly number[]
}

/** A balancer of TCP that knows nothing of what it carries: connections by turn, each to one target. */
export class TcpBalancer implements AsyncDisposable {
  readonly #options: TcpBalancerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #turn = 0
  #only: number | undefined

  private constructor(options: TcpBalancerOptions) {
    this.#options = options
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#lead(client, this.#inTurn()))
  }

  static async start(options: TcpBalancerOptions): Promise<TcpBalancer> {
    const balancer = new TcpBalancer(options)
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    return balancer
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Leads further connections to this port, whatever becomes of it; undefined: by turn again. */
  leadTo(port: number | undefined): void {
    this.#only = port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** The target whose turn it is, and those after it. */
  #inTurn(): readonly number[] {
    if (this.#only !== undefined) return [this.#only]
    const targets = this.#options.targets()
    const first = this.#turn++ % Math.max(1, targets.length)
    return [...targets.slice(first), ...targets.slice(0, first)]
  }

  /** The next one is tried where a connection is refused: a target may have gone since the last look. */
  #lead(client: Socket, [port, ...others]: readonly number[]): void {
    this.#own(client)
    if (port === undefined) {
      client.destroy()
      return
    }
    const target = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.#own(target)
    const onRefused = (): void => {
      if (client.destroyed) return
      this.#lead(client, others)
    }
    target.once('error', onRefused)
    target.once('connect', () => {
      target.off('error', onRefused)
      client.pipe(target).pipe(client)
      for (const socket of [client, target]) {
        socket.on('close', () => {
          client.destroy()
          target.destroy()
        })
      }
      if (client.destroyed) target.destroy()
    })
  }

  #own(socket: Socket): void {
    if (this.#sockets.has(socket)) return
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }
}
