import { z } from 'zod'
import type { Drain } from '../../mechanisms/fleet/index.ts'
import type { ApiReply, ApiRoute } from '../../mechanisms/http-api/index.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { badBody, conflict } from './errors.ts'
import { isoTime } from './gateway-view.ts'

/** What takes this gateway out of rotation. */
export type DrainControl = Pick<Drain, 'state' | 'begin' | 'end' | 'canExit'>

/** How far this gateway has drained, as operators see it. */
export interface DrainView {
  readonly draining: boolean
  /** It ends when nothing is left. */
  readonly exit: boolean
  /** ISO 8601; absent when it does not drain. */
  readonly since?: string
  readonly left: ReturnType<DrainControl['state']>['left']
}

/**
 * `GET /api/v1/drain`, `POST /api/v1/drain` (with `{"exit": true}` the process ends when nothing is left), and `POST /api/v1/undrain`.
 * Without a `drain` the last two are refused.
 */
export function drainRoutes(drain: DrainControl | undefined, log: Logger): readonly ApiRoute[] {
  const control = (): DrainControl => {
    if (drain !== undefined) return drain
    throw conflict('ADMIN_CANNOT_DRAIN', 'this gateway cannot be drained')
  }
  return [
    { method: 'GET', path: '/api/v1/drain', handle: () => ({ json: drainView(control()) }) },
    {
      method: ['POST'],
      path: '/api/v1/drain',
      handle: async ({ readBody }): Promise<ApiReply> => {
        const { exit } = readDrain(await readBody())
        const found = control()
        if (exit && !found.canExit) {
          throw conflict('ADMIN_CANNOT_DRAIN', 'this gateway cannot end itself, stop its process')
        }
        found.begin({ isToExit: exit })
        log.info({ exit }, 'drain asked for')
        return { json: drainView(found) }
      },
    },
    {
      method: ['POST'],
      path: '/api/v1/undrain',
      handle: (): ApiReply => {
        const found = control()
        if (!found.end()) throw conflict('ADMIN_IS_ENDING', 'this gateway is on its way down')
        log.info('end of the drain asked for')
        return { json: drainView(found) }
      },
    },
  ]
}

function drainView(drain: DrainControl): DrainView {
  const { isDraining, isToExit, sinceMs, left } = drain.state()
  return {
    draining: isDraining,
    exit: isToExit,
    ...(sinceMs !== undefined && { since: isoTime(sinceMs) }),
    left,
  }
}

const drainSchema = z.strictObject({ exit: z.boolean().default(false) })

function readDrain(body: Buffer): z.output<typeof drainSchema> {
  if (body.length === 0) return { exit: false }
  try {
    const { data } = drainSchema.safeParse(JSON.parse(body.toString()))
    if (data !== undefined) return data
  } catch {
    // Told below, without the parser's words, which may repeat the body.
  }
  throw badBody('the body must be empty or {"exit": true}')
}
