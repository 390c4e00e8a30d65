import type { Datapath, MeterId } from '../../../mechanisms/datapath/index.ts'
import type { BandwidthLimit } from '../access/index.ts'

interface SharedMeter {
  readonly meter: MeterId
  users: number
}

/** The meters of the datapath for the bounds on bandwidth; sessions whose bounds have one id share one meter. */
export class LimitMeters {
  readonly #datapath: Pick<Datapath, 'openMeter' | 'closeMeter'>
  readonly #byLimit = new Map<string, SharedMeter>()

  constructor(datapath: Pick<Datapath, 'openMeter' | 'closeMeter'>) {
    this.#datapath = datapath
  }

  /** The meters of one session; `give` takes them back. */
  take(limits: readonly BandwidthLimit[]): readonly MeterId[] {
    return limits.map((limit) => {
      const name = nameOf(limit)
      const shared = this.#byLimit.get(name) ?? { meter: this.#open(limit), users: 0 }
      shared.users++
      this.#byLimit.set(name, shared)
      return shared.meter
    })
  }

  give(limits: readonly BandwidthLimit[]): void {
    for (const limit of limits) {
      const shared = this.#byLimit.get(nameOf(limit))
      if (shared === undefined || --shared.users > 0) continue
      this.#byLimit.delete(nameOf(limit))
      this.#datapath.closeMeter(shared.meter)
    }
  }

  #open({ bytesPerSecond, burstBytes }: BandwidthLimit): MeterId {
    return this.#datapath.openMeter({
      bytesPerSecond,
      burstSeconds: burstBytes / Math.max(1, bytesPerSecond),
    })
  }
}

/** A bound that a reload changed is another one for the sessions to come. */
function nameOf({ id, bytesPerSecond, burstBytes }: BandwidthLimit): string {
  return `${id} ${bytesPerSecond} ${burstBytes}`
}
