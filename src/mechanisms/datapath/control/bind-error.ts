import { errorCode } from '../../../foundation/errors.ts'
import type { Remote } from '../contract.ts'
import { DatapathError } from '../errors.ts'
import { familyOf } from './ip-address.ts'

/** What it means that the system did not bind, or connect, a socket. */
export function bindError(
  { address, port }: Remote,
  remote: Remote | undefined,
  cause: unknown,
  protocol: 'UDP' | 'TCP' = 'UDP',
): DatapathError {
  const where = familyOf(address) === 4 ? address : `[${address}]`
  switch (errorCode(cause)) {
    case 'EADDRINUSE':
      return new DatapathError('DATAPATH_PORT_TAKEN', `${protocol} port ${where}:${port} is taken`, cause)
    case 'EACCES':
    case 'EPERM':
      return new DatapathError(
        'DATAPATH_PORT_FORBIDDEN',
        `${protocol} port ${where}:${port} may not be bound by this user`,
        cause,
      )
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return new DatapathError('DATAPATH_ADDRESS_UNAVAILABLE', `no such local address: ${where}`, cause)
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
      return new DatapathError(
        'DATAPATH_ADDRESS_UNAVAILABLE',
        `${remote?.address} cannot be reached from ${where}`,
        cause,
      )
    default:
      return new DatapathError('DATAPATH_SYSTEM', `${protocol} port ${where}:${port} cannot be bound`, cause)
  }
}
