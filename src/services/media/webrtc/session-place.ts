import { type Origin, originTarget, type RtcSession } from '../../../mechanisms/balancer/index.ts'
import type { Remote } from '../../../mechanisms/datapath/index.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import { hostHeaderOf } from './origin-client.ts'
import type { OriginLinks, OriginResource } from './origin-links.ts'
import { isMediaOf } from './origin-media.ts'

/** Where a session of another gateway is. */
export interface SessionPlace {
  readonly origin: Origin
  /** Where its origin takes its media; undefined where the record says a place that is not that origin's. */
  readonly media: Remote | undefined
  /** Absent when the record names none, or one that is at no origin. */
  readonly atOrigin: OriginResource | undefined
}

/**
 * Finds the place that a record tells. It may tell anything, so it leads to registered origins or nowhere. Undefined when its
 * origin is not known. Rejects as the registry does.
 */
export async function placeOf(
  { originId, streamKey, role, originAddress, originPort, resource }: RtcSession,
  { origins }: Pick<CompleteWebRtcOptions, 'origins'>,
  links: OriginLinks,
): Promise<SessionPlace | undefined> {
  const origin = await origins.findOrigin(originId)
  if (origin === undefined) return undefined
  const needs = [role === 'publish' ? 'whip' : 'whep', 'json'] as const
  const [target] = needs.flatMap((need) => originTarget(origin, need, streamKey, role) ?? [])
  const api = target && (await links.locate(target))
  if (api === undefined) return { origin, media: undefined, atOrigin: undefined }
  const there = { address: originAddress, port: originPort }
  const asked = { api, target: '/', host: hostHeaderOf(api), origin }
  return {
    origin,
    media: isMediaOf(origin, api, there) ? there : undefined,
    atOrigin: await links.follow(resource?.originUrl, asked, streamKey),
  }
}
