import type { BackendPicker } from '../server/backend.ts'

/** A route by host, and for http by path and user (reference §13, §14). */
export interface VhostRoute {
  /** Lower case, without port: `a.example.com`, `*.example.com` or `*`. */
  readonly domain: string
  /** A prefix of the path; empty: all. Only http. */
  readonly location: string
  /** `routeByHTTPUser`; empty: any user. Not for https. */
  readonly httpUser: string
  readonly backends: BackendPicker
}

/** What an http proxy does to requests and answers, and whom it lets in. */
export interface HttpRules {
  readonly user: string
  readonly password: string
  readonly hostHeaderRewrite: string
  readonly requestHeaders: Readonly<Record<string, string>>
  readonly responseHeaders: Readonly<Record<string, string>>
}

/** What a CONNECT proxy asks of its users. */
export interface TcpmuxRules {
  readonly user: string
  readonly password: string
}

/** Where proxies put their routes. The function that is returned takes the route out again. */
export interface VhostRegistry<Rules> {
  /** @throws TunnelError TUNNEL_ROUTE_TAKEN `router config conflict` */
  add(route: VhostRoute, rules: Rules): () => void
}
