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
  readonly #users = new Map<string, { readonly meter: MeterId; allocations: number }>()
  #total: MeterId | undefined

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
    if (userBytesPerSecond > 0) ids.push(this.#openUser(userId, userBytesPerSecond))
    if (totalBytesPerSecond > 0) {
      this.#total ??= this.#bytes(totalBytesPerSecond)
      ids.push(this.#total)
    }
    return {
      ids,
      close: () => {
        if (own !== undefined) this.#datapath.closeMeter(own)
        this.#closeUser(userId)
      },
    }
  }

  #openUser(userId: string, bytesPerSecond: number): MeterId {
    let user = this.#users.get(userId)
    if (user === undefined) {
      user = { meter: this.#bytes(bytesPerSecond), allocations: 0 }
      this.#users.set(userId, user)
    }
    user.allocations++
    return user.meter
  }

  #closeUser(userId: string): void {
    const user = this.#users.get(userId)
    if (user === undefined || --user.allocations > 0) return
    this.#users.delete(userId)
    this.#datapath.closeMeter(user.meter)
  }

  #bytes(bytesPerSecond: number): MeterId {
    return this.#datapath.openMeter({ bytesPerSecond })
  }
}
