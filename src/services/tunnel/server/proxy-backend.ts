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

/** The service of one proxy: a work connection of its client for each user connection. */
export class ProxyBackend implements Backend {
  readonly proxyName: string
  readonly #options: ProxyBackendOptions
  readonly #joins = new Set<StreamJoin>()
  #onIdle: () => void = nothing

  constructor(options: ProxyBackendOptions) {
    this.proxyName = options.proxyName
    this.#options = options
  }

  /** User connections that are carried now. */
  get joins(): number {
    return this.#joins.size
  }

  serve(user: ByteStream, address: UserAddress): void {
    const release = this.#admit()
    if (release instanceof TunnelError) {
      user.destroy(release)
      return
    }
    let isGone = false
    let stopWaiting: (() => void) | undefined
    user.attach(
      onlyClose(() => {
        isGone = true
        stopWaiting?.()
        release()
      }),
    )
    stopWaiting = this.#takeWork((work, error) => {
      if (work === undefined) {
        release()
        this.#refused(error)
        user.destroy(error)
      } else if (isGone) {
        work.destroy()
      } else {
        this.#join(user, this.#start(work, address), release)
      }
    })
  }

  async connect(address: UserAddress): Promise<ByteStream> {
    const release = this.#admit()
    if (release instanceof TunnelError) throw release
    return new Promise((resolve, reject) => {
      this.#takeWork((work, error) => {
        if (work === undefined) {
          release()
          this.#refused(error)
          reject(error ?? new Error('no work connection'))
          return
        }
        const counted: CountedStream = new CountedStream(this.#start(work, address), () => {
          release()
          closed()
        })
        const closed = this.#options.traffic.open(counted)
        resolve(counted)
      })
    })
  }

  /** Calls back when the last user connection that is carried now has gone. */
  onIdle(callback: () => void): void {
    this.#onIdle = callback
  }

  /** Cuts what it carries. */
  destroy(): void {
    for (const join of this.#joins) join.destroy()
  }

  #admit(): (() => void) | TunnelError {
    const { quotas, metrics, logger } = this.#options
    const release = take(quotas)
    if (!(release instanceof Quota)) return release
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
    logger.warn({ reason: error?.message }, 'no work connection for a user connection')
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

  #join(user: ByteStream, service: ByteStream, release: () => void): void {
    const { halfClose, clock, traffic, joiner } = this.#options
    const join = joinStreams(user, service, { halfClose, clock, engine: joiner })
    this.#joins.add(join)
    const closed = traffic.open(new JoinCounter(join))
    void join.done.then(() => {
      this.#joins.delete(join)
      closed()
      release()
      if (this.#joins.size === 0) this.#onIdle()
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
