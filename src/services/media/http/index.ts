/**
 * Media over HTTP. The edge listens, reads requests and hands each to the first handler that matches: HLS and DASH, live
 * bodies, which lead viewers to the origin that carries their stream, pages, and what the composition root adds (WHIP, WHEP).
 */
export type { HttpErrorCode } from './errors.ts'
export { type HttpHandler, replyError, replyJson } from './handler.ts'
export type { HlsProxyOptions } from './hls-options.ts'
export { HlsProxy } from './hls-proxy.ts'
export { HttpEdge, type HttpEdgeOptions } from './http-edge.ts'
export type { SecureHttpOptions } from './http-edge-listeners.ts'
export type { LiveProxyOptions } from './live-options.ts'
export { LiveProxy } from './live-proxy.ts'
export { StaticPages, type StaticPagesOptions } from './static-pages.ts'
