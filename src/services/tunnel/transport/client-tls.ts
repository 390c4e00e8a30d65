import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { errorMessage } from '../../../foundation/errors.ts'
import type { FrpcTransportConfig } from '../../../mechanisms/frp-config/index.ts'
import { TunnelError } from '../errors.ts'

/** What the client's side of TLS goes by. */
export interface ClientTls {
  readonly context: SecureContext
  /** Whether the server's certificate is verified. */
  readonly isVerified: boolean
  /** A name or an address, which the certificate must be for, where it is verified. */
  readonly serverName: string
}

/**
 * Reads the files of `transport.tls`. Without `trustedCaFile` the server's certificate is not verified, as with frpc.
 * @throws TunnelError TUNNEL_BAD_OPTION that names the file
 */
export async function readClientTls(
  { tls }: Pick<FrpcTransportConfig, 'tls'>,
  serverAddr: string,
): Promise<ClientTls> {
  const { trustedCaFile, certFile, keyFile, serverName } = tls
  const [ca, cert, key] = await Promise.all([
    readOption('trustedCaFile', trustedCaFile),
    readOption('certFile', certFile),
    readOption('keyFile', keyFile),
  ])
  try {
    const context = createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
    })
    return { context, isVerified: ca !== undefined, serverName: serverName === '' ? serverAddr : serverName }
  } catch (cause) {
    throw badOption(`transport.tls: its certificates cannot be used: ${errorMessage(cause)}`, cause)
  }
}

/** Rejects when the handshake fails, or the stream closes within it. Whoever destroys the stream ends it. */
export function secureClientSide(stream: Duplex, tls: ClientTls): Promise<TLSSocket> {
  const { context, isVerified, serverName } = tls
  return new Promise((resolve, reject) => {
    const socket = connect({
      socket: stream,
      secureContext: context,
      rejectUnauthorized: isVerified,
      // What the certificate is compared with.
      host: serverName,
      // RFC 6066 §3 has no addresses there.
      ...(isIP(serverName) === 0 && { servername: serverName }),
    })
    socket.on('error', (error: Error) =>
      reject(new Error(`TLS handshake: ${tlsReason(error)}`, { cause: error })),
    )
    socket.once('close', () => reject(new Error('TLS handshake: the server ended the connection')))
    socket.once('secureConnect', () => resolve(socket))
  })
}

/** OpenSSL's own words, without the numbers and places around them. */
function tlsReason(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : errorMessage(error).trim()
}

async function readOption(name: string, path: string): Promise<Buffer | undefined> {
  if (path === '') return undefined
  try {
    return await readFile(path)
  } catch (cause) {
    throw badOption(`transport.tls.${name} ${path}: ${errorMessage(cause)}`, cause)
  }
}

function badOption(message: string, cause: unknown): TunnelError {
  return new TunnelError('TUNNEL_BAD_OPTION', message, { side: 'self', cause })
}
