import type { JWTPayload } from 'jose'
import type { AccessJwtConfig } from '../../../mechanisms/config/access-config.ts'
import type { Role, StreamKeyParts } from '../../../mechanisms/balancer/index.ts'
import { Pattern } from './pattern.ts'

/** What somebody wants to do. */
export interface Wish extends StreamKeyParts {
  readonly role: Role
}

type ClaimRules = Pick<AccessJwtConfig, 'claims' | 'required'>

/** More values in one claim than this are not looked at. */
const MAX_VALUES = 64

/** Why a token, whose signature is right, does not allow the wish; undefined when it does. */
export function claimsFault(payload: JWTPayload, wish: Wish, rules: ClaimRules): string | undefined {
  const { claims, required } = rules
  const permissions = payload[claims.permissions]
  if (permissions !== undefined) {
    return isPermitted(permissions, wish) ? undefined : 'the token is not for this stream and action'
  }
  for (const part of ['vhost', 'app', 'stream', 'action'] as const) {
    const value = payload[claims[part]]
    if (value === undefined) {
      if (required.includes(part)) return `the token does not say for which ${part} it is`
      continue
    }
    const values = textsOf(value)
    const isRight =
      part === 'action'
        ? values.some((action) => isAction(action, wish.role))
        : values.some((text) => isPart(text, part, wish))
    if (!isRight) return `the token is not for this ${part}`
  }
  return undefined
}

/** A list of `{ action, path }`, or that as text; a path is `app/stream`, none stands for all. */
function isPermitted(permissions: unknown, { role, app, stream }: Wish): boolean {
  const list: unknown = typeof permissions === 'string' ? parseJson(permissions) : permissions
  if (!Array.isArray(list)) return false
  return list.slice(0, MAX_VALUES).some((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null || !('action' in entry)) return false
    if (typeof entry.action !== 'string' || !isAction(entry.action, role)) return false
    const path = 'path' in entry ? entry.path : ''
    // A regular expression (`~...`) is not evaluated, and matches nothing.
    if (typeof path !== 'string' || path.startsWith('~')) return false
    return path === '' || new Pattern(path).matches(`${app}/${stream}`)
  })
}

/** `read` is MediaMTX's word. */
function isAction(action: string, role: Role): boolean {
  return action === '*' || action === role || (action === 'read' && role === 'play')
}

function isPart(text: string, part: 'vhost' | 'app' | 'stream', { vhost, app, stream }: Wish): boolean {
  const pattern = new Pattern(text)
  if (part === 'vhost') return pattern.matches(vhost)
  if (part === 'app') return pattern.matches(app)
  return pattern.matches(text.includes('/') ? `${app}/${stream}` : stream)
}

function textsOf(value: unknown): readonly string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value.slice(0, MAX_VALUES) : [value]
  return values.filter((text) => typeof text === 'string')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
