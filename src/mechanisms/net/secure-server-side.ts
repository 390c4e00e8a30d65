import type { Duplex } from 'node:stream'
import { type SecureContext, TLSSocket } from 'node:tls'
import { errorMessage } from '../../foundation/errors.ts'

/**
 * The only file that knows the inside of Node's TLS sockets. `tls.Server` can make any stream secure, but does not say
 * which of them it has made secure, and has one context for all that it made; a `TLSSocket` of one's own needs two things that
 * Node keeps to itself: its errors, and whether the client's certificate holds.
 */

/** How the server's side of a handshake is done. */
export interface ServerSideOptions {
  readonly context: SecureContext
  /** Whether the client must show a certificate that an authority of the context has signed. */
  readonly requiresCertificate: boolean
}

/**
 * The server's side of TLS upon a stream that was accepted elsewhere, which belongs to the socket from now on. Has no
 * deadline: whoever destroys the stream ends it. The socket stays open for writing after the peer has ended its side.
 * Rejects when the handshake fails; the stream is destroyed then.
 */
export function secureServerSide(stream: Duplex, options: ServerSideOptions): Promise<TLSSocket> {
  const { context, requiresCertificate } = options
  return new Promise((resolve, reject) => {
    // Who ends its side within the handshake is gone; the secure socket takes this over.
    stream.allowHalfOpen = false
    const socket = new TLSSocket(stream, {
      isServer: true,
      secureContext: context,
      requestCert: requiresCertificate,
      rejectUnauthorized: requiresCertificate,
    })
    let failure: unknown
    // Not told by `error` as long as a `tls.Server` could still want it.
    socket.on('_tlsError', (error: unknown) => {
      failure ??= error
      socket.destroy(error instanceof Error ? error : undefined)
    })
    socket.on('error', (error) => {
      failure ??= error
    })
    socket.once('close', () => {
      stream.destroy()
      reject(new Error(`TLS handshake: ${failure === undefined ? 'the client left' : errorMessage(failure)}`))
    })
    socket.once('secure', () => {
      const refusal = requiresCertificate ? certificateError(socket) : undefined
      if (refusal === undefined) {
        stream.allowHalfOpen = true
        socket.allowHalfOpen = true
        resolve(socket)
      } else {
        failure = refusal
        socket.destroy()
      }
    })
  })
}

/** Undefined when the certificate holds; anything that is not as this file knows it counts as one that does not. */
function certificateError(socket: TLSSocket): unknown {
  const inside: unknown = 'ssl' in socket ? socket.ssl : undefined
  if (!isVerifier(inside))
    return new Error('certificates of clients cannot be checked by this version of Node')
  return inside.verifyError() ?? undefined
}

function isVerifier(inside: unknown): inside is { verifyError(): unknown } {
  return (
    typeof inside === 'object' &&
    inside !== null &&
    'verifyError' in inside &&
    typeof inside.verifyError === 'function'
  )
}
