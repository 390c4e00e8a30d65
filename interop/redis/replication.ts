import { until } from '../harness/until.ts'
import type { RedisProcess } from './redis-process.ts'

/** Resolves when replicas follow their master and have all that it has taken so far. */
export async function untilReplicated(
  master: RedisProcess,
  replicas: readonly RedisProcess[],
): Promise<void> {
  const offset = Number((await infoOf(master, 'replication')).get('master_repl_offset'))
  for (const replica of replicas) {
    const hasAll = async (): Promise<boolean> => {
      const info = await infoOf(replica, 'replication')
      const isFollowing =
        info.get('master_port') === `${master.port}` && info.get('master_link_status') === 'up'
      return isFollowing && Number(info.get('slave_repl_offset')) >= offset
    }
    await until(`replication of ${master.port} at ${replica.port}`, hasAll, { deadlineMs: 30_000 })
  }
}

/** The fields of a section of INFO. */
async function infoOf(redis: RedisProcess, section: string): Promise<ReadonlyMap<string, string>> {
  const text = String(await redis.command('INFO', section))
  return new Map(text.split('\r\n').map((line) => line.split(':', 2) as [string, string]))
}
