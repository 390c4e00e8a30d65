import { Counter, Gauge, Histogram, type Registry } from '../../../mechanisms/telemetry/index.ts'
import type { TunnelListenerCounts } from '../transport/tunnel-listener.ts'
import type { HttpVhostCounts, StreamVhostCounts } from '../vhost/index.ts'

/** Why a user connection was not carried: a limit, no work connection in time, or no proxy behind the listener. */
export type UserRefusal = 'limit' | 'no-work-connection' | 'no-backend'

/** Why a login was refused; `closed`: the client had gone before the answer, or the server was closing. */
export type LoginRefusal = 'protocol' | 'unauthorized' | 'limit' | 'timeout' | 'closed'

/** What a scrape asks for. */
export interface TunnelGauges {
  readonly clients: () => number
  readonly proxies: () => number
  readonly userConnections: () => number
  /** The pools of work connections of all clients. */
  readonly pools: () => readonly { readonly idle: number; readonly waiting: number }[]
  readonly listener: () => TunnelListenerCounts
  /** Undefined where the server has no port for it. */
  readonly http: () => HttpVhostCounts | undefined
  readonly https: () => StreamVhostCounts | undefined
  readonly tcpmux: () => StreamVhostCounts | undefined
}

type Labels = Readonly<Record<string, string>>
type Sample = readonly [Labels, number]

/** The tunnel server's own numbers; those with frp's names are the statistics'. */
export class TunnelMetrics {
  readonly #registry: Registry
  readonly #refusedUsers: Counter<'reason'>
  readonly #acceptedLogins: Counter
  readonly #refusedLogins: Counter<'reason'>
  readonly #refusedWork: Counter
  readonly #waits: Histogram
  readonly #udpDrops: Counter<'reason'>

  constructor(registry: Registry, gauges: TunnelGauges) {
    const registers = [registry]
    this.#registry = registry
    this.#refusedUsers = new Counter({
      name: 'sluice_tunnel_user_connections_refused_total',
      help: 'User connections that were not carried',
      labelNames: ['reason'],
      registers,
    })
    this.#acceptedLogins = new Counter({
      name: 'sluice_tunnel_logins_total',
      help: 'Logins that were accepted',
      registers,
    })
    this.#refusedLogins = new Counter({
      name: 'sluice_tunnel_logins_refused_total',
      help: 'Logins that were refused',
      labelNames: ['reason'],
      registers,
    })
    this.#refusedWork = new Counter({
      name: 'sluice_tunnel_work_connections_refused_total',
      help: 'Work connections that were refused: too many, of nobody, or not proven',
      registers,
    })
    this.#waits = new Histogram({
      name: 'sluice_tunnel_work_connection_wait_seconds',
      help: 'How long user connections waited for a work connection',
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10],
      registers,
    })
    this.#udpDrops = new Counter({
      name: 'sluice_tunnel_udp_dropped_total',
      help: 'Datagrams of udp proxies that were dropped',
      labelNames: ['reason'],
      registers,
    })
    this.#ofClients(gauges)
    this.#ofListener(gauges)
    this.#ofVhosts(gauges)
  }

  userRefused(reason: UserRefusal): void {
    this.#refusedUsers.inc({ reason })
  }

  loginAccepted(): void {
    this.#acceptedLogins.inc()
  }

  loginRefused(reason: LoginRefusal): void {
    this.#refusedLogins.inc({ reason })
  }

  workRefused(): void {
    this.#refusedWork.inc()
  }

  waited(ms: number): void {
    this.#waits.observe(ms / 1000)
  }

  udpDropped(reason: 'queue' | 'length' | 'no-work-connection'): void {
    this.#udpDrops.inc({ reason })
  }

  #ofClients({ clients, proxies, userConnections, pools }: TunnelGauges): void {
    const sum = (read: (pool: ReturnType<TunnelGauges['pools']>[number]) => number): Sample[] => [
      [{}, pools().reduce((total, pool) => total + read(pool), 0)],
    ]
    this.#gauge('clients', 'Clients that are logged in', [], () => [[{}, clients()]])
    this.#gauge('proxies', 'Proxies that are registered', [], () => [[{}, proxies()]])
    this.#gauge('user_connections', 'User connections that are carried or wait', [], () => [
      [{}, userConnections()],
    ])
    this.#gauge(
      'user_connections_waiting',
      'Those that wait for a work connection, with udp proxies that do',
      [],
      () => sum(({ waiting }) => waiting),
    )
    this.#gauge('work_connections_idle', 'Work connections that nobody uses yet', [], () =>
      sum(({ idle }) => idle),
    )
  }

  #ofListener({ listener }: TunnelGauges): void {
    this.#gauge('connections', 'Connections to the port of clients', [], () => [[{}, listener().connections]])
    this.#gauge('connections_unauthenticated', 'Connections that have not shown whose they are', [], () => [
      [{}, listener().unauthenticated],
    ])
    this.#counter(
      'connections_refused_total',
      'Connections to the port of clients, and streams on them, that were cut',
      ['reason'],
      () => {
        const { displaced, unintelligible, withoutTls, refusedStreams } = listener()
        return [
          [{ reason: 'displaced' }, displaced],
          [{ reason: 'unintelligible' }, unintelligible],
          [{ reason: 'without-tls' }, withoutTls],
          [{ reason: 'streams' }, refusedStreams],
        ]
      },
    )
  }

  #ofVhosts({ http, https, tcpmux }: TunnelGauges): void {
    const each = (read: (counts: HttpVhostCounts | StreamVhostCounts) => number) => (): Sample[] =>
      Object.entries({ http: http(), https: https(), tcpmux: tcpmux() }).flatMap(([vhost, counts]) =>
        counts === undefined ? [] : [[{ vhost }, read(counts)]],
      )
    const vhost = ['vhost']
    this.#gauge(
      'vhost_connections',
      'Connections of users to vhosts',
      vhost,
      each(({ connections }) => connections),
    )
    this.#gauge(
      'vhost_routes',
      'Routes of vhosts',
      vhost,
      each(({ routes }) => routes),
    )
    this.#counter(
      'vhost_connections_refused_total',
      'Connections to vhosts that were closed at once, there were too many',
      vhost,
      each(({ refused }) => refused),
    )
    this.#counter(
      'vhost_connections_total',
      'What became of connections to https and tcpmux',
      ['vhost', 'result'],
      () =>
        Object.entries({ https: https(), tcpmux: tcpmux() }).flatMap(([name, counts]) =>
          counts === undefined
            ? []
            : resultsOf(counts).map(([result, count]) => [{ vhost: name, result }, count]),
        ),
    )
    this.#counter(
      'http_answers_total',
      'Answers to HTTP requests, by class of their status',
      ['status'],
      () => Object.entries(http()?.answers ?? {}).map(([status, count]) => [{ status }, count]),
    )
    this.#counter('http_failures_total', 'Answers to HTTP requests that no backend gave', ['reason'], () => {
      const counts = http()
      if (counts === undefined) return []
      return [
        [{ reason: 'not-found' }, counts.notFound],
        [{ reason: 'unauthorized' }, counts.unauthorized],
        [{ reason: 'bad-gateway' }, counts.badGateway],
        [{ reason: 'unavailable' }, counts.unavailable],
        [{ reason: 'gateway-timeout' }, counts.gatewayTimeout],
      ]
    })
  }

  #gauge(name: string, help: string, labelNames: readonly string[], read: () => readonly Sample[]): void {
    this.#registry.registerMetric(
      new Gauge({
        name: `sluice_tunnel_${name}`,
        help,
        labelNames,
        registers: [],
        collect() {
          this.reset()
          for (const [labels, value] of read()) this.set(labels, value)
        },
      }),
    )
  }

  /** Of numbers that are counted elsewhere. */
  #counter(name: string, help: string, labelNames: readonly string[], read: () => readonly Sample[]): void {
    this.#registry.registerMetric(
      new Counter({
        name: `sluice_tunnel_${name}`,
        help,
        labelNames,
        registers: [],
        collect() {
          this.reset()
          for (const [labels, value] of read()) this.inc(labels, value)
        },
      }),
    )
  }
}

function resultsOf(counts: StreamVhostCounts): readonly (readonly [string, number])[] {
  return [
    ['routed', counts.routed],
    ['not-found', counts.notFound],
    ['no-backend', counts.noBackend],
    ['unauthorized', counts.unauthorized],
    ['malformed', counts.malformed],
    ['overdue', counts.overdue],
  ]
}
