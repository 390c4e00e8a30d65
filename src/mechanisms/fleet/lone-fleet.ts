import { type Clock, systemClock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import type { Fleet, FleetMember, GatewayId } from './contract.ts'

/** What a gateway says of itself, asked for whenever it speaks. */
export type Describe = () => Pick<FleetMember, 'addresses' | 'load' | 'isDraining'>

export interface LoneFleetOptions {
  readonly id: GatewayId
  readonly version: string
  readonly describe: Describe
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/** The fleet of a gateway that has no Redis: itself. */
export class LoneFleet implements Fleet, Lifecycle {
  readonly id: GatewayId
  readonly #version: string
  readonly #describe: Describe
  readonly #startedMs: number

  constructor({ id, version, describe, clock = systemClock }: LoneFleetOptions) {
    this.id = id
    this.#version = version
    this.#describe = describe
    this.#startedMs = clock.wallMs()
  }

  start(_options?: StartOptions): Promise<void> {
    return Promise.resolve()
  }

  close(_options?: CloseOptions): Promise<void> {
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  members(): readonly FleetMember[] {
    return [{ id: this.id, version: this.#version, startedMs: this.#startedMs, ...this.#describe() }]
  }

  /** Whoever else is named is of an earlier time. */
  gone(ids: readonly GatewayId[]): Promise<ReadonlySet<GatewayId>> {
    return Promise.resolve(new Set(ids.filter((id) => id !== this.id)))
  }

  /** Nobody is there to be told. */
  announce(): Promise<void> {
    return Promise.resolve()
  }

  send(): void {
    // Nobody is there to hear it.
  }

  on(): () => void {
    return () => {}
  }

  onGone(): () => void {
    return () => {}
  }

  onReturn(): () => void {
    return () => {}
  }
}
