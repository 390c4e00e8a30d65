import type { ClientRecord } from '../statistics/client-records.ts'
import type { TunnelStatistics } from '../statistics/tunnel-statistics.ts'
import { compare, withoutEmpty } from './frp-json.ts'
import { WebError } from './web-error.ts'

/** A client as both versions of the API show it. */
export interface ClientJson extends Readonly<Record<string, unknown>> {
  readonly key: string
  readonly user: string
  readonly clientID: string
  readonly runID: string
  readonly online: boolean
}

/** All, by user, client id and key. */
export function clientList(statistics: Pick<TunnelStatistics, 'clients'>): readonly ClientJson[] {
  return statistics
    .clients()
    .map(clientJson)
    .sort(
      (one, other) =>
        compare(one.user, other.user) || compare(one.clientID, other.clientID) || compare(one.key, other.key),
    )
}

export function clientJson(client: ClientRecord): ClientJson {
  const { key, user, runId, disconnectedAtMs } = client
  return {
    key,
    user,
    clientID: client.clientId || runId,
    runID: runId,
    ...withoutEmpty({ version: client.version, wireProtocol: client.wireProtocol }),
    hostname: client.hostname,
    ...withoutEmpty({ clientIP: client.address }),
    firstConnectedAt: seconds(client.firstConnectedAtMs),
    lastConnectedAt: seconds(client.lastConnectedAtMs),
    ...(disconnectedAtMs !== undefined && { disconnectedAt: seconds(disconnectedAtMs) }),
    online: runId !== '',
  }
}

/** Unix time. */
export function seconds(wallMs: number): number {
  return Math.floor(wallMs / 1000)
}

/** @throws WebError 404 */
export function knownClient(statistics: Pick<TunnelStatistics, 'client'>, key: string): ClientRecord {
  const client = statistics.client(key)
  if (client === undefined) throw new WebError(404, `client ${key} not found`)
  return client
}
