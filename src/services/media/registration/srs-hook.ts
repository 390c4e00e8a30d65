import { z } from 'zod'
import { registrationError } from './errors.ts'
import { parseJsonObject } from './json-object.ts'

/** What an SRS says in a callback of its `http_hooks` that it has a stream, or has it no more. */
export interface SrsHook {
  readonly server: string
  readonly service: string
  readonly vhost: string
  readonly app: string
  readonly stream: string
  readonly isLive: boolean
}

const MAX_TEXT_LENGTH = 1024
const text = z.string().max(MAX_TEXT_LENGTH)
const hookSchema = z.object({ action: text })
const publishSchema = z.object({
  server_id: text.min(1),
  service_id: text.min(1),
  vhost: text,
  app: text,
  stream: text,
})

/**
 * A callback of SRS; undefined for those that do not concern us (`on_play`, `on_connect` …), for one URL may serve all.
 * @throws REGISTRATION_BAD_BODY, REGISTRATION_BAD_FIELD
 */
export function parseSrsHook(body: Uint8Array): SrsHook | undefined {
  const object = parseJsonObject(body)
  const { action } = parsed(hookSchema, object)
  if (action !== 'on_publish' && action !== 'on_unpublish') return undefined
  const { server_id: server, service_id: service, ...place } = parsed(publishSchema, object)
  return { server, service, ...place, isLive: action === 'on_publish' }
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw registrationError('REGISTRATION_BAD_FIELD', `${issue?.path.join('.')}: ${issue?.message}`)
}
