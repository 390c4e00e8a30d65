import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { ApiReply, ApiRequest, ApiRoute } from '../../../mechanisms/http-api/index.ts'
import { CredentialError } from './errors.ts'
import {
  badRequest,
  type CredentialIssuer,
  type IceTransportPolicy,
  iceConfigurationOf,
  issueCredential,
} from './issue-credential.ts'

/** What the routes hand credentials out with. */
export interface RouteIssuer extends Omit<CredentialIssuer, 'secret'> {
  /** Undefined while there is none: requests are then refused. */
  readonly secret: string | undefined
  /** For how long a credential is good when the request does not say. @defaultValue 86,400 */
  readonly ttlSeconds?: number
  /** The most that a request may ask for; more is refused. @defaultValue 604,800 */
  readonly maxTtlSeconds?: number
}

export interface CredentialRoutesOptions {
  /** Asked at each request, so that a reload counts at once. */
  readonly issuer: () => RouteIssuer
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/**
 * `GET` and `POST /api/v1/turn/credentials`, which hand out time-limited credentials. Parameters stand in the query, or in
 * the body of a POST as a form: `service` (turn), `username`, `ttl`, `shape` (rest, ice), `iceTransportPolicy` (all, relay).
 */
export function credentialRoutes({
  issuer,
  clock = systemClock,
}: CredentialRoutesOptions): readonly ApiRoute[] {
  const path = '/api/v1/turn/credentials'
  const answer = (parameters: URLSearchParams): ApiReply => ({
    json: credentialFor(parameters, issuer(), clock.wallMs()),
  })
  return [
    { method: 'GET', path, handle: ({ query }) => answer(query) },
    { method: ['POST'], path, handle: async (request) => answer(await parametersOf(request)) },
  ]
}

async function parametersOf({ query, readBody }: ApiRequest): Promise<URLSearchParams> {
  const form = new URLSearchParams((await readBody()).toString())
  return new URLSearchParams([...query, ...form])
}

const parameterNames: ReadonlySet<string> = new Set([
  'service',
  'username',
  'ttl',
  'shape',
  'iceTransportPolicy',
])

function credentialFor(parameters: URLSearchParams, issuer: RouteIssuer, wallMs: number): object {
  for (const name of new Set(parameters.keys())) {
    if (!parameterNames.has(name)) {
      throw badRequest(`unknown parameter "${shortened(name)}": ${[...parameterNames].join(', ')} are known`)
    }
    if (parameters.getAll(name).length > 1) throw badRequest(`${name} is there more than once`)
  }
  oneOf(parameters, 'service', ['turn'])
  const shape = oneOf(parameters, 'shape', ['rest', 'ice']) ?? 'rest'
  const policy = oneOf<IceTransportPolicy>(parameters, 'iceTransportPolicy', ['all', 'relay'])
  if (policy !== undefined && shape !== 'ice') throw badRequest('iceTransportPolicy goes with shape=ice')
  const { secret } = issuer
  const ttlSeconds = ttlOf(parameters, issuer)
  if (secret === undefined) {
    throw new CredentialError(
      'TURN_CREDENTIAL_NO_SECRET',
      'no secret for time-limited credentials is configured (turn.credentials.secrets)',
      { status: 503 },
    )
  }
  const userId = parameters.get('username')
  const credential = issueCredential({
    ...issuer,
    secret,
    ttlSeconds,
    wallMs,
    // The draft has the parameter optional; a form that is left empty is nobody too.
    ...(userId !== null && userId !== '' && { userId }),
  })
  return shape === 'ice' ? iceConfigurationOf(credential, policy) : credential
}

function ttlOf(
  parameters: URLSearchParams,
  { ttlSeconds = 86_400, maxTtlSeconds = 604_800 }: RouteIssuer,
): number {
  const text = parameters.get('ttl')
  if (text === null) return Math.min(ttlSeconds, maxTtlSeconds)
  const ttl = /^\d{1,10}$/.test(text) ? Number(text) : 0
  if (ttl >= 1 && ttl <= maxTtlSeconds) return ttl
  throw badRequest(`ttl is "${shortened(text)}", not whole seconds from 1 to ${maxTtlSeconds}`)
}

function oneOf<T extends string>(
  parameters: URLSearchParams,
  name: string,
  allowed: readonly T[],
): T | undefined {
  const text = parameters.get(name)
  if (text === null) return undefined
  const found = allowed.find((value) => value === text)
  if (found === undefined) {
    throw badRequest(`${name} is "${shortened(text)}", not ${allowed.map((it) => `"${it}"`).join(' or ')}`)
  }
  return found
}

/** A text of the client's in an error that it gets back. */
function shortened(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
