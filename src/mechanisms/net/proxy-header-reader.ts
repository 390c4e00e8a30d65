import type { Socket } from 'node:net'
import { decodeProxyHeader, type ProxyHeader } from '../../protocols/proxy-protocol/index.ts'

/**
 * Reads the PROXY protocol header that a connection must begin with. What came behind it stays in the socket. A
 * connection that begins otherwise, or ends within the header, is destroyed and never tells `onHeader`.
 */
export function readProxyHeader(socket: Socket, onHeader: (header: ProxyHeader) => void): void {
  let held = Buffer.alloc(0)
  const onReadable = (): void => {
    const chunk: unknown = socket.read()
    if (!(chunk instanceof Uint8Array)) return
    held = Buffer.concat([held, chunk])
    const result = decodeProxyHeader(held)
    if (result.kind === 'more') return
    stop()
    if (result.kind !== 'header') {
      socket.destroy()
      return
    }
    if (held.length > result.bytes) socket.unshift(held.subarray(result.bytes))
    onHeader(result.header)
  }
  const onEnd = (): void => {
    stop()
    socket.destroy()
  }
  const stop = (): void => {
    socket.off('readable', onReadable)
    socket.off('end', onEnd)
  }
  socket.on('readable', onReadable)
  socket.on('end', onEnd)
}
