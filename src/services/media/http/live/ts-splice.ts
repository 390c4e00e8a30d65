import type { LiveSplice, Seam, Span } from './live-splice.ts'

const PACKET_BYTES = 188
const SYNC = 0x47
/** Most PIDs that are remembered; a program has about five. */
const MAX_PIDS = 64

/**
 * MPEG-TS. Only whole packets are passed on, so that a break never falls within one. Behind it the other origin counts packets
 * and time anew: for each PID a packet without payload says so, by the `discontinuity_indicator` of ISO/IEC 13818-1
 * §2.4.3.5, and players take the new clock from there.
 */
export class TsSplice implements LiveSplice {
  readonly #held = new Uint8Array(PACKET_BYTES)
  #heldBytes = 0
  #isForeign = false
  #hasSeam = false
  /** PIDs that the viewer has seen. */
  #pids: number[] = []

  get canResume(): boolean {
    return !this.#isForeign && (this.#hasSeam || this.#pids.length > 0)
  }

  pass(span: Span): boolean {
    if (this.#isForeign) return !this.#hasSeam
    span.start -= this.#heldBytes
    span.buffer.set(this.#held.subarray(0, this.#heldBytes), span.start)
    this.#heldBytes = 0
    const { buffer, start, end } = span
    let at = start
    for (; at < end; at += PACKET_BYTES) {
      if (buffer[at] !== SYNC) {
        this.#isForeign = true
        return !this.#hasSeam
      }
      if (end - at < PACKET_BYTES) break
      const pid = (((buffer[at + 1] ?? 0) & 0x1f) << 8) | (buffer[at + 2] ?? 0)
      if (!this.#pids.includes(pid) && this.#pids.length < MAX_PIDS) this.#pids.push(pid)
    }
    if (at >= end) return true
    this.#held.set(buffer.subarray(at, end))
    this.#heldBytes = end - at
    span.end = at
    return true
  }

  takeHeld(): Uint8Array {
    const held = this.#held.slice(0, this.#heldBytes)
    this.#heldBytes = 0
    return held
  }

  resume(): Seam {
    this.#heldBytes = 0
    this.#hasSeam = true
    const packets = this.#pids.filter((pid) => pid !== NULL_PID).map((pid) => discontinuity(pid))
    this.#pids = []
    return { zeros: 0, tail: Buffer.concat(packets) }
  }
}

const NULL_PID = 0x1fff

/** An adaptation field alone, filled up with stuffing. */
function discontinuity(pid: number): Uint8Array {
  const packet = new Uint8Array(PACKET_BYTES).fill(0xff)
  packet.set([SYNC, pid >> 8, pid & 0xff, 0x20, PACKET_BYTES - 5, 0x80])
  return packet
}
