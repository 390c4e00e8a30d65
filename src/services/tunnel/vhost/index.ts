/**
 * Virtual hosts of the server: ports on which many proxies share by host name. A user connects, says whom it means (the
 * Host of a request, the SNI of a ClientHello, the authority of a CONNECT), and is led to the proxy's backend.
 *
 * - `HttpVhost`: a reverse proxy for HTTP/1.1 and cleartext HTTP/2; routes requests.
 * - `HttpsVhost`: routes TLS connections, their bytes untouched.
 * - `TcpmuxVhost`: routes CONNECT requests, and carries what follows.
 *
 * @module
 */
export type * from './contract.ts'
export { HttpVhost, type HttpVhostCounts, type HttpVhostOptions } from './http-vhost.ts'
export { HttpsVhost } from './https-vhost.ts'
export { TcpmuxVhost, type TcpmuxVhostOptions } from './tcpmux-vhost.ts'
export type { StreamVhostCounts, StreamVhostOptions } from './stream-vhost.ts'
