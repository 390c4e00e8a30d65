import { createHash } from 'node:crypto'
import { streamKeyParts } from '../../../mechanisms/balancer/index.ts'
import type { AccessRequest } from './contract.ts'

export type HookAction = 'on_publish' | 'on_unpublish' | 'on_play' | 'on_stop'

/** Who asks, as SRS names itself. */
export interface HookSender {
  /** `vid-...`, of this gateway. */
  readonly serverId: string
  /** Of this run of it. */
  readonly serviceId: string
}

const DEFAULT_VHOST = '__defaultVhost__'

/** What a hook server is sent: the JSON of SRS, field by field. */
export function hookBody(action: HookAction, request: AccessRequest, sender: HookSender): string {
  const { vhost, app, stream } = streamKeyParts(request.key)
  return JSON.stringify({
    server_id: sender.serverId,
    service_id: sender.serviceId,
    action,
    client_id: request.sessionId,
    ip: request.address,
    vhost,
    app,
    tcUrl: request.tcUrl,
    stream,
    param: paramOf(request),
    stream_url: `${vhost === DEFAULT_VHOST ? '' : vhost}/${app}/${stream}`,
    stream_id: streamIdOf(request.key, sender.serverId),
    ...(action === 'on_play' && { pageUrl: request.pageUrl ?? '' }),
  })
}

/** The query; a bearer token that is not in it as its `token`, so that a hook server finds it where it finds those of all others. */
function paramOf({ query, bearer }: Pick<AccessRequest, 'query' | 'bearer'>): string {
  const params = new URLSearchParams(query)
  const isNamed = bearer === undefined || params.has('token') || [...params.values()].includes(bearer)
  const token = isNamed ? '' : `token=${encodeURIComponent(bearer)}`
  const whole = [query, token].filter((part) => part !== '').join('&')
  return whole === '' ? '' : `?${whole}`
}

/** The same for every session of a stream, as long as the gateway has its name. */
function streamIdOf(key: string, serverId: string): string {
  return `vid-${createHash('sha256').update(`${serverId} ${key}`).digest('hex').slice(0, 7)}`
}
