import { createHash, hkdfSync, pbkdf2Sync } from 'node:crypto'
import { constantTimeEqual } from '../../foundation/constant-time.ts'

/** The key of `cfbCodec` that belongs to a token or a proxy's secret key; an empty secret makes a key that all know. */
export function cfbKey(secret: string): Buffer {
  return pbkdf2Sync(secret, 'frp', 64, 16, 'sha1')
}

/**
 * What proves to a server that the sender has the token, and that a visitor has the secret key of a proxy (there it is called
 * `sign_key`); `timestamp` in seconds.
 */
export function privilegeKey(token: string, timestamp: number): string {
  return createHash('md5').update(token).update(String(timestamp)).digest('hex')
}

/** Whether `given` is the `privilegeKey` of a secret, in a time that tells nothing of where it differs. */
export function isPrivilegeKey(given: string, secret: string, timestamp: number): boolean {
  return constantTimeEqual(given, privilegeKey(secret, timestamp))
}

/** The key of one direction of a v2 control connection. */
export function aeadKey(
  algorithm: string,
  direction: 'client-to-server' | 'server-to-client',
  token: string,
  transcript: Uint8Array,
): Buffer {
  const info = `frp wire v2 control aead ${algorithm} ${direction}`
  return Buffer.from(hkdfSync('sha256', token, transcript, info, 32))
}
