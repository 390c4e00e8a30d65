/**
 * The PROXY protocol, versions 1 and 2 (the specification is HAProxy's): what a balancer sends ahead of a TCP
 * connection, so that the server learns who the client is. Listeners read it, tunnels and relays write it.
 *
 * @module
 */
export { decodeProxyHeader, maxProxyHeaderBytes } from './decode.ts'
export { encodeProxyHeader } from './encode.ts'
export type { ProxyAddresses, ProxyEndpoint, ProxyHeader, ProxyHeaderResult } from './header.ts'
