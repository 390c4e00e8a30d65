import type { Socket } from 'node:dgram'
import type { DtlsClient } from 'werift'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import type { Link, LinkHandlers, LinkOptions } from './link.ts'
import { connectUdp } from './udp-link.ts'

type DtlsTransport = ConstructorParameters<typeof DtlsClient>[0]['transport']

/**
 * Opens DTLS to the server, by werift's client: it encrypts, but checks neither certificate nor signatures, so it is there
 * for `--insecure` only.
 *
 * @throws TURNCAT_DTLS_UNVERIFIED without `--insecure`; else what Node or werift says
 */
export async function openDtlsLink(options: LinkOptions, handlers: LinkHandlers): Promise<Link> {
  if (!options.isInsecure) {
    throw new TurncatError(
      TurncatErrorCode.dtlsUnverified,
      'transport=dtls takes --insecure, since the server cannot be verified over DTLS here; transport=tls can be verified',
    )
  }
  // The package is large; most tunnels do without.
  const werift = await import('werift')
  const socket = await connectUdp(options)
  const client = new werift.DtlsClient({ transport: transportOf(socket), extendedMasterSecret: true })
  try {
    await handshake(client, socket, options.signal)
  } catch (error) {
    socket.close()
    throw error
  }
  return new DtlsLink(client, socket, handlers)
}

function transportOf(socket: Socket): DtlsTransport {
  const transport: DtlsTransport = {
    type: 'udp',
    address: socket.address(),
    closed: false,
    onData: () => undefined,
    send: (bytes) =>
      new Promise((resolve, reject) => {
        // Its last flight may be repeated after we have closed.
        if (transport.closed) resolve()
        else socket.send(bytes, (error) => (error === null ? resolve() : reject(error)))
      }),
    close: () => Promise.resolve(),
  }
  const from = socket.remoteAddress()
  socket.on('message', (bytes) => transport.onData(bytes, [from.address, from.port]))
  socket.once('close', () => {
    transport.closed = true
  })
  return transport
}

async function handshake(client: DtlsClient, socket: Socket, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    client.onConnect.once(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    client.onError.once(reject)
    client.onClose.once(() => reject(new Error('the server ended the handshake with an alert')))
    socket.on('error', reject)
    client.connect().catch(reject)
  })
}

class DtlsLink implements Link {
  readonly isStream = false
  readonly #client: DtlsClient
  readonly #socket: Socket
  #isClosed = false

  constructor(client: DtlsClient, socket: Socket, handlers: LinkHandlers) {
    this.#client = client
    this.#socket = socket
    const end = (error: Error | undefined): void => {
      if (this.#isClosed) return
      this.close()
      handlers.onEnd(error)
    }
    client.onData.subscribe((bytes) => handlers.onBytes(bytes))
    client.onClose.subscribe(() => end(undefined))
    client.onError.subscribe(end)
    socket.on('error', end)
  }

  send(bytes: Uint8Array): boolean {
    // A datagram that the system refuses is lost like others are.
    this.#client.send(Buffer.from(bytes)).catch(() => undefined)
    return true
  }

  get queuedBytes(): number {
    return this.#socket.getSendQueueSize()
  }

  // Datagrams that nobody reads are lost in time, and they have no end.
  pause(): void {}
  resume(): void {}
  endSending(): void {}

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.removeAllListeners('message')
    this.#socket.close()
  }
}
