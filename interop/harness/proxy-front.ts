import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { encodeProxyHeader } from '../../src/protocols/proxy-protocol/index.ts'

export interface ProxyFrontOptions {
  readonly version: 1 | 2
  /** Who it says the client is. */
  readonly source: string
  /** Its own address, of 127.0.0.0/8. */
  readonly from: string
  /** Where it leads, on 127.0.0.1. */
  readonly toPort: () => number
}

/** A TCP balancer that tells who its clients are by a PROXY protocol header, as HAProxy does with `send-proxy` and `send-proxy-v2`. */
export interface ProxyFront extends AsyncDisposable {
  readonly port: number
}

export async function startProxyFront({
  version,
  source,
  from,
  toPort,
}: ProxyFrontOptions): Promise<ProxyFront> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const back = connect({ port: toPort(), host: '127.0.0.1', localAddress: from })
    const destination = source.includes(':') ? '2001:db8::1' : '198.51.100.1'
    back.write(
      encodeProxyHeader({
        version,
        command: 'proxy',
        addresses: {
          source: { address: source, port: 4711 },
          destination: { address: destination, port: 443 },
        },
      }),
    )
    client.pipe(back).pipe(client)
    for (const socket of [client, back]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        back.destroy()
        sockets.delete(socket)
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
