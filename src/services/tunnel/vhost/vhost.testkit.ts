import { connect, createServer, type Server, type Socket } from 'node:net'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { joinStreams, socketStream } from '../../../mechanisms/streams/index.ts'
import { TunnelError } from '../errors.ts'
import type { Backend, BackendPicker, UserAddress } from '../server/backend.ts'
import type { HttpRules, VhostRoute } from './contract.ts'

export const noRules: HttpRules = {
  user: '',
  password: '',
  hostHeaderRewrite: '',
  requestHeaders: {},
  responseHeaders: {},
}

/** A service behind a proxy, reached over loopback; it does with each connection what the test says. */
export class Service implements Backend {
  readonly proxyName: string
  /** Whom connections were made for. */
  readonly addresses: UserAddress[] = []
  readonly sockets: Socket[] = []
  /** What each connection has brought, in latin1. */
  readonly heard: string[] = []
  isDown = false
  readonly #server: Server
  #port = 0

  private constructor(proxyName: string, server: Server) {
    this.proxyName = proxyName
    this.#server = server
  }

  /** @param onData called with what has come on the connection so far */
  static async start(onData: (socket: Socket, heard: string) => void, proxyName = 'web'): Promise<Service> {
    const server = createServer({ allowHalfOpen: true })
    const service = new Service(proxyName, server)
    server.on('connection', (socket) => {
      const at = service.sockets.push(socket) - 1
      service.heard[at] = ''
      socket.on('error', () => undefined)
      socket.on('data', (bytes) => {
        service.heard[at] += bytes.toString('latin1')
        onData(socket, service.heard[at] ?? '')
      })
    })
    await service.listen()
    return service
  }

  /** One that is a server of Node's. */
  static async of(server: Server, proxyName = 'web'): Promise<Service> {
    const service = new Service(proxyName, server)
    server.on('connection', (socket: Socket) => service.sockets.push(socket))
    await service.listen()
    return service
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const address = this.#server.address()
    this.#port = typeof address === 'object' && address !== null ? address.port : 0
  }

  serve(user: ByteStream, address: UserAddress): void {
    this.connect(address).then(
      (stream) => joinStreams(user, stream),
      () => user.destroy(),
    )
  }

  async connect(address: UserAddress): Promise<ByteStream> {
    if (this.isDown) throw new TunnelError('TUNNEL_NO_BACKEND', 'nobody is there', { side: 'origin' })
    this.addresses.push(address)
    const socket = connect({ port: this.#port, host: '127.0.0.1', allowHalfOpen: true })
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return socketStream(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Gives the members in turn. */
export function pickerOf(...members: readonly Backend[]): BackendPicker {
  let turn = 0
  return { next: () => members[turn++ % Math.max(1, members.length)] }
}

export function routeTo(domain: string, backends: BackendPicker, rest: Partial<VhostRoute> = {}): VhostRoute {
  return { domain, location: '', httpUser: '', backends, ...rest }
}

/** A user that says and hears bytes. */
export class RawUser {
  readonly socket: Socket
  heard = ''
  hasEnded = false
  isClosed = false
  readonly #waiting = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      this.heard += bytes.toString('latin1')
      this.#wake()
    })
    socket.on('end', () => {
      this.hasEnded = true
      this.#wake()
    })
    socket.on('close', () => {
      this.isClosed = true
      this.#wake()
    })
  }

  static async say(port: number | undefined, text: string): Promise<RawUser> {
    const socket = connect({ port: port ?? 0, host: '127.0.0.1', allowHalfOpen: true })
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    const user = new RawUser(socket)
    user.socket.write(text, 'latin1')
    return user
  }

  say(text: string): void {
    this.socket.write(text, 'latin1')
  }

  /** Resolves when what was heard is so. */
  async hears(what: string | RegExp): Promise<string> {
    await this.until(() => (typeof what === 'string' ? this.heard.includes(what) : what.test(this.heard)))
    return this.heard
  }

  /** Resolves when the other side has ended, or the connection is closed. */
  async ends(): Promise<string> {
    await this.until(() => this.hasEnded || this.isClosed)
    return this.heard
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      if (this.isClosed) throw new Error(`closed after ${JSON.stringify(this.heard)}`)
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
      })
    }
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }
}

/** Resolves when it is so; for what no event tells. */
export async function until(isSo: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 15_000
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Error(`never came true: ${String(isSo)}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** The text of a request. */
export function get(path: string, host: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`
}

export const ok = (body: string, headers = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`
