/**
 * Media over HTTP. The edge listens, reads requests and hands each to the first handler that matches: HTTP-FLV, which leads
 * viewers to the origin that carries their stream, pages, and what the composition root adds (WHIP, WHEP).
 */
export type { HttpErrorCode } from './errors.ts'
export { FlvProxy, type FlvProxyOptions } from './flv-proxy.ts'
export { type HttpHandler, replyError, replyJson } from './handler.ts'
export { HttpEdge, type HttpEdgeOptions } from './http-edge.ts'
export { StaticPages, type StaticPagesOptions } from './static-pages.ts'
