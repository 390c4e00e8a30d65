import type { Connection } from './connection.ts'
import { RedisError } from './errors.ts'
import { parseServerAddress, type ServerAddress, serverAddressText } from './server-address.ts'
import { shuffled } from './shuffled.ts'

/** How the master is found. */
export interface SentinelOptions {
  readonly sentinels: readonly ServerAddress[]
  /** What they call the master. */
  readonly name: string
  readonly openSentinel: (address: ServerAddress, signal: AbortSignal) => Promise<Connection>
  /** Connects and makes sure that it is a master. */
  readonly openMaster: (address: ServerAddress, signal: AbortSignal) => Promise<Connection>
  readonly random: () => number
}

/**
 * Connects to the master that one of the Sentinels names. They are asked in an order of chance, until one names a server that
 * says itself that it is the master: right after a failover, and where the network is divided, some name an old one.
 * @throws REDIS_AWAY, REDIS_REFUSED
 */
export async function openMasterOfSentinels(
  options: SentinelOptions,
  signal: AbortSignal,
): Promise<Connection> {
  const { sentinels, openMaster, random } = options
  const tried = new Set<string>()
  let failure = new RedisError('REDIS_AWAY', 'no Sentinel answered')
  for (const sentinel of shuffled(sentinels, random)) {
    if (signal.aborted) break
    try {
      const master = await askSentinel(sentinel, options, signal)
      if (tried.has(serverAddressText(master))) continue
      tried.add(serverAddressText(master))
      return await openMaster(master, signal)
    } catch (error) {
      if (!(error instanceof RedisError)) throw error
      failure = error
    }
  }
  throw failure
}

async function askSentinel(
  sentinel: ServerAddress,
  { name, openSentinel }: SentinelOptions,
  signal: AbortSignal,
): Promise<ServerAddress> {
  const connection = await openSentinel(sentinel, signal)
  try {
    const answer = await connection.send('SENTINEL', ['GET-MASTER-ADDR-BY-NAME', name])
    const place = serverAddressText(sentinel)
    if (answer === null) {
      throw new RedisError(
        'REDIS_REFUSED',
        `Sentinel ${place} knows no master of the name ${name}: see redis.sentinelName`,
      )
    }
    const [host, port] = Array.isArray(answer) ? (answer as readonly unknown[]) : []
    const text = `${String(host).includes(':') ? `[${String(host)}]` : String(host)}:${String(port)}`
    const master = parseServerAddress(text, 0)
    if (master === undefined) throw new RedisError('REDIS_AWAY', `Sentinel ${place} named no address`)
    return master
  } finally {
    connection.destroy('asked')
  }
}
