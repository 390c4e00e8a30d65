import { createHash } from 'node:crypto'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { makeCertificate } from '../../src/mechanisms/net/certificate.testkit.ts'

/** What the HTTP services answer with: what they were asked, as they saw it. */
export interface SeenRequest {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly bodySha256: string
  readonly bodyBytes: number
}

/** Services that proxies lead to, on free ports of 127.0.0.1. */
export class LocalServices implements AsyncDisposable {
  /** Sends back what it is sent; its end too, after all. */
  readonly echo: number
  /** Reads until the end, then answers with the SHA-256 of it in hex and ends. */
  readonly digest: number
  /** Sends datagrams back. */
  readonly udp: number
  readonly http: number
  readonly https: number
  readonly #servers: readonly (Server | HttpServer)[]
  readonly #udp: UdpSocket

  private constructor(servers: readonly (Server | HttpServer)[], udp: UdpSocket) {
    const [echo = 0, digest = 0, http = 0, https = 0] = servers.map((server) => portOf(server))
    this.echo = echo
    this.digest = digest
    this.http = http
    this.https = https
    this.udp = udp.address().port
    this.#servers = servers
    this.#udp = udp
  }

  static async start(): Promise<LocalServices> {
    const certificate = await makeCertificate(['service.test'], [])
    const echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', ignore)
      socket.pipe(socket)
    })
    const digest = createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256')
      socket.on('error', ignore)
      socket.on('data', (chunk) => hash.update(chunk))
      socket.on('end', () => socket.end(hash.digest('hex')))
    })
    const answer = (tls: boolean): HttpServer => {
      const server = tls ? createHttpsServer(certificate) : createHttpServer()
      server.on('request', (request, response) => {
        const hash = createHash('sha256')
        let bodyBytes = 0
        request.on('data', (chunk: Buffer) => {
          hash.update(chunk)
          bodyBytes += chunk.length
        })
        request.on('end', () => {
          const seen = {
            method: request.method,
            url: request.url,
            headers: request.headers,
            bodySha256: hash.digest('hex'),
            bodyBytes,
          }
          response.setHeader('content-type', 'application/json')
          response.end(JSON.stringify(seen))
        })
      })
      return server
    }
    const servers = [echo, digest, answer(false), answer(true)]
    for (const server of servers) {
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
    }
    const udp = createSocket('udp4')
    udp.on('message', (message, from) => udp.send(message, from.port, from.address))
    udp.bind(0, '127.0.0.1')
    await once(udp, 'listening')
    return new LocalServices(servers, udp)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#udp.close()
    await Promise.all(
      this.#servers.map(async (server) => {
        if ('closeAllConnections' in server) server.closeAllConnections()
        server.close()
        await once(server, 'close')
      }),
    )
  }
}

function portOf(server: Server | HttpServer): number {
  return (server.address() as AddressInfo).port
}

function ignore(): void {}
