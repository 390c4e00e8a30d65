import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../src/foundation/free-port.testkit.ts'
import { temporaryFolder } from '../harness/temporary-folder.ts'
import { until } from '../harness/until.ts'
import { RedisProcess, startRedis } from './redis-process.ts'
import { untilReplicated } from './replication.ts'

export interface SentinelOptions {
  /** @defaultValue 1 */
  readonly replicas?: number
  /** More than half of them elect a master. @defaultValue 3 */
  readonly sentinels?: number
  /** Of the servers. */
  readonly password?: string
  /** Of the Sentinels. */
  readonly sentinelPassword?: string
}

/** What clients ask for. */
const NAME = 'shared'

/** Starts a master, its replicas and Sentinels. Resolves when all of them know one another and the replicas have the data. */
export async function startSentinels(options: SentinelOptions = {}): Promise<SentinelSet> {
  const { replicas = 1, sentinels = 3, password, sentinelPassword } = options
  const servers: RedisProcess[] = []
  const watchers: RedisProcess[] = []
  const set = new SentinelSet(servers, watchers)
  const login = password === undefined ? {} : { password }
  // After a failover anyone may follow anyone.
  const common = [
    ...['--repl-diskless-sync-delay', '0'],
    ...(password === undefined ? [] : ['--masterauth', password]),
  ]
  try {
    const master = await startRedis({ ...login, args: common })
    servers.push(master)
    for (let index = 0; index < replicas; index++) {
      const args = [...common, '--replicaof', '127.0.0.1', `${master.port}`]
      servers.push(await startRedis({ ...login, args }))
    }
    await untilReplicated(master, servers.slice(1))
    for (let index = 0; index < sentinels; index++) {
      const quorum = Math.floor(sentinels / 2) + 1
      watchers.push(await startSentinel(master, quorum, sentinelPassword))
    }
    await set.untilWhole()
  } catch (error) {
    await set.stop()
    throw error
  }
  return set
}

/** Servers of which one is master, and Sentinels that say which. `await using` ends all of them. */
export class SentinelSet implements AsyncDisposable {
  readonly name: string = NAME
  /** Also those that have been killed. */
  readonly servers: readonly RedisProcess[]
  readonly #watchers: readonly RedisProcess[]

  constructor(servers: readonly RedisProcess[], watchers: readonly RedisProcess[]) {
    this.servers = servers
    this.#watchers = watchers
  }

  /** `host:port` of each. */
  get sentinels(): readonly string[] {
    return this.#watchers.map(({ port }) => `127.0.0.1:${port}`)
  }

  /** The processes, to kill or pause some. */
  get sentinelProcesses(): readonly RedisProcess[] {
    return this.#watchers
  }

  /** Whom all Sentinels that answer name. @throws Error when they do not agree in time */
  async master(): Promise<RedisProcess> {
    return await this.#agreed(() => true)
  }

  /**
   * Kills the master, when its replicas have what it was told so far. Resolves with the next one when all Sentinels name it
   * and it takes writes. The killed one may be started again by `restart`; it then becomes a replica.
   */
  async failOver(): Promise<RedisProcess> {
    const old = await this.master()
    await untilReplicated(
      old,
      this.servers.filter((server) => server !== old && server.isRunning),
    )
    await old.kill()
    const next = await this.#agreed((master) => master !== old)
    await until(`the role of ${next.port}`, async () => {
      const [role] = (await next.command('ROLE')) as readonly string[]
      return role === 'master'
    })
    return next
  }

  /** Resolves when every Sentinel knows all servers and Sentinels as healthy. */
  async untilWhole(): Promise<void> {
    for (const watcher of this.#watchers) {
      await until(
        `what the Sentinel at ${watcher.port} knows`,
        async () => {
          const replicas = await knownTo(watcher, 'REPLICAS')
          const others = await knownTo(watcher, 'SENTINELS')
          return (
            replicas === this.servers.length - 1 &&
            others === this.#watchers.length - 1 &&
            String(await watcher.command('SENTINEL', 'CKQUORUM', NAME)).startsWith('OK')
          )
        },
        { deadlineMs: 30_000 },
      )
    }
  }

  /** Ends all processes. */
  async stop(): Promise<void> {
    await Promise.all([...this.#watchers, ...this.servers].map((process) => process.stop()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #agreed(isMeant: (master: RedisProcess) => boolean): Promise<RedisProcess> {
    return await until(
      'a master that all Sentinels name',
      async () => {
        const running = this.#watchers.filter((watcher) => watcher.isRunning)
        const ports = await Promise.all(running.map((watcher) => masterPort(watcher)))
        const master = this.servers.find(({ port }) => port === ports[0])
        return new Set(ports).size === 1 && master !== undefined && isMeant(master) && master
      },
      { deadlineMs: 40_000 },
    )
  }
}

async function startSentinel(
  master: RedisProcess,
  quorum: number,
  password: string | undefined,
): Promise<RedisProcess> {
  const port = await freePort()
  const folder = temporaryFolder()
  const file = join(folder.path, 'sentinel.conf')
  const { password: masterPassword } = master.address
  writeFileSync(
    file,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      'daemonize no',
      `dir ${folder.path}`,
      'sentinel announce-ip 127.0.0.1',
      `sentinel monitor ${NAME} 127.0.0.1 ${master.port} ${quorum}`,
      `sentinel down-after-milliseconds ${NAME} 1000`,
      `sentinel failover-timeout ${NAME} 3000`,
      ...(masterPassword === undefined ? [] : [`sentinel auth-pass ${NAME} "${masterPassword}"`]),
      ...(password === undefined
        ? []
        : [`requirepass "${password}"`, `sentinel sentinel-pass "${password}"`]),
    ].join('\n'),
  )
  const sentinel = new RedisProcess({ port, password }, folder, [file, '--sentinel'])
  try {
    await sentinel.start()
    // As it comes, it looks at most things every ten seconds, and rests for thirty when a busy machine has held it up.
    const periods = ['info-period', 200, 'publish-period', 200, 'ask-period', 200, 'ping-period', 200]
    await sentinel.command('SENTINEL', 'DEBUG', ...periods, 'tilt-period', 500)
  } catch (error) {
    await sentinel.stop()
    throw error
  }
  return sentinel
}

/** How many others a Sentinel knows, leaving out those that it has found away. */
async function knownTo(sentinel: RedisProcess, kind: 'REPLICAS' | 'SENTINELS'): Promise<number> {
  const others = (await sentinel.command('SENTINEL', kind, NAME)) as readonly (readonly string[])[]
  return others.filter((fields) => !/down|disconnected/.test(fields[fields.indexOf('flags') + 1] ?? ''))
    .length
}

async function masterPort(sentinel: RedisProcess): Promise<number> {
  const [, port] = (await sentinel.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME)) as readonly string[]
  return Number(port)
}
