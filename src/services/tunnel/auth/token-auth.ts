import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../../foundation/clock.ts'
import type { FrpsConfig, TokenGrant } from '../../../mechanisms/frp-config/index.ts'
import { type Login, privilegeKey } from '../../../protocols/frp/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import type { Identity, ServerAuth } from './contract.ts'

/** A token that opens the server, and what its holder may do. */
interface Candidate {
  readonly token: string
  readonly grant: TokenGrant | undefined
}

/** What a client proves that it knows a token with. */
interface TokenProof {
  readonly privilege_key: string
  readonly timestamp: number
}

/**
 * Authentication by shared tokens: a client sends the MD5 of token and time. With `tokens` the one that made the proof
 * says what its holder may do, and keys the control connection; `token` opens everything, and counts only when it is not
 * empty as long as there are `tokens`.
 */
export function tokenAuth(
  auth: Pick<FrpsConfig['auth'], 'token' | 'tokens' | 'additionalScopes' | 'timestampWindow'>,
  { clock }: { readonly clock: Clock },
): ServerAuth {
  const candidates: readonly Candidate[] = [
    ...auth.tokens.map((grant) => ({ token: grant.token, grant })),
    ...(auth.token !== '' || auth.tokens.length === 0 ? [{ token: auth.token, grant: undefined }] : []),
  ]
  const checkTime = ({ timestamp }: TokenProof, what: string): void => {
    const offSeconds = Math.abs(clock.wallMs() / 1000 - timestamp)
    if (auth.timestampWindow === 0 || offSeconds <= auth.timestampWindow) return
    throw unauthorized(
      `timestamp in ${what} is off by ${Math.round(offSeconds)} s, at most ${auth.timestampWindow} s are allowed`,
    )
  }
  const checkLater = ({ token }: Candidate, proof: TokenProof, what: string): void => {
    if (!isProofOf(token, proof)) throw mismatch(what)
    checkTime(proof, what)
  }

  return {
    holds: ({ method, token, grant }, user) =>
      method === 'token' &&
      candidates.some(
        (candidate) =>
          candidate.token === token && candidate.grant?.name === grant?.name && isUserOf(candidate, user),
      ),

    async verifyLogin(login: Login): Promise<Identity> {
      const candidate = candidateOf(candidates, login)
      if (candidate === undefined) throw mismatch('login')
      checkTime(login, 'login')
      checkUser(candidate, login.user)
      return {
        method: 'token',
        ...candidate,
        async verifyPing(ping) {
          if (auth.additionalScopes.includes('HeartBeats')) checkLater(candidate, ping, 'heartbeat')
        },
        async verifyNewWorkConn(message) {
          if (auth.additionalScopes.includes('NewWorkConns')) checkLater(candidate, message, 'NewWorkConn')
        },
      }
    },
  }
}

/** The first whose token made the proof. All are tried in any case: time must not tell which of them came near. */
function candidateOf(candidates: readonly Candidate[], proof: TokenProof): Candidate | undefined {
  let found: Candidate | undefined
  const given = proofBytes(proof)
  for (const candidate of candidates) {
    const isIt = timingSafeEqual(keyBytes(candidate.token, proof.timestamp), given)
    found ??= isIt ? candidate : undefined
  }
  return found
}

function isProofOf(token: string, proof: TokenProof): boolean {
  return timingSafeEqual(keyBytes(token, proof.timestamp), proofBytes(proof))
}

/** As many bytes as a key has, whatever was sent; what is no key becomes one that no token makes. */
function proofBytes({ privilege_key }: TokenProof): Buffer {
  return /^[0-9a-f]{32}$/.test(privilege_key) ? Buffer.from(privilege_key, 'hex') : randomBytes(16)
}

function keyBytes(token: string, timestamp: number): Buffer {
  return Buffer.from(privilegeKey(token, timestamp), 'hex')
}

function isUserOf({ grant }: Candidate, user: string): boolean {
  return grant?.users === undefined || grant.users.includes(user)
}

function checkUser(candidate: Candidate, user: string): void {
  if (isUserOf(candidate, user)) return
  throw unauthorized(`user [${user}] is not allowed with this token`)
}

function mismatch(what: string): TunnelError {
  return unauthorized(`token in ${what} doesn't match token from configuration`)
}

function unauthorized(message: string): TunnelError {
  return new TunnelError(TunnelErrorCode.unauthorized, message, { side: 'client' })
}
