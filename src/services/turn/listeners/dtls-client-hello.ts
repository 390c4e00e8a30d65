/** What of a ClientHello matters before there is a handshake; views of what was received. */
export interface ClientHello {
  readonly version: number
  readonly random: Uint8Array
  readonly cookie: Uint8Array
  /** Where the cookie's length is in the message's body. */
  readonly cookieAt: number
  /** Whether it offers RFC 7627. */
  readonly hasExtendedMasterSecret: boolean
}

/** Reads the body of a ClientHello (RFC 6347 §4.2.1). Undefined when it is malformed. */
export function readClientHello(body: Uint8Array): ClientHello | undefined {
  const cookieAt = afterVector(body, randomAt + randomBytes, 1, 0, 32)
  const suitesAt = cookieAt === undefined ? undefined : afterVector(body, cookieAt, 1, 0, 255)
  const compressionAt = suitesAt === undefined ? undefined : afterVector(body, suitesAt, 2, 2, 0xfffe)
  const extensionsAt = compressionAt === undefined ? undefined : afterVector(body, compressionAt, 1, 1, 255)
  if (cookieAt === undefined || suitesAt === undefined || extensionsAt === undefined) return undefined
  const extensions = readExtensions(body, extensionsAt)
  if (extensions === undefined || body[0] !== dtlsMajor) return undefined
  return {
    version: ((body[0] as number) << 8) | (body[1] as number),
    random: body.subarray(randomAt, randomAt + randomBytes),
    cookie: body.subarray(cookieAt + 1, suitesAt),
    cookieAt,
    hasExtendedMasterSecret: extensions.has(extendedMasterSecret),
  }
}

const dtlsMajor = 0xfe
const randomAt = 2
const randomBytes = 32
const extendedMasterSecret = 23

/** The types of the extensions; none when there is no such field. */
function readExtensions(body: Uint8Array, at: number): ReadonlySet<number> | undefined {
  const types = new Set<number>()
  if (at === body.length) return types
  if (afterVector(body, at, 2, 0, 0xffff) !== body.length) return undefined
  for (let next = at + 2; next < body.length; ) {
    const end = afterVector(body, next + 2, 2, 0, 0xffff)
    if (end === undefined) return undefined
    types.add(((body[next] as number) << 8) | (body[next + 1] as number))
    next = end
  }
  return types
}

/** Where what follows a vector begins, if it is whole and its length is within these. */
function afterVector(
  body: Uint8Array,
  at: number,
  lengthBytes: 1 | 2,
  least: number,
  most: number,
): number | undefined {
  const from = at + lengthBytes
  if (from > body.length) return undefined
  const first = body[at] as number
  const length = lengthBytes === 1 ? first : (first << 8) | (body[at + 1] as number)
  return length < least || length > most || from + length > body.length ? undefined : from + length
}
