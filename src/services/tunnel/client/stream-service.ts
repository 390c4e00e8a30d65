import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { ProxyConfig } from '../../../mechanisms/frp-config/index.ts'
import { formatListenAddress } from '../../../mechanisms/net/index.ts'
import type { StartWorkConn } from '../../../protocols/frp/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { type Agreed, type ProxyService, type ServiceParts, workLayers } from './proxy-service.ts'
import { tcpProxyHeader } from './proxy-header.ts'
import { QuietLog } from './quiet-log.ts'

/** Leads each work connection to a connection of its own to the local service: all types but udp and sudp. */
export class StreamService implements ProxyService {
  readonly #config: ProxyConfig
  readonly #parts: ServiceParts
  readonly #layers: (work: ByteStream) => ByteStream
  readonly #failures: QuietLog

  constructor(config: ProxyConfig, parts: ServiceParts) {
    this.#config = config
    this.#parts = parts
    this.#layers = workLayers(config, parts)
    this.#failures = new QuietLog(parts.clock, (fields, message) => parts.log.error(fields, message))
  }

  serve(connection: ByteStream, start: StartWorkConn, { halfClose }: Agreed): void {
    const { joins } = this.#parts
    if (joins.isFull) {
      this.#failures.note({ connections: joins.size }, 'too many connections')
      connection.destroy(
        new TunnelError(TunnelErrorCode.forbidden, 'too many connections', { side: 'self', retryable: true }),
      )
      return
    }
    const release = joins.hold()
    const work = this.#layers(connection)
    let isGone = false
    work.attach({
      onBytes: () => true,
      onEnd: ignore,
      onDrain: ignore,
      onClose: () => {
        isGone = true
      },
    })
    this.#dial(start).then(
      (local) => {
        if (isGone) local.destroy()
        else joins.add(work, local, halfClose)
        release()
      },
      (error: unknown) => {
        const { localIP, localPort } = this.#config
        const service = formatListenAddress({ host: localIP, port: localPort })
        this.#failures.note({ service, error: errorMessage(error) }, 'connect to local service error')
        // With a reason, so that a server that can tell its user (502) does.
        work.destroy(error instanceof Error ? error : new Error(String(error)))
        release()
      },
    )
  }

  close(): void {
    // Nothing is the service's own: the joins run on.
  }

  /** Connects, and says there who the user is if that is wanted. */
  async #dial(start: StartWorkConn): Promise<ByteStream> {
    const { localIP, localPort, transport } = this.#config
    const local = await this.#parts.dialLocal({ host: localIP, port: localPort })
    if (transport.proxyProtocolVersion === '' || start.src_addr === '' || start.src_port === 0) return local
    try {
      local.write(
        tcpProxyHeader(
          transport.proxyProtocolVersion,
          { address: start.src_addr, port: start.src_port },
          // A server that carries requests does not say which address was asked.
          { address: start.dst_addr === '' ? '127.0.0.1' : start.dst_addr, port: start.dst_port },
        ),
      )
    } catch (error) {
      local.destroy()
      throw error
    }
    return local
  }
}

function ignore(): void {}
