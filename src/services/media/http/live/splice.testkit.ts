import type { LiveSplice } from './live-splice.ts'
import { roomyCopy } from '../read-buffer.ts'

/** Gives a splice bytes, cut at these places, and collects what it passes on. */
export function passInParts(splice: LiveSplice, bytes: Uint8Array, cuts: readonly number[]): Buffer {
  const passed: Buffer[] = []
  let at = 0
  for (const cut of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
    const end = Math.min(bytes.length, Math.max(at, cut))
    const part = roomyCopy(bytes.subarray(at, end))
    const buffer = Buffer.from(part.buffer)
    const span = { buffer, start: part.byteOffset, end: part.byteOffset + part.length }
    if (!splice.pass(span)) throw new Error('refused')
    passed.push(buffer.subarray(span.start, span.end))
    at = end
  }
  return Buffer.concat(passed)
}
