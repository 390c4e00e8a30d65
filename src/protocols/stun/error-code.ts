/** The content of ERROR-CODE. */
export interface StunErrorCode {
  /** 300 to 699. */
  readonly code: number
  /** For people; may be empty. */
  readonly reason: string
}

/** Reads ERROR-CODE (RFC 8489 §14.8); `undefined` when it is too short or its number out of range. */
export function decodeErrorCode(value: Uint8Array): StunErrorCode | undefined {
  const hundreds = (value[2] ?? 0) & 0x07
  const number = value[3] ?? 100
  if (hundreds < 3 || hundreds > 6 || number > 99) return undefined
  return { code: hundreds * 100 + number, reason: Buffer.from(value.subarray(4)).toString('utf8') }
}

/** Writes ERROR-CODE. Keep the reason short or empty over UDP: it is what an attacker would have amplified. */
export function encodeErrorCode({ code, reason }: StunErrorCode): Uint8Array {
  return Buffer.concat([Buffer.from([0, 0, Math.floor(code / 100), code % 100]), Buffer.from(reason, 'utf8')])
}

/** Writes UNKNOWN-ATTRIBUTES (RFC 8489 §14.9). */
export function encodeUnknownAttributes(types: readonly number[]): Uint8Array {
  return Uint8Array.from(types.flatMap((type) => [type >>> 8, type & 0xff]))
}
