import type { Datapath, MeterId } from '../../../mechanisms/datapath/index.ts'
import type { BandwidthLimit } from './contract.ts'

/** The meters of one session. */
export interface MetersInUse {
  readonly meters: readonly MeterId[]
  /** Gives them back; may be called twice. */
  end(): void
}

interface Shared {
  readonly meter: MeterId
  users: number
}

/** Meters of the datapath for the limits of sessions: one for each id, while a session has it. */
export class LimitMeters {
  readonly #datapath: Pick<Datapath, 'openMeter' | 'closeMeter'>
  readonly #shared = new Map<string, Shared>()

  constructor(datapath: Pick<Datapath, 'openMeter' | 'closeMeter'>) {
    this.#datapath = datapath
  }

  /** @throws what `openMeter` throws; then nothing is taken */
  take(limits: readonly BandwidthLimit[]): MetersInUse {
    let ids: string[] = []
    const end = (): void => {
      for (const id of ids) this.#leave(id)
      ids = []
    }
    try {
      const meters = limits.map((limit) => {
        const meter = this.#use(limit)
        ids.push(limit.id)
        return meter
      })
      return { meters, end }
    } catch (error) {
      end()
      throw error
    }
  }

  #use({ id, bytesPerSecond, burstBytes }: BandwidthLimit): MeterId {
    let shared = this.#shared.get(id)
    if (shared === undefined) {
      const burstSeconds = bytesPerSecond > 0 ? burstBytes / bytesPerSecond : 0
      shared = { meter: this.#datapath.openMeter({ bytesPerSecond, burstSeconds }), users: 0 }
      this.#shared.set(id, shared)
    }
    shared.users++
    return shared.meter
  }

  #leave(id: string): void {
    const shared = this.#shared.get(id)
    if (shared === undefined || --shared.users > 0) return
    this.#shared.delete(id)
    this.#datapath.closeMeter(shared.meter)
  }
}
