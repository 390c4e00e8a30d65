import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { areCredentialsRight, BASIC_CHALLENGE, readBasicCredentials } from './basic-credentials.ts'
import { readConnectRequest } from './connect-request.ts'
import type { TcpmuxRules } from './contract.ts'
import { sayLast } from './first-bytes.ts'
import { hostName } from './host-name.ts'
import { NotFoundPage } from './not-found-page.ts'
import { StreamVhost, type StreamVhostOptions } from './stream-vhost.ts'
import type { ConnectionAddress } from './vhost-port.ts'

export interface TcpmuxVhostOptions extends StreamVhostOptions {
  /** `tcpmuxPassthrough`: the request itself goes to the backend, which answers it. @defaultValue false */
  readonly passthrough?: boolean
  /** `custom404Page`. @defaultValue our own page */
  readonly custom404Page?: string
}

const CONNECTED = Buffer.from('HTTP/1.1 200 OK\r\n\r\n')

/**
 * Leads connections by the CONNECT request that they begin with (reference §14): by its host, and by the user in
 * `Proxy-Authorization`. The password is checked before anything is promised, and what was sent right behind the request
 * belongs to the tunnel.
 */
export class TcpmuxVhost extends StreamVhost<TcpmuxRules> {
  readonly #isPassthrough: boolean
  readonly #page: NotFoundPage

  constructor(options: TcpmuxVhostOptions) {
    super(options, 'vhost-tcpmux')
    this.#isPassthrough = options.passthrough ?? false
    this.#page = new NotFoundPage(options.custom404Page ?? '', this.log)
  }

  protected override async serve(stream: ByteStream, address: ConnectionAddress): Promise<void> {
    const first = await this.firstBytes(stream, readConnectRequest)
    if (first === undefined) return
    const { value: request, bytes } = first
    if (typeof request === 'string') {
      this.malformed++
      this.#say(
        stream,
        request === 'malformed' ? '400 Bad Request' : '405 Method Not Allowed\r\nAllow: CONNECT',
      )
      return
    }
    const credentials = readBasicCredentials(request.proxyAuthorization)
    const host = hostName(request.authority)
    const found = this.routes.find(host, '', credentials?.user ?? '')
    if (found === undefined) {
      this.notFound++
      this.log.debug({ host }, 'no route for a CONNECT request')
      const page = await this.#page.read()
      this.#say(stream, '404 Not Found\r\nContent-Type: text/html; charset=utf-8', page)
      return
    }
    if (!areCredentialsRight(credentials, found.rules)) {
      this.unauthorized++
      this.#say(stream, `407 Proxy Authentication Required\r\nProxy-Authenticate: ${BASIC_CHALLENGE}`)
      return
    }
    const backend = found.route.backends.next()
    if (backend === undefined) {
      this.noBackend++
      this.#say(stream, '503 Service Unavailable')
      return
    }
    this.routed++
    stream.unread(this.#isPassthrough ? bytes : bytes.subarray(request.headBytes))
    if (!this.#isPassthrough) stream.write(CONNECTED)
    backend.serve(stream, address)
  }

  #say(stream: ByteStream, statusAndFields: string, body: Uint8Array = new Uint8Array(0)): void {
    const head = `HTTP/1.1 ${statusAndFields}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`
    sayLast(stream, Buffer.concat([Buffer.from(head), body]), this.clock)
  }
}
