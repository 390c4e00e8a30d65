import { isIP } from 'node:net'
import { z } from 'zod'
import type { OriginId, Role, RtcResource, RtcSession } from '../contract.ts'
import { isOriginId } from '../origin-id.ts'
import { isDialable } from '../origin-host.ts'
import type { StreamKey } from '../stream-key.ts'
import { readJson } from './json-text.ts'
import { streamKeyOrNever } from './srs-hls-value.ts'

/** A WebRTC session as it stands in Redis. */
export interface RtcValue {
  readonly streamKey: StreamKey
  /** `LOCAL:REMOTE`, the USERNAME. */
  readonly username: string
  /** What the SRS proxy does not know; absent when that wrote it. */
  readonly ours?: OurRtcPart
}

/** What Sluice adds to a session. Nothing of it is a secret that is not sealed. */
export interface OurRtcPart extends Pick<RtcSession, 'role' | 'originId' | 'originAddress' | 'originPort'> {
  /** The gateway that serves it. */
  readonly gateway: string
  readonly resource?: Omit<RtcResource, 'originUrl'>
  /** Holds the ICE password and the URL at the origin; absent where gateways share no secret. */
  readonly sealed?: string
}

const MAX_VALUE_LENGTH = 32 * 1024
/** Two fragments of ICE and a colon. RFC 8839 §5.4 */
export const MAX_USERNAME_LENGTH = 513
const MAX_TEXT_LENGTH = 255

/** What stands in the value of a session that anybody of ours serves. A script must find it without reading JSON. */
export const OURS_MARK = '"sluice":{"gateway":'

/** What stands in the value of a session that this gateway serves. No name or key can hold it: quotes are escaped there. */
export function gatewayMark(gateway: string): string {
  return OURS_MARK + JSON.stringify(gateway)
}

/** What stands in the value of the session with this token. */
export function tokenMark(tokenHash: string): string {
  return `"tokenHash":${JSON.stringify(tokenHash)}`
}

/** What stands in the value of any session with this USERNAME. */
export function usernameMark(username: string): string {
  return `"ufrag":${JSON.stringify(username)}`
}

/** The value of `srs-proxy-ufrag:` and `srs-proxy-rtc:`: the fields of the SRS proxy in its order, and ours behind them. */
export function rtcValue({ streamKey, username, ours }: RtcValue): string {
  if (ours === undefined) return JSON.stringify({ stream_url: streamKey, ufrag: username })
  const { gateway, role, originId, originAddress, originPort, resource, sealed } = ours
  return JSON.stringify({
    stream_url: streamKey,
    ufrag: username,
    // `gateway` is first: see the marks.
    sluice: {
      gateway,
      role,
      origin: originId,
      address: originAddress,
      port: originPort,
      resource: resource && {
        tokenHash: resource.tokenHash,
        id: resource.id,
        previous: resource.previous,
        etag: resource.etag,
        clientAddress: resource.clientAddress,
        sinceMs: resource.sinceMs,
        hasTcp: resource.hasTcp,
        untilMs: resource.untilMs,
      },
      sealed,
    },
  })
}

/** Reads what Sluice or a Go proxy wrote; undefined for what is no session that could be served. */
export function readRtcValue(text: string): RtcValue | undefined {
  const value = readJson(text, MAX_VALUE_LENGTH, rtcSchema)
  if (value === undefined) return undefined
  const { stream_url: streamKey, ufrag, sluice } = value
  if (sluice === undefined) return { streamKey, username: ufrag }
  const { gateway, role, origin, address, port, resource, sealed } = sluice
  return {
    streamKey,
    username: ufrag,
    ours: {
      gateway,
      role,
      originId: origin,
      originAddress: address,
      originPort: port,
      ...(resource && { resource: resourceOf(resource) }),
      ...(sealed !== undefined && { sealed }),
    },
  }
}

function resourceOf(read: z.infer<typeof resourceSchema>): Omit<RtcResource, 'originUrl'> {
  const { previous, etag, untilMs, ...resource } = read
  return {
    ...resource,
    ...(previous !== undefined && { previous }),
    ...(etag !== undefined && { etag }),
    ...(untilMs !== undefined && { untilMs }),
  }
}

const text = z
  .string()
  .max(MAX_TEXT_LENGTH)
  .regex(/^\P{Cc}*$/u)
const label = text.min(1)
const username = z
  .string()
  .max(MAX_USERNAME_LENGTH)
  .regex(/^[^\p{Cc}:]+:[^\p{Cc}:]+$/u)

const resourceSchema = z.object({
  tokenHash: label,
  id: label,
  previous: username.optional(),
  etag: label.optional(),
  clientAddress: text,
  sinceMs: z.number(),
  hasTcp: z.boolean(),
  untilMs: z.number().optional(),
})

const rtcSchema = z.object({
  stream_url: z.string().transform(streamKeyOrNever),
  ufrag: username,
  sluice: z
    .object({
      gateway: label,
      role: z.enum(['publish', 'play'] as const satisfies readonly Role[]),
      origin: z.custom<OriginId>((given) => typeof given === 'string' && isOriginId(given)),
      // Media goes there: a host name would have to be looked up first.
      address: z.string().refine((given) => isIP(given) !== 0 && isDialable(given)),
      port: z.number().int().min(1).max(65_535),
      resource: resourceSchema.optional(),
      sealed: z
        .string()
        .max(MAX_VALUE_LENGTH)
        .regex(/^[\w-]+$/)
        .optional(),
    })
    .optional(),
})
