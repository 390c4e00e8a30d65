import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { ProxyConfig } from '../../../mechanisms/frp-config/index.ts'
import type { StartWorkConn } from '../../../protocols/frp/index.ts'
import { type Agreed, type ProxyService, type ServiceParts, workLayers } from './proxy-service.ts'
import { QuietLog } from './quiet-log.ts'
import { UdpRelay } from './udp-relay.ts'

/** Work connections of a sudp proxy at a time: one for each visitor. */
const maxRelays = 1024
/** Users behind one visitor with a socket of their own. */
const maxUsersOfVisitor = 256

/**
 * Carries datagrams on work connections: for udp on one, which a new one replaces; for sudp on as many as there are visitors.
 */
export class UdpService implements ProxyService {
  readonly #config: ProxyConfig
  readonly #parts: ServiceParts
  readonly #layers: (work: ByteStream) => ByteStream
  readonly #relays = new Set<UdpRelay>()
  readonly #failures: QuietLog
  #isClosed = false

  constructor(config: ProxyConfig, parts: ServiceParts) {
    this.#config = config
    this.#parts = parts
    this.#layers = workLayers(config, parts)
    this.#failures = new QuietLog(parts.clock, (fields, message) => parts.log.error(fields, message))
  }

  serve(work: ByteStream, _start: StartWorkConn, agreed: Agreed): void {
    void this.#serve(work, agreed)
  }

  close(): void {
    this.#isClosed = true
    for (const relay of this.#relays) relay.close()
  }

  /** Never rejects. */
  async #serve(work: ByteStream, agreed: Agreed): Promise<void> {
    const { localIP, localPort, type, transport } = this.#config
    let address: string
    try {
      address = isIP(localIP) === 0 ? (await lookup(localIP)).address : localIP
    } catch (error) {
      this.#failures.note(
        { service: localIP, error: errorMessage(error) },
        'the name of a local service is unknown',
      )
      work.destroy()
      return
    }
    if (this.#isClosed || this.#relays.size >= maxRelays) {
      work.destroy()
      return
    }
    if (type === 'udp') for (const replaced of this.#relays) replaced.close()
    const { datapath, clock, log } = this.#parts
    const relay: UdpRelay = new UdpRelay({
      work: this.#layers(work),
      agreed,
      service: { address, port: localPort },
      ...(type === 'sudp' && { maxUsers: maxUsersOfVisitor }),
      proxyProtocolVersion: transport.proxyProtocolVersion,
      datapath,
      clock,
      log,
      onClose: () => this.#relays.delete(relay),
    })
    this.#relays.add(relay)
    relay.start()
  }
}
