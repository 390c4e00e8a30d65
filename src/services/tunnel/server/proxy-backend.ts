import type { ByteSink, ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { joinStreams, type StreamJoin, type TcpJoiner } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { encodeMessage, type WireVersion } from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'
import type { ProxyTraffic, TrafficCounter } from '../statistics/contract.ts'
import type { Backend, UserAddress } from './backend.ts'
import { CountedStream } from './counted-stream.ts'
import { Quota, take } from './quota.ts'
import type { TunnelMetrics } from './tunnel-metrics.ts'
import type { WorkPool } from './work-pool.ts'

export interface ProxyBackendOptions {
  readonly proxyName: string
  readonly wireVersion: WireVersion
  readonly pool: WorkPool
  /** Encryption, compression and limits upon a work connection that has been started. */
  readonly layers: (work: ByteStream) => ByteStream
  /** Whether the client keeps one direction open when the other has ended. */
  readonly halfClose: boolean
  /** What each user connection takes one of. */
  readonly quotas: readonly Quota[]
  readonly traffic: ProxyTraffic
  readonly metrics: Pick<TunnelMetrics, 'userRefused' | 'waited'>
  readonly clock: Clock
  readonly logger: Logger
  readonly joiner: TcpJoiner | undefined
}

/** A user, who waits or is carried. */
interface Carried {
  cut: (error: TunnelError) => void
  /** Gives back its place; may be called twice. */
  readonly leave: () => void
}

/** The service of one proxy: a work connection of its client for each user connection. */
export class ProxyBackend implements Backend {
  readonly proxyName: string
  /** Called when the last user who is here has gone. */
  onIdle: () => void = nothing
  readonly #options: ProxyBackendOptions
  readonly #carried = new Set<Carried>()

  constructor(options: ProxyBackendOptions) {
    this.proxyName = options.proxyName
    this.#options = options
  }

  /** User connections that wait for a work connection or are carried now. */
  get carried(): number {
    return this.#carried.size
  }

  serve(user: ByteStream, address: UserAddress, halfClose = true): void {
    const carried = this.#admit()
    if (carried instanceof TunnelError) {
      user.destroy(carried)
      return
    }
    let stopWaiting = nothing
    carried.cut = (error) => user.destroy(error)
    user.attach(
      onlyClose(() => {
        stopWaiting()
        carried.leave()
      }),
    )
    stopWaiting = this.#takeWork((work, error) => {
      if (work === undefined) {
        carried.leave()
        this.#refused(error)
        user.destroy(error)
      } else {
        this.#join(user, this.#start(work, address), carried, halfClose)
      }
    })
  }

  async connect(address: UserAddress): Promise<ByteStream> {
    const carried = this.#admit()
    if (carried instanceof TunnelError) throw carried
    return new Promise((resolve, reject) => {
      let stopWaiting = nothing
      carried.cut = (error) => {
        stopWaiting()
        carried.leave()
        reject(error)
      }
      stopWaiting = this.#takeWork((work, error) => {
        if (work === undefined) {
          carried.leave()
          this.#refused(error)
          reject(error ?? new Error('no work connection'))
          return
        }
        const service: CountedStream = new CountedStream(this.#start(work, address), () => {
          closed()
          carried.leave()
        })
        const closed = this.#options.traffic.open(service)
        carried.cut = (error) => service.destroy(error)
        resolve(service)
      })
    })
  }

  /** Cuts all who are here; they see a reset, as what they were sent may not be whole. */
  destroy(): void {
    const error = new TunnelError('TUNNEL_CLOSED', 'the server closes', { side: 'self', retryable: true })
    for (const { cut } of this.#carried) cut(error)
  }

  #admit(): Carried | TunnelError {
    const { quotas, metrics, logger } = this.#options
    const release = take(quotas)
    if (!(release instanceof Quota)) {
      const carried: Carried = {
        cut: nothing,
        leave: () => {
          if (!this.#carried.delete(carried)) return
          release()
          if (this.#carried.size === 0) this.onIdle()
        },
      }
      this.#carried.add(carried)
      return carried
    }
    metrics.userRefused('limit')
    logger.debug({ limit: release.name, most: release.limit }, 'user connection refused, limit reached')
    return new TunnelError('TUNNEL_FORBIDDEN', `${release.name}: the most is ${release.limit}`, {
      side: 'client',
      retryable: true,
    })
  }

  #takeWork(taken: (work: ByteStream | undefined, error: TunnelError | undefined) => void): () => void {
    const { pool, clock, metrics } = this.#options
    const sinceMs = clock.nowMs()
    return pool.take((work, error) => {
      metrics.waited(clock.nowMs() - sinceMs)
      taken(work, error)
    })
  }

  #refused(error: TunnelError | undefined): void {
    const { metrics, logger } = this.#options
    metrics.userRefused('no-work-connection')
    const fields = { reason: error?.message }
    // Users can be as many as they like; only those who have waited in vain are told of one by one.
    if (error?.code === 'TUNNEL_TIMEOUT') logger.warn(fields, 'no work connection for a user connection')
    else logger.debug(fields, 'no work connection for a user connection')
  }

  #start(work: ByteStream, address: UserAddress): ByteStream {
    const { wireVersion, proxyName, layers } = this.#options
    work.write(
      encodeMessage(wireVersion, 'StartWorkConn', {
        proxy_name: proxyName,
        src_addr: address.remoteAddress,
        src_port: address.remotePort,
        ...(address.localAddress !== undefined && { dst_addr: address.localAddress }),
        ...(address.localPort !== undefined && { dst_port: address.localPort }),
      }),
    )
    return layers(work)
  }

  #join(user: ByteStream, service: ByteStream, carried: Carried, halfClose: boolean): void {
    const { clock, traffic, joiner } = this.#options
    const bothStayOpen = halfClose && this.#options.halfClose
    const join = joinStreams(user, service, { halfClose: bothStayOpen, clock, engine: joiner })
    const closed = traffic.open(new JoinCounter(join))
    carried.cut = (error) => join.destroy(error)
    void join.done.then(() => {
      closed()
      carried.leave()
    })
  }
}

class JoinCounter implements TrafficCounter {
  readonly #join: StreamJoin

  constructor(join: StreamJoin) {
    this.#join = join
  }

  get bytesIn(): number {
    return this.#join.bytesFromFirst
  }

  get bytesOut(): number {
    return this.#join.bytesFromSecond
  }
}

/** Waits for a stream's end, and reads nothing: it is paused. */
function onlyClose(onClose: () => void): ByteSink {
  return { onBytes: () => true, onEnd: nothing, onDrain: nothing, onClose }
}

function nothing(): void {}
