import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  encodeFlvHeader,
  encodeFlvTag,
  FlvReader,
  type FlvTag,
  FlvTagType,
} from '../../../../protocols/flv/index.ts'
import { FlvSplice } from './flv-splice.ts'
import { passInParts } from './splice.testkit.ts'

const HEADER = encodeFlvHeader({ audio: true, video: true })
const VIDEO_CONFIG = Uint8Array.of(0x17, 0, 0, 0, 0, 1)
const AUDIO_CONFIG = Uint8Array.of(0xaf, 0, 0x12, 0x10)

const video = (timestamp: number, size = 20): FlvTag => {
  const payload = new Uint8Array(size).fill(0x55)
  payload.set([0x17, 1].slice(0, size))
  return { type: FlvTagType.video, timestamp, payload }
}
const audio = (timestamp: number): FlvTag => {
  return { type: FlvTagType.audio, timestamp, payload: Uint8Array.of(0xaf, 1, 9, 9) }
}
const script = (timestamp = 0): FlvTag => {
  return { type: FlvTagType.script, timestamp, payload: Uint8Array.of(2, 0, 0) }
}
const flv = (...tags: readonly FlvTag[]): Buffer =>
  Buffer.concat([HEADER, ...tags.map((tag) => encodeFlvTag(tag))])

function tagsOf(bytes: Uint8Array): FlvTag[] {
  const reader = new FlvReader()
  reader.push(bytes)
  const tags: FlvTag[] = []
  for (let tag = reader.next(); tag; tag = reader.next()) tags.push(tag)
  return tags
}

/** What a viewer gets of one body that breaks off after so many bytes, and another that goes on. */
function spliced(
  first: Uint8Array,
  breakAt: number,
  second: Uint8Array,
  cuts: readonly number[] = [],
): Buffer {
  const splice = new FlvSplice()
  const before = passInParts(splice, first.subarray(0, breakAt), cuts)
  const { zeros, tail } = splice.resume()
  return Buffer.concat([before, Buffer.alloc(zeros), tail, passInParts(splice, second, cuts)])
}

describe('FlvSplice', () => {
  it('passes a body on as it is, in any parts', () => {
    const body = flv(script(), video(0), audio(12), video(40, 3000), video(80, 0), video(90, 1), audio(95))
    fc.assert(
      fc.property(fc.array(fc.nat(body.length), { maxLength: 20 }), (cuts) => {
        const splice = new FlvSplice()
        const passed = Buffer.concat([passInParts(splice, body, cuts), splice.takeHeld()])
        expect(passed.equals(body)).toBe(true)
        expect(splice.canResume).toBe(true)
      }),
    )
  })

  it('goes on behind the last tag, without a second header', () => {
    const first = flv(video(1000), audio(1020))
    const bytes = spliced(first, first.length, flv(video(5), audio(20)))
    expect(tagsOf(bytes).map(({ timestamp }) => timestamp)).toEqual([1000, 1020, 1060, 1075])
    expect(bytes.indexOf('FLV', 3, 'latin1')).toBe(-1)
  })

  it('fills the tag within which a body broke off, and readers find the next one', () => {
    const first = flv(video(1000), video(1040, 500))
    const whole = first.length
    const bytes = spliced(first, whole - 300, flv(video(7)))
    const tags = tagsOf(bytes)
    expect(tags.map(({ timestamp }) => timestamp)).toEqual([1000, 1040, 1080])
    expect(tags[1]?.payload.subarray(0, 200)).toEqual(Buffer.from(video(0, 500).payload.subarray(0, 200)))
    expect(tags[1]?.payload.at(-1)).toBe(0)
    // The size behind it is what readers go back by.
    expect(bytes.readUInt32BE(whole - 4)).toBe(511)
  })

  it('takes no step back in time where the other origin counts from another start', () => {
    const first = flv(video(0xffff_ff00), audio(0xffff_fff0))
    const bytes = spliced(
      first,
      first.length,
      flv(
        script(),
        { type: FlvTagType.video, timestamp: 0, payload: VIDEO_CONFIG },
        { type: FlvTagType.audio, timestamp: 0, payload: AUDIO_CONFIG },
        video(7_000_000),
        audio(6_999_990),
        video(7_000_040),
      ),
    )
    const from = (0xffff_fff0 + 40) % 2 ** 32
    const times = tagsOf(bytes).map(({ timestamp }) => timestamp)
    expect(times.slice(2)).toEqual([0, from, from, from, from, from + 40])
  })

  it('goes on once more after a second break', () => {
    const splice = new FlvSplice()
    const parts = [passInParts(splice, flv(video(100)), [])]
    for (let time = 0; time < 3; time++) {
      parts.push(Buffer.from(splice.resume().tail))
      // Within the header, then within a tag that has just begun.
      const body = flv(video(0))
      parts.push(passInParts(splice, body.subarray(0, time === 0 ? 5 : body.length - time), []))
      expect(splice.canResume).toBe(true)
    }
    const { zeros, tail } = splice.resume()
    parts.push(Buffer.alloc(zeros), Buffer.from(tail))
    const tags = tagsOf(Buffer.concat(parts))
    expect(tags.map(({ timestamp }) => timestamp)).toEqual([100, 140, 180])
  })

  it('gives whole tags in order, wherever a body breaks off and however it is cut', () => {
    const tag = fc.record({
      size: fc.nat(60),
      step: fc.nat(50),
      kind: fc.constantFrom('video', 'audio', 'script'),
    })
    const body = fc.array(tag, { maxLength: 8 }).map((parts) => {
      let ms = 500
      return flv(
        ...parts.map(({ size, step, kind }) => {
          ms += step
          if (kind === 'script') return script()
          return kind === 'audio' ? audio(ms) : video(ms, size)
        }),
      )
    })
    fc.assert(
      fc.property(
        body,
        fc.nat(1000),
        body,
        fc.array(fc.nat(400), { maxLength: 10 }),
        (first, at, second, cuts) => {
          const breakAt = 13 + (at % (first.length - 12))
          const bytes = spliced(first, breakAt, second, cuts)
          const tags = tagsOf(bytes)
          expect(bytes.length).toBe(13 + tags.reduce((sum, { payload }) => sum + payload.length + 15, 0))
          const times = tags
            .filter(({ type }) => type !== FlvTagType.script)
            .map(({ timestamp }) => timestamp)
          expect(times).toEqual(times.toSorted((a, b) => a - b))
        },
      ),
    )
  })

  it.each([
    ['text', Buffer.from('this is no video')],
    ['a header of a length that none has', Buffer.from('FLV\x01\x05\xff\xff\xff\xff more')],
    ['a tag of a type that none has', Buffer.concat([HEADER, Buffer.from('<html> and so on')])],
  ])('passes %s on, and cannot go on behind it', (_, body) => {
    const splice = new FlvSplice()
    expect(passInParts(splice, body, [3, 14]).toString('latin1')).toBe(body.toString('latin1'))
    expect(splice.canResume).toBe(false)
  })

  it.each([
    ['text', Buffer.from('this is no video')],
    ['a tag of a type that none has', Buffer.concat([HEADER, Buffer.from('<html> and so on')])],
  ])('refuses %s behind a seam', (_, body) => {
    const splice = new FlvSplice()
    passInParts(splice, flv(video(0)), [])
    splice.resume()
    expect(() => passInParts(splice, body, [])).toThrow('refused')
  })
})
