import { freePort } from '../../src/foundation/free-port.testkit.ts'
import { makeCertificate } from '../../src/mechanisms/net/certificate.testkit.ts'
import { until } from '../harness/until.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import { untilReplicated } from './replication.ts'

export interface ClusterOptions {
  /** @defaultValue 3 */
  readonly masters?: number
  /** Of each master. @defaultValue 0 */
  readonly replicas?: number
  readonly password?: string
  /** @defaultValue false */
  readonly tls?: boolean
}

const SLOTS = 16_384

/** Starts a Cluster. Resolves when every node has found all slots served and the replicas follow. */
export async function startCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, replicas = 0, password, tls = false } = options
  const certificate = tls && (await makeCertificate())
  const nodes: RedisProcess[] = []
  const cluster = new RedisCluster(nodes)
  try {
    for (let index = 0; index < masters * (1 + replicas); index++) {
      const busPort = await freePort()
      const args = [
        ...['--cluster-enabled', 'yes', '--cluster-port', `${busPort}`, '--cluster-announce-ip', '127.0.0.1'],
        // What is too short for a busy machine makes masters of replicas for nothing.
        ...['--cluster-node-timeout', '2000', '--repl-diskless-sync-delay', '0'],
        // A replica counts once it has been sent something.
        ...['--repl-ping-replica-period', '1'],
        ...(tls ? ['--tls-cluster', 'yes', '--tls-replication', 'yes'] : []),
        ...(password === undefined ? [] : ['--masterauth', password]),
      ]
      nodes.push(
        await startRedis({ args, tls: certificate, ...(password === undefined ? {} : { password }) }),
      )
      await nodes[index]?.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
      await nodes[0]?.command('CLUSTER', 'MEET', '127.0.0.1', nodes[index]?.port ?? 0, busPort)
    }
    for (const [index, node] of nodes.slice(0, masters).entries()) {
      const first = Math.ceil((index * SLOTS) / masters)
      const last = Math.ceil(((index + 1) * SLOTS) / masters) - 1
      await node.command('CLUSTER', 'ADDSLOTSRANGE', first, last)
    }
    await cluster.untilWhole()
    for (const [index, replica] of nodes.slice(masters).entries()) {
      const master = nodes[index % masters]
      if (master === undefined) continue
      await replica.command('CLUSTER', 'REPLICATE', await idOf(master))
      await untilReplicated(master, [replica])
    }
    await cluster.untilWhole(masters * replicas)
  } catch (error) {
    await cluster.stop()
    throw error
  }
  return cluster
}

/** Servers that share the slots among them. `await using` ends all of them. */
export class RedisCluster implements AsyncDisposable {
  /** Also those that have been killed. */
  readonly servers: readonly RedisProcess[]

  constructor(servers: readonly RedisProcess[]) {
    this.servers = servers
  }

  /** `host:port` of each. */
  get nodes(): readonly string[] {
    return this.servers.map(({ port }) => `127.0.0.1:${port}`)
  }

  /** The server that has the slot of a key. */
  async masterOf(key: string): Promise<RedisProcess> {
    const owner = slotOwner(await this.#view(), await this.#slotOf(key))
    return this.#serverAt(owner.port)
  }

  /**
   * Kills the master that has a key, when its replicas have what it was told so far. If it has replicas, resolves with the
   * one that has taken its slots, when all nodes know; else with undefined, and the Cluster serves nothing until the killed
   * one is started again by `restart`.
   */
  async killMaster(key = ''): Promise<RedisProcess | undefined> {
    const owner = slotOwner(await this.#view(), await this.#slotOf(key))
    const killed = this.#serverAt(owner.port)
    await untilReplicated(
      killed,
      owner.replicaPorts.map((port) => this.#serverAt(port)),
    )
    await killed.kill()
    if (owner.replicaPorts.length === 0) return undefined
    const next = await until(
      `a new master of the slots of ${killed.port}`,
      async () => {
        const master = await this.masterOf(key)
        return master !== killed && master
      },
      { deadlineMs: 40_000 },
    )
    await this.untilWhole()
    return next
  }

  /** Moves the slot of a key, with what is in it, to another master. Clients hear of it by MOVED. */
  async moveSlot(key: string, target: RedisProcess): Promise<void> {
    const slot = await this.#slotOf(key)
    const source = await this.masterOf(key)
    const [from, to] = [await idOf(source), await idOf(target)]
    await target.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from)
    await source.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to)
    const keys = (await source.command('CLUSTER', 'GETKEYSINSLOT', slot, 1_000_000)) as readonly string[]
    if (keys.length > 0) {
      const { password } = target.address
      const login = password === undefined ? [] : ['AUTH', password]
      await source.command('MIGRATE', '127.0.0.1', target.port, '', 0, 10_000, ...login, 'KEYS', ...keys)
    }
    for (const node of [target, source]) await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', to)
    await until(`slot ${slot} at ${target.port} in all views`, async () => {
      const views = await Promise.all(this.#running().map((node) => viewOf(node)))
      return views.every((view) => slotOwner(view, slot).port === target.port)
    })
  }

  /** Resolves when all nodes that run find all slots served, by the same masters, and at least so many replicas. */
  async untilWhole(replicas = 0): Promise<void> {
    await until(
      'a Cluster that is whole',
      async () => {
        const running = this.#running()
        for (const node of running) {
          const info = String(await node.command('CLUSTER', 'INFO'))
          if (!info.includes('cluster_state:ok')) return false
          if (!info.includes(`cluster_known_nodes:${this.servers.length}\r`)) return false
        }
        const views = await Promise.all(running.map((node) => viewOf(node)))
        const texts = views.map((view) => JSON.stringify(view))
        const known = views[0]?.flatMap(({ replicaPorts }) => replicaPorts).length ?? 0
        return new Set(texts).size === 1 && known >= replicas
      },
      { deadlineMs: 40_000 },
    )
  }

  /** Ends all processes. */
  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #running(): readonly RedisProcess[] {
    return this.servers.filter((server) => server.isRunning)
  }

  #view(): Promise<readonly SlotRange[]> {
    const [node] = this.#running()
    if (node === undefined) throw new Error('no node of the Cluster runs')
    return viewOf(node)
  }

  async #slotOf(key: string): Promise<number> {
    return Number(await this.#running()[0]?.command('CLUSTER', 'KEYSLOT', key))
  }

  #serverAt(port: number): RedisProcess {
    const server = this.servers.find((candidate) => candidate.port === port)
    if (server === undefined) throw new Error(`no node at ${port}`)
    return server
  }
}

interface SlotRange {
  readonly first: number
  readonly last: number
  readonly port: number
  readonly replicaPorts: readonly number[]
}

/** Who serves what, as one node sees it; replicas that are away are left out. */
async function viewOf(node: RedisProcess): Promise<readonly SlotRange[]> {
  const ranges = (await node.command('CLUSTER', 'SLOTS')) as readonly (readonly [
    number,
    number,
    ...Served[],
  ])[]
  return ranges
    .map(([first, last, ...served]) => {
      const [port = 0, ...replicaPorts] = served.map(([, nodePort]) => nodePort)
      return { first, last, port, replicaPorts: replicaPorts.toSorted((a, b) => a - b) }
    })
    .toSorted((a, b) => a.first - b.first)
}

/** Address and port of a node that has a range; the master comes first. */
type Served = readonly [string, number, ...unknown[]]

function slotOwner(view: readonly SlotRange[], slot: number): SlotRange {
  const range = view.find(({ first, last }) => first <= slot && slot <= last)
  if (range === undefined) throw new Error(`nobody has slot ${slot}`)
  return range
}

async function idOf(node: RedisProcess): Promise<string> {
  return String(await node.command('CLUSTER', 'MYID'))
}
