import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import type { StunnerdConfigFile } from './stunnerd-daemon.ts'

/** A config discovery server as STUNner's control plane has one: it answers with a configuration, and pushes others. */
export class FakeCds implements AsyncDisposable {
  /** Paths that were asked for, watches among them. */
  readonly requests: string[] = []
  #config: string
  readonly #http: Server
  readonly #watchers: WebSocketServer

  static async start(config: StunnerdConfigFile): Promise<FakeCds> {
    const cds = new FakeCds(config)
    cds.#http.listen(0, '127.0.0.1')
    await once(cds.#http, 'listening')
    return cds
  }

  private constructor(config: StunnerdConfigFile) {
    this.#config = JSON.stringify(config)
    this.#http = createServer(({ url = '' }, response) => {
      this.requests.push(url)
      response.end(this.#config)
    })
    this.#watchers = new WebSocketServer({ server: this.#http })
    this.#watchers.on('connection', (socket, { url = '' }) => {
      this.requests.push(url)
      socket.send(this.#config)
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`
  }

  /** Who is watching. */
  get watchers(): ReadonlySet<WebSocket> {
    return this.#watchers.clients
  }

  /** Sends a configuration to who is watching, and to who asks later. */
  push(config: StunnerdConfigFile): void {
    this.#config = JSON.stringify(config)
    for (const socket of this.#watchers.clients) socket.send(this.#config)
  }

  /** Cuts the connections of all who watch. */
  cut(): void {
    for (const socket of this.#watchers.clients) socket.terminate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#http.closeAllConnections()
    await new Promise((resolve) => this.#http.close(resolve))
  }
}
