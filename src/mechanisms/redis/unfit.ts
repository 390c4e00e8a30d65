import type { Connection } from './connection.ts'
import { RedisError } from './errors.ts'
import { serverAddressText } from './server-address.ts'

/** First words of answers by which a server says that it is of no use. */
const UNFIT: ReadonlySet<string> = new Set(['LOADING', 'MASTERDOWN', 'READONLY', 'NOAUTH'])

/** Whether an answer says that its server is of no use, whatever it is asked; another one may be, or itself later. */
export function isUnfit(error: unknown): error is RedisError {
  return error instanceof RedisError && error.reply !== undefined && UNFIT.has(error.reply)
}

/**
 * Makes sure that a server takes writes.
 * @throws REDIS_AWAY when it is a replica
 */
export async function assertMaster(connection: Connection): Promise<void> {
  let role: unknown
  try {
    role = await connection.send('ROLE', [])
  } catch (error) {
    // Who may not ask finds out by the first write.
    if (error instanceof RedisError && error.code === 'REDIS_REFUSED' && !isUnfit(error)) return
    throw error
  }
  if (Array.isArray(role) && role[0] === 'slave') {
    const { address } = connection
    const message = `${serverAddressText(address)} is a replica, which takes no writes`
    throw new RedisError('REDIS_AWAY', message, 'READONLY')
  }
}
