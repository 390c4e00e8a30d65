import { type HttpHandler, replyError } from '../services/media/http/index.ts'

/** Clients are told to come back after so many seconds; by then a load balancer has noticed. */
const RETRY_AFTER_SECONDS = 5

/**
 * A handler that answers 503 while `isDraining` says so, for handlers that do not drain by themselves. The server
 * goes on listening meanwhile, since clients end their WebRTC sessions over it.
 */
export function drainable(handler: HttpHandler, isDraining: () => boolean): HttpHandler {
  return {
    matches: (pathname, method, query) => handler.matches(pathname, method, query),
    async handle(request, response) {
      if (!isDraining()) return await handler.handle(request, response)
      replyError(response, 503, 'HTTP_DRAINING', { 'Retry-After': String(RETRY_AFTER_SECONDS) })
    },
  }
}
