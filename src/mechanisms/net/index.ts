/**
 * TCP for the services: listeners with caps, the texts that name them, and the pipe that joins two sockets
 * once their dialogue is over.
 */
export { ConnectionCap, type ConnectionCapOptions } from './connection-cap.ts'
export { type Dial, dialTcp } from './dial.ts'
export { formatListenAddress, type ListenAddress, parseListenText } from './endpoint-text.ts'
export { listenTcp } from './listen-tcp.ts'
export { type PipeEnd, type PipeTransform, type Sink, SocketPipe } from './pipe.ts'
export { TcpListener } from './tcp-listener.ts'
