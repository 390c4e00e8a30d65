import type { Socket } from 'node:net'
import { type ClientHelloProgress, readClientHello } from '../../protocols/tls-hello/index.ts'
import { readBeginning } from './read-beginning.ts'

type ClientHello = Extract<ClientHelloProgress, { kind: 'hello' }>

/**
 * Reads the ClientHello that a connection begins with, and leaves it in the socket. Undefined for what is none: whoever does
 * the handshake refuses it. A connection that ends before is destroyed and never tells `onHello`.
 */
export function peekClientHello(socket: Socket, onHello: (hello: ClientHello | undefined) => void): void {
  const decode = (held: Buffer): Exclude<ClientHelloProgress, { kind: 'more' }> | undefined => {
    const progress = readClientHello(held)
    return progress.kind === 'more' ? undefined : progress
  }
  readBeginning(socket, decode, (progress, held) => {
    socket.unshift(held)
    onHello(progress.kind === 'hello' ? progress : undefined)
  })
}
