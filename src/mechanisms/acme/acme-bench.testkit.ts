import { createServer, type Server } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { TcpListener } from '../net/index.ts'
import { createRegistry, type Registry, silentLogger } from '../telemetry/index.ts'
import type { AcmeOptions } from './acme-options.ts'
import { type FakeAcmeOptions, FakeAcmeServer } from './fake-acme-server.testkit.ts'
import { TlsCertificates, type TlsCertificatesOptions } from './tls-certificates.ts'

/** An authority, and certificates whose challenges can be reached by it over HTTP and TLS. */
export class AcmeBench implements AsyncDisposable {
  readonly folder: string
  readonly registry: Registry = createRegistry('0')
  readonly authority: FakeAcmeServer
  readonly certificates: TlsCertificates
  readonly listener: TcpListener
  /** What came over connections that were made secure. */
  readonly received: string[] = []
  readonly #http: Server

  private constructor(
    folder: string,
    authority: FakeAcmeServer,
    acme: Partial<AcmeOptions>,
    options: Partial<TlsCertificatesOptions>,
  ) {
    this.folder = folder
    this.authority = authority
    this.certificates = new TlsCertificates({
      logger: silentLogger(),
      registry: this.registry,
      acme: {
        folder,
        directoryUrl: authority.directoryUrl,
        domains: ['a.test', 'b.test'],
        pollMs: 10,
        ...acme,
      },
      ...options,
    })
    this.#http = createServer((request, response) => {
      const [handler] = this.certificates.handlers
      if (handler?.matches(request.url ?? '', request.method ?? '') === true) {
        void handler.handle(request, response)
      } else response.writeHead(404).end()
    })
    this.listener = new TcpListener({
      listen: { host: '127.0.0.1', port: 0 },
      tls: { certificate: this.certificates, alpn: ['http/1.1'] },
      onConnection: (socket) => socket.on('data', (bytes: Buffer) => this.received.push(bytes.toString())),
    })
  }

  static async start(
    acme: Partial<AcmeOptions> = {},
    fake: Partial<FakeAcmeOptions> = {},
    options: Partial<TlsCertificatesOptions> = {},
    folder?: string,
  ): Promise<AcmeBench> {
    const ports = { http: () => 0, tls: () => 0 }
    const authority = await FakeAcmeServer.start({ ports, ...fake })
    const own = folder ?? (await mkdtemp(join(tmpdir(), 'sluice-acme-')))
    const bench = new AcmeBench(own, authority, acme, options)
    ports.http = () => (bench.#http.address() as AddressInfo).port
    ports.tls = () => bench.listener.port ?? 0
    bench.#http.listen(0, '127.0.0.1')
    await once(bench.#http, 'listening')
    await bench.certificates.start()
    await bench.listener.start()
    bench.certificates.obtain()
    return bench
  }

  /** The value of a metric, by its one label. */
  async metric(name: string, label: string): Promise<number | undefined> {
    const metric = await this.registry.getSingleMetric(name)?.get()
    return metric?.values.find(({ labels }) => Object.values(labels).includes(label))?.value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close()
    await this.certificates.close()
    this.#http.closeAllConnections()
    this.#http.close()
    await once(this.#http, 'close')
    await this.authority[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
  }
}
