/**
 * TCP for the services: listeners with caps, the texts that name them, and the pipe that joins two sockets
 * once their dialogue is over.
 */
export { formatListenAddress, parseListenText } from './endpoint-text.ts'
export type { ListenAddress } from './endpoint-text.ts'
export { NetError, NetErrorCode } from './errors.ts'
export { readByOnread } from './onread-socket.ts'
export type { OnreadSocket } from './onread-socket.ts'
export { SocketPipe } from './pipe.ts'
export type { PipeEnd, PipeOptions, PipeTransform, Sink } from './pipe.ts'
export { TcpListener } from './tcp-listener.ts'
export type { TcpListenerOptions } from './tcp-listener.ts'
