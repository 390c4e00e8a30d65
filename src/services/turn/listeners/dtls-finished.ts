import { createHash, createHmac } from 'node:crypto'

/** What a client's Finished holds (RFC 5246 §7.4.9): 12 bytes, made of the master secret and all messages before. */
export function clientVerifyData(masterSecret: Uint8Array, messages: Uint8Array): Buffer {
  const seed = Buffer.concat([Buffer.from('client finished'), createHash('sha256').update(messages).digest()])
  const hmac = (...parts: readonly Uint8Array[]): Buffer =>
    createHmac('sha256', masterSecret).update(Buffer.concat(parts)).digest()
  return hmac(hmac(seed), seed).subarray(0, verifyDataBytes)
}

export const verifyDataBytes = 12
