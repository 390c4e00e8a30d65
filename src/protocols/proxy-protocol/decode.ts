import { needMore, type ProxyHeaderResult } from './header.ts'
import { decodeV1, signatureV1 } from './version-1.ts'
import { decodeV2, signatureV2 } from './version-2.ts'

/** The longest header that is taken unless told otherwise: room for certificates among the fields of version 2. */
export const maxProxyHeaderBytes = 4096

/**
 * Reads the beginning of a connection, which may be cut anywhere; call it with all bytes so far until it says other
 * than `more`. It says so of less than 107 bytes (version 1) or `maxBytes` (version 2). Never throws.
 */
export function decodeProxyHeader(
  bytes: Uint8Array,
  maxBytes: number = maxProxyHeaderBytes,
): ProxyHeaderResult {
  const isV1 = agreesWith(bytes, signatureV1)
  const isV2 = agreesWith(bytes, signatureV2)
  if (isV1 && bytes.length >= signatureV1.length) return decodeV1(bytes)
  if (isV2 && bytes.length >= signatureV2.length) return decodeV2(bytes, maxBytes)
  return isV1 || isV2 ? needMore : { kind: 'none' }
}

/** Whether the bytes are the signature so far, or begin with it. */
function agreesWith(bytes: Uint8Array, signature: Uint8Array): boolean {
  return signature.every((byte, i) => i >= bytes.length || bytes[i] === byte)
}
