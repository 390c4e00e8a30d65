import type { Session } from './session.ts'
import type { StrangerReason } from './stranger-reason.ts'

/** What became of a STUN request whose session was not here. */
export type AskedElsewhere =
  /** Its session is here now: the request is to be looked at again. */
  | { readonly kind: 'here' }
  /** It cannot be proved; this request decides who gets it. */
  | { readonly kind: 'bound'; readonly session: Session }
  | { readonly kind: 'dropped'; readonly reason: StrangerReason }

/** Who sent a request. */
export interface Sender {
  readonly transport: 'udp' | 'tcp'
  readonly address: string
}

/** Where sessions may be that are not here. */
export interface Elsewhere {
  /**
   * Takes a well-formed Binding request with a USERNAME that no session here has. Gives why nothing is asked; otherwise
   * `settled` is called later, once, with a copy of the request.
   *
   * @param bytes valid during the call
   */
  ask(
    bytes: Uint8Array,
    sender: Sender,
    settled: (request: Buffer, outcome: AskedElsewhere) => void,
  ): StrangerReason | undefined
  /** A session is over: what its client still sends is not asked for, though a store may know it for a moment. */
  forget(username: string): void
}

/** Without a shared store. */
export const nowhere: Elsewhere = { ask: () => 'unknown-session', forget: () => {} }
