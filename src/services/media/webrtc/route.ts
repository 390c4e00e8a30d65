import type { Role } from '../../../mechanisms/balancer/index.ts'

/** Where sessions are, followed by their token. */
export const sessionPathPrefix = '/rtc/v1/session/'

/** Where an offer is posted. */
export interface EndpointRoute {
  readonly kind: 'endpoint'
  readonly role: Role
  /** `sdp`: WHIP and WHEP. `json`: SRS's older API, an SDP within JSON. */
  readonly form: 'sdp' | 'json'
  /** The path towards the origin: always one of SRS's four, so that no client reaches another part of its API. */
  readonly originPath: string
  /** `/{app}/{stream}`, percent-encoded as it came, when the path names the stream and not the query. */
  readonly streamPath: string | undefined
}

/** A session that the gateway made: DELETE and PATCH lead here. */
export interface SessionRoute {
  readonly kind: 'session'
  readonly token: string
}

/**
 * What a path asks for. SRS's paths are prefixes, with and without the last slash (reference: signalling);
 * `/{app}/{stream}/whip` and `/whep` name the stream themselves, an app may have several segments.
 * `undefined` for paths of others.
 */
export function routeOf(path: string): EndpointRoute | SessionRoute | undefined {
  if (path.startsWith(sessionPathPrefix))
    return { kind: 'session', token: path.slice(sessionPathPrefix.length) }
  for (const [word, role, form] of endpoints) {
    const srs = `/rtc/v1/${word}`
    if (path === srs || path.startsWith(`${srs}/`)) {
      return { kind: 'endpoint', role, form, originPath: `${srs}/`, streamPath: undefined }
    }
    const streamPath = form === 'sdp' && path.endsWith(`/${word}`) ? path.slice(0, -word.length - 1) : ''
    if (/^(?:\/[^/]+){2,}$/.test(streamPath)) {
      return { kind: 'endpoint', role, form, originPath: `${srs}/`, streamPath }
    }
  }
  return undefined
}

const endpoints = [
  ['whip', 'publish', 'sdp'],
  ['whep', 'play', 'sdp'],
  ['publish', 'publish', 'json'],
  ['play', 'play', 'json'],
] as const satisfies readonly (readonly [string, Role, EndpointRoute['form']])[]
