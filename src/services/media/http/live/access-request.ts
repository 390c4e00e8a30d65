import { type StreamKey, streamKeyParts } from '../../../../mechanisms/balancer/index.ts'
import type { AccessRequest } from '../../access/index.ts'
import type { Ask } from './origin-search.ts'

/** What a viewer over HTTP says for itself, as access rules and hooks want to see it. */
export function accessRequestOf(
  { key, request, target, client }: Ask,
  sessionId: string,
  signal: AbortSignal,
): AccessRequest {
  const { authorization, host = '', referer } = request.headers
  const [, bearer] = /^Bearer +([^\s]+) *$/i.exec(authorization ?? '') ?? []
  return {
    protocol: 'http',
    role: 'play',
    key,
    address: client.address,
    query: target.query,
    ...(bearer !== undefined && { bearer }),
    tcUrl: `${client.isSecure ? 'https' : 'http'}://${host}/${appOf(key)}`,
    ...(referer !== undefined && { pageUrl: referer }),
    sessionId,
    signal,
  }
}

function appOf(key: StreamKey): string {
  return streamKeyParts(key).app
}
