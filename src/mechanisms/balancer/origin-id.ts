import type { OriginAnnouncement, OriginId } from './contract.ts'
import { balancerError } from './errors.ts'

/** Most characters of an origin id. */
const MAX_LENGTH = 1024

/**
 * `{server}-{service}-{pid}`: one run of one origin process. @throws BALANCER_BAD_OPTION when that is longer than 1024
 * characters
 */
export function originIdOf(announcement: Pick<OriginAnnouncement, 'server' | 'service' | 'pid'>): OriginId {
  const text = `${announcement.server}-${announcement.service}-${announcement.pid}`
  if (isOriginId(text)) return text
  throw balancerError('BALANCER_BAD_OPTION', `an origin id has at most ${MAX_LENGTH} characters`, {
    side: 'origin',
    retryable: false,
    status: 400,
  })
}

/** Whether a text can be the id of an origin; it need not be registered. */
export function isOriginId(text: string): text is OriginId {
  return text.length > 0 && text.length <= MAX_LENGTH
}
