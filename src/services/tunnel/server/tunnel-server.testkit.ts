import { type Clock, systemClock } from '../../../foundation/clock.ts'
import { NodeDatapath } from '../../../mechanisms/datapath/index.ts'
import { frpsConfigOf, type TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import { type Logger, Registry, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import type { ServerAuth } from '../auth/contract.ts'
import { tokenAuth } from '../auth/token-auth.ts'
import type { ProxyView, TunnelRecorder } from '../statistics/contract.ts'
import { TunnelServer } from './tunnel-server.ts'

/** What `TunnelServer` tells, as short texts. */
export class NotedRecorder implements TunnelRecorder {
  readonly events: string[] = []
  /** User connections that are open, by proxy. */
  readonly open = new Map<string, number>()
  bytesIn = 0
  bytesOut = 0

  clientOnline({ runId }: { readonly runId: string }): void {
    this.events.push(`+client ${runId}`)
  }

  clientOffline(runId: string): void {
    this.events.push(`-client ${runId}`)
  }

  proxyOnline({ name }: ProxyView): ReturnType<TunnelRecorder['proxyOnline']> {
    this.events.push(`+${name}`)
    return {
      open: () => {
        this.open.set(name, (this.open.get(name) ?? 0) + 1)
        return () => this.open.set(name, (this.open.get(name) ?? 0) - 1)
      },
      addIn: (bytes) => void (this.bytesIn += bytes),
      addOut: (bytes) => void (this.bytesOut += bytes),
    }
  }

  proxyOffline(name: string): void {
    this.events.push(`-${name}`)
  }
}

export interface ServedOptions {
  /** As in a file of frps; the token is `secret`, all listens on loopback. */
  readonly raw?: Readonly<Record<string, unknown>>
  readonly clock?: Clock
  readonly auth?: ServerAuth
  /** @defaultValue writes nothing */
  readonly logger?: Logger
  /** @defaultValue the system's */
  readonly random?: (length: number) => Uint8Array
  /** Called when a port for udp has been opened, before the server is told. */
  readonly onUdpPort?: () => void
}

/** A server on a free port. Disposing closes it. */
export interface Served extends AsyncDisposable {
  readonly server: TunnelServer
  readonly port: number
  readonly config: TunnelServerConfig
  readonly recorder: NotedRecorder
  /** The value of a metric, summed over those of its labels that are given. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>
}

export async function startServer({
  raw = {},
  clock = systemClock,
  auth,
  logger = silentLogger(),
  random,
  onUdpPort,
}: ServedOptions = {}): Promise<Served> {
  const config = serverConfig(raw)
  const recorder = new NotedRecorder()
  const registry = new Registry()
  const datapath = new NodeDatapath({ clock: systemClock })
  await datapath.start()
  const openEndpoint = datapath.openEndpoint.bind(datapath)
  datapath.openEndpoint = async (...args) => {
    const endpoint = await openEndpoint(...args)
    onUdpPort?.()
    return endpoint
  }
  const server = new TunnelServer({
    config,
    auth: auth ?? tokenAuth(config.auth, { clock }),
    recorder,
    datapath,
    clock,
    logger,
    registry,
    ...(random !== undefined && { random }),
  })
  await server.start()
  const { port } = server
  if (port === undefined) throw new Error('the server does not listen')
  return {
    server,
    port,
    config,
    recorder,
    async metric(name, labels = {}) {
      const samples = await registry.getSingleMetric(name)?.get()
      if (samples === undefined) throw new Error(`no metric ${name}`)
      return samples.values
        .filter((value) =>
          Object.entries(labels).every(([key, text]) => Reflect.get(value.labels, key) === text),
        )
        .reduce((sum, { value }) => sum + value, 0)
    },
    async [Symbol.asyncDispose]() {
      await server.close()
      await datapath.close()
    },
  }
}

/** frp's defaults on loopback, with the token `secret`; without `bindPort` any free port. */
export function serverConfig(raw: Readonly<Record<string, unknown>> = {}): TunnelServerConfig {
  const whole = { bindAddr: '127.0.0.1', auth: { token: 'secret' }, ...raw }
  const { config } = frpsConfigOf(whole, { env: {} })
  return { ...config, bindPort: raw['bindPort'] === undefined ? 0 : config.bindPort }
}
