import { once } from 'node:events'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { makeCertificate } from '../net/certificate.testkit.ts'

/** Both ends of a TLS connection over loopback, the handshake over. */
export interface TlsConnection extends AsyncDisposable {
  readonly dialled: TLSSocket
  readonly accepted: TLSSocket
}

let certificate: ReturnType<typeof makeCertificate> | undefined

/** A TLS connection over loopback; disposing destroys both ends and closes the server. */
export async function openTlsConnection(): Promise<TlsConnection> {
  certificate ??= makeCertificate()
  const { cert, key } = await certificate
  const server = createServer({ cert, key, allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const accepting = once(server, 'secureConnection')
  const dialled = connect({ port: address.port, host: '127.0.0.1', ca: cert, servername: 'localhost' })
  dialled.on('error', () => undefined)
  await once(dialled, 'secureConnect')
  const [accepted]: TLSSocket[] = await accepting
  if (accepted === undefined) throw new Error('nothing accepted')
  accepted.on('error', () => undefined)
  return {
    dialled,
    accepted,
    async [Symbol.asyncDispose]() {
      dialled.destroy()
      accepted.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
