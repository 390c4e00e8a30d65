import { z } from 'zod'
import {
  ENDPOINT_LISTS,
  type EndpointList,
  isDialable,
  type OriginAnnouncement,
  originPort,
  withoutBrackets,
} from '../../../mechanisms/balancer/index.ts'
import { registrationError } from './errors.ts'
import { parseJsonObject } from './json-object.ts'
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
    .transform(withoutBrackets)
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
    rtmp: ports('rtmp', data.rtmp),
    http: ports('http', data.http),
    api: ports('api', data.api),
    srt: ports('srt', data.srt),
    rtc: ports('rtc', data.rtc),
  }
  if (ENDPOINT_LISTS.every((list) => announcement[list].length === 0)) {
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

function ports(list: EndpointList, texts: readonly string[]): readonly number[] {
  return texts.flatMap((text) => {
    const port = originPort(list, text)
    if (port === undefined) {
      throw registrationError('REGISTRATION_BAD_ENDPOINT', `${list}: ${JSON.stringify(text)} is no endpoint`)
    }
    return port === 'other' ? [] : [port]
  })
}
