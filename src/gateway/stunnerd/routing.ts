import type { CloseOptions, Lifecycle } from '../../foundation/lifecycle.ts'
import {
  type PeerPolicy,
  type PeerProtocol,
  PeerRules,
  ResolvedNames,
  type ResolvedNamesOptions,
} from '../../services/turn/index.ts'
import type { ClusterFinder } from './cluster-traffic.ts'
import type { StunnerdCluster, StunnerdConfig, StunnerdListener } from './config.ts'
import { RoutedPeers } from './routed-peers.ts'

/** Routes of a configuration that are prepared and not in force yet; either `commit` or `discard` it. */
export interface RoutingPlan {
  /** The policy of a listener; one that was there before keeps its own, which changes with `commit`. */
  readonly peersOf: (listener: StunnerdListener) => PeerPolicy
  commit(): void
  discard(): void
}

interface Cluster {
  readonly config: StunnerdCluster
  readonly rules: PeerRules
}

/**
 * Clusters, and which listener leads to which. Policies live as long as their listener: a changed route or cluster takes
 * effect in them, so that no listener has to be opened anew for it, and peers that may no longer be reached are cut.
 */
export class Routing implements Lifecycle, ClusterFinder {
  readonly #names: ResolvedNames
  #clusters: ReadonlyMap<string, Cluster> = new Map()
  #routes: ReadonlyMap<string, readonly string[]> = new Map()
  #peers: ReadonlyMap<string, RoutedPeers> = new Map()

  constructor(names: Omit<ResolvedNamesOptions, 'maxNames'>) {
    this.#names = new ResolvedNames({ ...names, maxNames: MAX_NAMES })
  }

  start(): Promise<void> {
    return this.#names.start()
  }

  /**
   * Prepares the routes of a configuration.
   *
   * @throws PEERS_TOO_MANY_NAMES; nothing is prepared then
   */
  plan({ listeners, clusters }: StunnerdConfig): RoutingPlan {
    const made: PeerRules[] = []
    const discard = (): void => {
      for (const rules of made) rules.close()
    }
    let next: ReadonlyMap<string, Cluster>
    try {
      next = new Map(
        clusters.map((config) => {
          const old = this.#clusters.get(config.name)
          if (old !== undefined && isSame(old.config, config)) return [config.name, old]
          const rules = this.#rulesOf(config)
          made.push(rules)
          return [config.name, { config, rules }]
        }),
      )
    } catch (error) {
      discard()
      throw error
    }
    const routed = ({ routes }: StunnerdListener) => routes.flatMap((name) => next.get(name)?.rules ?? [])
    const peers = new Map(
      listeners.map((listener) => [
        listener.name,
        this.#peers.get(listener.name) ?? new RoutedPeers(routed(listener)),
      ]),
    )
    return {
      peersOf: ({ name }) => peers.get(name) ?? new RoutedPeers([]),
      discard,
      commit: () => {
        const former = { clusters: this.#clusters, peers: this.#peers }
        this.#clusters = next
        this.#routes = new Map(listeners.map(({ name, routes }) => [name, routes]))
        this.#peers = peers
        for (const listener of listeners) peers.get(listener.name)?.route(routed(listener))
        for (const [name, old] of former.peers) if (!peers.has(name)) old.close()
        for (const [name, old] of former.clusters) if (next.get(name) !== old) old.rules.close()
      },
    }
  }

  /** The first cluster of a listener's routes to which a peer belongs. Port 0: whichever port. */
  clusterOf(listener: string, address: string, port: number, protocol: PeerProtocol): string | undefined {
    return this.#routes.get(listener)?.find((name) => {
      const rules = this.#clusters.get(name)?.rules
      return port === 0 ? rules?.admitsAddress(address, protocol) : rules?.admits(address, port, protocol)
    })
  }

  /** The cluster of all peers of a listener, where its routes name one only for that protocol. */
  soleClusterOf(listener: string, protocol: PeerProtocol): string | undefined {
    const routes = this.#routes.get(listener) ?? []
    const names = routes.filter((name) => this.#clusters.get(name)?.config.protocol === protocol)
    return names.length === 1 ? names[0] : undefined
  }

  async close(_options?: CloseOptions): Promise<void> {
    for (const peers of this.#peers.values()) peers.close()
    for (const { rules } of this.#clusters.values()) rules.close()
    await this.#names.close()
  }

  #rulesOf({ endpoints, protocol }: StunnerdCluster): PeerRules {
    return new PeerRules(
      { byDefault: 'none', allow: endpoints.map((to) => ({ to, protocol })) },
      { names: this.#names },
    )
  }
}

/** DNS names of all clusters together. */
const MAX_NAMES = 4096

function isSame(one: StunnerdCluster, other: StunnerdCluster): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
