import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeAmf0 } from '../rtmp/index.ts'
import { classifyMedia, withoutSetDataFrame } from './media-class.ts'

const classify = (type: number, hex: string): string => {
  const { kind, slot } = classifyMedia(type, Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  return slot === '' ? kind : `${kind} ${slot}`
}
const hvc1 = '68766331'

describe('video', () => {
  test.each([
    ['AVC sequence header', '17 00 000000 01', 'config video'],
    ['AVC key frame', '17 01 000000', 'keyframe'],
    ['AVC inter frame', '27 01 000000', 'interframe'],
    ['AVC end of sequence', '17 02 000000', 'other'],
    ['HEVC of old encoders, sequence header', '1c 00 000000', 'config video'],
    ['Sorenson key frame', '12 84', 'keyframe'],
    ['seek command', '57 00', 'other'],
    ['extended sequence start', `90 ${hvc1} 01`, 'config video'],
    ['extended coded key frame', `91 ${hvc1} 000000`, 'keyframe'],
    ['extended coded inter frame', `a1 ${hvc1} 000000`, 'interframe'],
    ['extended frame without composition time', `a3 ${hvc1}`, 'interframe'],
    ['extended end of sequence', `92 ${hvc1}`, 'other'],
    ['HDR metadata', `94 ${hvc1} 02`, 'config video-metadata'],
    ['MPEG-2 TS sequence start', `95 ${hvc1}`, 'config video'],
    ['extended command frame', 'd1 00', 'other'],
    ['sequence start of one track', `96 00 ${hvc1} 03 00`, 'config video:3'],
    ['key frame of one track', `96 01 ${hvc1} 03 00`, 'keyframe'],
    ['sequence start of many tracks', `96 10 ${hvc1} 00 000001 aa`, 'config video:many'],
    ['sequence start of many codecs', `96 20 00 ${hvc1} 000001 aa`, 'config video:many'],
    ['key frame behind ModEx', `97 02 000001 01 ${hvc1}`, 'keyframe'],
    ['key frame behind a long ModEx', `97 ff 0000 00 01 ${hvc1}`, 'keyframe'],
    ['nothing', '', 'other'],
    ['AVC cut short', '17', 'other'],
    ['extended cut short', '91 6876', 'other'],
    ['ModEx cut short', '97 ff', 'other'],
  ])('%s', (_name, hex, expected) => {
    expect(classify(9, hex)).toBe(expected)
  })
})

describe('audio', () => {
  test.each([
    ['AAC sequence header', 'af 00 1210', 'config audio'],
    ['AAC frame', 'af 01 21', 'audio'],
    ['MP3', '2f ff', 'audio'],
    ['extended sequence start', '90 4f707573 01', 'config audio'],
    ['extended frame', '91 4f707573 01', 'audio'],
    ['extended end', '92 4f707573', 'other'],
    ['channel layout', '94 4f707573 00', 'config audio-channels'],
    ['sequence start of one track', '95 00 4f707573 02', 'config audio:2'],
    ['nothing', '', 'other'],
  ])('%s', (_name, hex, expected) => {
    expect(classify(8, hex)).toBe(expected)
  })
})

describe('script data', () => {
  test('onMetaData is metadata with and without @setDataFrame', () => {
    const bare = encodeAmf0('onMetaData', { kind: 'ecma-array', count: 0, entries: [] })
    const framed = Buffer.concat([encodeAmf0('@setDataFrame'), bare])
    expect(classifyMedia(18, bare)).toEqual({ kind: 'metadata', slot: 'metadata' })
    expect(classifyMedia(18, framed)).toEqual({ kind: 'metadata', slot: 'metadata' })
    expect(classifyMedia(18, encodeAmf0('onCuePoint')).kind).toBe('other')
    expect(withoutSetDataFrame(framed)).toEqual(bare)
    expect(withoutSetDataFrame(bare)).toEqual(bare)
  })
})

test('any payload has a class', () => {
  fc.assert(
    fc.property(fc.nat(22), fc.uint8Array({ maxLength: 40 }), (type, payload) => {
      const { kind, slot } = classifyMedia(type, payload)
      expect(slot !== '').toBe(kind === 'config' || kind === 'metadata')
    }),
    { numRuns: 2000 },
  )
})
