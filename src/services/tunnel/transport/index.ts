/**
 * The way between client and server, up to where frp's own messages begin: the server's port with all that may come to it
 * (TLS, WebSocket, yamux, HTTP for others), and the client's dialling.
 */
export { type ConnectParts, connectServer } from './connect-server.ts'
export type { AcceptedConnection, PeerInfo, ServerLink, Session } from './contract.ts'
export { TunnelListener, type TunnelListenerCounts, type TunnelListenerOptions } from './tunnel-listener.ts'
