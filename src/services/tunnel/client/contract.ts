import type { ProxyConfig, VisitorConfig } from '../../../mechanisms/frp-config/index.ts'

/** As frpc calls them (reference §9). */
export type ProxyPhase = 'new' | 'wait start' | 'start error' | 'running' | 'check failed' | 'closed'

/** A proxy of the client, as the admin API and `frpc status` show it. */
export interface ProxyStatus {
  readonly name: string
  readonly type: ProxyConfig['type']
  readonly phase: ProxyPhase
  /** What the server answered, or why it does not run. */
  readonly error: string
  /** As the server said it: `:6000`, or domains. */
  readonly remoteAddr: string
  readonly config: ProxyConfig
}

/** What is to run; the rest of a configuration wants a restart. */
export interface ClientWork {
  readonly proxies: readonly ProxyConfig[]
  readonly visitors: readonly VisitorConfig[]
}

/** What an operator sees of the client and may do with it. */
export interface TunnelClientControl {
  readonly isLoggedIn: boolean
  readonly runId: string
  status(): readonly ProxyStatus[]
  /** Puts other proxies and visitors in force; those that are equal are left alone, with their connections. */
  update(work: ClientWork): void
}
