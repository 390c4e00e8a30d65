import { createSocket } from 'node:dgram'
import { isIP } from 'node:net'

/**
 * The address of this machine from which the system would send to `remote`, a literal address. Asks the routing
 * table by connecting a socket on which nothing is sent.
 */
export function localAddressTowards(remote: string): Promise<string> {
  const socket = createSocket(isIP(remote) === 6 ? 'udp6' : 'udp4')
  return new Promise<string>((resolve, reject) => {
    socket.once('error', reject)
    // Any port does: it is not looked at.
    socket.connect(9, remote, () => resolve(socket.address().address))
  }).finally(() => socket.close())
}
