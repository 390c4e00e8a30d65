import type { TurnServer } from './turn-uri.ts'

/** A way to the TURN server: a socket, as tunnels see it. */
export interface Link {
  /** Whether bytes come in pieces cut anywhere. */
  readonly isStream: boolean
  /** False when there is enough in the way: wait for `onDrain`. */
  send(bytes: Uint8Array): boolean
  /** Bytes that the system has not taken yet. */
  readonly queuedBytes: number
  /** Stops reading, where the transport can. */
  pause(): void
  resume(): void
  /** Sends what is in the way, then says its end, where the transport can; what comes is still told. */
  endSending(): void
  /** Sends what is in the way, then closes; no handler is called any more. */
  close(): void
}

/** What a link tells. */
export interface LinkHandlers {
  /** Valid during the call. */
  readonly onBytes: (bytes: Uint8Array) => void
  readonly onDrain: () => void
  /** The other side or the network ended it; the link is closed. */
  readonly onEnd: (cause: Error | undefined) => void
}

/** How links are opened. */
export interface LinkOptions {
  readonly server: TurnServer
  /** Name for TLS to ask for and check. @defaultValue the server's host */
  readonly sni?: string
  /** Whether any certificate is good. */
  readonly isInsecure: boolean
  /** Given up when it is aborted. */
  readonly signal: AbortSignal
}

/** Bytes that may be in the way before a sender of datagrams is told to wait, and what it sends all the same is dropped. */
export const maxBytesInTheWay = 262_144
