import { isIP } from 'node:net'
import { z } from 'zod'
import type { OriginAnnouncement } from '../../../mechanisms/balancer/index.ts'
import { registrationError } from './errors.ts'
import { parseJsonObject } from './json-object.ts'
import { parseOriginEndpoint } from './origin-endpoint.ts'
import { loadOfSummaries } from './srs-summaries.ts'

const MAX_TEXT_LENGTH = 255
const MAX_ENDPOINTS = 64
const MAX_WEIGHT = 1000

/** Shown in logs and paths: no control characters. */
const label = z
  .string()
  .max(MAX_TEXT_LENGTH)
  .regex(/^\P{Cc}*$/u, { error: 'must not hold control characters' })
const needed = label.min(1, { error: 'must not be empty' })
const endpoints = z
  .array(z.string().max(MAX_TEXT_LENGTH))
  .max(MAX_ENDPOINTS)
  .nullish()
  .transform((texts) => texts ?? [])

/**
 * The body that an origin posts; fields that are not named here are ignored. Reference: registration request. `weight`,
 * `zone` and `backup` are ours, for origins that are not SRS, or that something announces on their behalf.
 */
const bodySchema = z.object({
  ip: z
    .string()
    .max(255)
    .transform((text) => text.replace(/^\[(.*)\]$/, '$1'))
    .refine(isDialable, { error: 'must be an address or a host name that can be dialled' }),
  server: needed,
  service: needed,
  pid: needed,
  device_id: label.nullish(),
  rtmp: endpoints,
  http: endpoints,
  api: endpoints,
  srt: endpoints,
  rtc: endpoints,
  weight: z.number().min(0).max(MAX_WEIGHT).nullish(),
  zone: label.nullish(),
  backup: z.boolean().nullish(),
  summaries: z.unknown().optional(),
})

/**
 * What an origin says of itself in the body of its POST. An empty body counts as `{}`.
 * @throws REGISTRATION_BAD_BODY, REGISTRATION_BAD_FIELD, REGISTRATION_BAD_ENDPOINT, REGISTRATION_NO_ENDPOINT
 */
export function parseAnnouncement(body: Uint8Array): OriginAnnouncement {
  const { success, data, error } = bodySchema.safeParse(parseJsonObject(body))
  if (!success) {
    const [issue] = error.issues
    throw registrationError('REGISTRATION_BAD_FIELD', `${issue?.path.join('.')}: ${issue?.message}`)
  }
  const announcement = {
    ip: data.ip,
    server: data.server,
    service: data.service,
    pid: data.pid,
    rtmp: ports('rtmp', data.rtmp, isNotUdp, 1),
    http: ports('http', data.http, isNotUdp, 1),
    api: ports('api', data.api, isNotUdp, 1),
    srt: ports('srt', data.srt, isUdp, 1),
    // WebRTC over TCP is not relayed. Port 0: each SDP answer names its own.
    rtc: ports('rtc', data.rtc, isUdp, 0),
  }
  if (['rtmp', 'http', 'api', 'srt', 'rtc'].every((list) => announcement[list as 'rtmp'].length === 0)) {
    throw registrationError(
      'REGISTRATION_NO_ENDPOINT',
      'empty rtmp, http, api, srt and rtc: an SRS needs "ports on" in its heartbeat section',
    )
  }
  const load = loadOfSummaries(data.summaries)
  return {
    ...announcement,
    ...(data.device_id && { deviceId: data.device_id }),
    ...(typeof data.weight === 'number' && { weight: data.weight }),
    ...(data.zone && { zone: data.zone }),
    ...(data.backup === true && { isBackup: true }),
    ...(load !== undefined && { load }),
  }
}

function ports(
  list: string,
  texts: readonly string[],
  isWanted: (protocol: string | undefined) => boolean,
  least: number,
): readonly number[] {
  return texts.flatMap((text) => {
    const endpoint = parseOriginEndpoint(text)
    if (endpoint === undefined || (endpoint.port < least && isWanted(endpoint.protocol))) {
      throw registrationError('REGISTRATION_BAD_ENDPOINT', `${list}: ${JSON.stringify(text)} is no endpoint`)
    }
    return isWanted(endpoint.protocol) ? [endpoint.port] : []
  })
}

function isUdp(protocol: string | undefined): boolean {
  return protocol === undefined || protocol === 'udp'
}

function isNotUdp(protocol: string | undefined): boolean {
  return protocol !== 'udp'
}

function isDialable(ip: string): boolean {
  switch (isIP(ip)) {
    case 4:
      // 0.0.0.0/8 would reach ourselves, 224.0.0.0/3 nobody.
      return !/^0\.|^(?:22[4-9]|2[3-5]\d)\./.test(ip)
    case 6:
      return !/%|^[0:]+$|^ff/i.test(ip)
    default:
      return /^(?!-)[a-z\d_-]{1,63}(?:\.[a-z\d_-]{1,63})*\.?$/i.test(ip) && !/^[\d.]+$/.test(ip)
  }
}
