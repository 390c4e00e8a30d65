import { once } from 'node:events'
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Link, LinkHandlers, LinkOptions } from './link.ts'

/** Opens TCP or TLS to the server. Rejects with what Node says. */
export async function openStreamLink(options: LinkOptions, handlers: LinkHandlers): Promise<Link> {
  const { server, signal } = options
  const socket = server.transport === 'tls' ? startTls(options) : connect(server.port, server.host)
  try {
    await once(socket, server.transport === 'tls' ? 'secureConnect' : 'connect', { signal })
  } catch (error) {
    socket.destroy()
    throw error
  }
  socket.setNoDelay(true)
  return new StreamLink(socket, handlers)
}

function startTls({ server, sni, isInsecure }: LinkOptions): Socket {
  // An address is no server name (RFC 6066 §3); Node then checks the certificate for the address.
  const servername = sni ?? (isIP(server.host) === 0 ? server.host : undefined)
  return connectTls({
    host: server.host,
    port: server.port,
    ...(servername !== undefined && { servername }),
    rejectUnauthorized: !isInsecure,
  })
}

class StreamLink implements Link {
  readonly isStream = true
  readonly #socket: Socket

  constructor(socket: Socket, handlers: LinkHandlers) {
    this.#socket = socket
    let failure: Error | undefined
    socket.on('data', handlers.onBytes)
    socket.on('drain', handlers.onDrain)
    socket.on('error', (error) => {
      failure = error
    })
    socket.once('close', () => handlers.onEnd(failure))
  }

  send(bytes: Uint8Array): boolean {
    return this.#socket.write(bytes)
  }

  get queuedBytes(): number {
    return this.#socket.writableLength
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  endSending(): void {
    this.#socket.end()
  }

  close(): void {
    this.#socket.removeAllListeners('data').removeAllListeners('drain').removeAllListeners('close')
    // Reads on, so that the other side's end is seen, and waits for it no longer than a moment.
    this.#socket.resume()
    this.#socket.end()
    // The socket keeps the process alive until then, and nothing does when it has been closed before.
    const late = setTimeout(() => this.#socket.destroy(), closeTimeoutMs).unref()
    this.#socket.once('close', () => clearTimeout(late))
  }
}

const closeTimeoutMs = 2000
