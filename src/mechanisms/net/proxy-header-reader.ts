import type { Socket } from 'node:net'
import { decodeProxyHeader, type ProxyHeader } from '../../protocols/proxy-protocol/index.ts'
import { readBeginning } from './read-beginning.ts'

/**
 * Reads the PROXY protocol header that a connection must begin with. What came behind it stays in the socket. A
 * connection that begins otherwise, or ends within the header, is destroyed and never tells `onHeader`.
 */
export function readProxyHeader(socket: Socket, onHeader: (header: ProxyHeader) => void): void {
  const decode = (
    held: Buffer,
  ): Exclude<ReturnType<typeof decodeProxyHeader>, { kind: 'more' }> | undefined => {
    const result = decodeProxyHeader(held)
    return result.kind === 'more' ? undefined : result
  }
  readBeginning(socket, decode, (result, held) => {
    if (result.kind !== 'header') {
      socket.destroy()
      return
    }
    if (held.length > result.bytes) socket.unshift(held.subarray(result.bytes))
    onHeader(result.header)
  })
}
