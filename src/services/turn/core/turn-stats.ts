import type { TurnMethod } from './turn-method.ts'
import type { AllocationEnd } from '../events.ts'
import type { Allocation } from './allocation.ts'

/** What a TURN server has done since it started: plain numbers that the scrape reads. */
export class TurnStats {
  /** Answers by method and result: `success`, or the error's code. */
  readonly answers: Map<string, number> = new Map()
  /** Datagrams and frames that were neither STUN nor ChannelData, or STUN that is broken. */
  malformed = 0
  created = 0
  readonly ended: Record<AllocationEnd, number> = {
    released: 0,
    expired: 0,
    disconnected: 0,
    killed: 0,
    closed: 0,
  }
  /** Payload of allocations that have ended. */
  readonly sent: { packets: number; bytes: number } = { packets: 0, bytes: 0 }
  readonly received: { packets: number; bytes: number } = { packets: 0, bytes: 0 }
  dropped = 0

  count(method: TurnMethod, result: 'success' | number): void {
    const key = `${method} ${result}`
    this.answers.set(key, (this.answers.get(key) ?? 0) + 1)
  }

  addEnded({ sent, received, dropped }: Allocation): void {
    this.sent.packets += sent.packets
    this.sent.bytes += sent.bytes
    this.received.packets += received.packets
    this.received.bytes += received.bytes
    this.dropped += dropped
  }
}
