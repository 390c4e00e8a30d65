import { readClientHello } from './client-hello.ts'

/** What the first bytes of a connection say. */
export type ServerNameProgress =
  /** The ClientHello is not there in full; try again with more bytes from the same beginning. */
  | { readonly kind: 'more' }
  /** `name` is in lower case and without a trailing dot; empty when the client asks for none. */
  | { readonly kind: 'hello'; readonly name: string }
  | { readonly kind: 'bad'; readonly reason: string }

/** A TLS record with the fatal alert `unrecognized_name` (RFC 6066 §3), in the form that every version reads. */
export const UNRECOGNIZED_NAME_ALERT: Uint8Array = Uint8Array.of(0x15, 0x03, 0x03, 0, 2, 2, 112)

/**
 * Reads the server name of a ClientHello from all bytes of a connection so far.
 *
 * @param maxBytes a ClientHello that takes more, records included, is `bad`
 */
export function readServerName(bytes: Uint8Array, maxBytes?: number): ServerNameProgress {
  const progress = readClientHello(bytes, maxBytes)
  return progress.kind === 'hello' ? { kind: 'hello', name: progress.name } : progress
}
