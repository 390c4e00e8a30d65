import type { Datapath, MeterId } from '../../../mechanisms/datapath/index.ts'
import type { TurnLimits } from '../options.ts'

type Rates = Pick<
  TurnLimits,
  'packetsPerSecond' | 'bytesPerSecond' | 'userBytesPerSecond' | 'totalBytesPerSecond'
>

/** The meters that charge one allocation. */
export interface MeterSet {
  readonly ids: readonly MeterId[]
  /** Ends those that nobody else uses. */
  close(): void
}

/** The shared budgets of allocations: its own, its user's and that of all. The engine charges them. */
export class Meters {
  readonly #datapath: Pick<Datapath, 'openMeter' | 'closeMeter'>
  readonly #rates: Rates
  readonly #shared = new Map<string, SharedMeter>()

  constructor(datapath: Pick<Datapath, 'openMeter' | 'closeMeter'>, rates: Rates) {
    this.#datapath = datapath
    this.#rates = rates
  }

  /** Meters for a new allocation. */
  open(userId: string): MeterSet {
    const { packetsPerSecond, bytesPerSecond, userBytesPerSecond, totalBytesPerSecond } = this.#rates
    const ids: MeterId[] = []
    let own: MeterId | undefined
    if (packetsPerSecond > 0 || bytesPerSecond > 0) {
      own = this.#datapath.openMeter({
        ...(packetsPerSecond > 0 && { packetsPerSecond }),
        ...(bytesPerSecond > 0 && { bytesPerSecond }),
      })
      ids.push(own)
    }
    const user = `user ${userId}`
    if (userBytesPerSecond > 0) ids.push(this.#openShared(user, userBytesPerSecond))
    if (totalBytesPerSecond > 0) ids.push(this.#openShared(all, totalBytesPerSecond))
    if (ids.length === 0) return noMeters
    return {
      // A copy is just as long as it has to be.
      ids: [...ids],
      close: () => {
        if (own !== undefined) this.#datapath.closeMeter(own)
        this.#closeShared(user)
        this.#closeShared(all)
      },
    }
  }

  #openShared(key: string, bytesPerSecond: number): MeterId {
    let shared = this.#shared.get(key)
    if (shared === undefined) {
      shared = { meter: this.#datapath.openMeter({ bytesPerSecond }), allocations: 0 }
      this.#shared.set(key, shared)
    }
    shared.allocations++
    return shared.meter
  }

  #closeShared(key: string): void {
    const shared = this.#shared.get(key)
    if (shared === undefined || --shared.allocations > 0) return
    this.#shared.delete(key)
    this.#datapath.closeMeter(shared.meter)
  }
}

const noMeters: MeterSet = { ids: [], close: () => {} }

interface SharedMeter {
  readonly meter: MeterId
  allocations: number
}

/** Whose meter all allocations share; users' keys begin otherwise. */
const all = 'all'
