import { isIP, type Server, Socket } from 'node:net'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import { NetError, NetErrorCode } from './errors.ts'

/**
 * TCP sockets that somebody else has bound, by their descriptor: Node cannot set `SO_REUSEPORT`, so that one port both
 * listens and connects, and `Datapath.bindTcp` can. Each descriptor goes to one of these functions, once, and
 * is theirs from then on: it closes with the server or the socket, also when listening or connecting fails.
 */

/**
 * Makes the server listen on a bound descriptor. The server closes it.
 *
 * @throws NetError: `NET_PORT_TAKEN` where somebody else has begun to listen there since it was bound, `NET_LISTEN_FAILED`
 */
export async function listenOnDescriptor(server: Server, fd: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: unknown): void => reject(listenError(error))
    server.once('error', onError)
    server.listen({ fd }, () => {
      server.off('error', onError)
      resolve()
    })
  })
}

function listenError(error: unknown): NetError {
  return errorCode(error) === 'EADDRINUSE'
    ? new NetError(
        NetErrorCode.portTaken,
        'the TCP port was taken by another program since it was bound',
        error,
      )
    : new NetError(NetErrorCode.listenFailed, `a bound socket cannot listen: ${errorMessage(error)}`, error)
}

/** Whom to connect to. */
export interface DescriptorPeer {
  /** A literal address, of the family of the descriptor. */
  readonly host: string
  readonly port: number
}

/** As of `net.connect`. */
export interface DescriptorOptions {
  /** Whether the socket can still be written to when the peer has ended its side. @defaultValue false */
  readonly allowHalfOpen?: boolean
  /** Whether small writes leave at once. @defaultValue false */
  readonly noDelay?: boolean
}

/**
 * Connects a bound descriptor. The socket closes it, and tells of a peer that refuses or cannot be reached by an `error`
 * event, as one of `net.connect` does. A second connection from one port to one peer ends with `EADDRNOTAVAIL`.
 *
 * @throws TypeError, RangeError for a name in place of an address, or a port that cannot be
 */
export function connectFromDescriptor(
  fd: number,
  { host, port }: DescriptorPeer,
  { allowHalfOpen = false, noDelay = false }: DescriptorOptions = {},
): Socket {
  // Reads at once, which fails on a socket that is not connected, or being connected, when the event loop next polls it.
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen })
  try {
    socket.setNoDelay(noDelay)
    // A name takes a look-up, and so longer than that.
    if (isIP(host) === 0) throw new TypeError(`host "${host}": must be a literal address`)
    return socket.connect({ host, port })
  } catch (error) {
    socket.destroy()
    throw error
  }
}
