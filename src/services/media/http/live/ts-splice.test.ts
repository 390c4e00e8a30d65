import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { passInParts } from './splice.testkit.ts'
import { TsSplice } from './ts-splice.ts'

function packet(pid: number, fill = 1): Buffer {
  const bytes = Buffer.alloc(188, fill)
  bytes.set([0x47, pid >> 8, pid & 0xff, 0x10])
  return bytes
}

const BODY = Buffer.concat([packet(0), packet(0x100), packet(0x101), packet(0x100), packet(0x1fff)])

describe('TsSplice', () => {
  it('passes a body on as it is, in any parts, by whole packets', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(BODY.length), { maxLength: 12 }), fc.nat(400), (cuts, extra) => {
        const body = Buffer.concat([BODY, Buffer.alloc(extra, 0x47)])
        const splice = new TsSplice()
        const passed = passInParts(splice, body, cuts)
        expect(passed.length % 188).toBe(0)
        expect(Buffer.concat([passed, splice.takeHeld()]).equals(body)).toBe(true)
      }),
    )
  })

  it('drops the packet within which a body broke off, and says for each PID that it is not gone on with', () => {
    const splice = new TsSplice()
    expect(passInParts(splice, BODY.subarray(0, 4 * 188 + 50), []).length).toBe(4 * 188)
    const { zeros, tail } = splice.resume()
    expect(zeros).toBe(0)
    const seam = Buffer.from(tail)
    expect(seam.length).toBe(3 * 188)
    for (const [index, pid] of [0, 0x100, 0x101].entries()) {
      const head = seam.subarray(index * 188, index * 188 + 6)
      // No payload, an adaptation field that fills the packet, discontinuity_indicator.
      expect([...head]).toEqual([0x47, pid >> 8, pid & 0xff, 0x20, 183, 0x80])
    }
    expect(passInParts(splice, packet(0x42), [7]).equals(packet(0x42))).toBe(true)
    expect(splice.resume().tail.length).toBe(188)
  })

  it('passes what is no MPEG-TS on, and cannot go on behind it', () => {
    const splice = new TsSplice()
    const body = Buffer.concat([BODY, Buffer.from('<html>')])
    expect(passInParts(splice, body, [5, 200]).equals(body)).toBe(true)
    expect(splice.canResume).toBe(false)
  })

  it('refuses what is no MPEG-TS behind a seam', () => {
    const splice = new TsSplice()
    passInParts(splice, BODY, [])
    splice.resume()
    expect(() => passInParts(splice, Buffer.from('<html>'), [])).toThrow('refused')
  })
})
