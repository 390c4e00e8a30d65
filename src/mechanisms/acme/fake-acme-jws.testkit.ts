import { flattenedVerify, importJWK, type JWK } from 'jose'
import { z } from 'zod'

/** A request as ACME signs it (RFC 8555 §6.2). */
export interface SignedRequest {
  readonly url: string
  readonly nonce: string | undefined
  readonly kid: string | undefined
  readonly jwk: JWK | undefined
  /** Undefined for POST-as-GET. */
  readonly payload: unknown
}

const jwsSchema = z.strictObject({ protected: z.string(), payload: z.string(), signature: z.string() })
const headerSchema = z.object({
  alg: z.enum(['ES256', 'RS256']),
  url: z.string(),
  nonce: z.string().optional(),
  kid: z.string().optional(),
  jwk: z.record(z.string(), z.string()).optional(),
})

/**
 * Checks a signature by the key that it names, and gives what was signed.
 *
 * @param keyOf the key of an account's URL
 * @throws for anything that is not as it must be
 */
export async function verifyRequest(
  body: unknown,
  keyOf: (kid: string) => JWK | undefined,
): Promise<SignedRequest> {
  const jws = jwsSchema.parse(body)
  const header = headerSchema.parse(JSON.parse(Buffer.from(jws.protected, 'base64url').toString()))
  const { url, nonce, kid, jwk } = header
  if ((kid === undefined) === (jwk === undefined)) throw new Error('either kid or jwk')
  const key = kid === undefined ? jwk : keyOf(kid)
  if (key === undefined) throw new UnknownAccount()
  const { payload } = await flattenedVerify(jws, await importJWK(key as JWK, header.alg))
  const text = Buffer.from(payload).toString()
  return { url, nonce, kid, jwk: jwk as JWK | undefined, payload: text === '' ? undefined : JSON.parse(text) }
}

/** The `kid` is of no account. */
export class UnknownAccount extends Error {}

/** Checks an external account binding (RFC 8555 §7.3.4): the account's key, signed with one that both know. */
export async function verifyBinding(
  binding: unknown,
  expected: { readonly kid: string; readonly hmacKey: string; readonly url: string; readonly jwk: JWK },
): Promise<void> {
  const jws = jwsSchema.parse(binding)
  const { payload, protectedHeader } = await flattenedVerify(jws, Buffer.from(expected.hmacKey, 'base64url'))
  if (protectedHeader?.alg !== 'HS256') throw new Error('not HS256')
  if (protectedHeader['kid'] !== expected.kid || protectedHeader['url'] !== expected.url) {
    throw new Error('kid or url is another')
  }
  if (Buffer.from(payload).toString() !== JSON.stringify(sorted(expected.jwk))) throw new Error('another key')
}

function sorted(jwk: JWK): Record<string, unknown> {
  return Object.fromEntries(Object.entries(jwk).toSorted(([a], [b]) => a.localeCompare(b)))
}
