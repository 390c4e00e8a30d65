import type { Server } from 'node:net'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import { formatListenAddress, type ListenAddress } from './endpoint-text.ts'
import { NetError, NetErrorCode } from './errors.ts'

/**
 * Binds a TCP or HTTP server.
 * @throws NetError that names the address and what to do: `NET_PORT_TAKEN`, `NET_PORT_FORBIDDEN`,
 * `NET_ADDRESS_UNAVAILABLE`, `NET_LISTEN_FAILED`.
 */
export async function listenTcp(server: Server, listen: ListenAddress): Promise<void> {
  const { host, port } = listen
  await new Promise<void>((resolve, reject) => {
    const onError = (error: unknown): void => reject(listenError(listen, error))
    server.once('error', onError)
    server.listen({ port, ...(host !== undefined && { host }) }, () => {
      server.off('error', onError)
      resolve()
    })
  })
}

function listenError(listen: ListenAddress, error: unknown): NetError {
  const place = `TCP ${formatListenAddress(listen)}`
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return new NetError(
        NetErrorCode.portTaken,
        `${place} is taken by another program; stop it or configure another port`,
        error,
      )
    case 'EACCES':
      return new NetError(
        NetErrorCode.portForbidden,
        `${place} may not be bound by this user; configure a port above 1023 or grant CAP_NET_BIND_SERVICE`,
        error,
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new NetError(
        NetErrorCode.addressUnavailable,
        `${place} is not an address of this machine; configure one that is, or the port alone`,
        error,
      )
    default:
      return new NetError(
        NetErrorCode.listenFailed,
        `${place} cannot be opened: ${errorMessage(error)}`,
        error,
      )
  }
}
