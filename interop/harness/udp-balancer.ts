import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

export interface UdpBalancerOptions {
  /** Ports on 127.0.0.1 that clients may be led to. */
  readonly targets: () => readonly number[]
}

/** A client by its address, with the socket that stands for it at the targets. */
interface Way {
  readonly back: Socket
  target: number | undefined
}

/**
 * A balancer of UDP that knows nothing of what it carries: a client, by its address, stays with its target until that is out of
 * rotation. Targets see an address of the balancer for each client, the same one whatever the target.
 */
export class UdpBalancer implements AsyncDisposable {
  readonly #options: UdpBalancerOptions
  readonly #front: Socket
  readonly #ways = new Map<string, Way>()
  /** Datagrams that went to a target, by its port. */
  readonly #counts = new Map<number, number>()
  #turn = 0
  #only: number | undefined

  private constructor(options: UdpBalancerOptions, front: Socket) {
    this.#options = options
    this.#front = front
    front.on('message', (datagram, { address, port }) => this.#lead(datagram, address, port))
  }

  static async start(options: UdpBalancerOptions): Promise<UdpBalancer> {
    return new UdpBalancer(options, await openUdp())
  }

  get port(): number {
    return this.#front.address().port
  }

  /** Datagrams that have gone to the target at a port. */
  sentTo(port: number): number {
    return this.#counts.get(port) ?? 0
  }

  /** Leads all clients, those that run too, to this port; undefined: further clients by turn again. */
  leadTo(port: number | undefined): void {
    this.#only = port
    if (port === undefined) return
    for (const way of this.#ways.values()) way.target = port
  }

  /** Leads the clients of targets that are out of rotation to others. */
  moveStranded(): void {
    if (this.#only !== undefined) return
    const targets = this.#options.targets()
    for (const way of this.#ways.values()) {
      if (way.target === undefined || !targets.includes(way.target)) way.target = this.#next(targets)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const sockets = [this.#front, ...[...this.#ways.values()].map(({ back }) => back)]
    const closed = sockets.map((socket) => once(socket, 'close'))
    for (const socket of sockets) socket.close()
    await Promise.all(closed)
  }

  #next(targets: readonly number[]): number | undefined {
    return this.#only ?? targets[this.#turn++ % Math.max(1, targets.length)]
  }

  #lead(datagram: Buffer, address: string, port: number): void {
    const client = `${address}:${port}`
    let way = this.#ways.get(client)
    if (way === undefined) {
      way = { back: createSocket('udp4'), target: this.#next(this.#options.targets()) }
      this.#ways.set(client, way)
      way.back.bind(0, '127.0.0.1')
      way.back.on('message', (answer) => this.#front.send(answer, port, address))
    }
    if (way.target === undefined) return
    this.#counts.set(way.target, this.sentTo(way.target) + 1)
    // One that has not been bound yet sends when it is.
    way.back.send(datagram, way.target, '127.0.0.1')
  }
}

async function openUdp(): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}
