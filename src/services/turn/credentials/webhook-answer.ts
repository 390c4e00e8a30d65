import { z } from 'zod'
import { userhash } from '../../../protocols/stun/index.ts'
import type { Credential, CredentialClaim } from './contract.ts'
import { CredentialError } from './errors.ts'
import { hashedKeyCredential, type Identity, parseHashedKey, passwordCredential } from './keyed-credential.ts'
import { opaqueString, opaqueStringRefusal } from './opaque-string.ts'

/** A credential that a webhook answered with. */
export interface AnsweredCredential {
  readonly credential: Credential
  readonly maxAllocations: number | undefined
}

/** Each costs the server an HMAC for every request that none of them proves. */
const maxCredentials = 8

const text = z.string().min(1).max(512)

/** Fields that are not named here are ignored. */
const answerSchema = z.object({
  credentials: z
    .array(
      z
        .object({
          username: text.optional(),
          userId: text.optional(),
          password: text.optional(),
          key: z.string().optional(),
          // Up to the last time that a Date can show.
          expiresAt: z.number().min(0).max(8.64e12).optional(),
          strict: z.boolean().optional(),
          maxAllocations: z.int().min(0).optional(),
        })
        .refine(({ password, key }) => (password === undefined) !== (key === undefined), {
          error: 'needs either password or key',
        }),
    )
    .max(maxCredentials),
})

type Answered = z.infer<typeof answerSchema>['credentials'][number]

/**
 * Reads the body of a webhook's answer.
 *
 * @throws TURN_WEBHOOK_BAD_ANSWER, which names the field but no value: values are secret
 */
export function parseWebhookAnswer(body: Buffer, claim: CredentialClaim): readonly AnsweredCredential[] {
  const { success, data, error } = answerSchema.safeParse(parseJson(body))
  if (!success) {
    const [issue] = error.issues
    throw badAnswer(`${issue?.path.join('.')}: ${issue?.message}`)
  }
  return data.credentials.map((answered, index) => ({
    credential: credentialOf(answered, claim, `credentials.${index}`),
    maxAllocations: answered.maxAllocations,
  }))
}

function credentialOf(answered: Answered, claim: CredentialClaim, place: string): Credential {
  const { password, key, expiresAt, strict } = answered
  const realm = opaqueString(claim.realm)
  if (realm === undefined) throw badAnswer('there is no user in this realm')
  const username = usernameOf(answered, { ...claim, realm }, place)
  const identity: Identity = {
    username,
    userId: answered.userId ?? username,
    ...(expiresAt !== undefined && { expiresAtMs: expiresAt * 1000 }),
    ...(strict !== undefined && { isStrict: strict }),
  }
  if (password !== undefined) {
    const prepared = opaqueString(password)
    if (prepared === undefined) throw badAnswer(`${place}.password ${opaqueStringRefusal}`)
    return passwordCredential(identity, realm, () => prepared)
  }
  const hashed = parseHashedKey(key ?? '')
  if (hashed === undefined) throw badAnswer(`${place}.key: not of 32 or 64 hexadecimal digits`)
  return hashedKeyCredential(identity, hashed)
}

/** The name that was asked about; only behind a USERHASH does the webhook have to tell it. */
function usernameOf({ username }: Answered, claim: CredentialClaim, place: string): string {
  if (claim.username !== undefined) {
    if (username === undefined || username === claim.username) return claim.username
    throw badAnswer(`${place}.username: not the one that was asked about`)
  }
  if (
    username === undefined ||
    claim.userhash === undefined ||
    !userhash(username, claim.realm).equals(claim.userhash)
  ) {
    throw badAnswer(`${place}.username: not the one of the userhash that was asked about`)
  }
  return username
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    // Without the parser's words, which may repeat the body.
    throw badAnswer('the body is no JSON')
  }
}

function badAnswer(what: string): CredentialError {
  return new CredentialError('TURN_WEBHOOK_BAD_ANSWER', `the answer of the webhook cannot be used: ${what}`, {
    retryable: true,
  })
}
