import { Counter, Gauge, Histogram, type Registry } from '../../../mechanisms/telemetry/index.ts'

/** Why a user connection was not carried: a limit, no work connection in time, or no proxy behind the listener. */
export type UserRefusal = 'limit' | 'no-work-connection' | 'no-backend'

/** Why a login was refused. */
export type LoginRefusal = 'protocol' | 'unauthorized' | 'limit' | 'timeout'

/** Gauges that a scrape asks for. */
export interface TunnelGauges {
  clients(): number
  proxies(): number
  unauthenticated(): number
}

/** The tunnel server's own numbers; those with frp's names are the statistics'. */
export class TunnelMetrics {
  readonly #refusedUsers: Counter<'reason'>
  readonly #refusedLogins: Counter<'reason'>
  readonly #waits: Histogram
  readonly #udpDrops: Counter<'reason'>

  constructor(registry: Registry, gauges: TunnelGauges) {
    const registers = [registry]
    this.#refusedUsers = new Counter({
      name: 'sluice_tunnel_user_connections_refused_total',
      help: 'User connections that were not carried',
      labelNames: ['reason'],
      registers,
    })
    this.#refusedLogins = new Counter({
      name: 'sluice_tunnel_logins_refused_total',
      help: 'Logins that were refused',
      labelNames: ['reason'],
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
    gauge('sluice_tunnel_clients', 'Clients that are logged in', () => gauges.clients())
    gauge('sluice_tunnel_proxies', 'Proxies that are registered', () => gauges.proxies())
    gauge('sluice_tunnel_connections_unauthenticated', 'Connections that have not shown whose they are', () =>
      gauges.unauthenticated(),
    )

    function gauge(name: string, help: string, read: () => number): void {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read())
        },
      })
    }
  }

  userRefused(reason: UserRefusal): void {
    this.#refusedUsers.inc({ reason })
  }

  loginRefused(reason: LoginRefusal): void {
    this.#refusedLogins.inc({ reason })
  }

  waited(ms: number): void {
    this.#waits.observe(ms / 1000)
  }

  udpDropped(reason: 'queue' | 'length' | 'no-work-connection'): void {
    this.#udpDrops.inc({ reason })
  }
}
