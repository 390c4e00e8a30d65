import { constantTimeEqual } from '../../../foundation/constant-time.ts'

/** What a user says in `Authorization` or `Proxy-Authorization`. */
export interface BasicCredentials {
  readonly user: string
  readonly password: string
}

/** Reads `Basic` credentials (RFC 7617), in UTF-8. Undefined: there are none, or they are malformed. */
export function readBasicCredentials(header: string | undefined): BasicCredentials | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(header ?? '')?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  return colon === -1 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** Whether they are the right ones, in constant time. Nothing is asked for where `right` is empty. */
export function areCredentialsRight(given: BasicCredentials | undefined, right: BasicCredentials): boolean {
  if (right.user === '' && right.password === '') return true
  const isUserRight = constantTimeEqual(given?.user ?? '', right.user)
  const isPasswordRight = constantTimeEqual(given?.password ?? '', right.password)
  return given !== undefined && isUserRight && isPasswordRight
}

/** What goes with 401 and 407. */
export const BASIC_CHALLENGE = 'Basic realm="Restricted"'
