/**
 * Media over HTTP. The edge listens, reads requests and hands each to the first handler that matches: HLS and DASH, live
 * bodies, which lead viewers to the origin that carries their stream, pages, and what the composition root adds (WHIP, WHEP).
 */
export type { HttpErrorCode } from './errors.ts'
export { type HttpHandler, replyError, replyJson } from './handler.ts'
export type { HlsProxyOptions } from './hls/hls-options.ts'
export { HlsProxy } from './hls/hls-proxy.ts'
export { HttpEdge, type HttpEdgeOptions } from './edge/http-edge.ts'
export type { SecureHttpOptions } from './edge/http-edge-listeners.ts'
export type { LiveProxyOptions } from './live/live-options.ts'
export { LiveProxy } from './live/live-proxy.ts'
export { StaticPages, type StaticPagesOptions } from './pages/static-pages.ts'
