import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { MemoryBalancerStore, streamKeyOf, streamKeyOfSrt } from '../../src/mechanisms/balancer/index.ts'
import { createDatapath, type Datapath } from '../../src/mechanisms/datapath/index.ts'
import { createRegistry, silentLogger } from '../../src/mechanisms/telemetry/index.ts'
import { SrtService, type SrtServiceOptions } from '../../src/services/media/srt/index.ts'
import { until } from '../harness/until.ts'

/** The SRT service on 127.0.0.1 with a datapath and a store of its own. */
export class SrtGateway implements AsyncDisposable {
  readonly service: SrtService
  readonly store: MemoryBalancerStore = new MemoryBalancerStore()
  readonly #datapath: Datapath

  static async start(
    engine: 'node' | 'native',
    options: Partial<SrtServiceOptions> = {},
  ): Promise<SrtGateway> {
    const gateway = new SrtGateway(engine, options)
    await gateway.#datapath.start()
    await gateway.service.start()
    return gateway
  }

  private constructor(engine: 'node' | 'native', options: Partial<SrtServiceOptions>) {
    this.#datapath = createDatapath({ engine })
    this.service = new SrtService({
      listen: [{ host: '127.0.0.1', port: 0 }],
      datapath: this.#datapath,
      balancer: this.store,
      streamKeyOf: ({ host, resource }) => streamKeyOfSrt(host, resource, { keys: 'normal', vhosts: [] }),
      logger: silentLogger(),
      registry: createRegistry('0.0.0'),
      ...options,
    })
  }

  get port(): number {
    return this.service.addresses[0]?.port ?? 0
  }

  /** Datagrams that were moved without TypeScript. */
  get forwarded(): number {
    return this.#datapath.totals().forwarded.packets
  }

  /** Leads a stream of the app `live` to an SRT listener on 127.0.0.1, by a stream id if need be. */
  async route(stream: string, port: number, streamId?: string): Promise<void> {
    const id = await this.store.announce({
      ip: '127.0.0.1',
      server: `srt-${port}`,
      service: 'run',
      pid: '1',
      ...{ rtmp: [], http: [], api: [], rtc: [] },
      ...(streamId === undefined
        ? { srt: [port] }
        : {
            srt: [],
            kind: 'custom' as const,
            urls: { srt: `srt://127.0.0.1:${port}?streamid=${streamId}` },
          }),
    })
    await this.store.pin(streamKeyOf('', 'live', stream), id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.close()
    await this.#datapath.close()
  }
}

/** A UDP port of 127.0.0.1 that was free a moment ago, for programs that take no 0. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  const closed = once(socket, 'close')
  socket.close()
  await closed
  return port
}

/** Waits until a program has bound a UDP port; what it says of itself comes before it does so. */
export async function untilBound(port: number): Promise<void> {
  const entry = `:${port.toString(16).toUpperCase().padStart(4, '0')} `
  await until(`UDP port ${port} to be bound`, () =>
    ['/proc/net/udp', '/proc/net/udp6'].some((table) => readFileSync(table, 'latin1').includes(entry)),
  )
}
