import type { TokenGrant } from '../../../mechanisms/frp-config/index.ts'
import type { Login, NewWorkConn, Ping } from '../../../protocols/frp/index.ts'

/** How a server knows its clients (reference §7). */
export interface ServerAuth {
  /**
   * Checks a login.
   * @throws TunnelError TUNNEL_UNAUTHORIZED, whose message the client is told
   */
  verifyLogin(login: Login): Promise<Identity>
  /** Whether a client that came with this identity, which another configuration may have given it, would still be let in. */
  holds(identity: Identity, user: string): boolean
}

/** A client that has logged in. */
export interface Identity {
  readonly method: 'token' | 'oidc'
  /** What the control channel and payload encryption are keyed with. */
  readonly token: string
  /** What it may do; undefined: everything that the server allows. Shared by all clients with the same token. */
  readonly grant: TokenGrant | undefined
  /** @throws TunnelError TUNNEL_UNAUTHORIZED */
  verifyPing(ping: Ping): Promise<void>
  /** @throws TunnelError TUNNEL_UNAUTHORIZED */
  verifyNewWorkConn(message: NewWorkConn): Promise<void>
}

/** What a client proves itself with. */
export interface ClientAuth {
  /** What the control channel and payload encryption are keyed with. */
  readonly token: string
  login(): Promise<Proof>
  /** Empty without the scope HeartBeats. */
  ping(): Promise<Proof>
  /** Empty without the scope NewWorkConns. */
  newWorkConn(): Promise<Proof>
}

export interface Proof {
  readonly privilege_key: string
  readonly timestamp: number
}
