import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { readServerName, UNRECOGNIZED_NAME_ALERT } from '../../../protocols/tls-hello/index.ts'
import { sayLast } from './first-bytes.ts'
import { MAX_FIRST_BYTES, StreamVhost, type StreamVhostOptions } from './stream-vhost.ts'
import type { ConnectionAddress } from './vhost-port.ts'

/**
 * Leads TLS connections by the server name in their ClientHello (reference §14); their bytes reach the backend as they came.
 * A name without a route is answered with the alert `unrecognized_name`. Without a name only `*` is asked.
 */
export class HttpsVhost extends StreamVhost<undefined> {
  constructor(options: StreamVhostOptions) {
    super(options, 'vhost-https')
  }

  protected override async serve(stream: ByteStream, address: ConnectionAddress): Promise<void> {
    const first = await this.firstBytes(stream, (bytes) => {
      const progress = readServerName(bytes, MAX_FIRST_BYTES)
      return progress.kind === 'more' ? undefined : progress
    })
    if (first === undefined) return
    const { value, bytes } = first
    if (value.kind === 'bad') {
      this.malformed++
      this.log.debug({ reason: value.reason }, 'no TLS connection')
      stream.destroy()
      return
    }
    const found = this.routes.find(value.name, '', '')
    if (found === undefined) {
      this.notFound++
      this.log.debug({ host: value.name }, 'no route for a TLS connection')
      sayLast(stream, UNRECOGNIZED_NAME_ALERT, this.clock)
      return
    }
    const backend = found.route.backends.next()
    if (backend === undefined) {
      this.noBackend++
      stream.destroy()
      return
    }
    this.routed++
    stream.unread(bytes)
    backend.serve(stream, address)
  }
}
