import { SluiceError } from '../../foundation/errors.ts'
import type { ApiRoute } from '../../mechanisms/http-api/index.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import type { AllocationInfo } from './allocation-info.ts'
import type { TurnServer } from './turn-server.ts'

/** Lists and ends allocations, as part of the admin API. */
export function turnRoutes(
  server: Pick<TurnServer, 'listAllocations' | 'killAllocation' | 'killUser'>,
  log: Logger,
): readonly ApiRoute[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/turn/allocations',
      handle: ({ query }) => {
        const user = query.get('user')
        const all = server.listAllocations()
        const asked = user === null ? all : all.filter(({ userId }) => userId === user)
        return { json: { allocations: asked.map(shown) } }
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/turn/allocations/:id',
      handle: ({ params }) => {
        const { id = '' } = params
        if (!server.killAllocation(id)) {
          throw new SluiceError('TURN_NO_SUCH_ALLOCATION', `no allocation ${id}`, {
            side: 'client',
            retryable: false,
            status: 404,
          })
        }
        log.info({ allocation: id }, 'allocation killed')
        return { json: { id } }
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/turn/users/:user/allocations',
      handle: ({ params }) => {
        const { user = '' } = params
        const killed = server.killUser(user)
        log.info({ user, killed }, 'allocations of a user killed')
        return { json: { user, killed } }
      },
    },
  ]
}

function shown({ sinceMs, expiresAtMs, ...rest }: AllocationInfo): object {
  return { ...rest, since: new Date(sinceMs).toISOString(), expires: new Date(expiresAtMs).toISOString() }
}
