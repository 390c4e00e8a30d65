import type { PeerPolicy, PeerProtocol } from '../../services/turn/index.ts'

/** The peers of one listener: those of every cluster that its routes name. Without routes nobody. */
export class RoutedPeers implements PeerPolicy {
  readonly #callbacks = new Set<{ readonly call: () => void }>()
  #clusters: readonly PeerPolicy[] = []
  #stops: readonly (() => void)[] = []

  constructor(clusters: readonly PeerPolicy[]) {
    this.route(clusters)
  }

  /** Leads to other clusters from now on. */
  route(clusters: readonly PeerPolicy[]): void {
    const isSame =
      clusters.length === this.#clusters.length && clusters.every((it, i) => it === this.#clusters[i])
    if (isSame) return
    this.close()
    this.#clusters = clusters
    this.#stops = clusters.map((cluster) => cluster.onChange(() => this.#changed()))
    this.#changed()
  }

  admitsAddress(address: string, protocol: PeerProtocol): boolean {
    return this.#clusters.some((cluster) => cluster.admitsAddress(address, protocol))
  }

  admits(address: string, port: number, protocol: PeerProtocol): boolean {
    return this.#clusters.some((cluster) => cluster.admits(address, port, protocol))
  }

  onChange(callback: () => void): () => void {
    const entry = { call: callback }
    this.#callbacks.add(entry)
    return () => this.#callbacks.delete(entry)
  }

  /** Hears of its clusters no longer. */
  close(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
  }

  #changed(): void {
    for (const callback of [...this.#callbacks]) callback.call()
  }
}
