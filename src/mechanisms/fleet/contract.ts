/** The gateways that act as one, as each of them sees it. */

declare const gatewayIdBrand: unique symbol

/** Names one gateway, from its start to its end. */
export type GatewayId = string & { readonly [gatewayIdBrand]: true }

/** What a gateway says of itself. */
export interface FleetMember {
  readonly id: GatewayId
  readonly version: string
  /** Wall time of its start, in milliseconds. */
  readonly startedMs: number
  /** Where it listens, by what: `http`, `rtmp`, `turn`, `admin` ... */
  readonly addresses: Readonly<Record<string, readonly string[]>>
  /** It takes nothing new and ends when its sessions have gone. */
  readonly isDraining: boolean
  readonly load: FleetLoad
}

/** How busy a gateway is. */
export interface FleetLoad {
  /** Sessions of media. */
  readonly sessions: number
  readonly allocations: number
  readonly tunnelClients: number
  /** Cores in use since it last spoke. */
  readonly cpu: number
  readonly memoryBytes: number
}

/**
 * The fleet. Each gateway announces itself and renews that; one that stops is gone after its lease. Members are known from
 * a copy that is seconds old.
 */
export interface Fleet {
  /** This gateway. */
  readonly id: GatewayId
  /** Those that live, this one too. */
  members(): readonly FleetMember[]
  /** Those of the named that are gone; asked of the shared store where the copy does not know a name. Fails as a command of Redis does. */
  gone(ids: readonly GatewayId[]): Promise<ReadonlySet<GatewayId>>
  /**
   * Sends a message to one gateway or to all others. It may be lost, so whatever hangs on it must come right by itself
   * later. `data` is JSON of 64 KiB at most. Does nothing while Redis is away.
   */
  send(to: GatewayId | 'all', topic: string, data: unknown): void
  /** Hears what others send; `data` is as unchecked as anything from the wire. The function ends it. */
  on(topic: string, handler: (data: unknown, from: GatewayId) => void): () => void
  /** Called for each gateway that has gone, whether it said so or its lease ran out. The function ends it. */
  onGone(listener: (id: GatewayId) => void): () => void
  /**
   * Called when the shared store is there again after it was away, and when it has lost what it had (flushed, failed over):
   * whoever keeps something there says it again. The function ends it.
   */
  onReturn(listener: () => void): () => void
}
