import type { Socket } from 'node:net'
import { type ClientHelloProgress, readClientHello } from '../../protocols/tls-hello/index.ts'

type ClientHello = Extract<ClientHelloProgress, { kind: 'hello' }>

/**
 * Reads the ClientHello that a connection begins with, and leaves it in the socket. Undefined for what is none: whoever does
 * the handshake refuses it. A connection that ends before is destroyed and never tells `onHello`.
 */
export function peekClientHello(socket: Socket, onHello: (hello: ClientHello | undefined) => void): void {
  let held = Buffer.alloc(0)
  const onReadable = (): void => {
    const chunk: unknown = socket.read()
    if (!(chunk instanceof Uint8Array)) return
    held = Buffer.concat([held, chunk])
    const progress = readClientHello(held)
    if (progress.kind === 'more') return
    stop()
    socket.unshift(held)
    onHello(progress.kind === 'hello' ? progress : undefined)
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
